/**
 * Counts how often in a row the same thing was observed. One observation may be an accident of a
 * lossy answer; several are a fact.
 */

/** Consecutive equal observations. */
export class Agreement {
  readonly #countMin: number;
  #observed = Number.NaN;
  #count = 0;

  /** @param countMin - observations that make a fact. */
  constructor(countMin: number) {
    this.#countMin = countMin;
  }

  /** Observes `what` once more; says whether it is a fact by now, and then starts afresh. */
  isSettledBy(what: number): boolean {
    this.#count = what === this.#observed ? this.#count + 1 : 1;
    this.#observed = what;
    if (this.#count < this.#countMin) return false;
    this.reset();
    return true;
  }

  /** Forgets what was observed. */
  reset(): void {
    this.#observed = Number.NaN;
    this.#count = 0;
  }
}
