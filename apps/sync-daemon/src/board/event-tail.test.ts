/** The tail of a rank's events: nothing without a watcher, whole messages, the latest, and what was left out. */
import { expect, test } from "vitest";

import {
  EVENT_TAIL_BYTES,
  EventTailReader,
  EventTailWriter,
  RING_EVENTS,
  WATCHES_MAX,
} from "./event-tail.ts";

function tail(): {
  readonly cells: Float64Array;
  readonly writer: EventTailWriter;
  readonly reader: EventTailReader;
} {
  const cells = new Float64Array(new SharedArrayBuffer(EVENT_TAIL_BYTES));
  return { cells, writer: new EventTailWriter(cells), reader: new EventTailReader(cells) };
}

const AT = () => 1000;
const LAG = () => 3;

test("nothing is written of a rank without a viewer (T1)", () => {
  const { cells, writer, reader } = tail();
  writer.event(7, AT, "BlockStored", 4, null);
  writer.publish(7, 1, LAG);
  expect(cells.every((cell) => cell === 0)).toBe(true);
  const watched = reader.watch(7);
  watched?.end();
  writer.event(7, AT, "BlockStored", 4, null);
  writer.publish(7, 1, LAG);
  expect(reader.watch(7)?.read(10)).toEqual({ events: [], leftOut: 0 });
});

test("events of a message come together, once it was applied, with its number and age", () => {
  const { writer, reader } = tail();
  const watched = reader.watch(3);
  writer.event(3, AT, "BlockStored", 4, null);
  writer.event(3, AT, "BlockRemoved", 2, "unknown_block");
  expect(watched?.read(10).events).toEqual([]);
  writer.publish(3, 41, LAG);
  const nothing = { tier: null, lora: null, hashHigh: null };
  const common = { atMs: 1000, sequenceNumber: 41, lagMs: 3, ...nothing };
  expect(watched?.read(10)).toEqual({
    events: [
      { ...common, type: "BlockStored", blocks: 4, reason: null },
      { ...common, type: "BlockRemoved", blocks: 2, reason: "unknown_block" },
    ],
    leftOut: 0,
  });
  writer.event(3, AT, "message", 0, "duplicate");
  writer.publish(3, null, () => Number.NaN);
  expect(watched?.read(10).events).toEqual([
    { ...common, sequenceNumber: null, lagMs: null, type: "message", blocks: 0, reason: "duplicate" },
  ]);
});

test("an event has its tier, its adapter's name and half of its first hash, and of a long name the beginning (T4)", () => {
  const { writer, reader } = tail();
  const watched = reader.watch(3);
  const events = [
    { tier: 1, loraName: "support-bot", hashHigh: 0xfe_dc_ba_98 },
    { tier: 0, loraName: "é".repeat(60), hashHigh: 0 },
    { tier: null, loraName: "", hashHigh: null },
  ] as const;
  for (const event of events) writer.event(3, AT, "BlockStored", 1, null, () => event);
  writer.publish(3, 1, LAG);
  const read = watched?.read(10).events.map(({ tier, lora, hashHigh }) => [tier, lora, hashHigh]);
  expect(read).toEqual([
    [1, "support-bot", 0xfe_dc_ba_98],
    [0, "é".repeat(24), 0],
    [null, "", null],
  ]);
});

test("the latest events are read, and the others are counted (T2)", () => {
  const { writer, reader } = tail();
  const watched = reader.watch(3);
  for (let i = 0; i < 100; i++) {
    writer.event(3, AT, "BlockStored", i, null);
    writer.publish(3, i, LAG);
  }
  const { events, leftOut } = watched?.read(10) ?? { events: [], leftOut: 0 };
  expect(events.map(({ blocks }) => blocks)).toEqual([90, 91, 92, 93, 94, 95, 96, 97, 98, 99]);
  expect(leftOut).toBe(90);
  expect(watched?.read(10)).toEqual({ events: [], leftOut: 0 });
});

test("entries that a message in progress overwrites are not read, and are counted (T2)", () => {
  const { writer, reader } = tail();
  const watched = reader.watch(3);
  for (let i = 0; i < RING_EVENTS; i++) writer.event(3, AT, "BlockStored", i, null);
  writer.publish(3, 1, LAG);
  for (let i = 0; i < 12; i++) writer.event(3, AT, "BlockRemoved", i, null);
  const { events, leftOut } = watched?.read(RING_EVENTS) ?? { events: [], leftOut: 0 };
  expect(events.length).toBe(RING_EVENTS - 12);
  expect(events.every(({ type }) => type === "BlockStored")).toBe(true);
  expect(leftOut).toBe(12);
});

test("watchers of one rank share its ring, and one rank too many is refused until another is let go (T3)", () => {
  const { writer, reader } = tail();
  const first = reader.watch(0);
  const again = reader.watch(0);
  for (let slot = 1; slot < WATCHES_MAX; slot++) expect(reader.watch(slot)).not.toBeNull();
  expect(reader.watch(100)).toBeNull();
  writer.event(0, AT, "AllBlocksCleared", 0, null);
  writer.publish(0, 5, LAG);
  first?.end();
  first?.end();
  expect(again?.read(10).events.length).toBe(1);
  expect(reader.watch(100)).toBeNull();
  again?.end();
  const other = reader.watch(100);
  expect(other?.read(10)).toEqual({ events: [], leftOut: 0 });
});
