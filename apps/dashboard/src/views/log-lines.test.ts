/** Lines of the log: each once, bounded, and filtered. */
import type { LogLine } from "@kvsync/client";
import { expect, test } from "vitest";

import { filterLines, KEPT_MAX, withAnswer } from "./log-lines.ts";

function line(n: number, more: Partial<LogLine> = {}): LogLine {
  const time = "2026-01-01T00:00:00.000Z";
  const common = {
    level: "info",
    verbosity: 1,
    component: "sync",
    event: "started",
    message: "text",
  } as const;
  return { n, time, ...common, facts: {}, ...more };
}

const numbers = (lines: readonly LogLine[]): number[] => lines.map(({ n }) => n);

test("L1: a line that comes twice is kept once, and only the latest lines are kept", () => {
  const first = withAnswer([], { last: 2, lines: [line(1), line(2)] });
  expect(numbers(withAnswer(first, { last: 3, lines: [line(2), line(3)] }))).toEqual([1, 2, 3]);
  const many = Array.from({ length: KEPT_MAX + 5 }, (_, i) => line(i + 1));
  expect(numbers(withAnswer([], { last: many.length, lines: many }))).toEqual(numbers(many.slice(5)));
});

test("a daemon that started again replaces the lines of the one before", () => {
  const before = withAnswer([], { last: 900, lines: [line(899), line(900)] });
  expect(numbers(withAnswer(before, { last: 2, lines: [line(1), line(2)] }))).toEqual([1, 2]);
});

test("lines are found by level, event, engine and text, the newest first", () => {
  const lines = [
    line(1, { level: "debug", facts: { pod: "a" } }),
    line(2, { level: "warn", event: "gap_found", facts: { pod: "b", missed: 40 } }),
    line(3, { level: "error", message: "The disk is full", facts: null }),
  ];
  const found = (filter: object): number[] =>
    numbers(filterLines(lines, { level: "debug", text: "", event: "", pod: "", ...filter }));
  expect(found({})).toEqual([3, 2, 1]);
  expect(found({ level: "warn" })).toEqual([3, 2]);
  expect(found({ event: "gap_found" })).toEqual([2]);
  expect(found({ pod: "a" })).toEqual([1]);
  expect(found({ text: "DISK" })).toEqual([3]);
  expect(found({ text: '"missed":40' })).toEqual([2]);
});
