/** The lines that the gate passes, by level and by limit. The clock is a number. */
import {
  LINE_BOUND_NAMES,
  LINE_BOUNDS,
  LINE_LEVELS,
  type LineBound,
  type LineLevel,
} from "@kvsync/observability/signals/log-event";
import { Counter } from "@kvsync/observability/slots";
import fc from "fast-check";
import { expect, test } from "vitest";

import { LineGate } from "./line-gate.ts";
import { LOG_LEVEL_MAX, LogLevel } from "./log-level.ts";
import type { LogLine, WriteEvent } from "./log-line.ts";
import { recordedLines } from "./testing/recorded-log.ts";

class CountedDrops extends Counter {
  count = 0;
  override inc(): void {
    this.count += 1;
  }
}

const RANK = { pod: "engine-0", model: "m", dp_rank: 0 };

/** An event of each level; those up to `info` that only the daemon can cause. */
const EVENT_OF_LEVEL: Readonly<Record<LineLevel, (write: WriteEvent) => void>> = {
  fatal: (write) => {
    write("stop_overdue", {});
  },
  error: (write) => {
    write("framework", { context: null }, { level: "error", text: "" });
  },
  warn: (write) => {
    write("snapshots_off", { folder: "/data", reason: "EACCES" });
  },
  info: (write) => {
    write("stopped", {});
  },
  summary: (write) => {
    write("gap_found", { ...RANK, missed_messages: 1 });
  },
  event: (write) => {
    write("event_applied", { ...RANK, event_type: "BlockStored", blocks: 1 });
  },
  detail: (write) => {
    write("message_taken", { ...RANK, lane: "live", frames: 3, bytes: 9, waited_ms: 0.5 });
  },
  debug: (write) => {
    write("state_changed", { ...RANK, state: "live", previous: "replaying" });
  },
};

function gateAt(verbosity: number) {
  const level = LogLevel.create(verbosity);
  const { lines: written, write } = recordedLines();
  const dropped = Object.fromEntries(
    LINE_BOUND_NAMES.map((name) => [name, new CountedDrops(new Float64Array(1), 0)]),
  ) as Record<LineBound, CountedDrops>;
  const clock = { nowMs: 0 };
  const gate = new LineGate({ thread: "ingest-0", level, write, dropped, now: () => clock.nowMs });
  const say = (lineLevel: LineLevel): void => {
    EVENT_OF_LEVEL[lineLevel](gate.write);
  };
  const refuse = (): void => {
    gate.write("engine_connected", { ...RANK, endpoint: "tcp://h:1" });
  };
  return { gate, level, written, dropped, clock, say, refuse };
}

const levels = fc.constantFrom(...(Object.keys(LINE_LEVELS) as LineLevel[]));
const { thread: THREAD_BOUND, details: DETAILS, peer: PEER } = LINE_BOUNDS;

test("a line is written exactly when its level is at or below the log's, which is what isOn says", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: LOG_LEVEL_MAX }), levels, (verbosity, lineLevel) => {
      const { gate, written, say } = gateAt(verbosity);
      say(lineLevel);
      expect(written.length === 1).toBe(LINE_LEVELS[lineLevel] <= verbosity);
      expect(gate.isOn(lineLevel)).toBe(written.length === 1);
    }),
  );
});

test("at level 0 warnings and errors are still written (V2)", () => {
  const { written, say } = gateAt(0);
  for (const level of ["fatal", "error", "warn", "info"] as const) say(level);
  expect(written.map(({ level }) => level)).toEqual(["fatal", "error", "warn"]);
});

test("a change of the level is seen by whoever attached to its memory", () => {
  const level = LogLevel.create(1);
  const other = LogLevel.attach(level.memory);
  expect(other.isOn("detail")).toBe(false);
  level.set(4);
  expect(other.isOn("detail")).toBe(true);
  expect(other.isOn("debug")).toBe(false);
});

test("lines beyond a limit are counted, and reported a second later", () => {
  const { gate, written, dropped, clock, say } = gateAt(3);
  for (let i = 0; i < DETAILS.burst + 7; i++) say("event");
  expect(written).toHaveLength(DETAILS.burst);
  expect(dropped.details.count).toBe(7);
  clock.nowMs = 999;
  gate.tick();
  expect(written).toHaveLength(DETAILS.burst);
  clock.nowMs = 1000;
  gate.tick();
  const { burst: burst_max, perSecond: per_second_max } = DETAILS;
  const facts = { bound: "details", of_event: null, lines: 7, burst_max, per_second_max };
  expect(written.slice(DETAILS.burst)).toMatchObject([
    { level: "warn", event: "lines_left_out", component: "ingest-0", facts },
  ]);
});

test("details cannot displace what is important", () => {
  const { written, dropped, say } = gateAt(LOG_LEVEL_MAX);
  for (let i = 0; i < 2 * DETAILS.burst; i++) say("detail");
  say("error");
  say("info");
  expect(written.slice(-2).map(({ level }) => level)).toEqual(["error", "info"]);
  expect(dropped.details.count).toBe(DETAILS.burst);
});

test("an event that peers can cause has a limit of its own, and displaces no other event", () => {
  const { gate, written, dropped, clock, say, refuse } = gateAt(1);
  const minutes = 10;
  for (; clock.nowMs < minutes * 60_000; clock.nowMs += 10) refuse();
  const connected = written.filter(({ event }) => event === "engine_connected").length;
  expect(connected).toBeLessThanOrEqual(PEER.burst + PEER.perSecond * minutes * 60);
  expect(connected + dropped.peer.count).toBe(minutes * 6000);
  expect(dropped.thread.count).toBe(0);
  clock.nowMs += 1000;
  gate.tick();
  say("info");
  expect(written.slice(-2)).toMatchObject([
    { event: "lines_left_out", facts: { bound: "peer", of_event: "engine_connected" } },
    { event: "stopped" },
  ]);
});

