/**
 * The eviction that a new token causes in a worker's cache, as a factor on its cost. A stored token
 * takes the place of an old one that a later prompt may need, the sooner the harder the cache is
 * used.
 *
 *     pressure(worker) = new tokens given to it lately ÷ the mean of the members'
 *                        0 for an unused worker, 1 in a balanced fleet
 *
 * "Lately" fades by e when the fleet's whole memory has turned over once. Without pressure, a
 * beginning that all requests share would draw every new conversation to the few workers that hold
 * it. The memory of the others would stay empty.
 */

/** A worker that is given four times the mean is avoided as much as need be. */
const PRESSURE_MAX = 4;

/** The pressure of every position; one per policy. */
export class MemoryPressure {
  /** Tokens given to each position that it did not hold; they fade. 0 for an empty position. */
  readonly #given: Float64Array;
  /** 0 for an empty position. */
  readonly #capacities: Float64Array;
  #memberCount = 0;
  /** No position from here on was ever taken: a picker has room for many more workers than there are. */
  #end = 0;
  #capacityTokens = 0;

  /** @param positionCount - positions of the fleet, empty ones included. */
  constructor(positionCount: number) {
    this.#given = new Float64Array(positionCount);
    this.#capacities = new Float64Array(positionCount);
  }

  /** A worker with room for `capacityTokens` (> 0) takes a position. */
  join(position: number, capacityTokens: number): void {
    this.leave(position);
    this.#capacities[position] = capacityTokens;
    this.#capacityTokens += capacityTokens;
    this.#memberCount += 1;
    this.#end = Math.max(this.#end, position + 1);
  }

  /** Replaces the room of a member; what it was given stays. Ignored at an empty position. */
  resize(position: number, capacityTokens: number): void {
    const before = this.#capacities[position] ?? 0;
    if (before === 0) return;
    this.#capacities[position] = capacityTokens;
    this.#capacityTokens += capacityTokens - before;
  }

  /** A position becomes empty. */
  leave(position: number): void {
    const capacityTokens = this.#capacities[position] ?? 0;
    if (capacityTokens === 0) return;
    this.#capacities[position] = 0;
    this.#given[position] = 0;
    this.#capacityTokens -= capacityTokens;
    this.#memberCount -= 1;
  }

  /** What members were given lately, on average; 0 at first and in an empty fleet. */
  get meanGiven(): number {
    if (this.#memberCount === 0) return 0;
    let sum = 0;
    for (let position = 0; position < this.#end; position++) sum += this.#given[position] ?? 0;
    return sum / this.#memberCount;
  }

  /**
   * Reads a worker's pressure.
   *
   * @param meanGiven - of all members, read once per ranking.
   * @returns 0 to 4.
   */
  of(position: number, meanGiven: number): number {
    return meanGiven === 0 ? 0 : Math.min(PRESSURE_MAX, (this.#given[position] ?? 0) / meanGiven);
  }

  /** Books tokens that a chosen worker does not hold yet. */
  give(position: number, tokens: number): void {
    if ((this.#capacities[position] ?? 0) === 0) return;
    const kept = Math.exp(-tokens / this.#capacityTokens);
    for (let member = 0; member < this.#end; member++)
      this.#given[member] = (this.#given[member] ?? 0) * kept;
    this.#given[position] = (this.#given[position] ?? 0) + tokens;
  }
}
