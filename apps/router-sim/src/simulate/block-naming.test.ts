/**
 * Names stand for tokens: two blocks have one name if and only if everything up to their ends is the same text. The texts are those
 * that a replay of the same requests would send (trace/prompt.ts), so that simulation and replay mean the same prefixes.
 */
import fc from "fast-check";
import { expect, it } from "vitest";

import { answerTokens, promptTokens } from "../trace/prompt.ts";
import type { WorkloadRequest } from "../workload/workload.ts";
import { BlockNaming, NAME_WORDS } from "./block-naming.ts";

const BLOCK_TOKENS = 512;

function nameOf(naming: BlockNaming, request: WorkloadRequest, index: number, blockSize: number): string[] {
  const blocks = Math.floor((request.inputTokens + request.outputTokens) / blockSize);
  const words = new Uint32Array(blocks * NAME_WORDS);
  naming.name(request, index, blockSize, blocks, words);
  return Array.from({ length: blocks }, (_, block) => words.subarray(2 * block, 2 * block + 2).join());
}

/** A request of some chain of ids: chain c has ids 100 c, 100 c + 1, …, and chains share their first `shared` ids. */
const requests = fc.array(
  fc.record({
    chain: fc.nat({ max: 2 }),
    shared: fc.nat({ max: 2 }),
    inputTokens: fc.integer({ min: 1, max: 3 * BLOCK_TOKENS }),
    outputTokens: fc.integer({ min: 1, max: 700 }),
  }),
  { minLength: 2, maxLength: 6 },
);

it("two blocks have one name if and only if the texts up to their ends are equal (M1)", () => {
  fc.assert(
    fc.property(requests, fc.constantFrom(16, 64, 512), (made, blockSize) => {
      const naming = new BlockNaming(BLOCK_TOKENS);
      const textOf = new Map<string, string>();
      const nameOfText = new Map<string, string>();
      for (const [index, { chain, shared, inputTokens, outputTokens }] of made.entries()) {
        const hashIds = Array.from({ length: Math.ceil(inputTokens / BLOCK_TOKENS) }, (_, position) =>
          position < shared ? position : 1_000 * (shared + 1) + 100 * chain + position,
        );
        const request = { arrivalMs: 0, inputTokens, outputTokens, hashIds };
        const text = [...promptTokens(request, 1), ...answerTokens(request, index, 1)];
        for (const [block, name] of nameOf(naming, request, index, blockSize).entries()) {
          const upToHere = text.slice(0, (block + 1) * blockSize).join();
          expect(textOf.get(name) ?? upToHere).toBe(upToHere);
          expect(nameOfText.get(upToHere) ?? name).toBe(name);
          textOf.set(name, upToHere);
          nameOfText.set(upToHere, name);
        }
      }
    }),
    { numRuns: 60 },
  );
});

it("low words fall into a table's cells as random ones do (M2)", () => {
  const CELLS = 256;
  const naming = new BlockNaming(BLOCK_TOKENS);
  const hashIds = Array.from({ length: 400 }, (_, id) => id);
  const request = { arrivalMs: 0, inputTokens: 400 * BLOCK_TOKENS, outputTokens: 20_000, hashIds };
  const lowWords = nameOf(naming, request, 7, 16).map((name) => Number(name.split(",")[0]));
  for (const cellOf of [(low: number) => low % CELLS, (low: number) => low >>> 24]) {
    const counts = new Array<number>(CELLS).fill(0);
    for (const low of lowWords) counts[cellOf(low)]! += 1;
    const mean = lowWords.length / CELLS;
    // Pearson's statistic of 255 degrees of freedom: its mean, plus or minus six standard deviations.
    const chiSquare = counts.reduce((sum, count) => sum + (count - mean) ** 2 / mean, 0);
    expect(chiSquare).toBeLessThan(CELLS - 1 + 6 * Math.sqrt(2 * (CELLS - 1)));
  }
});

it("the same ids under another adapter are other blocks, and an answer with ids goes on under them (M1)", () => {
  const naming = new BlockNaming(BLOCK_TOKENS);
  const first = { arrivalMs: 0, inputTokens: 600, outputTokens: 500, hashIds: [1, 2], answerIds: [3] };
  const next = { arrivalMs: 1, inputTokens: 1_100, outputTokens: 1, hashIds: [1, 2, 3] };
  const base = nameOf(naming, first, 0, 64);
  expect(nameOf(naming, next, 1, 64).slice(0, 17)).toEqual(base.slice(0, 17));
  const adapted = nameOf(naming, { ...first, loraName: "a" }, 2, 64);
  expect(new Set([...base, ...adapted]).size).toBe(base.length + adapted.length);
  expect(nameOf(naming, { ...first, loraName: "a" }, 3, 64)).toEqual(adapted);
});
