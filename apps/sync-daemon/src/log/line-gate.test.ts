/** The lines that the gate passes, by level and by budget. The clock is a number. */
import { Counter } from "@kvsync/observability/slots";
import fc from "fast-check";
import { expect, test } from "vitest";

import { LineGate, LINES_PER_SECOND } from "./line-gate.ts";
import { LINE_LEVELS, type LineLevel, LOG_LEVEL_MAX, LogLevel } from "./log-level.ts";
import type { LogLine } from "./log-line.ts";

class CountedDrops extends Counter {
  count = 0;
  override inc(): void {
    this.count += 1;
  }
}

function gateAt(verbosity: number) {
  const level = LogLevel.create(verbosity);
  const written: LogLine[] = [];
  const drops = new CountedDrops(new Float64Array(1), 0);
  const clock = { nowMs: 0 };
  const write = (line: LogLine): void => void written.push(line);
  const gate = new LineGate({ level, write, dropped: drops, now: () => clock.nowMs });
  return { gate, level, written, drops, clock };
}

const line = (level: LineLevel): LogLine => ({ level, event: "happened", message: "it happened", facts: {} });
const levels = fc.constantFrom(...(Object.keys(LINE_LEVELS) as LineLevel[]));

test("a line is written exactly when its level is at or below the log's, which is what isOn says", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: LOG_LEVEL_MAX }), levels, (verbosity, lineLevel) => {
      const { gate, written } = gateAt(verbosity);
      gate.write(line(lineLevel));
      expect(written.length === 1).toBe(LINE_LEVELS[lineLevel] <= verbosity);
      expect(gate.isOn(lineLevel)).toBe(written.length === 1);
    }),
  );
});

test("at level 0 warnings and errors are still written (V2)", () => {
  const { gate, written } = gateAt(0);
  for (const level of ["error", "warn", "info"] as const) gate.write(line(level));
  expect(written.map(({ level }) => level)).toEqual(["error", "warn"]);
});

test("a change of the level is seen by whoever attached to its memory", () => {
  const level = LogLevel.create(1);
  const other = LogLevel.attach(level.memory);
  expect(other.isOn("detail")).toBe(false);
  level.set(4);
  expect(other.isOn("detail")).toBe(true);
  expect(other.isOn("debug")).toBe(false);
});

test("lines beyond the budget are counted, and reported a second later before the next line", () => {
  const { gate, written, drops, clock } = gateAt(3);
  for (let i = 0; i < LINES_PER_SECOND + 7; i++) gate.write(line("event"));
  expect(written).toHaveLength(LINES_PER_SECOND);
  expect(drops.count).toBe(7);
  clock.nowMs = 1000;
  gate.write(line("event"));
  expect(written.slice(LINES_PER_SECOND)).toMatchObject([
    { level: "warn", event: "lines_left_out", facts: { lines: 7, per_second_max: LINES_PER_SECOND } },
    { level: "event" },
  ]);
});

test("details cannot displace what is important", () => {
  const { gate, written, drops } = gateAt(LOG_LEVEL_MAX);
  for (let i = 0; i < 2 * LINES_PER_SECOND; i++) gate.write(line("detail"));
  gate.write(line("error"));
  gate.write(line("info"));
  expect(written.slice(-2).map(({ level }) => level)).toEqual(["error", "info"]);
  expect(drops.count).toBe(LINES_PER_SECOND);
});

test("a line that is off takes nothing of the budget", () => {
  const { gate, written, level } = gateAt(0);
  for (let i = 0; i < 2 * LINES_PER_SECOND; i++) gate.write(line("event"));
  level.set(3);
  gate.write(line("event"));
  expect(written).toHaveLength(1);
});
