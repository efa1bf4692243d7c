/** Which ranks are asked about, and which answers are kept and shown. */
import { expect, it } from "vitest";

import type { RankHour } from "@kvsync/client";

import type { RankRow } from "../stream/fleet-store.ts";
import { dueSlots, hourOf, type Hours, KEPT_MAX, SLOTS_MAX, withRanks } from "./rank-hours.ts";

const NOW_MS = 1_000_000;
const NONE: Hours = new Map();

function hour(slot: number, engine = `engine-${slot}`): RankHour {
  return { rank_slot: slot, engine, dp_rank: 0, timeline: [], events_per_second: [] };
}

it("asks for rows without an answer first, then for the oldest answers, and not for fresh ones (B1)", () => {
  const old = withRanks(NONE, [hour(1)], NOW_MS - 40_000);
  const older = withRanks(old, [hour(2)], NOW_MS - 50_000);
  const all = withRanks(older, [hour(3)], NOW_MS - 1000);
  expect(dueSlots([3, 1, 2, 4, 4], all, NOW_MS)).toEqual([4, 2, 1]);
  expect(dueSlots([3], all, NOW_MS)).toEqual([]);
  const many = Array.from({ length: 200 }, (_, i) => i);
  expect(dueSlots(many, NONE, NOW_MS)).toEqual(many.slice(0, SLOTS_MAX));
});

it("keeps the latest answers, also of a slot that is asked for again (B2)", () => {
  let hours = NONE;
  for (let slot = 0; slot < KEPT_MAX; slot++) hours = withRanks(hours, [hour(slot)], NOW_MS);
  hours = withRanks(hours, [hour(0), hour(KEPT_MAX)], NOW_MS + 1);
  expect(hours.size).toBe(KEPT_MAX);
  expect([hours.has(0), hours.has(1), hours.get(0)?.atMs]).toEqual([true, false, NOW_MS + 1]);
});

it("shows no answer about another engine in the slot (B3)", () => {
  const hours = withRanks(NONE, [hour(7, "gone")], NOW_MS);
  const row = (id: string): RankRow => ({ slot: 7, id }) as RankRow;
  expect(hourOf(hours, row("gone"))).toEqual(hour(7, "gone"));
  expect(hourOf(hours, row("new"))).toBeNull();
});
