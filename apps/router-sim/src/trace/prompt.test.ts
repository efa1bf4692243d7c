import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { answerTokens, promptTokens, VOCABULARY_SIZE } from "./prompt.ts";
import type { TraceRequest } from "./request.ts";

function request(inputTokens: number, hashIds: readonly number[], outputTokens = 1): TraceRequest {
  return { arrivalMs: 0, inputTokens, outputTokens, hashIds };
}

describe("prompts made of ids", () => {
  it("share exactly the tokens of their equal leading ids", () => {
    const id = fc.nat(5);
    fc.assert(
      fc.property(
        fc.array(id, { minLength: 2, maxLength: 4 }),
        fc.array(id, { minLength: 2, maxLength: 4 }),
        (a, b) => {
          const first = promptTokens(request(a.length * 512, a), 1);
          const second = promptTokens(request(b.length * 512, b), 1);
          let equalIds = 0;
          while (equalIds < Math.min(a.length, b.length) && a[equalIds] === b[equalIds]) equalIds += 1;
          const cut = equalIds * 512;
          expect(first.subarray(0, cut)).toEqual(second.subarray(0, cut));
          if (equalIds < Math.min(a.length, b.length)) {
            // A chance equality of 16 tokens, the smallest block, would be (1/128,256)^16.
            expect(first.subarray(cut, cut + 16)).not.toEqual(second.subarray(cut, cut + 16));
          }
        },
      ),
    );
  });

  it("make a partial last block the beginning of the full one", () => {
    const full = promptTokens(request(1_024, [4, 9]), 1);
    const partial = promptTokens(request(700, [4, 9]), 1);
    expect(partial).toEqual(full.subarray(0, 700));
  });

  it("use the whole vocabulary, ids above 65,535 included", () => {
    const tokens = promptTokens(
      request(
        512 * 400,
        Array.from({ length: 400 }, (_, i) => i),
      ),
      1,
    );
    const above = tokens.filter((token) => token > 65_535).length / tokens.length;
    expect(Math.max(...tokens.subarray(0, 100_000))).toBeLessThan(VOCABULARY_SIZE);
    expect(above).toBeGreaterThan(0.47);
    expect(above).toBeLessThan(0.51);
  });

  it("differ by seed", () => {
    expect(promptTokens(request(512, [1]), 1)).not.toEqual(promptTokens(request(512, [1]), 2));
  });
});

describe("answers", () => {
  it("are as long as asked, repeatable, and different for every request", () => {
    const asked = request(1, [0], 40);
    expect(answerTokens(asked, 3, 1)).toHaveLength(40);
    expect(answerTokens(asked, 3, 1)).toEqual(answerTokens(asked, 3, 1));
    expect(answerTokens(asked, 3, 1)).not.toEqual(answerTokens(asked, 4, 1));
  });

  it("with ids go on where the prompt ends, so that the next turn repeats them", () => {
    const turn = { ...request(700, [4, 9], 600), answerIds: [11] };
    const next = promptTokens(request(1_400, [4, 9, 11]), 1);
    expect(answerTokens(turn, 3, 1)).toEqual(next.slice(700, 1_300));
    expect(answerTokens(turn, 5, 1)).toEqual(answerTokens(turn, 3, 1));
  });
});
