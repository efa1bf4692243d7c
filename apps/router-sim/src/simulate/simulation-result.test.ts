import { expect, it } from "vitest";

import { hitRate, type SimulationTotals } from "./simulation-result.ts";

it("the hit rate is a share of full prompt blocks, and 0 where there are none", () => {
  const totals = { promptBlocks: 8, hitBlocks: 2 } as SimulationTotals;
  expect(hitRate(totals)).toBe(0.25);
  expect(hitRate({ ...totals, promptBlocks: 0, hitBlocks: 0 })).toBe(0);
});
