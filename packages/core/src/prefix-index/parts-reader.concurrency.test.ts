/**
 * Lookups in other threads while ranks move between the parts of an index (`test/moves-storm.mjs`). Nothing else changes. So every answer has to have each of them once, with all its blocks (H1 and H2 of rank-homes.ts, Q3 of parts-reader.ts).
 */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { PartsIndex } from "./testing/parts-index.ts";

const KEY = { model: "m", loraName: null, blockSize: 4, lookahead: 0 };
const BLOCKS = 200;
const RANKS = 6;
const PARTS = 3;
const MOVES = 3000;
const LOOKUPS_MIN = 2000;
const MOVES_MAX = 20 * MOVES;

test("a lookup has each rank's blocks from exactly one part, however ranks move (H1, H2, Q3)", async () => {
  const index = new PartsIndex(PARTS, { memoryBytesMax: 2 ** 24 });
  for (let rank = 0; rank < RANKS; rank++) {
    for (let i = 0; i < 4 * BLOCKS; i++) index.scratch.tokens[i] = i;
    for (let block = 0; block < BLOCKS; block++) index.scratch.hashes.set([block, rank], 2 * block);
    index.storeBlocks(index.openContext(KEY), rank, 0, BLOCKS, false, 0, 0, false);
  }
  const control = new Int32Array(new SharedArrayBuffer(8));
  const workerData = {
    shared: index.shared,
    key: KEY,
    tokenCount: 4 * BLOCKS,
    ranks: RANKS,
    blocks: BLOCKS,
    control,
  };
  const reader = new Worker(new URL("../../test/moves-storm.mjs", import.meta.url), { workerData });
  await once(reader, "message");
  for (let i = 0; (i < MOVES || Atomics.load(control, 1) < LOOKUPS_MIN) && i < MOVES_MAX; i++)
    index.move(i % RANKS, (i + Math.floor(i / RANKS)) % PARTS);
  Atomics.store(control, 0, 1);
  const [counts] = (await once(reader, "message")) as [{ lookups: number; wrong: number }];
  await reader.terminate();
  expect(counts.wrong).toBe(0);
  expect(counts.lookups).toBeGreaterThanOrEqual(LOOKUPS_MIN);
  expect(index.parts.flatMap((part) => part.check())).toEqual([]);
});
