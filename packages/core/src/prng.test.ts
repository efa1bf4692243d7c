import { expect, test } from "vitest";
import { Prng } from "./prng.ts";

test("equal seeds give equal sequences, and seeds that differ in any of 53 bits give different ones", () => {
  const sequenceOf = (seed: number): string => {
    const random = new Prng(seed);
    return Array.from({ length: 8 }, () => random.nextU32()).join(" ");
  };
  expect(sequenceOf(7)).toBe(sequenceOf(7));
  const seeds = [0, ...Array.from({ length: 53 }, (_, bit) => 2 ** bit)];
  expect(new Set(seeds.map(sequenceOf)).size).toBe(seeds.length);
});

test("numbers below a count cover its range evenly", () => {
  const random = new Prng(1);
  const counts = new Uint32Array(10);
  for (let i = 0; i < 100_000; i++) counts[random.below(10)]++;
  expect(Math.min(...counts)).toBeGreaterThan(9_500);
  expect(Math.max(...counts)).toBeLessThan(10_500);
});

test("a chance comes true as often as it says", () => {
  const random = new Prng(2);
  let hits = 0;
  for (let i = 0; i < 100_000; i++) if (random.chance(0.3)) hits++;
  expect(hits / 100_000).toBeCloseTo(0.3, 1);
  expect([random.chance(0), random.chance(1)]).toEqual([false, true]);
});
