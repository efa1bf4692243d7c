/**
 * Lookups in other threads while ranks move between the parts of an index (`test/moves-storm.mjs`). Nothing else changes. So every answer has to have each of them once, with all its blocks (H1 and H2 of rank-homes.ts, Q3 of parts-reader.ts).
 */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import type { ContextKey } from "./contract.ts";
import { PartsIndex } from "./testing/parts-index.ts";

const KEY: ContextKey = { model: "m", loraName: null, blockSize: 4, lookahead: 0 };
const BLOCKS = 200;
const RANKS = 6;
const PARTS = 3;
const NEW_CONTEXTS = 100;
const MOVES = 3000;
const LOOKUPS_MIN = 2000;
const MOVES_MAX = 20 * MOVES;

const CONTROL = { stop: 0, lookups: 1, key: 2 };

/** Stores the prompt for a rank. */
function store(index: PartsIndex, key: ContextKey, rank: number): void {
  for (let i = 0; i < 4 * BLOCKS; i++) index.scratch.tokens[i] = i;
  for (let block = 0; block < BLOCKS; block++) index.scratch.hashes.set([block, rank], 2 * block);
  index.storeBlocks(index.openContext(key), rank, 0, BLOCKS, false, 0, 0, false);
}

/** Looks up in another thread while `moves` runs. */
async function lookUpDuring(
  index: PartsIndex,
  keys: readonly ContextKey[],
  ranks: number,
  moves: (control: Int32Array) => Promise<void> | void,
): Promise<{ lookups: number; wrong: number }> {
  const control = new Int32Array(new SharedArrayBuffer(12));
  const workerData = { shared: index.shared, keys, tokenCount: 4 * BLOCKS, ranks, blocks: BLOCKS, control };
  const reader = new Worker(new URL("../../test/moves-storm.mjs", import.meta.url), { workerData });
  await once(reader, "message");
  await moves(control);
  Atomics.store(control, CONTROL.stop, 1);
  const [counts] = (await once(reader, "message")) as [{ lookups: number; wrong: number }];
  await reader.terminate();
  return counts;
}

test("a lookup has each rank's blocks from exactly one part, however ranks move (H1, H2, Q3)", async () => {
  const index = new PartsIndex(PARTS, { memoryBytesMax: 2 ** 24 });
  for (let rank = 0; rank < RANKS; rank++) store(index, KEY, rank);
  const counts = await lookUpDuring(index, [KEY], RANKS, (control) => {
    for (let i = 0; (i < MOVES || Atomics.load(control, CONTROL.lookups) < LOOKUPS_MIN) && i < MOVES_MAX; i++)
      index.move(i % RANKS, (i + Math.floor(i / RANKS)) % PARTS);
  });
  expect(counts.wrong).toBe(0);
  expect(counts.lookups).toBeGreaterThanOrEqual(LOOKUPS_MIN);
  expect(index.parts.flatMap((part) => part.check())).toEqual([]);
});

test("a lookup has the blocks of a rank that moves to a part without its context (Q5)", async () => {
  const keys = Array.from({ length: NEW_CONTEXTS }, (_, i) => ({ ...KEY, loraName: `adapter-${i}` }));
  const index = new PartsIndex(PARTS, { memoryBytesMax: 2 ** 26, contextCountMax: NEW_CONTEXTS });
  for (const [rank, key] of keys.entries()) store(index, key, rank);
  const counts = await lookUpDuring(index, keys, 1, (control) => {
    for (const rank of keys.keys()) {
      Atomics.store(control, CONTROL.key, rank);
      const begun = Atomics.load(control, CONTROL.lookups);
      while (Atomics.load(control, CONTROL.lookups) < begun + 2);
      for (let move = 1; move < PARTS; move++) index.move(rank, (rank + move) % PARTS);
    }
  });
  expect(counts.wrong).toBe(0);
  expect(counts.lookups).toBeGreaterThanOrEqual(2 * NEW_CONTEXTS);
});
