import { Prng } from "@kvsync/core";
import { describe, expect, it } from "vitest";

import { LoadBook } from "./load-book.ts";
import { OverlapCostPolicy } from "./overlap-cost.ts";
import { makePolicy } from "./policies.ts";
import {
  POLICY_NAMES,
  type PolicyName,
  type RoutingPolicy,
  type RoutingRequest,
  type WorkerView,
} from "./policy.ts";

const CAPACITY_TOKENS = 400_000;

function workers(...changes: readonly Partial<WorkerView>[]): WorkerView[] {
  return changes.map((change, position) => ({
    worker: `w${position}`,
    capacityTokens: CAPACITY_TOKENS,
    runningRequests: 0,
    waitingRequests: 0,
    pendingPrefillTokens: 0,
    contextTokens: 0,
    matchedTokens: 0,
    matchedSlowTokens: 0,
    trust: "exact",
    ...change,
  }));
}

/** A prompt whose blocks are named by numbers; equal beginnings are equal prefixes. */
function prompt(promptTokens: number, first = 0, sessionId: number | null = null): RoutingRequest {
  const blocks = Math.floor(promptTokens / 64);
  const keys = Uint32Array.from({ length: blocks }, (_, block) => first + block);
  return { promptTokens, sessionId, keys, keyWords: 1, keyTokens: 64, sharedLaterTokens: 0 };
}

function choose(
  policy: RoutingPolicy,
  request: RoutingRequest,
  views: readonly WorkerView[],
  now = 0,
): number {
  return policy.choose(request, views, now);
}

function once(name: PolicyName, request: RoutingRequest, ...changes: readonly Partial<WorkerView>[]): number {
  return makePolicy(name, changes.length, 1).choose(request, workers(...changes), 0);
}

describe("every policy", () => {
  it.each(POLICY_NAMES)("%s answers with a worker when nothing is known, and repeats its choices", (name) => {
    const decide = (): number[] => {
      const policy = makePolicy(name, 5, 7);
      return Array.from({ length: 40 }, (_, i) =>
        choose(policy, prompt(500, i * 1_000, i % 2 === 0 ? i : null), workers({}, {}, {}, {}, {}), i),
      );
    };
    const choices = decide();
    for (const chosen of choices) expect(chosen).toBeOneOf([0, 1, 2, 3, 4]);
    expect(decide()).toEqual(choices);
  });

  it.each(POLICY_NAMES.filter((name) => name !== "oracle"))(
    "%s spreads equal requests over equal workers",
    (name) => {
      const policy = makePolicy(name, 4, 3);
      const counts = [0, 0, 0, 0];
      for (let i = 0; i < 400; i++) {
        const views = workers(
          ...counts.map((count) => ({ runningRequests: count, contextTokens: 500 * count })),
        );
        const chosen = choose(policy, prompt(500, i * 1_000, i), views, i);
        counts[chosen] = (counts[chosen] ?? 0) + 1;
      }
      for (const count of counts) expect(count).toBeGreaterThan(50);
    },
  );
});

describe("policies that know no prefixes", () => {
  it("round-robin takes each worker in turn", () => {
    const policy = makePolicy("round-robin", 3, 1);
    const views = workers({ runningRequests: 9 }, {}, {});
    expect(Array.from({ length: 5 }, () => choose(policy, prompt(1), views))).toEqual([0, 1, 2, 0, 1]);
  });

  it("least-loaded takes the fewest requests, power-of-two never the more loaded of its two", () => {
    expect(once("least-loaded", prompt(1), { runningRequests: 3 }, { runningRequests: 1 })).toBe(1);
    const policy = makePolicy("power-of-two", 2, 1);
    const views = workers({ runningRequests: 3 }, { runningRequests: 1 });
    const chosen = Array.from({ length: 400 }, () => choose(policy, prompt(1), views));
    // The busy one wins only when it is drawn twice: a quarter of the time.
    const busy = chosen.filter((worker) => worker === 0).length;
    expect(busy).toBeGreaterThan(70);
    expect(busy).toBeLessThan(130);
  });

  it("session-sticky keeps a session at its worker, and moves few sessions when a worker is added", () => {
    const policy = makePolicy("session-sticky", 9, 1);
    const eight = workers(...Array.from({ length: 8 }, () => ({})));
    const nine = workers(...Array.from({ length: 9 }, () => ({})));
    let moved = 0;
    for (let session = 0; session < 900; session++) {
      const before = choose(policy, prompt(1, 0, session), eight);
      expect(choose(policy, prompt(1, 5, session), eight)).toBe(before);
      if (choose(policy, prompt(1, 0, session), nine) !== before) moved++;
    }
    expect(moved).toBeGreaterThan(60);
    expect(moved).toBeLessThan(140);
  });
});

