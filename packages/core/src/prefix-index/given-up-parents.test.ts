/** Parents of given-up stores: the parents that are found (G1), and the bound (G2). */
import { describe, expect, test } from "vitest";
import { GivenUpParents, PARENTS_MAX } from "./given-up-parents.ts";

const names = (...lows: number[]): Uint32Array => Uint32Array.from(lows.flatMap((low) => [low, 7]));

describe("GivenUpParents", () => {
  test("finds what was added, of the rank that added it, until it is cleared (G1)", () => {
    const parents = new GivenUpParents();
    for (let low = 0; low < 1_000; low += 1) parents.add(3, low, 7);
    const isEachFound = Array.from({ length: 1_000 }, (_, low) => parents.hasAny(3, names(low), 1));
    expect(isEachFound.every((found) => found)).toBe(true);
    expect([parents.hasAny(3, names(5_000, 1, 6_000), 3), parents.hasAny(4, names(1), 1)]).toEqual([
      true,
      false,
    ]);
    parents.clearRank(3);
    expect(parents.hasAny(3, names(1), 1)).toBe(false);
  });

  test("takes few other names for one of them, and every name beyond the bound (G2)", () => {
    const parents = new GivenUpParents();
    for (let low = 0; low < PARENTS_MAX; low += 1) parents.add(3, low, 7);
    let wrong = 0;
    for (let low = 1e6; low < 1.1e6; low += 1) wrong += Number(parents.hasAny(3, names(low), 1));
    expect(wrong).toBeLessThan(20);
    parents.add(3, PARENTS_MAX, 7);
    expect(parents.hasAny(3, names(1e7), 1)).toBe(true);
  });
});
