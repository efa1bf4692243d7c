/** The choice of the stream that moves; the clock is a number. */
import { expect, test } from "vitest";

import { COOLDOWN_MS, streamToMove, workerForRank } from "./stream-choice.ts";

const NEVER = Number.NEGATIVE_INFINITY;

test("a stream that moved stays for COOLDOWN_MS, and may move again after that (M1)", () => {
  const own = [
    [3, { rate: 50, movedMs: 1000 }],
    [4, { rate: 50, movedMs: 1000 }],
  ] as const;
  expect(streamToMove(own, 0.8, 1000 + COOLDOWN_MS)).toBeNull();
  expect(streamToMove(own, 0.8, 1001 + COOLDOWN_MS)).toBe(3);
});

test("of any streams the chosen one makes the difference smaller, and no other makes it smaller still (M2)", () => {
  const rates = [0, 1, 7, 20, 60, 100];
  for (const one of rates)
    for (const two of rates)
      for (const three of rates)
        for (const excess of [0.1, 0.3, 0.6, 0.9, 1]) {
          const own = [one, two, three].map((rate, slot) => [slot, { rate, movedMs: NEVER }] as const);
          const load = one + two + three;
          const left = own.map(([, { rate }]) => Math.abs(excess * load - 2 * rate));
          const useful = left.filter((difference) => difference < excess * load - 1e-9);
          const slot = streamToMove(own, excess, 0);
          if (slot !== null) expect(left[slot]).toBeCloseTo(Math.min(...useful), 9);
          else expect(useful).toEqual([]);
        }
});

test("a new rank goes to a worker with the fewest ranks, of these to the one with most of its model (M3)", () => {
  const at = (worker: number, model: string) => ({ worker, rank: { model } });
  expect(workerForRank("a", 3, [])).toBe(0);
  expect(workerForRank("a", 3, [at(0, "a"), at(2, "b")])).toBe(1);
  expect(workerForRank("a", 2, [at(0, "b"), at(1, "a")])).toBe(1);
  expect(workerForRank("b", 2, [at(0, "b"), at(1, "a")])).toBe(0);
  expect(workerForRank("a", 2, [at(0, "b"), at(1, "a"), at(1, "a")])).toBe(0);
});