test("no mix of lines passes more than each limit allows, and each line is written, or counted and in one report (G1, G2)", () => {
  const step = fc.record({
    level: levels,
    isPeer: fc.boolean(),
    times: fc.integer({ min: 1, max: 700 }),
    afterMs: fc.nat(4000),
    ticks: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const { gate, written, dropped, clock, say, refuse } = gateAt(LOG_LEVEL_MAX);
      let said = 0;
      for (const { level, isPeer, times, afterMs, ticks } of steps) {
        clock.nowMs += afterMs;
        if (ticks) gate.tick();
        for (let i = 0; i < times; i++) {
          if (isPeer) refuse();
          else say(level);
        }
        said += times;
      }
      const lines = written.filter(({ event }) => event !== "lines_left_out");
      const count = (is: (line: LogLine) => boolean): number => lines.filter(is).length;
      const most = ({ perSecond, burst }: typeof THREAD_BOUND | typeof PEER): number =>
        burst + (perSecond * clock.nowMs) / 1000;
      const isDetail = ({ level }: LogLine): boolean => LINE_LEVELS[level] > LINE_LEVELS.info;
      expect(count(isDetail)).toBeLessThanOrEqual(most(DETAILS));
      expect(count((line) => !isDetail(line) && line.level !== "fatal")).toBeLessThanOrEqual(
        most(THREAD_BOUND),
      );
      expect(count(({ event }) => event === "engine_connected")).toBeLessThanOrEqual(most(PEER));
      const left = LINE_BOUND_NAMES.reduce((sum, name) => sum + dropped[name].count, 0);
      expect(lines.length + left).toBe(said);
      clock.nowMs += 20_000;
      gate.tick();
      const reports = (): LogLine[] => written.filter(({ event }) => event === "lines_left_out");
      expect(reports().reduce((sum, { facts }) => sum + Number(facts["lines"]), 0)).toBe(left);
      const reported = reports().length;
      gate.tick();
      expect(reports()).toHaveLength(reported);
    }),
    { numRuns: 50 },
  );
});

test("a fleet that restarts writes some lines of each event and the number of the others", () => {
  const { gate, written, dropped, clock, refuse } = gateAt(1);
  for (let engine = 0; engine < 1000; engine++) {
    refuse();
    gate.write("rank_forgotten", RANK);
  }
  gate.write("engine_restarted", RANK);
  const count = (code: string): number => written.filter(({ event }) => event === code).length;
  expect([count("engine_connected"), count("rank_forgotten"), count("engine_restarted")]).toEqual([
    PEER.burst,
    PEER.burst,
    1,
  ]);
  clock.nowMs = 1000;
  gate.tick();
  const left = {
    bound: "peer",
    lines: 1000 - PEER.burst,
    burst_max: PEER.burst,
    per_second_max: PEER.perSecond,
  };
  expect(written.slice(-2).map(({ facts }) => facts)).toEqual([
    { ...left, of_event: "engine_connected" },
    { ...left, of_event: "rank_forgotten" },
  ]);
  expect(dropped.peer.count).toBe(2 * (1000 - PEER.burst));
});

test("however lines of one event come, they are bounded in every window (G1)", () => {
  const step = fc.record({ waitMs: fc.nat(4000), lines: fc.nat(60) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { written, clock, refuse } = gateAt(1);
      const passed: number[] = [];
      for (const { waitMs, lines } of steps) {
        clock.nowMs += waitMs;
        const before = written.length;
        for (let i = 0; i < lines; i++) refuse();
        for (let i = before; i < written.length; i++) passed.push(clock.nowMs);
      }
      for (const [i, fromMs] of passed.entries())
        for (const [j, toMs] of passed.entries())
          if (j >= i)
            expect(j - i + 1).toBeLessThanOrEqual(
              PEER.burst + (PEER.perSecond * (toMs - fromMs)) / 1000 + 1e-6,
            );
    }),
  );
});

test("the reports of one limit are ten seconds apart while lines are left out", () => {
  const { gate, written, clock, refuse } = gateAt(1);
  const reportedAtMs: number[] = [];
  for (; clock.nowMs <= 25_000; clock.nowMs += 100) {
    for (let i = 0; i < 10; i++) refuse();
    const before = written.length;
    gate.tick();
    if (written.length > before) reportedAtMs.push(clock.nowMs);
  }
  expect(reportedAtMs).toHaveLength(3);
  expect(reportedAtMs.slice(1).map((atMs, i) => atMs - (reportedAtMs[i] ?? 0))).toEqual([10_000, 10_000]);
});

test("a fatal line is written whatever was written before (G3)", () => {
  const { written, say } = gateAt(1);
  for (let i = 0; i < 2 * THREAD_BOUND.burst; i++) say("info");
  say("fatal");
  expect(written.at(-1)).toMatchObject({ level: "fatal", event: "stop_overdue" });
});

test("a line that is off takes nothing of a limit", () => {
  const { written, level, say } = gateAt(0);
  for (let i = 0; i < 2 * DETAILS.burst; i++) say("event");
  level.set(3);
  say("event");
  expect(written).toHaveLength(1);
});
