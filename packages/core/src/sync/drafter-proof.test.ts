/**
 * The stores that prove a whole match, and those that prove nothing (P1, P2 of drafter-proof.ts), on an index. Their effect on
 * the trust of a rank is tested in engine-signs.test.ts.
 */
import { beforeEach, describe, expect, test } from "vitest";
import { PrefixIndex } from "../prefix-index/prefix-index.ts";
import type { DecodedBlockStored } from "../wire/events.ts";
import { DrafterProof } from "./drafter-proof.ts";

const SLOT = 3;
const HIGH = 2 ** 32;
/** The same place in the memory for names. */
const SAME_PLACE = 4096 * HIGH;

let index: PrefixIndex;
let proof: DrafterProof;

beforeEach(() => {
  index = PrefixIndex.create();
  index.clearRank(SLOT);
  proof = new DrafterProof(index, undefined);
  proof.watches(SLOT, SLOT);
});

function name(names: readonly number[]): void {
  const { hashes, tokens } = index.scratch;
  for (const [i, each] of names.entries()) {
    hashes[2 * i] = each % HIGH;
    hashes[2 * i + 1] = Math.floor(each / HIGH);
    tokens[i] = each % HIGH;
  }
}

/** A store as the decoder yields it: the parent of a store at the root reads 0. */
function store(
  names: readonly number[],
  parent: number,
  { hasParent = true, isFirstKnown = false, isWhole = true } = {},
): void {
  const [parentLow, parentHigh] = [parent % HIGH, Math.floor(parent / HIGH)];
  name(names);
  const event = { blockCount: names.length, hasParent, parentLow, parentHigh } as DecodedBlockStored;
  proof.noteStore(event, () => isFirstKnown, isWhole);
}

/** The index takes the blocks, from the root. */
function hold(names: readonly number[]): void {
  name(names);
  const context = index.openContext({ model: "m", loraName: null, blockSize: 1, lookahead: 0 }, SLOT);
  index.storeBlocks(context, SLOT, 0, names.length, false, 0, 0, false, "count");
}

function remove(names: readonly number[]): void {
  name(names);
  proof.noteRemoved(SLOT, names.length);
}

describe("two different blocks behind a block that was announced once", () => {
  test("prove that it was reused (P1)", () => {
    store([3], 0, { hasParent: false });
    store([4], 3);
    expect(proof.isSettled).toBe(false);
    store([5], 3);
    expect(proof.isSettled).toBe(true);
  });

  test.each([
    ["one is stored at the root", { hasParent: false }],
    ["one does not begin behind the parent", { isWhole: false }],
    ["a group has one of them", { isFirstKnown: true }],
  ])("prove nothing where %s (P1)", (_, second) => {
    store([0], 0, { hasParent: false });
    store([4], 0);
    store([5], 0, second);
    expect(proof.isSettled).toBe(false);
  });

  test("prove nothing after it was announced again (P1)", () => {
    store([3], 0, { hasParent: false });
    hold([3]);
    store([4], 3);
    store([3], 0, { hasParent: false });
    store([5], 3);
    store([6], 3);
    expect(proof.isSettled).toBe(false);
  });

  test("prove nothing after it was removed (P1)", () => {
    store([3], 0, { hasParent: false });
    store([4], 3);
    remove([3]);
    store([5], 3);
    expect(proof.isSettled).toBe(false);
  });

  test("prove nothing where one was removed in the same message, and prove it in a later message", () => {
    store([3], 0, { hasParent: false });
    store([4], 3);
    remove([5]);
    store([5], 3);
    expect(proof.isSettled).toBe(false);
    proof.begin();
    store([5], 3);
    expect(proof.isSettled).toBe(true);
  });

  test("are told apart by both words of a name", () => {
    store([3 + HIGH], 0, { hasParent: false });
    store([4], 3 + HIGH);
    store([4 + HIGH], 3 + HIGH);
    expect(proof.isSettled).toBe(true);
  });

  test("prove nothing where the parents differ in the high word", () => {
    store([3], 0, { hasParent: false });
    store([4], 3);
    store([5], 3 + SAME_PLACE);
    expect(proof.isSettled).toBe(false);
  });
});

describe("what was announced", () => {
  beforeEach(() => {
    store([3], 0, { hasParent: false });
    store([4], 3);
  });

  test("is forgotten when the rank is empty", () => {
    proof.clear();
    store([5], 3);
    expect(proof.isSettled).toBe(false);
  });

  test("is forgotten when another engine begins", () => {
    proof.reset();
    proof.watches(SLOT, SLOT);
    store([5], 3);
    expect(proof.isSettled).toBe(false);
  });
});

test("another engine is watched although the one before matched parts of blocks", () => {
  proof.giveUp();
  expect(proof.watches(SLOT, SLOT)).toBe(false);
  proof.reset();
  expect(proof.watches(SLOT, SLOT)).toBe(true);
});
