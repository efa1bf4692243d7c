/** How patience grows and what starts it over, call by call (retry-schedule.ts). */
import { expect, test } from "vitest";

import { RetrySchedule } from "./retry-schedule.ts";
import { DEFAULT_SYNC_LIMITS } from "./sync-settings.ts";

const LIMITS = { ...DEFAULT_SYNC_LIMITS, failedAttemptsMax: 3, pauseMs: 100, pauseMsMax: 400, pausesMax: 4 };
const NOW_MS = 5000;

/** Pauses after each of these failures; 0 for none, Infinity for going on without history. */
function pauses(...failures: readonly (readonly ["idle" | "violation" | "refused", boolean])[]): number[] {
  const schedule = new RetrySchedule(LIMITS);
  return failures.map(([reason, hasApplied]) =>
    Math.max(0, schedule.failed(reason, hasApplied, NOW_MS) - NOW_MS),
  );
}

const times = <One>(count: number, one: One): One[] => Array.from({ length: count }, () => one);

test("three failures are a pause, pauses double up to the longest, and the fifth is none: the stream goes on without history", () => {
  expect(pauses(...times(15, ["idle", false] as const))).toEqual([
    ...[0, 0, 100],
    ...[0, 0, 200],
    ...[0, 0, 400],
    ...[0, 0, 400],
    ...[0, 0, Infinity],
  ]);
});

test("an attempt that brought something and broke off is forgiven, however often", () => {
  expect(pauses(...times(20, ["idle", true] as const))).toEqual(times(20, 0));
});

test("one that ends by a violation is not, whatever came before it", () => {
  const failed = pauses(...times(15, ["violation", true] as const));
  expect(failed).toEqual(pauses(...times(15, ["violation", false] as const)));
  expect(failed).toEqual(pauses(...times(15, ["idle", false] as const)));
});

test("a violation after two failures is the third, and a good attempt after it starts over", () => {
  expect(pauses(["idle", false], ["idle", false], ["violation", true])).toEqual([0, 0, 100]);
  expect(pauses(["violation", true], ["violation", true], ["idle", true], ["violation", true])).toEqual(
    times(4, 0),
  );
});

test("refusals for lack of room count for nothing", () => {
  expect(pauses(...times(20, ["refused", false] as const))).toEqual(times(20, 0));
  expect(pauses(["violation", false], ["refused", false], ["violation", false], ["idle", false])).toEqual([
    0, 0, 0, 100,
  ]);
});
