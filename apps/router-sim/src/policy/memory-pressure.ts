/**
 * What a new token drives out of a worker's cache, as a factor on its cost: a token that is stored takes the place of an old one,
 * which somebody may come back for, the sooner the harder the cache is used.
 *
 *     pressure(worker) = new tokens given to it lately ÷ the mean of the workers'     0 for an empty one, 1 in a balanced fleet
 *
 * "Lately" fades by e when the fleet's whole memory has turned over once. Without it a beginning that all requests share would draw
 * every new conversation to the few workers that happen to hold it, while the memory of the others stays empty.
 */

/** A worker that is given four times the mean is avoided as much as need be. */
const PRESSURE_MAX = 4;

/** One per policy; pressure of every worker. */
export class MemoryPressure {
  /** Tokens given to each worker that it did not hold; they fade. */
  readonly #given: Float64Array;

  /** @param workerCount - workers that there will be to choose from. */
  constructor(workerCount: number) {
    this.#given = new Float64Array(workerCount);
  }

  /** @returns what workers were given lately, on average; 0 at first. */
  get meanGiven(): number {
    return this.#given.reduce((sum, given) => sum + given, 0) / this.#given.length;
  }

  /**
   * Reads a worker's pressure.
   *
   * @param worker - its position.
   * @param meanGiven - of all, read once per choice.
   * @returns 0 to 4.
   */
  of(worker: number, meanGiven: number): number {
    return meanGiven === 0 ? 0 : Math.min(PRESSURE_MAX, (this.#given[worker] ?? 0) / meanGiven);
  }

  /**
   * Books new tokens.
   *
   * @param worker - position of who was chosen.
   * @param tokens - what it does not hold yet.
   * @param capacityTokens - of one worker.
   */
  give(worker: number, tokens: number, capacityTokens: number): void {
    const kept = Math.exp(-tokens / (capacityTokens * this.#given.length));
    for (const [position, given] of this.#given.entries()) this.#given[position] = given * kept;
    this.#given[worker] = (this.#given[worker] ?? 0) + tokens;
  }
}
