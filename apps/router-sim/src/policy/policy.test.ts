import { Prng } from "@kvsync/core";
import { describe, expect, it } from "vitest";

import { RandomPolicy, RoundRobinPolicy } from "./blind.ts";
import type { RoutingAdvice, Trust, WorkerLoad } from "./policy.ts";
import { PrefixMatchPolicy } from "./prefix-match.ts";

function loads(...pending: readonly number[]): WorkerLoad[] {
  return pending.map((pendingPrefillTokens, i) => ({
    worker: `w${i}`,
    runningRequests: 0,
    pendingPrefillTokens,
  }));
}

function advice(matches: Record<string, number>, trust: Trust = "exact"): RoutingAdvice {
  return {
    decision: trust === "exact" ? "exact" : "degraded",
    matches: Object.entries(matches).map(([worker, matchedTokens]) => ({ worker, matchedTokens, trust })),
  };
}

describe("prefix match", () => {
  it("goes to the longest match when the fleet is idle", () => {
    const policy = new PrefixMatchPolicy();
    expect(policy.choose(8_000, loads(0, 0, 0), advice({ w0: 512, w2: 4_096 }))).toBe(2);
  });

  it("leaves the longest match when waiting there costs about as much as it saves", () => {
    const choice = (pending: number): number =>
      new PrefixMatchPolicy().choose(8_000, loads(0, pending), advice({ w0: 512, w1: 4_096 }));
    expect(choice(2_559)).toBe(1);
    expect(choice(2_560)).toBe(0);
  });

  it("counts a stale match half and an unknown one not at all", () => {
    const choice = (pending: number, trust: Trust): number =>
      new PrefixMatchPolicy().choose(8_000, loads(0, pending), advice({ w1: 4_096 }, trust));
    expect(choice(1_023, "exact")).toBe(1);
    expect(choice(1_023, "stale")).toBe(1);
    expect(choice(1_024, "exact")).toBe(1);
    expect(choice(1_024, "stale")).toBe(0);
    expect(choice(0, "unknown")).toBe(0);
  });

  it("trusts a partial match in full: it may only under-report", () => {
    const policy = new PrefixMatchPolicy();
    expect(policy.choose(8_000, loads(0, 3_071), advice({ w1: 4_096 }, "partial"))).toBe(1);
  });

  it("becomes least load without advice, and when the daemon says fallback", () => {
    const fallback: RoutingAdvice = { decision: "fallback", matches: advice({ w0: 8_000 }).matches };
    for (const absent of [null, fallback]) {
      expect(new PrefixMatchPolicy().choose(8_000, loads(5_000, 3_000, 9_000), absent)).toBe(1);
    }
  });

  it("spreads new conversations over the fleet although one worker alone holds their common beginning", () => {
    const policy = new PrefixMatchPolicy();
    const chosen = Array.from({ length: 9 }, () => policy.choose(4_000, loads(0, 0, 0), advice({ w0: 512 })));
    expect(new Set(chosen.slice(0, 3))).toEqual(new Set([0, 1, 2]));
    for (const worker of [0, 1, 2]) expect(chosen.filter((choice) => choice === worker)).toHaveLength(3);
  });

  it("ignores matches of workers that it cannot route to", () => {
    const policy = new PrefixMatchPolicy();
    expect(policy.choose(8_000, loads(0, 1), advice({ elsewhere: 8_000, w1: 2_000 }))).toBe(1);
  });
});

describe("blind policies", () => {
  it("round-robin takes each worker in turn", () => {
    const policy = new RoundRobinPolicy();
    expect(Array.from({ length: 5 }, () => policy.choose(1, loads(9, 0, 0)))).toEqual([0, 1, 2, 0, 1]);
  });

  it("random is repeated by its seed and reaches every worker about equally often", () => {
    const draw = (seed: number): number[] => {
      const policy = new RandomPolicy(new Prng(seed));
      return Array.from({ length: 4_000 }, () => policy.choose(1, loads(0, 0, 0, 0)));
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
    for (const worker of [0, 1, 2, 3]) {
      const count = draw(1).filter((chosen) => chosen === worker).length;
      expect(count).toBeGreaterThan(880);
      expect(count).toBeLessThan(1_120);
    }
  });
});
