/** The one clock of all threads: a time that one of them writes on the board, another compares with its own. */

/**
 * Milliseconds since the Unix epoch that never go back.
 *
 * @returns now.
 */
export function epochMs(): number {
  return performance.timeOrigin + performance.now();
}
