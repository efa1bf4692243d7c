/**
 * The quantiles against Student's density, integrated; the intervals against what an interval promises: that it covers the truth
 * in 95 of 100 experiments.
 */
import { Prng } from "@kvsync/core";
import { describe, expect, it } from "vitest";

import { logNormal } from "../workload/distribution.ts";
import { meanInterval, pairedDifference, studentQuantile } from "./statistics.ts";

/** P(−t ≤ T ≤ t) by Simpson's rule; the density's constant is found by the same rule over a long range. */
function massWithin(t: number, freedom: number): number {
  // With x = √ν · tan u the density becomes cos^(ν − 1) u on (−π/2, π/2).
  const mass = (bound: number): number => {
    const steps = 20_000;
    const width = bound / steps;
    let sum = 0;
    for (let i = 0; i <= steps; i++) {
      const weight = i === 0 || i === steps ? 1 : i % 2 === 1 ? 4 : 2;
      sum += weight * Math.cos(i * width) ** (freedom - 1);
    }
    return (sum * width) / 3;
  };
  return mass(Math.atan(t / Math.sqrt(freedom))) / mass(Math.PI / 2);
}

describe("Student's quantile", () => {
  it("encloses 95 % of the distribution, whatever the degrees of freedom", () => {
    for (const freedom of [1, 2, 3, 4, 7, 9, 15, 29, 30, 31, 40, 60, 100, 1_000]) {
      expect(massWithin(studentQuantile(freedom), freedom)).toBeCloseTo(0.95, 4);
    }
  });

  it("falls with the degrees of freedom to the normal distribution's", () => {
    for (let freedom = 1; freedom < 200; freedom++) {
      expect(studentQuantile(freedom + 1)).toBeLessThan(studentQuantile(freedom));
    }
    expect(studentQuantile(1e9)).toBeCloseTo(1.96, 3);
  });
});

describe("intervals", () => {
  it("are those of the textbook", () => {
    const { mean, low, high, count } = meanInterval([2, 4, 6]);
    expect([mean, count]).toEqual([4, 3]);
    expect(high - mean).toBeCloseTo((4.303 * 2) / Math.sqrt(3), 10);
    expect(mean - low).toBeCloseTo(high - mean, 10);
  });

  it("of one run are that run, and of equal runs have no width", () => {
    expect(meanInterval([3])).toEqual({ mean: 3, low: 3, high: 3, count: 1 });
    expect(meanInterval([0.5, 0.5, 0.5])).toEqual({ mean: 0.5, low: 0.5, high: 0.5, count: 3 });
  });

  it("cover the truth in 95 of 100 experiments of five runs (within 2)", () => {
    const draw = logNormal({ mean: 10, cv: 0.1 }, new Prng(4));
    let covered = 0;
    for (let experiment = 0; experiment < 4_000; experiment++) {
      const { low, high } = meanInterval(Array.from({ length: 5 }, draw));
      if (low <= 10 && 10 <= high) covered += 1;
    }
    expect(Math.abs(covered / 4_000 - 0.95)).toBeLessThan(0.02);
  });

  it("of pairs see a small difference that the runs' own scatter hides", () => {
    const luck = [1, 9, 4, 7, 2];
    const others = luck.map((value, i) => value + 0.1 + 0.01 * (i % 2));
    const paired = pairedDifference(others, luck);
    expect(paired.low).toBeGreaterThan(0.09);
    expect(meanInterval(luck).high).toBeGreaterThan(meanInterval(others).low);
  });
});
