/** Rows and their changes: the page's copy of the fleet is the fleet. */
import fc from "fast-check";
import { expect, test } from "vitest";

import { COLUMNS, DeltaEncoder, type FleetDelta, type FleetSnapshot, type Row } from "./delta-encoder.ts";
import { BoardFleet } from "./testing/board-fleet.ts";

const AGE = COLUMNS.indexOf("age_ms");
const SEQ = COLUMNS.indexOf("seq");

function encoderOf(fleet: BoardFleet): DeltaEncoder {
  return new DeltaEncoder(
    fleet,
    () => "file",
    () => fleet.nowMs,
  );
}

/** The page's copy: what a reader of the stream makes of it. */
class Copy {
  readonly rows = new Map<number, Row[number][]>();
  models: readonly string[];

  constructor({ rows, models }: FleetSnapshot) {
    this.models = models;
    for (const row of rows) this.rows.set(Number(row[0]), [...row]);
  }

  apply({ seq, set, gone, new: added, models }: FleetDelta): void {
    for (const slot of gone) expect(this.rows.delete(slot)).toBe(true);
    for (const row of added) this.rows.set(Number(row[0]), [...row]);
    for (const [slot, step] of seq) {
      const row = this.rows.get(slot) ?? [];
      row[SEQ] = Number(row[SEQ]) + step;
    }
    for (const [slot, column, value] of set) (this.rows.get(slot) ?? [])[column] = value;
    this.models = models ?? this.models;
  }

  /** Without ages, by slot. */
  get shown(): unknown {
    return [...this.rows.values()].map(withoutAge).sort((a, b) => Number(a[0]) - Number(b[0]));
  }
}

function withoutAge(row: Row): Row {
  return row.map((cell, i) => (i === AGE ? null : cell));
}

test("a snapshot with the deltas behind it is the snapshot of the last delta (E1, E3)", async () => {
  const act = fc.oneof(
    fc.record({ kind: fc.constant("add" as const), id: fc.nat(9), model: fc.nat(3) }),
    fc.record({ kind: fc.constant("remove" as const), id: fc.nat(9) }),
    fc.record({
      kind: fc.constant("tell" as const),
      id: fc.nat(9),
      sequenceNumber: fc.nat(50),
      reason: fc.constantFrom(null, "gap" as const, "disconnected" as const),
      gaps: fc.nat(3),
      blocks: fc.nat(5),
      tiers: fc.option(fc.tuple(fc.nat(2), fc.nat(2), fc.constant(0), fc.constant(0))),
      rate: fc.nat(3),
      trust: fc.option(fc.constantFrom("exact" as const, "stale" as const)),
    }),
    fc.constant({ kind: "look" as const }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 60 }), async (acts) => {
      const fleet = new BoardFleet();
      const encoder = encoderOf(fleet);
      encoder.look();
      const copy = new Copy(encoder.snapshot());
      const check = (): void => {
        copy.apply(JSON.parse(JSON.stringify(encoder.look().delta)) as FleetDelta);
        const fresh = new Copy(encoder.snapshot());
        expect(copy.shown).toEqual(fresh.shown);
        expect(copy.models).toEqual(fresh.models);
        expect(copy.rows.size).toBe(fleet.registry.engineCount);
      };
      for (const one of acts) {
        fleet.nowMs += 100;
        const slot = "id" in one ? fleet.registry.engine(`engine-${one.id}`)?.ranks[0]?.rankSlot : undefined;
        if (one.kind === "look") check();
        else if (one.kind === "add" && slot === undefined)
          fleet.add(`engine-${one.id}`, `model-${one.model}`);
        else if (one.kind === "remove" && slot !== undefined) await fleet.remove(`engine-${one.id}`);
        else if (one.kind === "tell" && slot !== undefined) {
          fleet.tell(slot, one);
          fleet.blocks.set(slot, one.blocks);
          fleet.rates.set(slot, one.rate);
          if (one.trust !== null) fleet.writer.history.turned(slot, fleet.nowMs, "live", one.trust);
          if (one.tiers === null) fleet.tiers.delete(slot);
          else fleet.tiers.set(slot, one.tiers);
        }
      }
      check();
    }),
  );
});

