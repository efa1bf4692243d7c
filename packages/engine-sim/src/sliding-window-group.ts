/**
 * The second KV-cache group of a hybrid model, from a listener's view. It announces the main
 * group's hashes under `group_idx` 1 and takes them back early, because blocks outside the window
 * are freed. A listener that mixes groups up loses the main group's blocks with them; this group
 * tests that.
 *
 * A ring of the newest hashes, `capacity` long. It models no memory and serves no hits.
 */

/** Hash in its wire form. */
type WireHash = bigint | Uint8Array;

/** The newest hashes of a windowed group. */
export class SlidingWindowGroup {
  readonly windowTokens: number;
  readonly #capacity: number;
  #hashes: WireHash[] = [];
  #oldest = 0;

  /** @param capacity - hashes kept: the window's blocks times the requests running at once. */
  constructor(windowTokens: number, capacity: number) {
    this.windowTokens = windowTokens;
    this.#capacity = capacity;
  }

  /**
   * Adds hashes.
   *
   * @returns those that had to go for it, oldest first; of more than fit, the first ones go at once.
   */
  store(hashes: readonly WireHash[]): WireHash[] {
    for (const hash of hashes) this.#hashes.push(hash);
    const excess = this.#hashes.length - this.#oldest - this.#capacity;
    if (excess <= 0) return [];
    const gone = this.#hashes.slice(this.#oldest, this.#oldest + excess);
    this.#oldest += excess;
    // Compacted when half is dead, so that each hash is moved once on average.
    if (this.#oldest * 2 > this.#hashes.length) {
      this.#hashes = this.#hashes.slice(this.#oldest);
      this.#oldest = 0;
    }
    return gone;
  }

  /** Forgets everything. */
  clear(): void {
    this.#hashes = [];
    this.#oldest = 0;
  }
}
