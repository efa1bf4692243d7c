/**
 * Decides which connections dial now: so many a second for the whole thread, the one that has waited longest first.
 *
 *     line: │ a │ b │ c │ … │        due and allowed ─▶ dials, and goes to the end of the line
 *
 * To the end: or a thousand engines that are down would use up the allowance before the others' turn.
 *
 * Not here: when a connection is due (engine-connection.ts).
 */

/** What dials. */
export interface Dialed {
  /** Whether it is time. */
  isDue(nowMs: number): boolean;
  /** Dials once. */
  dial(): void;
}

/** The connections of one thread. */
export class Dialer {
  readonly #perSecond: number;
  readonly #burst: number;
  #line: Dialed[] = [];
  #allowance: number;
  #clockMs: number;

  /**
   * @param limits - dials per second, and at once after a quiet time.
   * @param nowMs - the clock.
   */
  constructor({ perSecond, burst }: { readonly perSecond: number; readonly burst: number }, nowMs: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#allowance = burst;
    this.#clockMs = nowMs;
  }

  /**
   * Takes a connection in, at the end of the line.
   *
   * @param one - that is to dial when it is due.
   */
  add(one: Dialed): void {
    this.#line.push(one);
  }

  /**
   * Lets a connection go.
   *
   * @param one - that was added.
   */
  remove(one: Dialed): void {
    this.#line = this.#line.filter((other) => other !== one);
  }

  /**
   * Dials those that are due, as far as the limit allows.
   *
   * @param nowMs - the clock.
   */
  dialDue(nowMs: number): void {
    const earned = ((nowMs - this.#clockMs) / 1000) * this.#perSecond;
    this.#allowance = Math.min(this.#burst, this.#allowance + earned);
    this.#clockMs = nowMs;
    const dialed = new Set<Dialed>();
    for (const one of this.#line) {
      if (this.#allowance < 1) break;
      if (!one.isDue(nowMs)) continue;
      this.#allowance -= 1;
      dialed.add(one);
    }
    if (dialed.size === 0) return;
    this.#line = [...this.#line.filter((one) => !dialed.has(one)), ...dialed];
    // Again: what one dials may close another.
    for (const one of dialed) if (one.isDue(nowMs)) one.dial();
  }
}
