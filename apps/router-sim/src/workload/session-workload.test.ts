/**
 * Every generated kind against the statistics that session-kind.ts states, measured on the requests
 * alone. Tolerances are at least three standard errors of the sample; each is stated where it is
 * used.
 */
import { describe, expect, it } from "vitest";

import { Samples } from "../report/percentiles.ts";
import { TRACE_BLOCK_TOKENS } from "../trace/request.ts";
import { traceStats } from "../trace/trace-stats.ts";
import { type SessionKind, SESSION_KIND_NAMES, SESSION_KINDS, type SessionKindName } from "./session-kind.ts";
import { sessionRequests } from "./session-workload.ts";
import type { WorkloadRequest } from "./workload.ts";
import { openWorkload, parseWorkloadSource } from "./workload-source.ts";
import { workloadFlaw } from "./workload.ts";

const REQUESTS = 20_000;

/** Slow enough for the workload to last twenty gaps of a session or more: a short one would miss the long gaps. */
function rateOf(name: SessionKindName): number {
  return Math.min(SESSION_KINDS[name].rate, 16);
}

function requestsOf(name: SessionKindName, seed = 1, arrivalCv = 1): WorkloadRequest[] {
  const kind = SESSION_KINDS[name];
  return [...sessionRequests({ kind, requests: REQUESTS, rate: rateOf(name), arrivalCv }, seed)];
}

function within(actual: number, stated: number, tolerance: number): void {
  expect(Math.abs(actual / stated - 1), `${actual} for ${stated}`).toBeLessThan(tolerance);
}

/** What the requests show of sessions that began within the workload: their ids rise in the order of their begin. */
function observe(requests: readonly WorkloadRequest[]): {
  starts: number[];
  first: Samples;
  next: Samples;
  answers: Samples;
  gaps: Samples;
  beginnings: Map<number, number>;
} {
  const last = new Map<number, WorkloadRequest>();
  const observed = {
    starts: [] as number[],
    first: new Samples(),
    next: new Samples(),
    answers: new Samples(),
    gaps: new Samples(),
    beginnings: new Map<number, number>(),
  };
  let highest = -1;
  const settledMs = (requests.at(-1)?.arrivalMs ?? 0) / 10;
  const sharedIds = sharedIdsOf(requests);
  for (const request of requests) {
    const { sessionId = -1, arrivalMs, inputTokens, outputTokens, hashIds } = request;
    observed.answers.add(outputTokens);
    const before = last.get(sessionId);
    if (before !== undefined) {
      observed.next.add(inputTokens - before.inputTokens - before.outputTokens);
      observed.gaps.add((arrivalMs - before.arrivalMs) / 1_000);
    } else if (sessionId > highest && arrivalMs > settledMs) {
      observed.starts.push(arrivalMs);
      const shared = hashIds.filter((id) => sharedIds.has(id)).length;
      observed.first.add(inputTokens - shared * TRACE_BLOCK_TOKENS);
      const beginning = shared === 0 ? -1 : (hashIds[0] ?? -1);
      observed.beginnings.set(beginning, (observed.beginnings.get(beginning) ?? 0) + 1);
    }
    highest = Math.max(highest, sessionId);
    last.set(sessionId, request);
  }
  return observed;
}

/** Shared beginnings are numbered before everything else, so their ids are those below the first session's own. */
function sharedIdsOf(requests: readonly WorkloadRequest[]): ReadonlySet<number> {
  const sessionsOf = new Map<number, number>();
  const shared = new Set<number>();
  for (const { hashIds, sessionId = -1 } of requests) {
    for (const id of hashIds) {
      if ((sessionsOf.get(id) ?? sessionId) !== sessionId) shared.add(id);
      sessionsOf.set(id, sessionId);
    }
  }
  const highest = Math.max(-1, ...shared);
  return new Set(Array.from({ length: highest + 1 }, (_, id) => id));
}

