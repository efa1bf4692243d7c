/**
 * Durations in bounded memory: a histogram whose buckets grow with the value, as HdrHistogram's do.
 * So a quantile of microseconds and one of minutes are equally exact.
 *
 *     bucket = the float's exponent and the first BITS bits of its mantissa: 2^BITS buckets per doubling
 *
 *  H1  A quantile's value is within 2^−(BITS+1) = 0.8 % of a recorded one; count, sum, least and greatest are exact.
 *
 * The buckets need no logarithm, so that equal recordings in equal order give equal data on every machine.
 *
 * Source of the idea: G. Tene, HdrHistogram (hdrhistogram.org).
 */
import { assert } from "@kvsync/core";

const BITS = 6;
/** A bucket's width, as a share of the power of two at or below it. */
export const BUCKET_SHARE = 2 ** -BITS;
/** Mantissa bits of a double's high word that are dropped. */
const SHIFT = 20 - BITS;
/** 2^−20 s ≈ 1 µs: the shorter ones go to the first bucket. */
const EXPONENT_MIN = -20;
/** 2^20 s ≈ 12 days: the longer ones go to the last bucket. */
const EXPONENT_MAX = 20;
const EXPONENT_BIAS = 1023;
const FIRST_BUCKET = (EXPONENT_MIN + EXPONENT_BIAS) << BITS;
const BUCKET_COUNT = (EXPONENT_MAX - EXPONENT_MIN) << BITS;

const FLOAT = new Float64Array(1);
const WORDS = new Uint32Array(FLOAT.buffer);
/** Position of a double's high word on this machine. */
const HIGH = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 1 : 0;

/** Places of what is exact. */
const SUM = 0;
const LEAST = 1;
const GREATEST = 2;

/** A histogram as values, fit for JSON: only buckets that hold something, by rising value. */
export interface LatencyData {
  readonly count: number;
  readonly sumSeconds: number;
  /** 0 when the count is. */
  readonly minSeconds: number;
  /** 0 when the count is. */
  readonly maxSeconds: number;
  /** [the bucket's middle in seconds, recordings in it]. */
  readonly buckets: readonly (readonly [number, number])[];
}

/** Records durations. 20 kB; recording costs some nanoseconds and allocates nothing. */
export class LatencyHistogram {
  readonly #counts = new Float64Array(BUCKET_COUNT);
  /** By SUM, LEAST and GREATEST. */
  readonly #seconds = Float64Array.of(0, Number.POSITIVE_INFINITY, 0);
  #count = 0;

  /** Recordings. */
  get count(): number {
    return this.#count;
  }

  /**
   * @param seconds - a duration ≥ 0.
   * @param times - how often it was measured, ≥ 1.
   */
  record(seconds: number, times = 1): void {
    assert(seconds >= 0, "a duration is not negative");
    FLOAT[0] = seconds;
    const bucket = ((WORDS[HIGH] ?? 0) >>> SHIFT) - FIRST_BUCKET;
    const kept = Math.max(0, Math.min(BUCKET_COUNT - 1, bucket));
    this.#counts[kept] = (this.#counts[kept] ?? 0) + times;
    this.#count += times;
    const all = this.#seconds;
    all[SUM] = (all[SUM] ?? 0) + seconds * times;
    if (seconds < (all[LEAST] ?? 0)) all[LEAST] = seconds;
    if (seconds > (all[GREATEST] ?? 0)) all[GREATEST] = seconds;
  }

  /** What was recorded; a copy. O(buckets). */
  data(): LatencyData {
    const buckets: [number, number][] = [];
    for (let bucket = 0; bucket < BUCKET_COUNT; bucket++) {
      const count = this.#counts[bucket] ?? 0;
      if (count > 0) buckets.push([middleOf(bucket), count]);
    }
    const [sumSeconds = 0, least = 0, maxSeconds = 0] = this.#seconds;
    return {
      count: this.#count,
      sumSeconds,
      minSeconds: this.#count === 0 ? 0 : least,
      maxSeconds,
      buckets,
    };
  }
}

/** Shortens the middle to what H1 makes meaningful, so that JSON stays readable. */
function middleOf(bucket: number): number {
  FLOAT[0] = 0;
  WORDS[HIGH] = (bucket + FIRST_BUCKET) << SHIFT;
  const low = FLOAT[0];
  WORDS[HIGH] = (bucket + FIRST_BUCKET + 1) << SHIFT;
  return Number(((low + FLOAT[0]) / 2).toPrecision(5));
}

/**
 * Reads quantiles.
 *
 * @param data - a histogram.
 * @param shares - each in 0 … 1.
 * @returns by nearest rank, in the order of `shares`, each within the least and greatest recording; zeros without any.
 */
export function latencyQuantiles(data: LatencyData, shares: readonly number[]): readonly number[] {
  return shares.map((share) => {
    const rank = Math.max(1, Math.ceil(share * data.count));
    if (rank >= data.count) return data.maxSeconds;
    let seen = 0;
    for (const [middle, count] of data.buckets) {
      seen += count;
      if (seen >= rank) return Math.max(data.minSeconds, Math.min(data.maxSeconds, middle));
    }
    return data.maxSeconds;
  });
}

/** @returns the exact mean in seconds; 0 without recordings. */
export function latencyMean(data: LatencyData): number {
  return data.count === 0 ? 0 : data.sumSeconds / data.count;
}
