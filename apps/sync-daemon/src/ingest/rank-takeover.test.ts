/** A rank that goes to another worker's part of the index. Numbers are those of rank-takeover.ts. */
import { attachReader, type ContextKey, PrefixIndex, RankHomes, type StreamPosition } from "@kvsync/core";
import { expect, test } from "vitest";

import type { FollowedRank } from "../engine/followed-rank.ts";
import type { Ingest } from "./ingest.ts";
import { adopt } from "./rank-takeover.ts";
import type { MovedStream } from "./thread-messages.ts";

const KEY: ContextKey = { model: "m", loraName: null, blockSize: 1, lookahead: 0 };
const MIB = 1024 * 1024;
const RANK_SLOT = 5;
const BLOCKS = 70_000;
const LIMITS = { contextCountMax: 100, prefixesPerContextMax: 1_000_000, memoryBytesMax: 64 * MIB };

/** @param other - in place of the part that the rank goes to. */
function world(other: PrefixIndex | null = null) {
  const parts = [0, 1].map((number) =>
    PrefixIndex.create({ memoryBytesMax: 64 * MIB, part: { number, count: 2 } }),
  );
  const [source, target] = parts as [PrefixIndex, PrefixIndex];
  for (let i = 0; i < BLOCKS; i++) {
    source.scratch.tokens[i] = i;
    source.scratch.hashes.set([i + 1, 1], 2 * i);
  }
  source.storeBlocks(source.openContext(KEY), RANK_SLOT, 0, BLOCKS, false, 0, 0, false);
  const homes = RankHomes.create();
  const reader = attachReader(
    { parts: parts.map(({ shared }) => shared), homes: homes.memory },
    { tokensMax: BLOCKS },
  );
  const held = (): number[] => {
    for (let i = 0; i < BLOCKS; i++) reader.tokens[i] = i;
    const { matchCount, rows } = reader.matchTokens(reader.findContext(KEY), BLOCKS, false);
    return matchCount === 0 ? [] : [...rows.subarray(0, 2)];
  };
  const followed: FollowedRank[] = [];
  // Of an ingest, only what is called.
  const ingest = {
    follow: (rank: FollowedRank) => followed.push(rank),
    forget: (rankSlot: number) => {
      (other ?? target).clearRank(rankSlot);
    },
  } as unknown as Ingest;
  const rank = { rankSlot: RANK_SLOT, engineSlot: RANK_SLOT } as FollowedRank;
  const position = {
    applier: { groups: { groups: [] }, uncertainCopies: [[RANK_SLOT, 1, 2, 1, false]] },
  } as unknown as StreamPosition;
  const moved: MovedStream = { position, parked: [], rows: source.exportRank(RANK_SLOT) };
  return { source, target, homes, held, followed, ingest, rank, moved };
}

test("lookups count a rank's rows where they were until all of them are in the new part (T2)", async () => {
  const { target, homes, held, followed, ingest, rank, moved } = world();
  const seen: (readonly [held: readonly number[], rowsHere: number])[] = [];
  const turn = (): Promise<void> => {
    seen.push([held(), target.rankBlockCount(RANK_SLOT)]);
    return Promise.resolve();
  };
  const home = { ingest, index: target, homes, part: 1, limits: LIMITS, turn };
  expect(await adopt(home, rank, moved)).toBe(true);
  expect(seen.length).toBeGreaterThan(1);
  for (const [rows] of seen) expect(rows).toEqual([RANK_SLOT, BLOCKS]);
  expect(seen.some(([, here]) => here > 0 && here < BLOCKS)).toBe(true);
  expect([homes.of(RANK_SLOT), held()]).toEqual([1, [RANK_SLOT, BLOCKS]]);
  expect(followed).toMatchObject([{ rankSlot: RANK_SLOT, resumeFrom: moved.position }]);
});

test("a rank for which a part would have to evict is refused, and nothing of it is left there (T1)", async () => {
  const { target, homes, held, followed, ingest, rank, moved } = world();
  const home = {
    ingest,
    index: target,
    homes,
    part: 1,
    limits: { ...LIMITS, memoryBytesMax: 4 * MIB },
    turn: () => Promise.resolve(),
  };
  expect(await adopt(home, rank, moved)).toBe(false);
  expect([homes.of(RANK_SLOT), target.rankBlockCount(RANK_SLOT)]).toEqual([0, 0]);
  expect([held(), followed]).toEqual([[RANK_SLOT, BLOCKS], []]);
});

test("a rank that another limit of the part cuts short is refused, too", async () => {
  const target = PrefixIndex.create({ prefixesPerContextMax: 1000, part: { number: 1, count: 2 } });
  const { homes, followed, ingest, rank, moved } = world(target);
  const home = {
    ingest,
    index: target,
    homes,
    part: 1,
    limits: LIMITS,
    turn: () => Promise.resolve(),
  };
  expect(await adopt(home, rank, moved)).toBe(false);
  expect([target.rankBlockCount(RANK_SLOT), followed, target.check()]).toEqual([0, [], []]);
});

test.each([
  { limit: "contexts", limits: { contextCountMax: 1 }, here: { ...KEY, loraName: "a" } },
  { limit: "blocks of a context", limits: { prefixesPerContextMax: BLOCKS + 5 }, here: KEY },
])("a rank that would take the place of others by the limit on $limit is refused (T1)", async (given) => {
  const { homes, followed, ingest, rank, moved } = world();
  const evicted: string[] = [];
  const target = PrefixIndex.create({
    ...given.limits,
    part: { number: 1, count: 2 },
    onEviction: (reason) => evicted.push(reason),
  });
  for (let i = 0; i < 10; i++) target.scratch.hashes.set([i + 1, 7], 2 * i);
  target.scratch.tokens.fill(9, 0, 10);
  target.storeBlocks(target.openContext(given.here), 0, 0, 10, false, 0, 0, false);
  const home = {
    ingest,
    index: target,
    homes,
    part: 1,
    limits: { ...LIMITS, ...given.limits },
    turn: () => Promise.resolve(),
  };
  expect(await adopt(home, rank, moved)).toBe(false);
  expect([evicted, followed, target.rankBlockCount(0)]).toEqual([[], [], 10]);
});
