/** Borrowed levels go back. Timers are the runner's. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { LevelControl, logLevelBody } from "./level-control.ts";
import { LogLevel } from "./log-level.ts";

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse("2026-01-01T00:00:00Z") });
});

afterEach(() => {
  vi.useRealTimers();
});

function controlled() {
  const level = LogLevel.create(1);
  return { level, control: new LevelControl(level, Date.now) };
}

test("a level that is set without a time stays", () => {
  const { level, control } = controlled();
  control.set(4, null);
  vi.advanceTimersByTime(1e9);
  expect(level.current).toBe(4);
  expect(control.state()).toEqual({ level: 4, configured_level: 1, until: null });
});

test("a borrowed level goes back to the configured one, and says when", () => {
  const { level, control } = controlled();
  control.set(5, 60);
  expect(control.state()).toEqual({ level: 5, configured_level: 1, until: "2026-01-01T00:01:00.000Z" });
  vi.advanceTimersByTime(59_999);
  expect(level.current).toBe(5);
  vi.advanceTimersByTime(1);
  expect(control.state()).toEqual({ level: 1, configured_level: 1, until: null });
});

test("a later change replaces an earlier loan", () => {
  const { level, control } = controlled();
  control.set(5, 10);
  control.set(3, null);
  vi.advanceTimersByTime(60_000);
  expect(level.current).toBe(3);
});

test.each([
  [{ level: 6 }, "level", "an integer from 0 to 5"],
  [{ level: -1 }, "level", "an integer from 0 to 5"],
  [{ level: "debug" }, "level", "an integer from 0 to 5"],
  [{ level: 1, seconds: 0 }, "seconds", "seconds, a number from 1 to 86400"],
  [{ level: 1, seconds: "60" }, "seconds", "seconds, a number from 1 to 86400"],
])("%j is refused, naming %s and what is expected", (body, field, expected) => {
  const issues = logLevelBody.safeParse(body).error?.issues ?? [];
  expect(issues.map(({ path, message }) => [path.join("."), message])).toEqual([[field, expected]]);
});
