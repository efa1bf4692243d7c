/** The oracle's rule: hits now, hits lost later, and a worker set aside for what no later request wants. */
import {
  choose as chooseFirst,
  type RoutingPolicy,
  type RoutingRequest,
  type WorkerView,
} from "@kvsync/routing";
import { describe, expect, it } from "vitest";

import { makePolicy } from "./policies.ts";

const CAPACITY_TOKENS = 400_000;

function workers(...changes: readonly Partial<WorkerView>[]): WorkerView[] {
  return changes.map((change, position) => ({
    worker: `w${position}`,
    isEligible: true,
    capacityTokens: CAPACITY_TOKENS,
    runningRequests: 0,
    waitingRequests: 0,
    pendingPrefillTokens: 0,
    contextTokens: 0,
    matchedTokens: 0,
    matchedSlowTokens: 0,
    surchargeTokens: 0,
    trust: "exact",
    ...change,
  }));
}

/** A prompt whose blocks are named by numbers; equal beginnings are equal prefixes. */
function prompt(promptTokens: number, first = 0): RoutingRequest {
  const blocks = Math.floor(promptTokens / 64);
  const keys = Uint32Array.from({ length: blocks }, (_, block) => first + block);
  return { promptTokens, sessionId: null, keys, keyWords: 1, keyTokens: 64, sharedLaterTokens: 0 };
}

function makeOracle(workerCount: number): RoutingPolicy {
  const members = Array.from({ length: workerCount }, (_, position) => ({
    worker: `w${position}`,
    capacityTokens: CAPACITY_TOKENS,
  }));
  return makePolicy("oracle", members, 1);
}

function choose(
  policy: RoutingPolicy,
  request: RoutingRequest,
  views: readonly WorkerView[],
  now = 0,
): number {
  return chooseFirst(policy, request, views, now);
}

describe("oracle", () => {
  it("keeps one beginning on one worker while memory is empty, and spreads it when that worker's is full", () => {
    const policy = makeOracle(3);
    const chosen = Array.from({ length: 30 }, (_, i) => {
      const request = { ...prompt(60_000, 1_000 * (i + 1)), sharedLaterTokens: 60_000 };
      return choose(policy, request, workers({ matchedTokens: 15_000 }, {}, {}));
    });
    expect(chosen.slice(0, 4)).toEqual([0, 0, 0, 0]);
    expect(new Set(chosen)).toEqual(new Set([0, 1, 2]));
  });

  it("knows what waits to be prefilled for as long as it waits", () => {
    const policy = makeOracle(4);
    const request = { ...prompt(6_400), sharedLaterTokens: 6_400 };
    const first = choose(policy, request, workers({}, {}, {}, {}));
    const views = workers({}, {}, {}, {});
    Object.assign(views[first]!, { waitingRequests: 1, pendingPrefillTokens: 6_400 });
    expect(choose(policy, request, views, 3_600)).toBe(first);
    expect(views[first]?.matchedTokens).toBe(6_400);
  });

  it("of workers that hold the same takes the one with the least to prefill", () => {
    const loads = [5_000, 3_000, 9_000].map((pendingPrefillTokens) => ({ pendingPrefillTokens }));
    expect(choose(makeOracle(3), prompt(8_000), workers(...loads))).toBe(1);
  });

  it("takes the longest match whatever the load, and spreads what will be asked for again", () => {
    const policy = makeOracle(4);
    const wanted = (first: number) => ({ ...prompt(1_000, first), sharedLaterTokens: 900 });
    const held = workers({ matchedTokens: 900, runningRequests: 99 }, {}, {}, {});
    expect(choose(policy, wanted(0), held)).toBe(0);
    const chosen = [1, 2, 3].map((i) => choose(policy, wanted(100 * i), workers({}, {}, {}, {})));
    expect(chosen.toSorted()).toEqual([1, 2, 3]);
  });

  it("sets a worker aside for what nobody will want again, unless so much is held that it is worth it", () => {
    const policy = makeOracle(4);
    const decide = (first: number, matchedTokens: number): number =>
      choose(policy, prompt(1_000, first), workers({ matchedTokens }, {}, {}, {}));
    for (let i = 1; i < 9; i++) decide(100 * i, 0);
    expect([decide(1_000, 0), decide(1_100, 200), decide(1_200, 800)]).toEqual([3, 3, 0]);
  });
});
