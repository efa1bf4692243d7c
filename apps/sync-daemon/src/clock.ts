/**
 * Clocks that all threads of the process read alike.
 *
 * `performance.now()` counts from the start of its thread, and `performance.timeOrigin` is the wall
 * clock at that start. Their sum differs between two threads by each step of the wall clock between
 * their starts. That is good enough for the age of a message and must not decide whether a thread
 * is alive, so there are two clocks.
 */

const ORIGIN_MS = Number(process.hrtime.bigint()) / 1e6 - performance.now();

/**
 * Milliseconds since the Unix epoch that never go back.
 *
 * @returns now.
 */
export function epochMs(): number {
  return performance.timeOrigin + performance.now();
}

/**
 * The machine's monotonic clock; tens of nanoseconds.
 *
 * @returns milliseconds since an unspecified moment, the same for all threads.
 */
export function sharedClockMs(): number {
  return ORIGIN_MS + performance.now();
}

/**
 * A moment as answers show it.
 *
 * @param ms - since the Unix epoch; NaN for none.
 * @returns ISO 8601 in UTC with milliseconds; null for none.
 */
export function timeText(ms: number): string | null {
  return Number.isNaN(ms) ? null : new Date(ms).toISOString();
}
