/**
 * The arithmetic of counters and histograms: growth over a range, and a quantile of buckets. Both are
 * computed as in promql/functions.go (extrapolatedRate) and promql/quantile.go of Prometheus 2.42.
 */

import type { Stretch } from "./sample-table.ts";

/** A gap of more than this many mean distances is no part of the range. */
const GAP_FACTOR = 1.1;

/**
 * How much a counter grew in a range, extrapolated to its ends.
 *
 * @param stretch - samples of the range.
 * @param untilSeconds - end of the range.
 * @param rangeSeconds - its length.
 * @param isRate - per second instead of altogether.
 * @returns null with fewer than two samples.
 */
export function rateOf(
  { count, first, firstAt, lastAt, growth }: Stretch,
  untilSeconds: number,
  rangeSeconds: number,
  isRate: boolean,
): number | null {
  if (count < 2) return null;
  const sampled = lastAt - firstAt;
  const distance = sampled / (count - 1);
  let toStart = firstAt - (untilSeconds - rangeSeconds);
  const toEnd = untilSeconds - lastAt;
  // A counter was never below 0: the range is extrapolated to where it was 0 at most.
  if (growth > 0 && first >= 0) toStart = Math.min(toStart, sampled * (first / growth));
  let covered = sampled;
  covered += toStart < distance * GAP_FACTOR ? toStart : distance / 2;
  covered += toEnd < distance * GAP_FACTOR ? toEnd : distance / 2;
  const factor = covered / sampled;
  return growth * (isRate ? factor / rangeSeconds : factor);
}

/** A cumulated bucket. */
interface Bucket {
  readonly bound: number;
  count: number;
}

/**
 * A quantile by linear interpolation in its bucket.
 *
 * @param q - 0 to 1.
 * @param buckets - cumulated, in any order, the one without bound among them.
 * @returns NaN without observations or without the bucket that has no bound.
 */
export function quantileOf(q: number, buckets: readonly { bound: number; count: number }[]): number {
  if (Number.isNaN(q)) return Number.NaN;
  if (q < 0) return -Infinity;
  if (q > 1) return Infinity;
  // Most engines lose nothing.
  if (buckets.every(({ count }) => count === 0)) return Number.NaN;
  const sorted = joined(buckets);
  const last = sorted.at(-1);
  if (last?.bound !== Infinity || sorted.length < 2) return Number.NaN;
  const observations = last.count;
  if (observations === 0) return Number.NaN;
  const rank = q * observations;
  const found = sorted.findIndex(({ count }, i) => count >= rank || i === sorted.length - 1);
  const bucket = sorted[found];
  const before = sorted[found - 1];
  if (bucket === undefined || found === sorted.length - 1) return sorted.at(-2)?.bound ?? Number.NaN;
  if (before === undefined) return bucket.bound <= 0 ? bucket.bound : bucket.bound * (rank / bucket.count);
  const share = (rank - before.count) / (bucket.count - before.count);
  return before.bound + (bucket.bound - before.bound) * share;
}

/** Ascending, buckets of one bound added up, and never falling: rates of buckets are not taken at one instant. */
function joined(buckets: readonly { bound: number; count: number }[]): Bucket[] {
  const sorted: Bucket[] = [];
  for (const { bound, count } of [...buckets].sort((one, other) => one.bound - other.bound)) {
    const last = sorted.at(-1);
    if (last?.bound === bound) last.count += count;
    else sorted.push({ bound, count });
  }
  let most = -Infinity;
  for (const bucket of sorted) {
    most = Math.max(most, bucket.count);
    bucket.count = most;
  }
  return sorted;
}
