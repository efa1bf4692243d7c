/**
 * A rate limit: a bucket that starts full, fills evenly and gives one token per use.
 *
 * Invariants
 *  T1  In any window of t seconds at most `burst + perSecond · t` tokens are taken.
 *  T2  A refused use takes nothing, so a caller that keeps asking is not locked out.
 *
 * The caller passes the time: milliseconds of a clock that never goes back.
 */

/** A bucket of one rate. */
export class TokenBucket {
  readonly #perSecond: number;
  readonly #burst: number;
  #tokens: number;
  #filledAtMs: number;

  /**
   * @param perSecond - tokens that it fills with.
   * @param burst - tokens that it holds, at least 1.
   * @param nowMs - the time.
   */
  constructor(perSecond: number, burst: number, nowMs: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#tokens = burst;
    this.#filledAtMs = nowMs;
  }

  /**
   * Takes a token.
   *
   * @param nowMs - the time.
   * @returns false when there is none.
   */
  take(nowMs: number): boolean {
    const filled = (this.#perSecond * (nowMs - this.#filledAtMs)) / 1000;
    this.#tokens = Math.min(this.#burst, this.#tokens + filled);
    this.#filledAtMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** Milliseconds from the last `take` until there is a token; 0 when there is one. */
  get waitMs(): number {
    return Math.max(0, ((1 - this.#tokens) * 1000) / this.#perSecond);
  }
}
