/** The share of the last hour that was exact, and the changes that it is made of. */
import { expect, test } from "vitest";

import type { Turn } from "../board/rank-history.ts";
import { exactShare, HOUR_MS, lastHour } from "./exact-share.ts";

const NOW_MS = 10 * HOUR_MS;

function turn(minutesAgo: number, trust: Turn["trust"]): Turn {
  return { atMs: NOW_MS - minutesAgo * 60_000, state: "live", trust };
}

test("the share is that of the time since the first change, and of the last hour at most", () => {
  expect(exactShare([turn(20, "unknown"), turn(15, "exact")], NOW_MS)).toBe(0.75);
  expect(exactShare([turn(600, "stale"), turn(300, "exact")], NOW_MS)).toBe(1);
  expect(exactShare([turn(600, "exact"), turn(6, "stale")], NOW_MS)).toBe(0.9);
  expect(exactShare([turn(600, "partial")], NOW_MS)).toBe(0);
});

test("nothing is known before the first change, and a moment that was not exact is never a whole hour", () => {
  expect(exactShare([], NOW_MS)).toBeNull();
  const blink = [turn(600, "exact"), turn(5, "stale"), { ...turn(5, "exact"), atMs: NOW_MS - 299_999 }];
  expect(exactShare(blink, NOW_MS)).toBe(0.999);
});

test("the hour has its changes and the one that led into it", () => {
  const turns = [turn(200, "unknown"), turn(100, "exact"), turn(30, "stale"), turn(29, "exact")];
  expect(lastHour(turns, NOW_MS)).toEqual(turns.slice(1));
  expect(lastHour(turns.slice(0, 2), NOW_MS)).toEqual(turns.slice(1, 2));
  expect(lastHour([], NOW_MS)).toEqual([]);
});
