/** Counts of lookups between two moments. */
import { expect, test } from "vitest";

import { LookupTally, lookupsBetween, MODELS_MAX } from "./lookup-tally.ts";

test("each answer is counted once, by its decision and its time (T1)", () => {
  const tally = new LookupTally(() => true);
  tally.answered("exact", 1);
  const from = tally.mark();
  for (let i = 0; i < 98; i++) tally.answered("exact", 0.0003);
  tally.answered("degraded", 0.02);
  tally.answered("fallback", 0.02);
  const { decisions, p50, p99 } = lookupsBetween(from, tally.mark());
  expect(decisions).toEqual({ exact: 98, degraded: 1, fallback: 1 });
  expect(p50 ?? 0).toBeGreaterThan(0.0003 / 1.2);
  expect(p50 ?? 0).toBeLessThan(0.0003 * 1.2);
  expect(p99 ?? 0).toBeGreaterThan(0.02 / 1.2);
  expect(p99 ?? 0).toBeLessThan(0.02 * 1.2);
});

test.each([0, -1, 1e-9, 1e9])("a time of %d s is counted at an end of the scale", (seconds) => {
  const tally = new LookupTally(() => true);
  const from = tally.mark();
  tally.answered("exact", seconds);
  expect(lookupsBetween(from, tally.mark()).p50).not.toBeNull();
});

test("without a lookup there is no time and no hit rate", () => {
  const tally = new LookupTally(() => true);
  tally.answered("exact", 1);
  tally.held("a", 1);
  const mark = tally.mark();
  expect(lookupsBetween(mark, tally.mark())).toEqual({
    decisions: { exact: 0, degraded: 0, fallback: 0 },
    p50: null,
    p99: null,
    hits: new Map(),
  });
});

test("a model's hit rate is of the questions between two moments, and models beyond the limit take the place of one that is gone (T2)", () => {
  const served = new Set(Array.from({ length: MODELS_MAX + 1 }, (_, i) => `model-${i}`));
  const tally = new LookupTally((model) => served.has(model));
  for (const model of served) tally.held(model, 1);
  const from = tally.mark();
  expect(from.hits.size).toBe(MODELS_MAX);
  tally.held("model-0", 0.25);
  tally.held("model-0", 0.75);
  tally.held(`model-${MODELS_MAX}`, 1);
  expect(lookupsBetween(from, tally.mark()).hits).toEqual(new Map([["model-0", 0.5]]));
  served.delete("model-3");
  tally.held(`model-${MODELS_MAX}`, 0.5);
  expect(lookupsBetween(from, tally.mark()).hits.get(`model-${MODELS_MAX}`)).toBe(0.5);
  expect(tally.mark().hits.has("model-3")).toBe(false);
});