describe("prefix-threshold (AIBrix)", () => {
  it("takes the longest match, and of equal ones the least busy", () => {
    expect(
      once(
        "prefix-threshold",
        prompt(1_000),
        { matchedTokens: 500 },
        { matchedTokens: 800, runningRequests: 1 },
        { matchedTokens: 800 },
      ),
    ).toBe(2);
  });

  it("leaves a match that is busier than the mean by more than one deviation", () => {
    const views = [
      { matchedTokens: 900, runningRequests: 6 },
      { matchedTokens: 300, runningRequests: 3 },
      { runningRequests: 2 },
      { runningRequests: 2 },
    ];
    // Mean 3.25, deviation 1.64: six is too many, three is not.
    expect(once("prefix-threshold", prompt(1_000), ...views)).toBe(1);
  });

  it("counts only the idlest when the busiest has more than twice the mean and eight more", () => {
    const busy = { matchedTokens: 0, runningRequests: 20 };
    const matched = { matchedTokens: 900, runningRequests: 1 };
    expect(once("prefix-threshold", prompt(1_000), busy, matched, {}, {})).toBeGreaterThan(1);
    expect(once("prefix-threshold", prompt(1_000), { ...busy, runningRequests: 3 }, matched, {}, {})).toBe(1);
  });
});

describe("overlap-cost (Dynamo)", () => {
  it("adds what is left to prefill to what is decoded, and discounts the host tier", () => {
    const held = { matchedTokens: 800, contextTokens: 700 };
    expect(once("overlap-cost", prompt(1_000), held, {})).toBe(0);
    expect(once("overlap-cost", prompt(1_000), { ...held, matchedSlowTokens: 800 }, {})).toBe(1);
    expect(once("overlap-cost", prompt(1_000), { ...held, contextTokens: 801 }, {})).toBe(1);
  });

  it("at a temperature draws the cheaper one more often, not always", () => {
    const policy = new OverlapCostPolicy(new Prng(1), 0.5);
    const views = workers({ matchedTokens: 1_000 }, {});
    const first = Array.from({ length: 1_000 }, () => choose(policy, prompt(2_000), views)).filter(
      (w) => w === 0,
    );
    // e² : 1
    expect(first.length).toBeGreaterThan(830);
    expect(first.length).toBeLessThan(930);
  });
});

describe("tier-score (llm-d)", () => {
  it("weighs prefix 3 : memory 2 : queue 2, each from 0 to 1", () => {
    const held = { matchedTokens: 10 };
    expect(once("tier-score", prompt(1_000), held, {})).toBe(0);
    expect(once("tier-score", prompt(1_000), { ...held, waitingRequests: 1 }, {})).toBe(0);
    expect(
      once("tier-score", prompt(1_000), { ...held, waitingRequests: 1, contextTokens: CAPACITY_TOKENS }, {}),
    ).toBe(1);
  });

  it("prefers the device to the host tier", () => {
    const views = [{ matchedTokens: 100, matchedSlowTokens: 100 }, { matchedTokens: 90 }];
    expect(once("tier-score", prompt(1_000), ...views)).toBe(1);
  });
});

describe("approximate", () => {
  it("sends a prefix where it went before, until two minutes have passed", () => {
    const policy = makePolicy("approximate", 8, 1);
    const views = workers(...Array.from({ length: 8 }, () => ({})));
    const first = choose(policy, prompt(4_096), views, 0);
    for (let i = 0; i < 10; i++) expect(choose(policy, prompt(6_400), views, 1)).toBe(first);
    expect(views[first]?.matchedTokens).toBe(6_400);
    const later = Array.from({ length: 6 }, (_, i) => {
      choose(policy, prompt(4_096), views, 122 + 200 * i);
      return Math.max(...views.map((view) => view.matchedTokens));
    });
    expect(later).toEqual([0, 0, 0, 0, 0, 0]);
  });
});

