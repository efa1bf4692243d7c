import { expect, test } from "vitest";

import { FleetIndex } from "./fleet-index.ts";

test("a fleet beyond the rank slots of one index is found at its engines' positions", () => {
  const index = new FleetIndex(8, 10_000);
  const words = Uint32Array.of(1, 11, 2, 12, 3, 13);
  index.writer(3).stored(words, 3, false);
  index.writer(4099).stored(words.subarray(0, 4), 2, false);
  index.writer(9999).stored(words.subarray(0, 2), 1, false);
  const found = (): readonly (readonly number[])[] => {
    const all: number[][] = [];
    index.match(words, 3, (...one) => all.push(one));
    return all;
  };
  expect(found()).toEqual([
    [3, 3, 3],
    [4099, 2, 2],
    [9999, 1, 1],
  ]);
  index.writer(4099).removed(0, words.subarray(2, 4), 1);
  index.writer(9999).cleared();
  expect(found()).toEqual([
    [3, 3, 3],
    [4099, 1, 1],
  ]);
  expect(() => index.writer(12_288)).toThrow(RangeError);
  index.close();
});
