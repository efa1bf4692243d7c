import { expect, test } from "vitest";

import { choose, type WorkerLoad } from "./choose.ts";
import type { Trust, WorkerMatch } from "./match-types.ts";

function match(worker: string, tokens: number, trust: Trust = "exact", dpRank = 0): WorkerMatch {
  return {
    worker,
    dp_rank: dpRank,
    block_size: 16,
    matched_blocks: tokens / 16,
    matched_tokens: tokens,
    held_tokens: tokens,
    reusable_tokens: tokens,
    tiers: { device: tokens / 16, host: 0, disk: 0, remote: 0 },
    trust,
    trust_reason: null,
    trust_since: null,
    age_seconds: 0,
  };
}

function load(worker: string, pendingTokens = 0, runningRequests = 0): WorkerLoad {
  return { worker, runningRequests, pendingTokens, contextTokens: 0 };
}

test("among idle workers the one that holds most comes first, and the others follow", () => {
  expect(choose([match("a", 1600), match("b", 3200)], [load("a"), load("b"), load("c")])).toEqual([
    "b",
    "a",
    "c",
  ]);
});

test("a worker that has more to prefill than its match saves comes later", () => {
  expect(choose([match("a", 1600)], [load("a", 2000), load("b")])).toEqual(["b", "a"]);
  expect(choose([match("a", 1600)], [load("a", 1000), load("b")])).toEqual(["a", "b"]);
});

test("without any match the least loaded comes first", () => {
  expect(choose([], [load("a", 0, 3), load("b", 0, 1), load("c", 0, 2)])).toEqual(["b", "c", "a"]);
});

test("a stale match counts half, an unknown one nothing", () => {
  const idle = [load("a"), load("b")];
  expect(choose([match("a", 3000, "stale"), match("b", 1600)], idle)).toEqual(["b", "a"]);
  expect(choose([match("a", 3400, "stale"), match("b", 1600)], idle)).toEqual(["a", "b"]);
  expect(choose([match("b", 3200, "unknown")], idle)).toEqual(["a", "b"]);
});

test("the best rank of a worker decides, and a worker is named once", () => {
  const matches = [match("a", 160, "exact", 0), match("a", 3200, "exact", 1), match("b", 1600)];
  expect(choose(matches, [load("b"), load("a")])).toEqual(["a", "b"]);
});

test("only workers of the books are named; without any there is none", () => {
  expect(choose([match("gone", 3200)], [load("a")])).toEqual(["a"]);
  expect(choose([match("gone", 3200)], [])).toEqual([]);
});
