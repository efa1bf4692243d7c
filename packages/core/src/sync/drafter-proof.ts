/**
 * The proof that an engine with several KV-cache groups reuses a whole match. With a drafter (EAGLE, EAGLE3, MTP without
 * lookahead hashes) it drops the last block of it. Events have no field for that, but later stores differ:
 *
 *     held        A ─ B ─ C             C was computed once
 *     one more    A ─ B ─ C ─ D         a store behind C: [D]
 *     another     A ─ B ─ C ─ E         without a drafter: [E] behind C           C is still there once: proof
 *                                       with one:          [C, E] behind B        C is announced again
 *
 * A request that drops C computes it again, and vLLM announces it again. Take two stores of different new blocks behind a block
 * that was announced once. Not both of their requests can have computed it. One of them reused a match that ends with it.
 *
 * With a drafter a match ends at C only where some group has the block behind C too. Such a block can be evicted for the very
 * request that matched it, and is then new. So names that were removed in the same message prove nothing. Groups that match
 * parts of blocks prove nothing: a part behind C is dropped there in place of a block. Nor do groups of coarser blocks or of
 * states, whose matches are cut by the others.
 *
 * Invariants (drafter-proof.test.ts, engine-signs.test.ts)
 *  P1  A store proves something only where no group of the rank has its first block. Its parent was announced once in the
 *      watched group and is held. An earlier store behind the same parent began with another block.
 *  P2  The memory for names is bounded, and a forgotten name makes the proof later, never wrong.
 *
 * Not here: ranks with one group, whose answers differ by one block only (`drops_last_block`).
 *
 * Source: vLLM 0.33.0, v1/core/single_type_kv_cache_manager.py (find_longest_cache_hit, drop_eagle_block), block_pool.py
 * (cache_full_blocks, which announces a block for each physical copy).
 */
import { HELD_BLOCK, type IndexWriter } from "../prefix-index/contract.ts";
import type { DecodedBlockStored } from "../wire/events.ts";
import { FirstNames } from "./first-names.ts";

/** Names that are remembered: 80 kB, for ranks with several groups until the proof. */
const NAMES_MAX = 4096;
const REMOVED_BITS = 16_384;

/** What the stores of one rank show of a drafter. */
export class DrafterProof {
  readonly #index: IndexWriter;
  readonly #isDeclared: boolean;
  #isProved: boolean;
  /** Group whose stores are watched. */
  #slot: number | null = null;
  #isImpossible = false;
  #names: FirstNames | null = null;
  /** One bit for each name removed in this message, or of another one with the same hash. `null` before the first removal. */
  #removed: Uint32Array | null = null;
  #hasRemoved = false;

  /** @param dropsLastBlock - what the operator says; undefined when nothing is known. */
  constructor(index: IndexWriter, dropsLastBlock: boolean | undefined) {
    this.#index = index;
    this.#isDeclared = dropsLastBlock !== undefined;
    this.#isProved = this.#isDeclared;
  }

  /** Whether it is known what becomes of the last block of a match. */
  get isSettled(): boolean {
    return this.#isProved;
  }

  /** Whether the engine matches parts of blocks, so that nothing can be proved. */
  get isImpossible(): boolean {
    return this.#isImpossible;
  }

  /** A message begins. */
  begin(): void {
    if (!this.#hasRemoved) return;
    this.#removed?.fill(0);
    this.#hasRemoved = false;
  }

  /** The engine looks ahead, and drops nothing; or another stream had the proof. */
  settle(): void {
    this.#isProved = true;
    this.#names = null;
    this.#removed = null;
  }

  /** The engine matches parts of blocks: nothing can be proved. */
  giveUp(): void {
    this.#isImpossible = true;
    this.#names = null;
  }

  /** Whether the stores of a group, `slot`, are to be shown: only the watched one's. */
  watches(watched: number, slot: number): boolean {
    if (this.#slot !== watched) {
      this.#slot = watched;
      this.#names?.clear();
    }
    return slot === watched && !this.#isImpossible;
  }

  /**
   * The watched group is about to store blocks on the device, whose names are in the index's scratch. Overwrites the index's
   * notes.
   *
   * @param isFirstKnown - asks whether any group of the rank has the first of them.
   * @param isWhole - whether the first of them is the one behind the parent.
   */
  noteStore(event: DecodedBlockStored, isFirstKnown: () => boolean, isWhole: boolean): void {
    const { blockCount, hasParent, parentLow, parentHigh } = event;
    if (this.#slot === null) return;
    this.#names ??= new FirstNames(NAMES_MAX);
    const { notes, scratch } = this.#index;
    const { hashes } = scratch;
    const isNew = hasParent && isWhole && !isFirstKnown();
    if (isNew && this.#isProof(parentLow, parentHigh, hashes[0], hashes[1])) {
      this.settle();
      return;
    }
    this.#index.noteHeld(this.#slot, 0, blockCount);
    for (let i = 0; i < blockCount; i += 1) {
      if (notes[i] === HELD_BLOCK) this.#names.erase(hashes[2 * i], hashes[2 * i + 1]);
      else this.#names.put(hashes[2 * i], hashes[2 * i + 1]);
    }
  }

  /** Blocks of a group were removed from the device, whose names are in the index's scratch. */
  noteRemoved(slot: number, blockCount: number): void {
    if (slot !== this.#slot || this.#names === null) return;
    const { hashes } = this.#index.scratch;
    const bits = (this.#removed ??= new Uint32Array(REMOVED_BITS / 32));
    this.#hasRemoved = true;
    for (let i = 0; i < blockCount; i += 1) {
      const bit = bitOf(hashes[2 * i], hashes[2 * i + 1]);
      bits[bit >>> 5] |= 1 << (bit & 31);
      this.#names.erase(hashes[2 * i], hashes[2 * i + 1]);
    }
  }

  /** Forgets what the rank stored, which is gone. What was proved of the engine stays. */
  clear(): void {
    this.#names?.clear();
  }

  /** Another engine begins. */
  reset(): void {
    this.#isProved = this.#isDeclared;
    this.#slot = null;
    this.#isImpossible = false;
  }

  /** P1 */
  #isProof(parentLow: number, parentHigh: number, low: number, high: number): boolean {
    const bit = bitOf(low, high);
    if (this.#removed !== null && (this.#removed[bit >>> 5] & (1 << (bit & 31))) !== 0) return false;
    return this.#names?.isSecondBehind(parentLow, parentHigh, low, high) === true;
  }
}

function bitOf(low: number, high: number): number {
  return (Math.imul(low, 0x9e37_79b1) ^ Math.imul(high, 0x85eb_ca6b)) >>> 18;
}
