/** The rule by its numbers; the values are those of vLLM's coordinator and SGLang's tree for the same prompts. */
import { expect, test } from "vitest";

import { reusableTokens } from "./reusable-tokens.ts";

const facts = { promptTokens: 64, blockSize: 16, recomputedTokens: 1, dropsLastBlock: false };

test.each([
  ["U1: a prompt held as a whole is computed again from its last block on", 64, {}, 48],
  ["U1: one token behind the last block is enough to reuse it", 64, { promptTokens: 65 }, 64],
  ["U1: pairs of tokens reach one token less far", 64, { promptTokens: 65, recomputedTokens: 2 }, 48],
  ["U1: a prompt of one block is computed as a whole", 16, { promptTokens: 16 }, 0],
  ["U1: what is held in part is reused as it is", 32, {}, 32],
  ["U1: blocks of one token", 5, { promptTokens: 5, blockSize: 1 }, 4],
  ["U2: the last matched block is dropped", 32, { dropsLastBlock: true }, 16],
  ["U2: after the cap, not instead of it", 64, { dropsLastBlock: true }, 32],
  ["U2: nothing is less than nothing", 0, { dropsLastBlock: true }, 0],
  ["U3: without a length the last block counts", 64, { promptTokens: null }, 64],
  ["an empty prompt", 0, { promptTokens: 0 }, 0],
])("%s", (_, matched, more, expected) => {
  expect(reusableTokens(matched, { ...facts, ...more })).toBe(expected);
});
