/**
 * Every policy by its interface, and each one by the rule that its header draws.
 */
import { Prng } from "@kvsync/core";
import {
  choose as chooseFirst,
  KvsyncPolicy,
  makePolicy as makeRoutingPolicy,
  OverlapCostPolicy,
  POLICY_NAMES,
  type PolicyName,
  type RoutingPolicy,
  type RoutingRequest,
  type WorkerView,
} from "@kvsync/routing";
import { describe, expect, it } from "vitest";

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
    trust: "exact",
    surchargeTokens: 0,
    ...change,
  }));
}

/** A prompt whose blocks are named by numbers; equal beginnings are equal prefixes. */
function prompt(promptTokens: number, first = 0, sessionId: number | null = null): RoutingRequest {
  const blocks = Math.floor(promptTokens / 64);
  const keys = Uint32Array.from({ length: blocks }, (_, block) => first + block);
  return { promptTokens, sessionId, keys, keyWords: 1, keyTokens: 64, sharedLaterTokens: 0 };
}

/** A policy of a fleet whose workers all joined. */
function makePolicy(name: PolicyName, workerCount: number, seed: number): RoutingPolicy {
  const policy = makeRoutingPolicy(name, workerCount, new Prng(seed));
  for (let position = 0; position < workerCount; position++) policy.join(position, CAPACITY_TOKENS);
  return policy;
}

function choose(
  policy: RoutingPolicy,
  request: RoutingRequest,
  views: readonly WorkerView[],
  now = 0,
): number {
  return chooseFirst(policy, request, views, now);
}

function once(name: PolicyName, request: RoutingRequest, ...changes: readonly Partial<WorkerView>[]): number {
  return choose(makePolicy(name, changes.length, 1), request, workers(...changes));
}

/** Fleets, loads and matches of all sorts, by seed. */
function* cases(seed: number): Generator<{ views: WorkerView[]; request: RoutingRequest }> {
  const random = new Prng(seed);
  for (let i = 0; i < 60; i++) {
    const views = workers(
      ...Array.from({ length: 1 + random.below(9) }, () => ({
        isEligible: random.chance(0.8),
        runningRequests: random.below(4),
        waitingRequests: random.below(3),
        pendingPrefillTokens: 100 * random.below(50),
        contextTokens: 1_000 * random.below(9),
        matchedTokens: 64 * random.below(9),
        trust: random.pick(["exact", "partial", "stale", "unknown"] as const),
      })),
    );
    yield { views, request: prompt(640, 100 * random.below(5), random.chance(0.5) ? random.below(9) : null) };
  }
}

