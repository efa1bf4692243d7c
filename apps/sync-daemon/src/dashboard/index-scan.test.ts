/** The walk over the index, on a real index: its counts, and its cost. */
import { type ContextKey, PrefixIndex, PrefixReader } from "@kvsync/core";
import { afterEach, expect, test } from "vitest";

import { IndexScan } from "./index-scan.ts";
import { BoardFleet } from "./testing/board-fleet.ts";

const CONTEXT: ContextKey = { model: "test/model", loraName: null, blockSize: 4, lookahead: 0 };
const SPACING_MS_MIN = 2000;
/** Times as long as a walk took, in which none begins. */
const SPACING = 100;
const DEVICE = 0;

const readers: PrefixReader[] = [];
afterEach(() => {
  for (const reader of readers.splice(0)) reader.detach();
});

/** An index whose pages are counted, and take so long. */
function world(blocksOfEngine: readonly number[], pageMs = 0) {
  const fleet = new BoardFleet();
  const slots = blocksOfEngine.map((_, i) => fleet.add(`engine-${i}`));
  const index = PrefixIndex.create({ memoryBytesMax: 256 * 2 ** 20 });
  const context = index.openContext(CONTEXT);
  for (const [i, slot] of slots.entries()) {
    const blocks = blocksOfEngine[i] ?? 0;
    for (let at = 0; at < blocks * CONTEXT.blockSize; at++) index.scratch.tokens[at] = at;
    for (let at = 0; at < blocks * 2; at++) index.scratch.hashes[at] = at + 1;
    index.storeBlocks(context, slot, DEVICE, blocks, false, 0, 0, false);
  }
  const real = PrefixReader.attach(index.shared, { tokensMax: 64 });
  readers.push(real);
  let pages = 0;
  const reader = {
    contexts: () => real.contexts(),
    dump: (id: number, cursor: number, out: Uint32Array) => {
      pages += 1;
      const until = performance.now() + pageMs;
      while (performance.now() < until);
      return real.dump(id, cursor, out);
    },
  };
  let nowMs = 1_000_000;
  const scan = new IndexScan({ reader, registry: fleet.registry, now: () => nowMs });
  return {
    scan,
    context,
    fleet,
    slots,
    pages: () => pages,
    /** A question so long after the last one, until its walk is over. */
    askAfter: async (ms: number): Promise<number> => {
      nowMs += ms;
      const before = pages;
      expect(scan.latest).not.toBeNull();
      // Waits for a walk that has begun; the first look is there already.
      for (let i = 0; i < 1000; i++) await new Promise(setImmediate);
      return pages - before;
    },
  };
}

test("a block is counted with its holders, and a rank with its blocks by tier", async () => {
  const { scan, context, fleet, slots } = world([10, 10, 4]);
  const look = await scan.first();
  // Four blocks have three holders, and six have two.
  expect(look.holders.get(context)).toEqual([0, 6, 4, 0, 0]);
  const [owner] = fleet.registry.engines();
  if (owner === undefined) throw new Error("no engine");
  expect(look.tiersOf(owner, slots[0] ?? -1)?.[DEVICE]).toBe(10);
});

test("without a question nothing is walked, and questions at one time share a walk", async () => {
  const { scan, pages } = world([10]);
  for (let i = 0; i < 100; i++) await new Promise(setImmediate);
  expect(pages()).toBe(0);
  const [one, other] = await Promise.all([scan.first(), scan.first()]);
  expect(one).toBe(other);
  expect(pages()).toBe(1);
});

test("however often it is asked, no walk begins within two seconds of the last", async () => {
  const { scan, askAfter } = world([10]);
  await scan.first();
  let walked = 0;
  for (let i = 0; i < 19; i++) walked += await askAfter(SPACING_MS_MIN / 20);
  expect(walked).toBe(0);
  expect(await askAfter(SPACING_MS_MIN)).toBe(1);
});

test("after a walk that took long, none begins for a hundred times as long", async () => {
  const pageMs = 100;
  const { scan, askAfter } = world([10], pageMs);
  await scan.first();
  expect(await askAfter(SPACING * pageMs - 1)).toBe(0);
  // The walk itself may have taken longer than its page, on a machine that does other work.
  expect(await askAfter(SPACING * pageMs * 100)).toBe(1);
});

test("other work comes between two pages of a long walk", async () => {
  const { scan, pages } = world([8192, 8192], 5);
  let turns = 0;
  const walk = { isDone: false };
  const look = scan.first().finally(() => (walk.isDone = true));
  while (!walk.isDone) {
    turns += 1;
    await new Promise(setImmediate);
  }
  await look;
  expect(pages()).toBeGreaterThan(2);
  expect(turns).toBeGreaterThanOrEqual(pages() - 1);
});
