import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { latencyMean, latencyQuantiles, LatencyHistogram } from "./latency-histogram.ts";

const RELATIVE_ERROR_MAX = 0.008;

function histogramOf(values: readonly number[]): LatencyHistogram {
  const histogram = new LatencyHistogram();
  for (const value of values) histogram.record(value);
  return histogram;
}

describe("a latency histogram", () => {
  it("gives every quantile within 0.8 % of the sample at that rank (H1)", () => {
    const durations = fc.array(fc.double({ min: 2e-6, max: 500_000, noNaN: true }), { minLength: 1 });
    fc.assert(
      fc.property(durations, fc.double({ min: 0, max: 1, noNaN: true }), (values, share) => {
        const [quantile = Number.NaN] = latencyQuantiles(histogramOf(values).data(), [share]);
        const sorted = values.toSorted((a, b) => a - b);
        const sample = sorted[Math.max(1, Math.ceil(share * sorted.length)) - 1] ?? 0;
        expect(Math.abs(quantile / sample - 1)).toBeLessThanOrEqual(RELATIVE_ERROR_MAX);
      }),
    );
  });

  it("keeps count, mean, least and greatest exactly (H1), and a repeated recording counts as often as it says", () => {
    const histogram = histogramOf([0.25, 0.5]);
    histogram.record(1, 6);
    const data = histogram.data();
    expect(data).toMatchObject({ count: 8, sumSeconds: 6.75, minSeconds: 0.25, maxSeconds: 1 });
    expect(latencyMean(data)).toBe(6.75 / 8);
    const [least = 0, middle = 0, greatest] = latencyQuantiles(data, [0, 0.2, 1]);
    expect(least).toBeCloseTo(0.25, 2);
    expect(middle).toBeCloseTo(0.5, 2);
    expect(greatest).toBe(1);
  });

  it("takes what is too short or too long for its buckets, and is zeros when empty", () => {
    const data = histogramOf([0, 1e9]).data();
    expect(latencyQuantiles(data, [0.5, 1])[1]).toBe(1e9);
    const empty = new LatencyHistogram().data();
    expect(empty).toEqual({ count: 0, sumSeconds: 0, minSeconds: 0, maxSeconds: 0, buckets: [] });
    expect(latencyQuantiles(empty, [0.5])).toEqual([0]);
    expect(latencyMean(empty)).toBe(0);
  });
});
