/** The host's chunks by themselves, with names that are their own hashes. */
import { expect, test } from "vitest";

import { OffloadTier, type OffloadedRun } from "./offload-tier.ts";

const BLOCK_SIZE = 2;

function tierOf(describesItself: boolean): OffloadTier {
  return new OffloadTier({ blocksPerChunk: 3, chunks: 2, describesItself }, BLOCK_SIZE, BigInt);
}

function runOf(...names: readonly number[]): OffloadedRun {
  const tokens = names.flatMap((name) => [name, name]);
  return { names, tokens, computed: tokens.length, loraId: null, loraName: null };
}

const said = (tier: OffloadTier, run: OffloadedRun): string[] =>
  tier.store(run).map((event) => `${event.type} ${"blockHashes" in event ? event.blockHashes.join() : ""}`);

test("a hit goes on from the chunk that the device's hit ends in, by whole chunks (O1)", () => {
  const tier = tierOf(true);
  tier.store(runOf(1, 2, 3, 4, 5, 6, 7));
  const names = [1, 2, 3, 4, 5, 6, 7, 8, 9];
  expect([0, 2, 6, 8, 14].map((device) => tier.extend(names, device, 100))).toEqual([12, 12, 12, 12, 14]);
  expect(tier.extend(names, 0, 11)).toBe(6);
  expect(tier.extend([9, 2, 8, 4, 5, 6], 0, 100)).toBe(0);
});

test("a chunk announces all its blocks, those that two chunks share with each, or its last name and no tokens (O2)", () => {
  const tier = tierOf(true);
  expect(said(tier, runOf(1, 2, 3, 4))).toEqual(["BlockStored 1,2,3"]);
  expect(said(tier, runOf(1, 2, 30))).toEqual(["BlockStored 1,2,30"]);
  expect(tierOf(true).store(runOf(1, 2, 3, 4, 5, 6))[1]).toMatchObject({
    parentBlockHash: 3n,
    tokenIds: [4, 4, 5, 5, 6, 6],
  });
  expect(tierOf(false).store(runOf(1, 2, 3))).toMatchObject([
    { blockHashes: [3n], tokenIds: [], blockSize: 0 },
  ]);
});

test("the chunk unused for longest goes first, and takes back what it announced (O3)", () => {
  for (const [describesItself, first, second, third, back] of [
    [true, "1,2,3", "4,5,6", "7,8,9", "BlockRemoved 4,5,6"],
    [false, "3", "6", "9", "BlockRemoved 6"],
  ] as const) {
    const tier = tierOf(describesItself);
    expect(said(tier, runOf(1, 2, 3))).toEqual([`BlockStored ${first}`]);
    expect(said(tier, runOf(4, 5, 6))).toEqual([`BlockStored ${second}`]);
    // Stored again, it is the one used last.
    expect(said(tier, runOf(1, 2, 3))).toEqual([]);
    expect(said(tier, runOf(7, 8, 9))).toEqual([back, `BlockStored ${third}`]);
  }
});
