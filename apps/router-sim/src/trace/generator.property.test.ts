/**
 * The generated workload against the published facts of the trace that it resembles. Every
 * tolerance is stated where it is used, and holds for each of several seeds.
 */
import { describe, expect, it } from "vitest";

import { DEFAULT_WORKLOAD, generateWorkload, parseWorkloadSpec } from "./generator.ts";
import { TRACE_BLOCK_TOKENS, TraceError } from "./request.ts";
import { traceStats, type TraceStats } from "./trace-stats.ts";

const SEEDS = [1, 2, 3, 4, 5];

async function statsOfSeed(seed: number): Promise<TraceStats> {
  return await traceStats(generateWorkload(DEFAULT_WORKLOAD, seed));
}

describe("a generated workload", () => {
  it("has the trace's size, lengths and duration, within 8 % (input) and 5 % (output)", async () => {
    for (const seed of SEEDS) {
      const stats = await statsOfSeed(seed);
      expect(stats.requestCount).toBe(12_031);
      expect(Math.abs(stats.inputTokens.mean / 12_035 - 1)).toBeLessThan(0.08);
      expect(Math.abs(stats.outputTokens.mean / 343 - 1)).toBeLessThan(0.05);
      expect(Math.abs(stats.durationSeconds / 3_537 - 1)).toBeLessThan(0.01);
    }
  });

  it("lets caches hit as the trace does, within 4 points of 36.64, 4.4, 21.1, 32.6 and 35.5 %", async () => {
    for (const seed of SEEDS) {
      const stats = await statsOfSeed(seed);
      const shares = [stats.unboundedHitShare, ...stats.lruHitShares.map(({ hitShare }) => hitShare)];
      [0.3664, 0.044, 0.211, 0.326, 0.355].forEach((published, position) => {
        expect(Math.abs((shares[position] ?? 0) - published)).toBeLessThan(0.04);
      });
    }
  });

  it("is repeated by its seed and by nothing else", () => {
    const spec = parseWorkloadSpec("requests=200,minutes=5");
    expect(generateWorkload(spec, 7)).toEqual(generateWorkload(spec, 7));
    expect(generateWorkload(spec, 7)).not.toEqual(generateWorkload(spec, 8));
  });

  it("keeps the promises of a trace: arrivals never go back, one id per block, an id always follows the same ids", () => {
    for (const scale of ["1", "0.25", "0.02"]) {
      const parents = new Map<number, number>();
      let previousMs = 0;
      for (const request of generateWorkload(
        parseWorkloadSpec(`requests=3000,minutes=20,scale=${scale}`),
        3,
      )) {
        expect(request.arrivalMs).toBeGreaterThanOrEqual(previousMs);
        previousMs = request.arrivalMs;
        expect(request.hashIds).toHaveLength(Math.ceil(request.inputTokens / TRACE_BLOCK_TOKENS));
        let parent = -1;
        for (const id of request.hashIds) {
          expect(parents.get(id) ?? parent).toBe(parent);
          parents.set(id, parent);
          parent = id;
        }
      }
    }
  });
});

describe("a workload's description", () => {
  it("takes what is absent from the trace's size", () => {
    expect(parseWorkloadSpec("conversation")).toEqual(DEFAULT_WORKLOAD);
    expect(parseWorkloadSpec("requests=9")).toEqual({ ...DEFAULT_WORKLOAD, requests: 9 });
    expect(parseWorkloadSpec("conversation,minutes=2,scale=0.5")).toEqual({
      requests: 12_031,
      minutes: 2,
      scale: 0.5,
    });
  });

  it("refuses what it does not know by naming it", () => {
    const cases = [
      ["", ""],
      ["rows=3", "rows=3"],
      ["requests=0", "requests"],
      ["requests=1.5", "requests"],
      ["requests=", "requests"],
      ["minutes=abc", "minutes"],
      ["scale=2", "scale"],
      ["requests=1=2", "requests=1=2"],
      ["requests=1,conversation", "conversation"],
    ] as const;
    for (const [text, setting] of cases) {
      expect(() => parseWorkloadSpec(text)).toThrow(TraceError);
      try {
        parseWorkloadSpec(text);
      } catch (error) {
        expect(error).toMatchObject({ facts: { code: "workload_setting_wrong", setting } });
      }
    }
  });
});