describe("every policy", () => {
  it.each(POLICY_NAMES)("P1: %s repeats its rankings when the same calls come in the same order", (name) => {
    const decide = (): number[][] => {
      const policy = makePolicy(name, 10, 7);
      return [...cases(11)].map(({ views, request }, i) => {
        const into = new Uint32Array(4);
        const count = policy.rank(request, views, i, into);
        if (count > 0) policy.book(into[0] ?? 0, i);
        return [...into.subarray(0, count)];
      });
    };
    expect(decide()).toEqual(decide());
  });

  it.each(POLICY_NAMES)("P3: %s ranks every eligible worker once, and no other", (name) => {
    const policy = makePolicy(name, 10, 3);
    for (const { views, request } of cases(5)) {
      const eligible = views.flatMap((view, position) => (view.isEligible ? [position] : []));
      const into = new Uint32Array(12);
      const count = policy.rank(request, views, 0, into);
      expect([...into.subarray(0, count)].toSorted((a, b) => a - b)).toEqual(eligible);
    }
  });

  it.each(POLICY_NAMES)("P3: %s finds nobody in an empty fleet and says so", (name) => {
    expect(choose(makePolicy(name, 2, 1), prompt(100), workers({ isEligible: false }))).toBe(-1);
    expect(choose(makePolicy(name, 2, 1), prompt(100), [])).toBe(-1);
  });

  it.each(POLICY_NAMES)("P4: what %s would choose is the first that it ranks", (name) => {
    const chosen = makePolicy(name, 10, 9);
    const ranked = makePolicy(name, 10, 9);
    for (const { views, request } of cases(17)) {
      const into = new Uint32Array(1);
      const copies = views.map((view) => ({ ...view }));
      const first = ranked.rank(request, copies, 0, into) === 0 ? -1 : (into[0] ?? -1);
      if (first >= 0) ranked.book(first, 0);
      expect(choose(chosen, request, views)).toBe(first);
    }
  });

  it.each(["kvsync", "session-sticky"] as const)(
    "a ranking of %s is what repeated choosing with the best taken out gives",
    (name) => {
      for (const { views, request } of cases(23)) {
        const into = new Uint32Array(views.length);
        const copies = (): WorkerView[] => views.map((view) => ({ ...view }));
        const policy = makePolicy(name, 10, 1);
        // Without a session, equal loads are decided at random.
        if (name === "session-sticky" && request.sessionId === null) continue;
        const ranking = [...into.subarray(0, policy.rank(request, copies(), 0, into))];
        const left = copies();
        const repeated: number[] = [];
        for (;;) {
          const again = left.map((view) => ({ ...view }));
          if (policy.rank(request, again, 0, into.subarray(0, 1)) === 0) break;
          const [best = 0] = into;
          repeated.push(best);
          left[best]!.isEligible = false;
        }
        expect(ranking).toEqual(repeated);
      }
    },
  );

  it.each(POLICY_NAMES)("%s spreads equal requests over equal workers", (name) => {
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
  });
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

  it("forgets what it sent to a worker that left, and what that worker was given", () => {
    const policy = makePolicy("kvsync", 3, 1);
    const views = workers({}, {}, {});
    const first = choose(policy, prompt(6_400), views, 0);
    policy.leave(first);
    policy.join(first, CAPACITY_TOKENS);
    for (const view of views) view.matchedTokens = 0;
    expect(choose(policy, prompt(8_000), views, 1)).toBe(0);
    expect(views[first]?.matchedTokens).toBe(0);
  });

  it("explains a ranking by terms whose sum is its order", () => {
    for (const { views, request } of cases(31)) {
      const policy = new KvsyncPolicy(10);
      for (let position = 0; position < 10; position++) policy.join(position, CAPACITY_TOKENS);
      const terms = policy.explain(
        request,
        views.map((view) => ({ ...view })),
        0,
      );
      const into = new Uint32Array(views.length);
      const count = policy.rank(request, views, 0, into);
      const costs = [...into.subarray(0, count)].map((position) => {
        const { pending = 0, prefill = 0, context = 0, running = 0, surcharge = 0 } = terms[position] ?? {};
        return pending + prefill + context + running + surcharge;
      });
      expect(costs).toEqual(costs.toSorted((a, b) => a - b));
    }
  });

  it("explains a prefill by what index and own decisions hold, what is fresh, and the pressure", () => {
    const policy = new KvsyncPolicy(2);
    for (const position of [0, 1]) policy.join(position, CAPACITY_TOKENS);
    const first = choose(policy, prompt(6_400), workers({}, {}), 0);
    const views = workers({}, {});
    Object.assign(views[1 - first]!, { matchedTokens: 4_096, trust: "stale" });
    const terms = policy.explain(prompt(8_000), views, 1);
    // 6,400 tokens in chunks of 256; the other worker was given nothing, and this one all there is.
    expect(terms[first]).toMatchObject({ ownTokens: 6_400, indexTokens: 0, heldTokens: 6_400 });
    expect(terms[first]).toMatchObject({ freshTokens: 1_600, pressure: 2, prefill: 4_800 });
    expect(terms[1 - first]).toMatchObject({ ownTokens: 0, indexTokens: 2_048, heldTokens: 2_048 });
    expect(terms[1 - first]).toMatchObject({ freshTokens: 5_952, pressure: 0, prefill: 5_952 });
    expect(policy.isOwnMatch).toBe(true);
    policy.explain(prompt(8_000, 99_000), workers({}, {}), 2);
    expect(policy.isOwnMatch).toBe(false);
  });

  it("takes pressure as a share of the members' mean, and keeps it when a room changes", () => {
    const policy = new KvsyncPolicy(8);
    const pressures = (): (number | undefined)[] =>
      policy.explain(prompt(640, 7_000_000), workers({}, {}, {}), 1).map(({ pressure }) => pressure);
    for (const position of [0, 1]) policy.join(position, CAPACITY_TOKENS);
    choose(policy, prompt(6_400), workers({ isEligible: true }, { isEligible: false }), 0);
    // Two members, not eight positions: all that was given is twice the mean.
    expect(pressures()).toEqual([2, 0, 0]);
    policy.resize(0, CAPACITY_TOKENS / 4);
    expect(pressures()).toEqual([2, 0, 0]);
    policy.join(2, CAPACITY_TOKENS);
    expect(pressures()).toEqual([3, 0, 0]);
    policy.leave(0);
    expect(pressures()).toEqual([0, 0, 0]);
  });

  it("forgets what it gave sooner when the fleet's whole room is smaller", () => {
    const keptAfter = (capacityTokens: number): number => {
      const policy = new KvsyncPolicy(2);
      for (const position of [0, 1]) policy.join(position, CAPACITY_TOKENS);
      for (const position of [0, 1]) policy.resize(position, capacityTokens);
      choose(policy, prompt(6_400), workers({}, { isEligible: false }), 0);
      choose(policy, prompt(6_400, 1_000_000), workers({ isEligible: false }, {}), 0);
      return policy.explain(prompt(640, 7_000_000), workers({}, {}), 1)[0]?.pressure ?? 0;
    };
    expect(keptAfter(CAPACITY_TOKENS)).toBeGreaterThan(0.99);
    expect(keptAfter(6_400)).toBeLessThan(0.8);
  });

  it("adds a surcharge to the cost, and takes a worker with one when it alone is eligible", () => {
    const request = prompt(640);
    const [dear, cheap] = [{ matchedTokens: 576, surchargeTokens: 577 }, {}];
    expect(once("kvsync", request, dear, cheap)).toBe(1);
    expect(once("kvsync", request, { ...dear, surchargeTokens: 575 }, cheap)).toBe(0);
    expect(once("kvsync", request, dear, { ...cheap, isEligible: false })).toBe(0);
  });

  it("ranks as another router that decided, when it has learned each of its decisions", () => {
    const [one, other] = [new KvsyncPolicy(9), new KvsyncPolicy(9)];
    for (const policy of [one, other])
      for (let position = 0; position < 9; position++) policy.join(position, CAPACITY_TOKENS);
    let now = 0;
    for (const { views, request } of cases(5)) {
      const copies = views.map((view) => ({ ...view }));
      const [ranks, others] = [new Uint32Array(9), new Uint32Array(9)];
      now += 0.3;
      expect(other.rank(request, copies, now, others)).toBe(one.rank(request, views, now, ranks));
      expect(others).toEqual(ranks);
      expect(copies).toEqual(views);
      const [first = 0] = ranks;
      // As over a network: plain data, after other prompts were looked at.
      const decision = structuredClone(one.decisionFor(first));
      one.book(first, now);
      other.rank(prompt(640, 7_000), copies, now, others);
      other.learn(first, decision, now);
    }
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
