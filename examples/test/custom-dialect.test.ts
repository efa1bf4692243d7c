import { expect, test } from "vitest";

import { CustomEngine } from "../src/custom-dialect.ts";

test("lines become blocks of the index, a dropped block ends the match, and a gap lowers the trust", () => {
  const engine = new CustomEngine(0);
  const first = { id: 7, after: null, tokens: [1, 2] };
  engine.take(
    JSON.stringify({ n: 0, at: 1, add: [first, { id: 8, after: 7, tokens: [3, 4] }], drop: [] }),
    1,
  );
  expect([engine.matchedBlocks([1, 2, 3, 4, 5], 2), engine.trust]).toEqual([2, "exact"]);
  engine.take(JSON.stringify({ n: 1, at: 2, add: [], drop: [8] }), 2);
  expect([engine.matchedBlocks([1, 2, 3, 4, 5], 2), engine.trust]).toEqual([1, "exact"]);
  engine.take(JSON.stringify({ n: 3, at: 3, add: [first], drop: [] }), 3);
  expect(engine.trust).not.toBe("exact");
});
