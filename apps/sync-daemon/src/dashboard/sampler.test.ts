/** The ring of the last hour: places, series and what was not sampled. */
import { expect, test } from "vitest";

import { LookupTally, MODELS_MAX } from "../query/lookup-tally.ts";
import { Sampler } from "./sampler.ts";
import { BoardFleet } from "./testing/board-fleet.ts";

const STEP_MS = 5000;

test("a sample has rates per second, times in seconds, and null where nothing was (P1)", () => {
  const fleet = new BoardFleet();
  const slot = fleet.add("engine-0");
  fleet.tell(slot, { sequenceNumber: 1, stored: 100 });
  const tally = new LookupTally(() => true);
  const sampler = new Sampler(fleet, tally, 60);
  expect(sampler.history(60)).toEqual({ step: 5, from: 0, series: {} });
  sampler.sample(fleet.nowMs);
  fleet.nowMs += STEP_MS;
  fleet.tell(slot, { sequenceNumber: 9, stored: 150 });
  for (let i = 0; i < 10; i++) tally.answered("exact", 0.001);
  tally.held("m", 0.25);
  sampler.sample(fleet.nowMs);
  const { step, from, series } = sampler.history(10);
  expect([step, from]).toEqual([5, fleet.nowMs / 1000 - 5]);
  expect(series["events_applied.stored"]).toEqual([0, 10]);
  expect(series["lookups.exact"]).toEqual([0, 2]);
  expect(series["lookup_p50"]?.[0]).toBeNull();
  expect(series["lookup_p50"]?.[1]).toBeCloseTo(0.001, 3);
  expect(series["hit_rate{m}"]).toEqual([null, 0.25]);
  expect(series["exact_share"]).toEqual([1, 1]);
});

test("a pause leaves places without values, and a clock that stands still makes no second sample (P3)", () => {
  const fleet = new BoardFleet();
  const sampler = new Sampler(fleet, new LookupTally(() => true), 60);
  const values = (): unknown => sampler.history(60).series["memory_used"];
  sampler.sample(fleet.nowMs);
  sampler.sample(fleet.nowMs + STEP_MS - 1);
  expect(values()).toEqual([...Array<null>(11).fill(null), 0]);
  sampler.sample(fleet.nowMs + 4 * STEP_MS);
  expect(values()).toEqual([...Array<null>(7).fill(null), 0, null, null, null, 0]);
  sampler.sample(fleet.nowMs + 400 * STEP_MS);
  expect(values()).toEqual([...Array<null>(11).fill(null), 0]);
});

test("the ring of a model goes with its last value, and there are never more than the limit (P2)", () => {
  const fleet = new BoardFleet();
  const served = new Set<string>();
  const tally = new LookupTally((model) => served.has(model));
  const sampler = new Sampler(fleet, tally, 60);
  for (let i = 0; i < 3 * MODELS_MAX; i++) {
    fleet.nowMs += STEP_MS;
    tally.held(`model-${i}`, 1);
    sampler.sample(fleet.nowMs);
    const names = Object.keys(sampler.history(60).series).filter((name) => name.startsWith("hit_rate{"));
    expect(names.length).toBe(Math.min(i + 1, 12));
  }
});
