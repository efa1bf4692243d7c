/**
 * Things that will happen, by virtual time: a binary heap in columns. When two have one time, the
 * one that was planned first happens first. So a run does not depend on how a heap breaks ties.
 *
 *     times    f64  │ t₀ │ t₁ │ t₂ │ …     t[i] ≤ t[2i + 1], t[2i + 2]
 *     orders   f64  │ the how manieth it was planned
 *     subjects i32  │ what it is about, to its owner
 */

/** See the header. Planning and taking cost O(log events) and allocate only to grow. */
export class EventQueue {
  #times = new Float64Array(64);
  #orders = new Float64Array(64);
  #subjects = new Int32Array(64);
  #size = 0;
  #planned = 0;

  /** Events to come. */
  get size(): number {
    return this.#size;
  }

  /** When the next one happens; Infinity when there is none. */
  get nextAt(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : (this.#times[0] ?? 0);
  }

  /** Plans an event. @param subject - an i32 that `take` gives back. */
  plan(atSeconds: number, subject: number): void {
    if (this.#size === this.#times.length) this.#grow();
    const [times, orders, subjects] = [this.#times, this.#orders, this.#subjects];
    const order = this.#planned++;
    let hole = this.#size++;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      // The newcomer is the youngest, so that it passes only what is later.
      if ((times[parent] ?? 0) <= atSeconds) break;
      times[hole] = times[parent] ?? 0;
      orders[hole] = orders[parent] ?? 0;
      subjects[hole] = subjects[parent] ?? 0;
      hole = parent;
    }
    times[hole] = atSeconds;
    orders[hole] = order;
    subjects[hole] = subject;
  }

  /** Takes the next event out. @returns its subject; −1 when there is none. */
  take(): number {
    if (this.#size === 0) return -1;
    const taken = this.#subjects[0] ?? 0;
    this.#sink(--this.#size);
    return taken;
  }

  /** Puts the last event into the hole at the top, and lets it sink to its place. */
  #sink(last: number): void {
    const [times, orders, subjects] = [this.#times, this.#orders, this.#subjects];
    const time = times[last] ?? 0;
    const order = orders[last] ?? 0;
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= last) break;
      if (child + 1 < last && this.#isBefore(child + 1, times[child] ?? 0, orders[child] ?? 0)) child++;
      if (!this.#isBefore(child, time, order)) break;
      times[hole] = times[child] ?? 0;
      orders[hole] = orders[child] ?? 0;
      subjects[hole] = subjects[child] ?? 0;
      hole = child;
    }
    times[hole] = time;
    orders[hole] = order;
    subjects[hole] = subjects[last] ?? 0;
  }

  #isBefore(at: number, time: number, order: number): boolean {
    const own = this.#times[at] ?? 0;
    return own < time || (own === time && (this.#orders[at] ?? 0) < order);
  }

  #grow(): void {
    const size = 2 * this.#times.length;
    const [times, orders, subjects] = [new Float64Array(size), new Float64Array(size), new Int32Array(size)];
    times.set(this.#times);
    orders.set(this.#orders);
    subjects.set(this.#subjects);
    [this.#times, this.#orders, this.#subjects] = [times, orders, subjects];
  }
}
