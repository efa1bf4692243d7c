/**
 * Ends and times of the requests that a driver ran, for the engine's `/metrics`. Times are real
 * seconds, as a client measures them: at a speed of 10 they are a tenth of the modeled ones.
 */

/** Upper bounds of vLLM's histogram of the time to the first token, in seconds. */
const FIRST_TOKEN_BOUNDS = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640,
  2560,
];
/** Upper bounds of vLLM's histogram of whole requests, in seconds. */
const REQUEST_BOUNDS = [
  0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
];

/** Observations by bucket. */
export class Histogram {
  /** Ascending; one more bucket is above the last. */
  readonly bounds: readonly number[];
  readonly counts: number[];
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Array<number>(bounds.length + 1).fill(0);
  }

  /** Counts one value. */
  observe(value: number): void {
    const found = this.bounds.findIndex((bound) => value <= bound);
    const bucket = found < 0 ? this.bounds.length : found;
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1;
    this.sum += value;
  }
}

/** See the header. */
export class DriverTally {
  /** Requests whose last token was the model's own end. */
  stopped = 0;
  /** Requests that reached a limit of their caller. */
  limited = 0;
  /** Requests that ended before their last token: client gone, restart, end of the driver. */
  aborted = 0;
  readonly firstTokenSeconds: Histogram = new Histogram(FIRST_TOKEN_BOUNDS);
  readonly requestSeconds: Histogram = new Histogram(REQUEST_BOUNDS);
}
