/** Workers over shards: golden vectors, balance, and what moves. */
import fc from "fast-check";
import { expect, test } from "vitest";

import { Prng } from "./prng.ts";
import { shardOf, SHARDS_MAX } from "./shard-of.ts";

const COUNTS = [1, 2, 3, 4, 8, 50, SHARDS_MAX];

/** Computed by a second implementation, in Python, from the head of shard-of.ts. */
const GOLDEN: readonly (readonly [id: string, shards: readonly number[]])[] = [
  ["", [0, 0, 0, 3, 3, 3, 538]],
  ["a", [0, 0, 0, 0, 0, 48, 290]],
  ["engine-0", [0, 1, 1, 1, 1, 10, 102]],
  ["engine-1", [0, 1, 1, 1, 5, 37, 728]],
  ["engine-999", [0, 0, 2, 2, 2, 28, 511]],
  ["vllm-llama-7d9f8b6c5-x2k4p", [0, 0, 0, 3, 3, 42, 874]],
  ["10.0.0.7:8000", [0, 0, 2, 2, 2, 19, 916]],
  ["Köln/é🙂", [0, 1, 1, 1, 1, 31, 245]],
  ["x".repeat(300), [0, 0, 2, 2, 2, 10, 218]],
];

test.each(GOLDEN)("%j is where every implementation puts it (W1)", (id, shards) => {
  expect(COUNTS.map((count) => shardOf(id, count))).toEqual(shards);
});

test("a shard is one of those that there are, for any text (W1)", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.integer({ min: 1, max: SHARDS_MAX }), (id, count) => {
      const shard = shardOf(id, count);
      expect(shard).toBe(shardOf(id, count));
      expect(shard).toBeGreaterThanOrEqual(0);
      expect(shard).toBeLessThan(count);
    }),
  );
});

test("more shards take workers and move none between the others; fewer give back what they had (W2)", () => {
  fc.assert(
    fc.property(
      fc.string(),
      fc.integer({ min: 1, max: 64 }),
      fc.integer({ min: 0, max: 64 }),
      (id, before, added) => {
        const after = shardOf(id, before + added);
        if (after < before) expect(after).toBe(shardOf(id, before));
      },
    ),
  );
});

/** Names as fleets have them: numbers at the end, random suffixes, addresses. */
function fleets(count: number): readonly (readonly string[])[] {
  const random = new Prng(7);
  return [
    Array.from({ length: count }, (_, i) => `engine-${i}`),
    Array.from({ length: count }, (_, i) => `vllm-${random.nextU32().toString(36)}-${i % 10}`),
    Array.from({ length: count }, (_, i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}:8000`),
  ];
}

test("each shard has its share of workers, within five standard deviations (W3)", () => {
  for (const ids of fleets(20_000)) {
    for (const count of [2, 4, 8, 50]) {
      const sizes = new Uint32Array(count);
      for (const id of ids) sizes[shardOf(id, count)] += 1;
      const mean = ids.length / count;
      const deviation = Math.sqrt(mean * (1 - 1 / count));
      for (const size of sizes) expect(Math.abs(size - mean)).toBeLessThan(5 * deviation);
    }
  }
});

test("from 7 to 8 shards an eighth of the workers moves, from 4 to 8 a half (W2)", () => {
  for (const ids of fleets(20_000)) {
    for (const [before, after] of [
      [7, 8],
      [4, 8],
    ] as const) {
      const moved = ids.filter((id) => shardOf(id, before) !== shardOf(id, after)).length;
      const share = (after - before) / after;
      const deviation = Math.sqrt(ids.length * share * (1 - share));
      expect(Math.abs(moved - share * ids.length)).toBeLessThan(5 * deviation);
    }
  }
});
