/**
 * When a level that grows steadily reaches its limit: a line through the points by least squares.
 *
 * Invariants (forecast.test.ts)
 *  F1  There is no forecast unless the line explains FIT_MIN of the variance, rises, and rests on POINTS_MIN points.
 */

/** Share of the variance that the line must explain. */
const FIT_MIN = 0.8;
/** A minute and a half of samples: fewer say nothing about hours. */
const POINTS_MIN = 18;

/**
 * Seconds until a level reaches its limit.
 *
 * @param times - seconds, ascending.
 * @param values - one for each time; null where nothing was.
 * @param limit - in the unit of the values.
 * @returns null when no steady growth is seen (F1).
 */
export function secondsUntil(
  times: readonly number[],
  values: readonly (number | null)[],
  limit: number,
): number | null {
  const points = times.flatMap((time, i) => {
    const value = values[i];
    return value === null || value === undefined ? [] : [[time, value] as const];
  });
  const last = points.at(-1);
  if (last === undefined || points.length < POINTS_MIN) return null;
  const mean = (of: 0 | 1): number => points.reduce((sum, point) => sum + point[of], 0) / points.length;
  const [time, value] = [mean(0), mean(1)];
  let [tt, tv, vv] = [0, 0, 0];
  for (const [t, v] of points) {
    tt += (t - time) ** 2;
    tv += (t - time) * (v - value);
    vv += (v - value) ** 2;
  }
  if (tt === 0 || vv === 0 || tv <= 0 || tv ** 2 / (tt * vv) < FIT_MIN) return null;
  return Math.max(0, (limit - last[1]) / (tv / tt));
}
