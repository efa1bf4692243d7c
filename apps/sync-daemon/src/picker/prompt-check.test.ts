import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import {
  CHECK_TOKENS_MAX,
  CHECKS_MAX,
  type CheckOutcome,
  type PickedPrompt,
  PromptCheck,
} from "./prompt-check.ts";
import type { RankHeld } from "../query/match.ts";
import type { ServedModel } from "./prompt-lookup.ts";

const SERVED = { question: { model: "m" } } as ServedModel;
const TOKENS = Uint32Array.from({ length: 200 }, (_, i) => i);
/** Of twelve full blocks, six. */
const HALF = 96;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function hold(worker: string, heldTokens: number, more: Partial<RankHeld> = {}): RankHeld {
  const match = { matchedTokens: heldTokens, slowTokens: 0, heldTokens, blockSize: 16 };
  return { worker, dpRank: 0, ...match, trust: "exact", ...more };
}

function prompt(more: Partial<PickedPrompt> = {}): PickedPrompt {
  return {
    served: SERVED,
    tokens: TOKENS,
    blockSize: 16,
    server: { worker: "a", dpRank: null },
    ...more,
  };
}

/** Checks over holds that the test sets, in virtual time. */
class Bench {
  holds: readonly RankHeld[] | null = [hold("a", 192)];
  readonly outcomes: CheckOutcome[] = [];
  readonly lookedAtMs: number[] = [];
  readonly check: PromptCheck;

  constructor(sample = 1) {
    const startedMs = Date.now();
    this.check = new PromptCheck(sample, {
      holds: () => {
        this.lookedAtMs.push(Date.now() - startedMs);
        return this.holds;
      },
      checked: (model, outcome) => {
        expect(model).toBe("m");
        this.outcomes.push(outcome);
      },
      now: Date.now,
    });
  }

  /** One request with a first token at once. */
  run(id: number, more: Partial<PickedPrompt> = {}): void {
    this.check.picked(id, prompt(more));
    this.check.firstToken(id);
  }
}

describe("a prompt check", () => {
  it.each([
    ["two seconds after the first token", 500, "first", 2500],
    [
      "ten seconds after the pick, when no token is seen and the request is over before",
      500,
      "complete",
      10_000,
    ],
    ["ten seconds after the pick, when the stream was left", 0, "left", 10_000],
    ["two seconds after a long request's end, when no token is seen", 30_000, "complete", 32_000],
  ] as const)("looks %s", (_when, afterMs, news, dueMs) => {
    const bench = new Bench();
    bench.check.picked(1, prompt());
    vi.advanceTimersByTime(afterMs);
    if (news === "first") bench.check.firstToken(1);
    else bench.check.over(1, news);
    vi.advanceTimersByTime(60_000);
    expect([bench.lookedAtMs, bench.outcomes, bench.check.count]).toEqual([[dueMs], ["agree"], 0]);
  });

  it("looks once, also when the request ends after its first token", () => {
    const bench = new Bench();
    bench.run(1);
    bench.check.over(1, "client");
    bench.check.firstToken(1);
    vi.advanceTimersByTime(60_000);
    bench.check.over(1, "complete");
    vi.advanceTimersByTime(60_000);
    expect(bench.outcomes).toEqual(["agree"]);
  });

  it.each(["client", "drained", "failed", "immediate"] as const)(
    "forgets a request that ended as %s before its first token",
    (end) => {
      const bench = new Bench();
      bench.check.picked(1, prompt());
      bench.check.over(1, end);
      vi.advanceTimersByTime(60_000);
      expect([bench.outcomes, bench.check.count]).toEqual([[], 0]);
    },
  );

  it("H1: takes one in so many of the prompts that are long enough", () => {
    const bench = new Bench(10);
    for (let id = 0; id < 100; id++) {
      bench.run(id);
      bench.run(1000 + id, { tokens: TOKENS.subarray(0, 127) });
      bench.run(2000 + id, { blockSize: 32 });
    }
    vi.advanceTimersByTime(2000);
    expect(bench.outcomes).toHaveLength(10);
    const off = new Bench(0);
    off.run(1);
    expect(off.check.count).toBe(0);
  });

  it.each([
    ["all of it", [hold("a", 192)], "agree"],
    ["half of its full blocks", [hold("a", HALF)], "agree"],
    ["less than half", [hold("a", HALF - 16)], "differ"],
    ["nothing, of a model without any block", [hold("a", 0, { blockSize: null })], "differ"],
    ["half, at the other engine only", [hold("b", 192), hold("a", 0)], "differ"],
    ["half, at one of two ranks", [hold("a", 0), hold("a", HALF, { dpRank: 1 })], "agree"],
    ["H2: nothing, partially known", [hold("a", 0, { trust: "partial" })], "unknown"],
    ["H2: all, of a stale rank", [hold("a", 192, { trust: "stale" })], "unknown"],
    [
      "H2: nothing, one rank unknown",
      [hold("a", 0), hold("a", 0, { dpRank: 1, trust: "unknown" })],
      "unknown",
    ],
    ["H2: an engine that is gone", [hold("b", 192)], "unknown"],
    ["H2: a prompt that is refused", null, "unknown"],
  ] as const)("judges %s", (_what, holds, outcome) => {
    const bench = new Bench();
    bench.holds = holds;
    bench.run(1);
    vi.advanceTimersByTime(2000);
    expect(bench.outcomes).toEqual([outcome]);
  });

  it("looks at one rank alone, where the endpoint is one rank's", () => {
    const bench = new Bench();
    bench.holds = [hold("a", 192), hold("a", 0, { dpRank: 1 })];
    bench.run(1, { server: { worker: "a", dpRank: 1 } });
    vi.advanceTimersByTime(2000);
    expect(bench.outcomes).toEqual(["differ"]);
  });

  it("H3: counts what finds no room, and takes on as room comes", () => {
    const bench = new Bench();
    for (let id = 0; id <= CHECKS_MAX; id++) bench.run(id);
    expect([bench.outcomes, bench.check.count]).toEqual([["skipped"], CHECKS_MAX]);
    vi.advanceTimersByTime(2000);
    expect(bench.check.count).toBe(0);
    const tokens = new Uint32Array(CHECK_TOKENS_MAX);
    bench.outcomes.length = 0;
    bench.run(1, { tokens });
    bench.run(2);
    expect([bench.outcomes, bench.check.count]).toEqual([["skipped"], 1]);
    bench.check.stop();
    bench.run(3, { tokens });
    expect([bench.outcomes, bench.check.count]).toEqual([["skipped"], 1]);
  });

  it("H4: looks at the engine that served, and forgets one that nobody knows", () => {
    const bench = new Bench();
    bench.holds = [hold("a", 0), hold("b", 192)];
    bench.check.picked(1, prompt());
    bench.check.served(1, { worker: "b", dpRank: null });
    bench.check.firstToken(1);
    bench.check.picked(2, prompt());
    bench.check.served(2, null);
    bench.check.firstToken(2);
    vi.advanceTimersByTime(2000);
    expect([bench.outcomes, bench.check.count]).toEqual([["agree"], 0]);
  });
});
