/** Pages that are named by Python's hash of their tokens (H1 of content-hash.ts; A12 of event-applier.ts). */
import { describe, expect, test } from "vitest";
import { PrefixIndex } from "../prefix-index/prefix-index.ts";
import { tupleHash } from "./content-hash.ts";
import { behind, stored, ToldEngine } from "./testing/told-engine.ts";

/** As CPython 3.11 gives them: `hash(t) & (2**64 - 1)`. */
const HASHES: readonly (readonly [readonly number[], bigint])[] = [
  [[], 5740354900026072187n],
  [[1], 11802529618835948721n],
  [[1, 2], 14896688948223909699n],
  [[1, 2, 1, 2], 8677768113715720416n],
  [[151643, 0, 7, 4294967295], 11919471890518567424n],
];

test.each(HASHES)("the hash of %j is CPython's (H1)", (items, hash) => {
  expect(tupleHash(items.map(BigInt))).toBe(hash);
});

test("so is that of a tuple of tuples", () => {
  const pairs = [
    [1n, 2n],
    [2n, 3n],
  ].map(tupleHash);
  expect(tupleHash(pairs)).toBe(8374439192799522889n);
});

describe("a rank whose first page is named by its tokens alone", () => {
  const page = (tokens: readonly number[]) => ({
    ...stored(0, { medium: null }),
    blockHashes: [BigInt.asIntN(64, tupleHash(tokens.map(BigInt)))],
    tokenIds: tokens,
  });

  test("is stale from it on, before a name repeats", () => {
    const engine = new ToldEngine(PrefixIndex.create(), {}, "sglang-v1");
    expect(engine.says(page([1, 2])).trust).toBe("stale: content_names");
  });

  test("stays so through a cleared pool and a restart of the follower, until another engine begins (T4)", () => {
    const engine = new ToldEngine(PrefixIndex.create(), {}, "sglang-v1").says(page([1, 2]));
    expect(engine.says({ type: "AllBlocksCleared" }, stored(7)).trust).toBe("stale: content_names");
    expect(engine.isRestored().says({ type: "AllBlocksCleared" }).trust).toBe("stale: content_names");
    expect(engine.isRestarted().says(stored(7)).trust).toBe("exact");
  });

  test("so is one whose pages are pairs of tokens", () => {
    const engine = new ToldEngine(PrefixIndex.create(), {}, "sglang-v1");
    const tokenIds = [
      [1, 2],
      [2, 3],
    ] as const;
    engine.says({ ...stored(0), blockHashes: [8374439192799522889n], tokenIds });
    expect(engine.trust).toBe("stale: content_names");
  });

  test("is not one whose names are others, nor one of another dialect", () => {
    const chained = new ToldEngine(PrefixIndex.create(), {}, "sglang-v1").says(
      stored(1),
      stored(2, behind(1)),
    );
    expect(chained.trust).toBe("exact");
    const medium = new ToldEngine(PrefixIndex.create(), {}, "sglang-medium");
    expect(medium.says({ ...page([1, 2]), medium: "GPU" }).trust).toBe("exact");
    expect(new ToldEngine(PrefixIndex.create()).says(page([1, 2])).trust).toBe("exact");
  });
});
