/** The last hour of a rank by the minute: rates, drops, and the gaps of a late or full ring. */
import { createSyncCounters } from "@kvsync/core";
import { expect, test } from "vitest";

import { QUEUE_DROP_REASONS } from "../board/drop-reasons.ts";
import { MINUTES, type RankHour, RankMinutes } from "./rank-minutes.ts";
import { BoardFleet } from "./testing/board-fleet.ts";

const MINUTE_MS = 60_000;

class Hours {
  readonly fleet = new BoardFleet();
  readonly minutes = new RankMinutes(this.fleet);

  constructor() {
    this.fleet.nowMs = 100 * MINUTE_MS;
  }

  /** Counts of a rank from now on. */
  tell(slot: number, stored: number, dropped: Readonly<Record<string, number>> = {}): void {
    const counters = createSyncCounters();
    counters.eventsApplied.BlockStored = stored;
    for (const [reason, count] of Object.entries(dropped))
      (counters.eventsDropped as Record<string, number>)[reason] = count;
    this.fleet.writer.counters(slot, counters, new Float64Array(QUEUE_DROP_REASONS.length));
  }

  /** Some minutes later. */
  pass(minutes = 1): void {
    this.fleet.nowMs += minutes * MINUTE_MS;
    this.minutes.sample(this.fleet.nowMs);
  }

  of(id: string): RankHour | null {
    const engine = this.fleet.registry.engine(id);
    if (engine === null) throw new Error(`no engine ${id}`);
    return this.minutes.hour(engine, engine.ranks[0]?.rankSlot ?? -1, this.fleet.nowMs);
  }
}

test("a minute has the events per second that were applied in it, and the running one those so far (M1)", () => {
  const hours = new Hours();
  const slot = hours.fleet.add("engine-0");
  expect(hours.of("engine-0")).toBeNull();
  hours.minutes.sample(hours.fleet.nowMs);
  expect(hours.of("engine-0")?.eventsPerSecond).toEqual(Array<null>(MINUTES).fill(null));
  hours.tell(slot, 600);
  hours.pass();
  hours.tell(slot, 660);
  hours.fleet.nowMs += 10_000;
  const rates = hours.of("engine-0")?.eventsPerSecond ?? [];
  expect(rates.slice(-3)).toEqual([null, 10, 6]);
  expect(rates).toHaveLength(MINUTES);
  for (let i = 0; i < 2 * MINUTES; i++) {
    hours.tell(slot, 660 + 60 * (i + 1));
    hours.pass();
  }
  expect(hours.of("engine-0")?.eventsPerSecond.slice(0, -1)).toEqual(Array<number>(MINUTES - 1).fill(1));
});

test("a minute without a sample has no rate, nor has the one before it (M1)", () => {
  const hours = new Hours();
  const slot = hours.fleet.add("engine-0");
  hours.minutes.sample(hours.fleet.nowMs);
  hours.tell(slot, 60);
  hours.pass();
  hours.tell(slot, 600);
  hours.pass(2);
  hours.fleet.nowMs += 5000;
  expect(hours.of("engine-0")?.eventsPerSecond.slice(-4)).toEqual([1, null, null, 0]);
});

test("the present rate is that of the last two samples, and none is known before the second (M4)", async () => {
  const hours = new Hours();
  const slot = hours.fleet.add("engine-0");
  const engine = hours.fleet.registry.engine("engine-0");
  if (engine === null) throw new Error("no engine");
  const rates: (number | null)[] = [];
  for (const stored of [100, 150, 350, 350, 350]) {
    hours.tell(slot, stored);
    hours.minutes.sample(hours.fleet.nowMs);
    rates.push(hours.minutes.rate(engine, slot));
    hours.fleet.nowMs += 5000;
  }
  expect(rates).toEqual([null, 10, 25, 20, 0]);
  await hours.fleet.remove("engine-0");
  hours.fleet.add("engine-1");
  expect(hours.minutes.rate(engine, slot)).toBe(0);
  hours.minutes.sample(hours.fleet.nowMs);
  expect(hours.minutes.rate(engine, slot)).toBeNull();
});

test("drops of the last hour are those since, and everything of an engine that is younger (M3)", () => {
  const hours = new Hours();
  const slot = hours.fleet.add("engine-0");
  hours.minutes.sample(hours.fleet.nowMs);
  hours.tell(slot, 0, { unknown_block: 5 });
  expect(hours.of("engine-0")?.dropped).toEqual({ unknown_block: 5 });
  hours.pass();
  expect(hours.of("engine-0")?.dropped).toEqual({ unknown_block: 5 });
  for (let i = 0; i < MINUTES; i++) hours.pass();
  expect(hours.of("engine-0")?.dropped).toEqual({});
  hours.tell(slot, 0, { unknown_block: 7, partial_block: 1 });
  expect(hours.of("engine-0")?.dropped).toEqual({ unknown_block: 2, partial_block: 1 });
});

test("another engine in a slot begins again, and one that is gone leaves nothing (M2)", async () => {
  const hours = new Hours();
  const slot = hours.fleet.add("engine-0");
  hours.tell(slot, 900, { unknown_block: 3 });
  hours.pass();
  hours.pass();
  expect(hours.minutes.dropRings).toBe(1);
  await hours.fleet.remove("engine-0");
  const next = hours.fleet.add("engine-1");
  expect(next).toBe(slot);
  hours.pass();
  hours.fleet.nowMs += 5000;
  expect(hours.of("engine-1")).toEqual({
    eventsPerSecond: [...Array<null>(MINUTES - 1).fill(null), 0],
    dropped: {},
  });
  await hours.fleet.remove("engine-1");
  hours.pass();
  expect(hours.minutes.dropRings).toBe(0);
});

test("rings of drops have a limit, and a rank beyond it shows no drops that may be older (M3)", () => {
  const hours = new Hours();
  const reasons = Object.keys(createSyncCounters().eventsDropped).slice(0, 20);
  const all = Object.fromEntries(reasons.map((reason) => [reason, 1]));
  for (let i = 0; i < 210; i++) hours.tell(hours.fleet.add(`engine-${i}`), 0, all);
  hours.pass();
  expect(hours.minutes.dropRings).toBe(4096);
  expect(Object.keys(hours.of("engine-0")?.dropped ?? {})).toEqual(reasons);
  expect(hours.of("engine-209")?.dropped).toBeNull();
});