describe.each(SESSION_KIND_NAMES)("the generated workload %s", (name) => {
  const kind: SessionKind = SESSION_KINDS[name];
  const requests = requestsOf(name);
  const observed = observe(requests);

  it("keeps the rules of a workload, and is the same each time it is read, and another for another seed (S1, S2)", async () => {
    const workload = await openWorkload(parseWorkloadSource(`${name},requests=3000`), 7);
    expect(workloadFlaw(workload)).toBeNull();
    expect([...workload.requests()]).toEqual([...workload.requests()]);
    const other = await openWorkload(parseWorkloadSource(`${name},requests=3000`), 8);
    expect([...workload.requests()]).not.toEqual([...other.requests()]);
  });

  it("has the stated rate, the same at the begin and at the end (S3; three standard errors)", () => {
    // Sessions begin at random and have a geometric number of turns each: the variance of a count is 2 · turns − 1 times it.
    const errorOf = (count: number): number => Math.sqrt((2 * kind.turns - 1) / count);
    const endMs = requests.at(-1)?.arrivalMs ?? 0;
    within((1_000 * REQUESTS) / endMs, rateOf(name), 3 * errorOf(REQUESTS));
    const early = requests.filter(({ arrivalMs }) => arrivalMs < endMs / 4).length;
    const late = requests.filter(({ arrivalMs }) => arrivalMs >= (3 * endMs) / 4).length;
    within(early / late, 1, 3 * Math.SQRT2 * errorOf(REQUESTS / 4));
  });

  it("has the stated lengths of turns and answers (8 %), and gaps (5 %)", () => {
    within(observed.answers.mean, kind.answerTokens.mean, 0.08);
    within(observed.first.mean, kind.firstTokens.mean, 0.08);
    if (kind.turns === 1) expect(observed.next.count).toBe(0);
    else {
      within(observed.next.mean, kind.nextTokens.mean, 0.08);
      within(observed.gaps.mean, kind.gapSeconds.mean, 0.05);
    }
  });

  it("has the stated number of turns: as many sessions begin as rate ÷ turns says (8 %)", () => {
    const seconds = (0.9 * (requests.at(-1)?.arrivalMs ?? 0)) / 1_000;
    within(observed.starts.length / seconds, rateOf(name) / kind.turns, 0.08);
  });

  it("has the stated share of sessions with a shared beginning (3 points)", () => {
    const none = (observed.beginnings.get(-1) ?? 0) / observed.starts.length;
    expect(Math.abs(1 - none - kind.sharedBeginnings.sessionShare)).toBeLessThan(0.03);
  });
});

describe("what the kinds are for", () => {
  it("no-reuse reuses nothing, and hot-prefix has one beginning in four of five prompts", async () => {
    expect((await traceStats(requestsOf("no-reuse"))).unboundedHitShare).toBe(0);
    const hot = requestsOf("hot-prefix");
    const share = hot.filter(({ hashIds }) => hashIds[0] === 0).length / hot.length;
    expect(Math.abs(share - 0.8)).toBeLessThan(0.01);
  });

  it("the most popular of 200 applications has 17 % of the requests, as Zipf's law says", () => {
    const counts = [...observe(requestsOf("shared-prompts")).beginnings.values()].sort((a, b) => b - a);
    const all = counts.reduce((sum, count) => sum + count, 0);
    const harmonic = Array.from({ length: 200 }, (_, rank) => 1 / (rank + 1)).reduce((sum, x) => sum + x, 0);
    within((counts[0] ?? 0) / all, 1 / harmonic, 0.06);
    within((counts[9] ?? 0) / all, 0.1 / harmonic, 0.15);
  });

  it("arrivals are Poisson, or come in bursts of the coefficient of variation asked for", () => {
    for (const [arrivalCv, tolerance] of [
      [1, 0.05],
      [3, 0.12],
    ] as const) {
      const arrivals = requestsOf("no-reuse", 3, arrivalCv).map(({ arrivalMs }) => arrivalMs);
      const gaps = arrivals.slice(1).map((arrivalMs, i) => arrivalMs - (arrivals[i] ?? 0));
      const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
      const variance = gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length;
      within(Math.sqrt(variance) / mean, arrivalCv, tolerance);
    }
  });
});
