/** The block sizes of one rank (Z1 to Z3 of rank-block-sizes.ts). */
import { describe, expect, test } from "vitest";
import { RANK_BLOCK_SIZES_MAX, RankBlockSizes } from "./rank-block-sizes.ts";

const SIZES = Array.from({ length: RANK_BLOCK_SIZES_MAX }, (_, i) => 16 << i);

function full(): RankBlockSizes {
  const sizes = new RankBlockSizes();
  for (const size of SIZES) expect([sizes.take(size), sizes.areTooMany]).toEqual([true, false]);
  return sizes;
}

describe("block sizes of a rank", () => {
  test("are taken up to the limit, and one more is too many until a clear (Z1)", () => {
    const sizes = full();
    for (const size of SIZES) expect(sizes.take(size)).toBe(true);
    expect([sizes.take(7), sizes.areTooMany]).toEqual([false, true]);
    sizes.clear();
    expect([sizes.areTooMany, sizes.take(7), sizes.state()]).toEqual([false, true, [7]]);
  });

  test("have the first that was asked about as the rank's own, until a clear (Z2)", () => {
    const sizes = new RankBlockSizes();
    expect([sizes.isOther(32), sizes.isOther(16), sizes.isOther(32)]).toEqual([false, true, false]);
    sizes.clear();
    expect([sizes.isOther(16), sizes.isOther(32)]).toEqual([false, true]);
  });

  test("go on from their state (Z3)", () => {
    const next = new RankBlockSizes();
    next.restore(full().state());
    expect([next.areTooMany, next.isOther(SIZES[0]), next.isOther(SIZES[1])]).toEqual([false, false, true]);
    expect([next.take(SIZES[3]), next.take(7), next.areTooMany]).toEqual([true, false, true]);
    const setAside = new RankBlockSizes();
    setAside.restore(next.state());
    expect(setAside.areTooMany).toBe(true);
  });
});