test("a rank that only got messages is two numbers in a delta, and an idle one is not in it", () => {
  const fleet = new BoardFleet();
  const [busy, idle] = [fleet.add("busy"), fleet.add("idle")];
  fleet.tell(busy, { sequenceNumber: 4 });
  fleet.tell(idle, { sequenceNumber: 9 });
  const encoder = encoderOf(fleet);
  expect(encoder.look().delta.new.length).toBe(2);
  fleet.nowMs += 1000;
  fleet.tell(busy, { sequenceNumber: 7, stored: 30, atMs: fleet.nowMs });
  const { delta, events, trusts } = encoder.look();
  const since = COLUMNS.indexOf("since");
  expect({ ...delta, set: delta.set.filter(([, column]) => column !== since) }).toEqual({
    seq: [[busy, 3]],
    set: [],
    gone: [],
    new: [],
  });
  expect(events).toEqual({ stored: 30, removed: 0, cleared: 0 });
  expect(trusts).toEqual([2, 0, 0, 0]);
});

test("blocks by tier are sent when one of their numbers is another, and not because they were counted again", () => {
  const fleet = new BoardFleet();
  const slot = fleet.add("engine");
  const encoder = encoderOf(fleet);
  const sets = () => encoder.look().delta.set.filter(([, column]) => column === COLUMNS.indexOf("tiers"));
  encoder.look();
  fleet.tiers.set(slot, [5, 2, 0, 0]);
  expect(sets()).toEqual([[slot, COLUMNS.indexOf("tiers"), [5, 2, 0, 0]]]);
  fleet.tiers.set(slot, [5, 2, 0, 0]);
  expect(sets()).toEqual([]);
  fleet.tiers.set(slot, [5, 3, 0, 0]);
  expect(sets()).toEqual([[slot, COLUMNS.indexOf("tiers"), [5, 3, 0, 0]]]);
});

test("the share of the last hour is counted after a change of the rank at once, and else once a minute (E4)", () => {
  const fleet = new BoardFleet();
  const slot = fleet.add("engine");
  const encoder = encoderOf(fleet);
  const column = COLUMNS.indexOf("exact_hour");
  const sets = () => encoder.look().delta.set.flatMap(([, at, value]) => (at === column ? [value] : []));
  const turned = (trust: "exact" | "stale") => {
    fleet.writer.history.turned(slot, fleet.nowMs, "live", trust);
  };
  encoder.look();
  turned("exact");
  fleet.nowMs += 60_000;
  expect(sets()).toEqual([1]);
  turned("stale");
  fleet.nowMs += 20_000;
  expect(sets()).toEqual([0.75]);
  const later = Array.from({ length: 60 }, () => {
    fleet.nowMs += 1000;
    return sets();
  });
  expect(later.filter((values) => values.length > 0)).toHaveLength(1);
});

test("a rate is sent once in ten looks at most, and those of a fleet not all at once (E4)", () => {
  const fleet = new BoardFleet();
  const slots = Array.from({ length: 20 }, (_, i) => fleet.add(`engine-${i}`));
  const encoder = encoderOf(fleet);
  const column = COLUMNS.indexOf("rate");
  encoder.look();
  const sent = Array.from({ length: 10 }, (_, look) => {
    for (const slot of slots) fleet.rates.set(slot, look + 1);
    return encoder.look().delta.set.filter(([, at]) => at === column).length;
  });
  expect(sent).toEqual(Array<number>(10).fill(2));
});

test("a slot that another engine took over is gone and new, and its counts are not events (E1)", async () => {
  const fleet = new BoardFleet();
  const slot = fleet.add("first");
  fleet.tell(slot, { sequenceNumber: 4, stored: 100 });
  const encoder = encoderOf(fleet);
  encoder.look();
  await fleet.remove("first");
  expect(fleet.add("second")).toBe(slot);
  fleet.tell(slot, { sequenceNumber: 1, stored: 2 });
  const { delta, events } = encoder.look();
  expect(delta.gone).toEqual([slot]);
  expect(delta.new.map(([, id]) => id)).toEqual(["second"]);
  expect(events.stored).toBe(2);
});

test("the list of models begins again beyond its limit, and every viewer is due a snapshot (E2)", async () => {
  const fleet = new BoardFleet();
  const encoder = encoderOf(fleet);
  for (let i = 0; i <= 2048; i++) encoder.modelNumber(`gone-${i}`);
  fleet.add("engine-0", "present");
  const { delta } = encoder.look();
  expect(encoder.isAnew).toBe(true);
  expect(encoder.snapshot().models).toEqual(["present"]);
  expect(delta.new.length).toBe(1);
  await fleet.remove("engine-0");
  expect(encoder.look().delta.gone.length).toBe(1);
});
