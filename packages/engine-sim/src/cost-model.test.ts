import { expect, it } from "vitest";
import { COST_MODELS, stepSeconds } from "./cost-model.ts";

const small = COST_MODELS["llama-3.1-8b/1xh100"];
const large = COST_MODELS["llama-3.1-70b/4xh100"];

it("weights and KV are those of the published models", () => {
  // 8.03 billion parameters of two bytes at 80 % of 3.35 TB/s; 70.6 billion at four times that, and 160 all-reduces.
  expect(small.stepSeconds).toBeCloseTo((2 * 8.03e9) / (0.8 * 3.35e12), 5);
  expect(large.stepSeconds - 160 * 10e-6).toBeCloseTo((2 * 70.6e9) / (4 * 0.8 * 3.35e12), 4);
  // 131,072 and 327,680 bytes of KV per token beside the weights.
  expect(small.kvTokens * 131_072 + 2 * 8.03e9).toBeLessThan(72e9);
  expect(large.kvTokens * 327_680 + 2 * 70.6e9).toBeLessThan(4 * 72e9);
  expect(small.kvTokens).toBeGreaterThan(350_000);
  expect(large.kvTokens).toBeGreaterThan(350_000);
});

it("a decode step is bound by the weights, a prefill by arithmetic, a long one by attention", () => {
  const decode = { tokens: 32, pairs: 32 * 2000, contextTokens: 32 * 2000, loadedTokens: 0 };
  expect(stepSeconds(small, decode) / small.stepSeconds).toBeLessThan(2);
  const prefill = (tokens: number, before: number): number =>
    stepSeconds(small, {
      tokens,
      pairs: tokens * before + (tokens * (tokens + 1)) / 2,
      contextTokens: before + tokens,
      loadedTokens: 0,
    });
  expect(prefill(8192, 0)).toBeGreaterThan(20 * small.stepSeconds);
  expect(prefill(8192, 120_000) / prefill(8192, 0)).toBeGreaterThan(3);
});

it("what comes back from the host is cheaper than to compute it again, and dearer than to have it", () => {
  const pairs = (1024 * 1025) / 2;
  const computed = stepSeconds(small, { tokens: 1024, pairs, contextTokens: 1024, loadedTokens: 0 });
  const loaded = stepSeconds(small, { tokens: 1, pairs: 1024, contextTokens: 1024, loadedTokens: 1008 });
  const held = stepSeconds(small, { tokens: 1, pairs: 1024, contextTokens: 1024, loadedTokens: 0 });
  expect(loaded).toBeLessThan(computed);
  expect(held).toBeLessThan(loaded);
});
