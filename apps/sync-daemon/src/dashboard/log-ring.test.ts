/** The ring of log lines: bounded, numbered, filtered. */
import { expect, test } from "vitest";

import { eventWriter, type LogLine } from "../log/log-line.ts";
import { LINE_CHARACTERS_MAX, LINES_MAX, LogRing } from "./log-ring.ts";

function ringWith(write: (log: ReturnType<typeof eventWriter>) => void): LogRing {
  const ring = new LogRing(() => 1_764_371_000_000);
  write(
    eventWriter("ingest-0", (line: LogLine) => {
      ring.add(line);
    }),
  );
  return ring;
}

const ALL = { after: 0, level: "debug", limit: LINES_MAX } as const;
const names = (pod: string) => ({ pod, model: "m", dp_rank: 0 });

test("the latest lines are kept, and each number is one more than the last (R1)", () => {
  const ring = ringWith((log) => {
    for (let i = 0; i < LINES_MAX + 25; i++) log("rank_followed", names(`engine-${i}`));
  });
  const lines = ring.lines(ALL);
  expect(ring.last).toBe(LINES_MAX + 25);
  expect(lines.map(({ n }) => n)).toEqual(Array.from({ length: LINES_MAX }, (_, i) => i + 26));
  expect(lines[0]).toMatchObject({
    time: "2025-11-28T23:03:20.000Z",
    event: "rank_followed",
    facts: { pod: "engine-25" },
  });
  expect(ring.lines({ ...ALL, after: ring.last - 2 }).map(({ n }) => n)).toEqual([1024, 1025]);
  expect(ring.lines({ ...ALL, limit: 3 }).map(({ n }) => n)).toEqual([1023, 1024, 1025]);
});

test("lines are found by severity, event and engine", () => {
  const ring = ringWith((log) => {
    log("rank_followed", names("a"));
    log("gap_found", { ...names("a"), missed_messages: 3 });
    log("engine_restarted", names("b"));
  });
  const found = (filter: object): string[] => ring.lines({ ...ALL, ...filter }).map(({ event }) => event);
  expect(found({})).toEqual(["rank_followed", "gap_found", "engine_restarted"]);
  expect(found({ level: "info" })).not.toContain("gap_found");
  expect(found({ pod: "a" })).toEqual(["rank_followed", "gap_found"]);
  expect(found({ event: "engine_restarted" })).toEqual(["engine_restarted"]);
});

test("a line that is too long is kept without its facts (R2)", () => {
  const ring = ringWith((log) => {
    log("rank_followed", names("x".repeat(LINE_CHARACTERS_MAX)));
  });
  expect(ring.lines(ALL)[0]).toMatchObject({ event: "rank_followed", facts: null });
});
