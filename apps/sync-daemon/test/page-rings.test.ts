/** The memory of what the web page keeps of the last hour, with as many ranks and models as it keeps it of. */
import { createSyncCounters } from "@kvsync/core";
import { expect, test } from "vitest";

import { QUEUE_DROP_REASONS } from "../src/board/drop-reasons.ts";
import { RankMinutes } from "../src/dashboard/rank-minutes.ts";
import { Sampler } from "../src/dashboard/sampler.ts";
import { BoardFleet } from "../src/dashboard/testing/board-fleet.ts";
import { heldBytes } from "../src/dashboard/testing/cost.ts";
import { LookupTally, MODELS_MAX } from "../src/query/lookup-tally.ts";

const RANKS_MAX = 2048;
const MINUTE_MS = 60_000;
const MEBIBYTE = 2 ** 20;

test("what is kept of 2,048 ranks and sixteen models needs at most 8 MiB", () => {
  const fleet = new BoardFleet();
  for (let i = 0; i < RANKS_MAX; i++) fleet.add(`vllm-${i}`);
  const before = heldBytes();
  const tally = new LookupTally(() => true);
  const sampler = new Sampler(fleet, tally, 3600);
  const minutes = new RankMinutes(fleet);
  const counters = createSyncCounters();
  for (const reason of Object.keys(counters.eventsDropped).slice(0, 2))
    (counters.eventsDropped as Record<string, number>)[reason] = 1;
  for (const { ranks } of fleet.registry.engines())
    fleet.writer.counters(ranks[0]?.rankSlot ?? 0, counters, new Float64Array(QUEUE_DROP_REASONS.length));
  for (let i = 0; i < MODELS_MAX; i++) tally.held(`model-${i}`, 0.5);
  for (let i = 0; i < 3; i++) {
    sampler.sample((fleet.nowMs += MINUTE_MS));
    minutes.sample(fleet.nowMs);
  }
  expect(minutes.dropRings).toBe(2 * RANKS_MAX);
  const held = heldBytes() - before;
  console.log(`rings: ${(held / MEBIBYTE).toFixed(1)} MiB`);
  expect(held).toBeLessThan(8 * MEBIBYTE);
  // They are held until here.
  expect(sampler.history(60).step).toBe(5);
});
