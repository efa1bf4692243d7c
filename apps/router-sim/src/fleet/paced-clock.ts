/**
 * Modeled time that follows real time at a fixed ratio, and waits when the machine cannot keep up.
 * When a fleet is behind by more than LAG_SECONDS_MAX, its clock is set back, and the difference is
 * reported as slip. Without this, an
 * overload would turn into a burst, and queues would show the simulator instead of the engines.
 *
 * The schedule is not set back: it holds the times when things should have happened. So a
 * measurement from it shows slowness as latency and not as less load. This avoids the "coordinated
 * omission" that G. Tene describes.
 */

/** Real seconds of backlog that are caught up with; more is slip. */
const LAG_SECONDS_MAX = 0.25;

/** See the header. Time stands still until `start`, and between `pause` and `start`. */
export class PacedClock {
  readonly #speedup: number;
  readonly #nowMs: () => number;
  /** Real time at which modelled time was `#base`; null while standing still. */
  #anchorMs: number | null = null;
  #base = 0;
  #slipSeconds = 0;
  /** Real time at which modelled time was `#base` on the schedule. */
  #scheduleMs = 0;

  /**
   * @param speedup - modelled seconds per real second.
   * @param nowMs - a monotonic clock, in milliseconds.
   */
  constructor(speedup: number, nowMs: () => number) {
    this.#speedup = speedup;
    this.#nowMs = nowMs;
  }

  /** Real seconds given up so far. */
  get slipSeconds(): number {
    return this.#slipSeconds;
  }

  /** Modelled seconds that should have passed by now. */
  get targetSeconds(): number {
    if (this.#anchorMs === null) return this.#base;
    return this.#base + ((this.#nowMs() - this.#anchorMs) / 1000) * this.#speedup;
  }

  /** Lets time pass. */
  start(): void {
    if (this.#anchorMs !== null) return;
    this.#anchorMs = this.#nowMs();
    this.#scheduleMs = this.#anchorMs;
  }

  /**
   * When something should happen, or should have happened, had the machine kept up since the last start.
   *
   * @param modelledSeconds - its modelled time.
   * @returns real time, in milliseconds of the clock; meaningless while time stands still.
   */
  dueMs(modelledSeconds: number): number {
    return this.#scheduleMs + ((modelledSeconds - this.#base) / this.#speedup) * 1000;
  }

  /** Halts time at what was reached. */
  pause(reachedSeconds: number): void {
    this.#anchorMs = null;
    this.#base = reachedSeconds;
  }

  /** @param reachedSeconds - modelled time up to which everything has been done. */
  reached(reachedSeconds: number): void {
    if (this.#anchorMs === null) return;
    const lagSeconds = (this.targetSeconds - reachedSeconds) / this.#speedup;
    if (lagSeconds <= LAG_SECONDS_MAX) return;
    this.#slipSeconds += lagSeconds - LAG_SECONDS_MAX;
    this.#anchorMs += (lagSeconds - LAG_SECONDS_MAX) * 1000;
  }
}
