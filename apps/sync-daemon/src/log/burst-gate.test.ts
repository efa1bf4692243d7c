/** The lines that pass when many engines have the same news at once. The clock is a number. */
import { Counter } from "@kvsync/observability/slots";
import fc from "fast-check";
import { expect, test } from "vitest";

import { BURST_LINES_MAX, BURST_LINES_PER_SECOND, BurstGate } from "./burst-gate.ts";
import { LineGate } from "./line-gate.ts";
import { type LineLevel, LOG_LEVEL_MAX, LogLevel } from "./log-level.ts";
import type { LogLine } from "./log-line.ts";

class CountedDrops extends Counter {
  count = 0;
  override inc(): void {
    this.count += 1;
  }
}

function gateAt(verbosity: number) {
  const written: { readonly line: LogLine; readonly atMs: number }[] = [];
  const drops = new CountedDrops(new Float64Array(1), 0);
  const clock = { nowMs: 0 };
  const now = (): number => clock.nowMs;
  const write = (line: LogLine): void => void written.push({ line, atMs: clock.nowMs });
  const gate = new LineGate({ level: LogLevel.create(verbosity), write, dropped: drops, now });
  const burst = new BurstGate({ gate, dropped: drops, now });
  const of = (event: string) => written.filter(({ line }) => line.event === event);
  const reports = () => of("lines_left_out").map(({ line }) => line.facts);
  return { burst, written, drops, clock, of, reports };
}

const line = (event: string, level: LineLevel = "warn"): LogLine => ({
  level,
  event,
  message: event,
  facts: {},
});

test("a fleet that restarts writes some lines of each event and the number of the others", () => {
  const { burst, clock, of, reports, drops } = gateAt(1);
  for (let engine = 0; engine < 1000; engine++) {
    burst.write(line("engine_disconnected"));
    burst.write(line("stream_not_exact"));
  }
  burst.tick();
  expect(of("engine_disconnected")).toHaveLength(BURST_LINES_MAX);
  expect(of("stream_not_exact")).toHaveLength(BURST_LINES_MAX);
  expect(reports()).toEqual([]);
  clock.nowMs = 1000;
  burst.tick();
  const left = {
    lines: 1000 - BURST_LINES_MAX,
    burst_max: BURST_LINES_MAX,
    per_second_max: BURST_LINES_PER_SECOND,
  };
  expect(reports()).toEqual([
    { of_event: "engine_disconnected", ...left },
    { of_event: "stream_not_exact", ...left },
  ]);
  expect(drops.count).toBe(2 * (1000 - BURST_LINES_MAX));
});

test("an engine that says something else is heard while the others say the same (U3)", () => {
  const { burst, of } = gateAt(1);
  for (let engine = 0; engine < 1000; engine++) burst.write(line("engine_disconnected"));
  burst.write(line("history_lost"));
  expect(of("history_lost")).toHaveLength(1);
});

test("details are not bounded here, and a line that is off takes nothing", () => {
  const detailed = gateAt(LOG_LEVEL_MAX);
  for (let i = 0; i < 500; i++) detailed.burst.write(line("gap_found", "summary"));
  expect(detailed.of("gap_found")).toHaveLength(500);
  const quiet = gateAt(0);
  for (let i = 0; i < 500; i++) quiet.burst.write(line("said", "info"));
  quiet.burst.write(line("said", "warn"));
  expect(quiet.of("said")).toHaveLength(1);
  expect(quiet.drops.count).toBe(0);
});

test("U1, U2: however lines come, they are bounded in every window, and none is lost without a count", () => {
  const steps = fc.array(
    fc.record({
      waitMs: fc.integer({ min: 0, max: 4000 }),
      lines: fc.integer({ min: 0, max: 60 }),
      ticks: fc.boolean(),
    }),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(steps, (all) => {
      const { burst, clock, of, reports, drops } = gateAt(1);
      let said = 0;
      for (const { waitMs, lines, ticks } of all) {
        clock.nowMs += waitMs;
        for (let i = 0; i < lines; i++) burst.write(line("said"));
        said += lines;
        if (ticks) burst.tick();
      }
      const passed = of("said").map(({ atMs }) => atMs);
      for (const [i, fromMs] of passed.entries())
        for (const [j, toMs] of passed.entries())
          if (j >= i)
            expect(j - i + 1).toBeLessThanOrEqual(
              BURST_LINES_MAX + (BURST_LINES_PER_SECOND * (toMs - fromMs)) / 1000 + 1e-6,
            );
      clock.nowMs += 20_000;
      burst.tick();
      const reported = reports().reduce((sum, { lines }) => sum + Number(lines), 0);
      expect(passed.length + reported).toBe(said);
      expect(drops.count).toBe(reported);
      const count = reports().length;
      burst.tick();
      expect(reports()).toHaveLength(count);
    }),
  );
});
