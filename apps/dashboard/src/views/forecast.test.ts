/** The forecast: a steady rise has one, and nothing else. */
import { expect, test } from "vitest";

import { secondsUntil } from "./forecast.ts";

const TIMES = Array.from({ length: 100 }, (_, i) => 1000 + 5 * i);

test("a level that rises by 2 a second reaches its limit when a ruler says so", () => {
  expect(
    secondsUntil(
      TIMES,
      TIMES.map((time) => 2 * (time - 1000)),
      990 + 2 * 3600,
    ),
  ).toBeCloseTo(3600, 6);
});

test("F1: a level that stays, falls, jumps about, or was seen for a minute has no forecast", () => {
  const of = (value: (i: number) => number | null): number | null =>
    secondsUntil(
      TIMES,
      TIMES.map((_, i) => value(i)),
      1e6,
    );
  expect(of(() => 7)).toBeNull();
  expect(of((i) => 1000 - i)).toBeNull();
  expect(of((i) => (i % 2) * 1000 + i)).toBeNull();
  expect(of((i) => (i < 17 ? i : null))).toBeNull();
  expect(of((i) => (i < 18 ? i : null))).not.toBeNull();
  expect(of(() => null)).toBeNull();
});

test("a level beyond its limit has no time left, and none below zero", () => {
  expect(
    secondsUntil(
      TIMES,
      TIMES.map((_, i) => i),
      50,
    ),
  ).toBe(0);
});
