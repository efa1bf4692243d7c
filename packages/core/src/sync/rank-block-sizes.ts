/**
 * The block sizes that one rank stores in.
 *
 *     first  size of the rank's first store; the size of its blocks
 *     taken  every size stored in since the rank was last cleared, at most one more than the limit
 *
 * Invariants (rank-block-sizes.test.ts)
 *  Z1  At most RANK_BLOCK_SIZES_MAX sizes are taken. With one more the rank has too many, until it is cleared.
 *  Z2  The first size asked about after a clear is the rank's, whether or not it is taken then.
 *  Z3  A restored rank takes and refuses the same sizes as the rank that was saved.
 *
 * Not here: the blocks of a rank with too many sizes, or with a second one (event-applier.ts, A8, A11).
 */

/** Block sizes of one rank. Engines have one; a hybrid model or offloading in larger chunks adds one each. */
export const RANK_BLOCK_SIZES_MAX = 4;

/** See the head of this file. */
export class RankBlockSizes {
  readonly #sizes = new Set<number>();
  #areTooMany = false;
  /** Tokens per block of the rank's first store; 0 before it. */
  #first = 0;
  /** The first size that was taken here: nearly every store has it. */
  #firstTaken = 0;

  /** Whether the rank stored in more sizes than it may (Z1). */
  get areTooMany(): boolean {
    return this.#areTooMany;
  }

  /** Whether a store has another size than the rank's first one, which it becomes if there is none (Z2). */
  isOther(blockSize: number): boolean {
    if (this.#first === 0) this.#first = blockSize;
    return blockSize !== this.#first;
  }

  /** Takes a size; false when it is one too many (Z1). One set lookup for another size than the first. */
  take(blockSize: number): boolean {
    if (blockSize === this.#firstTaken || this.#sizes.has(blockSize)) return true;
    this.#add(blockSize);
    if (this.#areTooMany) return false;
    this.#firstTaken ||= blockSize;
    return true;
  }

  /** Forgets everything: the rank is empty. */
  clear(): void {
    this.#sizes.clear();
    this.#areTooMany = false;
    this.#first = 0;
    this.#firstTaken = 0;
  }

  /** The sizes as plain data, the first one first. */
  state(): number[] {
    return [...this.#sizes];
  }

  /** Takes over what another one had (Z3). */
  restore(sizes: readonly number[]): void {
    for (const size of sizes) this.#add(size);
    this.#first = sizes[0] ?? 0;
  }

  #add(blockSize: number): void {
    this.#sizes.add(blockSize);
    this.#areTooMany = this.#sizes.size > RANK_BLOCK_SIZES_MAX;
  }
}