describe("oracle", () => {
  it("keeps one beginning on one worker while memory is empty, and spreads it when that worker's is full", () => {
    const policy = makePolicy("oracle", 3, 1);
    const chosen = Array.from({ length: 30 }, (_, i) => {
      const request = { ...prompt(60_000, 1_000 * (i + 1)), sharedLaterTokens: 60_000 };
      return choose(policy, request, workers({ matchedTokens: 15_000 }, {}, {}));
    });
    expect(chosen.slice(0, 4)).toEqual([0, 0, 0, 0]);
    expect(new Set(chosen)).toEqual(new Set([0, 1, 2]));
  });

  it("knows what waits to be prefilled for as long as it waits", () => {
    const policy = makePolicy("oracle", 4, 1);
    const request = { ...prompt(6_400), sharedLaterTokens: 6_400 };
    const first = choose(policy, request, workers({}, {}, {}, {}));
    const views = workers({}, {}, {}, {});
    Object.assign(views[first]!, { waitingRequests: 1, pendingPrefillTokens: 6_400 });
    expect(choose(policy, request, views, 3_600)).toBe(first);
    expect(views[first]?.matchedTokens).toBe(6_400);
  });

  it("of workers that hold the same takes the one with the least to prefill", () => {
    const loads = [5_000, 3_000, 9_000].map((pendingPrefillTokens) => ({ pendingPrefillTokens }));
    expect(once("oracle", prompt(8_000), ...loads)).toBe(1);
  });

  it("takes the longest match whatever the load, and spreads what will be asked for again", () => {
    const policy = makePolicy("oracle", 4, 1);
    const wanted = (first: number) => ({ ...prompt(1_000, first), sharedLaterTokens: 900 });
    const held = workers({ matchedTokens: 900, runningRequests: 99 }, {}, {}, {});
    expect(choose(policy, wanted(0), held)).toBe(0);
    const chosen = [1, 2, 3].map((i) => choose(policy, wanted(100 * i), workers({}, {}, {}, {})));
    expect(chosen.toSorted()).toEqual([1, 2, 3]);
  });

  it("sets a worker aside for what nobody will want again, unless so much is held that it is worth it", () => {
    const policy = makePolicy("oracle", 4, 1);
    const decide = (first: number, matchedTokens: number): number =>
      choose(policy, prompt(1_000, first), workers({ matchedTokens }, {}, {}, {}));
    for (let i = 1; i < 9; i++) decide(100 * i, 0);
    expect([decide(1_000, 0), decide(1_100, 200), decide(1_200, 800)]).toEqual([3, 3, 0]);
  });
});

describe("kvsync", () => {
  it("goes to the longest match when the fleet is idle", () => {
    expect(once("kvsync", prompt(8_000), { matchedTokens: 512 }, {}, { matchedTokens: 4_096 })).toBe(2);
  });

  it("leaves the longest match when waiting there costs more than it saves", () => {
    const decide = (pending: number): number =>
      once(
        "kvsync",
        prompt(8_000),
        { matchedTokens: 512 },
        { matchedTokens: 4_096, pendingPrefillTokens: pending },
      );
    // What is fresh counts twice only under pressure, and nothing was given yet: 3,584 tokens are saved.
    expect(decide(3_583)).toBe(1);
    expect(decide(3_585)).toBe(0);
  });

  it("counts a stale match half, an unknown one not at all, and a partial one in full", () => {
    const decide = (pending: number, trust: WorkerView["trust"]): number =>
      once("kvsync", prompt(8_000), {}, { matchedTokens: 4_096, pendingPrefillTokens: pending, trust });
    expect([decide(3_000, "exact"), decide(3_000, "partial"), decide(3_000, "stale")]).toEqual([1, 1, 0]);
    expect([decide(500, "stale"), decide(500, "unknown")]).toEqual([1, 0]);
  });

  it("becomes least load when nothing is known", () => {
    const loads = [5_000, 3_000, 9_000].map((pendingPrefillTokens) => ({ pendingPrefillTokens }));
    expect(once("kvsync", prompt(8_000), ...loads)).toBe(1);
  });

  it("knows where it sent a prefix before any event says so, and forgets it when events should have come", () => {
    const policy = makePolicy("kvsync", 6, 1);
    const views = workers({}, {}, {}, {}, {}, {});
    const first = choose(policy, prompt(6_400), views, 0);
    for (let i = 0; i < 8; i++) {
      for (const view of views) view.matchedTokens = 0;
      expect(choose(policy, prompt(8_000), views, 1)).toBe(first);
    }
    for (const view of views) view.matchedTokens = 0;
    choose(policy, prompt(6_400), views, 60);
    expect(Math.max(...views.map((view) => view.matchedTokens))).toBe(0);
  });

  it("spreads new conversations over the fleet although one worker alone holds their common beginning", () => {
    const policy = makePolicy("kvsync", 3, 1);
    const chosen = Array.from({ length: 9 }, (_, i) =>
      choose(policy, prompt(4_000, 1_000 * (i + 1)), workers({ matchedTokens: 512 }, {}, {}), 20 * i),
    );
    for (const worker of [0, 1, 2])
      expect(chosen.filter((choice) => choice === worker).length).toBeGreaterThanOrEqual(2);
  });
});

describe("the books", () => {
  it("take back exactly what they booked, in whatever order the news come", () => {
    const book = new LoadBook(["a", "b"], CAPACITY_TOKENS);
    const [view] = book.views;
    view!.matchedTokens = 300;
    book.send(1, 0, 1_000);
    book.clearMatches();
    book.send(2, 0, 50);
    expect(view).toMatchObject({
      runningRequests: 2,
      waitingRequests: 2,
      pendingPrefillTokens: 750,
      contextTokens: 1_050,
    });
    book.firstToken(1);
    book.firstToken(1);
    expect(view).toMatchObject({ runningRequests: 2, waitingRequests: 1, pendingPrefillTokens: 50 });
    book.end(2);
    book.end(1);
    book.end(1);
    book.firstToken(2);
    expect(view).toMatchObject({
      runningRequests: 0,
      waitingRequests: 0,
      pendingPrefillTokens: 0,
      contextTokens: 0,
    });
  });
});
