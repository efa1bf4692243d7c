/**
 * The oracle against asking every engine about the whole prompt. Engines are sets of token prefixes
 * here. An engine holds only leading parts of prompts that were sent to it.
 */
import { Prng } from "@kvsync/core";
import fc from "fast-check";
import { expect, it } from "vitest";

import { generateWorkload } from "../trace/generator.ts";
import { promptTokens } from "../trace/prompt.ts";
import { Oracle, type PrefixHolder } from "./oracle.ts";

const BLOCK_SIZE = 16;

/** Holds leading blocks of prompts, by their text. */
class PrefixSet implements PrefixHolder {
  readonly #prefixes = new Set<string>();
  asked = 0;

  hold(tokens: Uint32Array, blocks: number): void {
    for (let count = 1; count <= blocks; count++)
      this.#prefixes.add(tokens.subarray(0, count * BLOCK_SIZE).join());
  }

  cachedPrefixBlocks(tokens: Uint32Array): number {
    this.asked += 1;
    const blocksMax = Math.floor((tokens.length - 1) / BLOCK_SIZE);
    let count = 0;
    while (count < blocksMax && this.#prefixes.has(tokens.subarray(0, (count + 1) * BLOCK_SIZE).join()))
      count += 1;
    return count;
  }
}

it("the oracle finds what asking every engine about the whole prompt would find, and asks fewer", () => {
  let asked = 0;
  let wouldAsk = 0;
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const random = new Prng(seed);
      const holders = [new PrefixSet(), new PrefixSet(), new PrefixSet(), new PrefixSet()];
      const oracle = new Oracle(holders, BLOCK_SIZE);
      for (const request of generateWorkload({ requests: 25, minutes: 20, scale: 0.05 }, seed)) {
        const tokens = promptTokens(request, 1);
        holders.forEach((holder) => (holder.asked = 0));
        const found = oracle.bestBlocks(request, tokens);
        asked += holders.reduce((sum, holder) => sum + holder.asked, 0);
        wouldAsk += holders.length;
        const held = holders.map((holder) => holder.cachedPrefixBlocks(tokens));
        expect(found).toBe(Math.max(...held));
        expect(oracle.heldBlocks(request, tokens)).toEqual(held);
        const chosen = random.below(holders.length);
        oracle.sent(request, chosen);
        // An engine may have evicted a tail already.
        holders[chosen]!.hold(tokens, random.below(Math.floor(tokens.length / BLOCK_SIZE) + 1));
      }
    }),
    { numRuns: 40 },
  );
  expect(asked).toBeLessThan(wouldAsk);
});
