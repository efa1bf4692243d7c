/**
 * Durations as Prometheus writes them.
 */

/**
 * A Prometheus duration in seconds.
 *
 * @param text - such as `30s`, `5m`, `1h30m`.
 * @returns seconds; NaN when it is none.
 */
export function secondsOf(text: string): number {
  if (!/^(\d+(ms|[smhdwy]))+$/.test(text)) return Number.NaN;
  const each = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400, w: 604_800, y: 31_536_000 };
  let seconds = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+)(ms|[smhdwy])/g))
    seconds += Number(amount) * each[unit as keyof typeof each];
  return seconds;
}
