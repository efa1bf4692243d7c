/**
 * From a few runs to all runs: means with 95 % confidence intervals after Student, and differences
 * of runs that had the
 * same seed. Runs are independent and their figures are means or quantiles of thousands of requests, so that a normal
 * distribution is a fair assumption.
 *
 *     interval     mean ± t(n − 1) · s / √n             one run: no interval, low = high = mean
 *     difference   the interval of the pairs' differences: the same arrivals and lengths befall both sides of a pair, which
 *                  takes out what the workload's chance adds to both
 *
 * Source of the quantiles: the t table of NIST/SEMATECH e-Handbook of Statistical Methods,
 * 1.3.6.7.2, for up to 30 degrees of freedom. Above 30, the expansion of Abramowitz and Stegun,
 * 26.7.5, exact to five digits there.
 */
import { assert } from "@kvsync/core";

/** t(ν) for which P(−t ≤ T ≤ t) = 0.95; position ν − 1. */
const T_TABLE: readonly number[] = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131,
  2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/** The same quantile of the normal distribution. */
const NORMAL_QUANTILE = 1.959_964;

/** A mean and where it lies with 95 % confidence. */
export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  /** Runs behind it. */
  readonly count: number;
}

/**
 * Finds the 97.5 % quantile of Student's distribution.
 *
 * @param freedom - degrees of freedom, ≥ 1.
 * @returns t, to three digits after the point up to 30 and five beyond.
 */
export function studentQuantile(freedom: number): number {
  const listed = T_TABLE[freedom - 1];
  if (listed !== undefined) return listed;
  const z = NORMAL_QUANTILE;
  const first = (z ** 3 + z) / 4;
  const second = (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96;
  const third = (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384;
  return z + first / freedom + second / freedom ** 2 + third / freedom ** 3;
}

/**
 * Estimates a mean.
 *
 * @param values - one per run, at least one.
 * @returns the mean and its 95 % interval; of one value the interval is the value.
 */
export function meanInterval(values: readonly number[]): Interval {
  assert(values.length > 0, "a mean has at least one run");
  const count = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  if (count === 1) return { mean, low: mean, high: mean, count };
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const half = studentQuantile(count - 1) * Math.sqrt(squares / (count - 1) / count);
  return { mean, low: mean - half, high: mean + half, count };
}

/**
 * Estimates how much greater one side is than the other.
 *
 * @param values - one per seed.
 * @param others - of the same seeds, in the same order.
 * @returns the interval of `values − others`.
 */
export function pairedDifference(values: readonly number[], others: readonly number[]): Interval {
  assert(values.length === others.length, "differences are taken of runs with the same seeds");
  return meanInterval(values.map((value, i) => value - (others[i] ?? 0)));
}
