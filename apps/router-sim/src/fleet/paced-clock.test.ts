import { expect, it } from "vitest";

import { PacedClock } from "./paced-clock.ts";

it("modelled time follows real time at its ratio", () => {
  let now = 5_000;
  const clock = new PacedClock(10, () => now);
  expect(clock.targetSeconds).toBe(0);
  clock.start();
  now += 1_500;
  expect(clock.targetSeconds).toBeCloseTo(15);
});

it("time stands still while paused, and goes on from what was reached", () => {
  let now = 0;
  const clock = new PacedClock(2, () => now);
  clock.start();
  now = 1_000;
  clock.pause(1.9);
  now = 50_000;
  expect(clock.targetSeconds).toBe(1.9);
  clock.start();
  clock.start();
  now = 51_000;
  expect(clock.targetSeconds).toBeCloseTo(3.9);
});

it("a fleet that cannot keep up slows the world down instead of catching up in a burst, and the slip is counted", () => {
  let now = 0;
  const clock = new PacedClock(10, () => now);
  clock.start();
  now = 1_000;
  clock.reached(9);
  expect(clock.slipSeconds).toBe(0);
  clock.reached(2);
  expect(clock.slipSeconds).toBeCloseTo(0.55);
  expect(clock.targetSeconds).toBeCloseTo(4.5);
  now = 1_100;
  expect(clock.targetSeconds).toBeCloseTo(5.5);
  // The schedule stays: modelled second 10 was due after one real second, however late it comes.
  expect(clock.dueMs(10)).toBeCloseTo(1_000);
});
