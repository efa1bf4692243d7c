/** Texts and tokens of answers, against the tokenizer. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { type AnswerOptions, AnswerText } from "./answer-text.ts";
import { tokenizeText, TURN_END } from "./toy-tokenizer.ts";

const options: fc.Arbitrary<AnswerOptions> = fc.record({
  promptTokens: fc.array(fc.nat(128_000), { maxLength: 5 }).map((tokens) => Uint32Array.from(tokens)),
  seed: fc.integer(),
  isChat: fc.boolean(),
  tokensMax: fc.integer({ min: 1, max: 40 }),
  naturalTokens: fc.integer({ min: 1, max: 40 }),
  stops: fc.constant([]),
});

describe("an answer", () => {
  test("A1: has the tokens that its text is tokenized to, in its turn or after any prompt", () => {
    fc.assert(
      fc.property(options, fc.string({ unit: "binary" }), (given, prompt) => {
        const answer = new AnswerText(given);
        const tokens = [...answer.tokens];
        expect(tokens.length).toBe(Math.min(given.tokensMax, given.naturalTokens));
        expect(answer.endsItself).toBe(given.naturalTokens <= given.tokensMax);
        if (answer.endsItself) expect(tokens.pop()).toBe(TURN_END);
        expect(tokenizeText(answer.text, false)).toEqual(tokens);
        if (given.isChat) return;
        const before = tokenizeText(prompt, true);
        expect(tokenizeText(prompt + answer.text, true)).toEqual([...before, ...tokens]);
      }),
      { numRuns: 200 },
    );
  });

  test("A2: is the same text from any cuts", () => {
    fc.assert(
      fc.property(options, fc.array(fc.nat(40)), (given, cuts) => {
        const answer = new AnswerText(given);
        const ends = [...cuts.filter((cut) => cut <= answer.tokens.length), answer.tokens.length].sort(
          (a, b) => a - b,
        );
        expect(ends.map((end, i) => answer.slice(ends[i - 1] ?? 0, end)).join("")).toBe(answer.text);
      }),
      { numRuns: 300 },
    );
  });

  test("repeats itself for the same prompt and seed, and differs for another prompt or seed", () => {
    const given = { isChat: true, tokensMax: 20, naturalTokens: 99, stops: [] };
    const textOf = (first: number, seed: number): string =>
      new AnswerText({ ...given, promptTokens: Uint32Array.of(first, 2), seed }).text;
    expect(textOf(1, 0)).toBe(textOf(1, 0));
    expect(new Set([textOf(1, 0), textOf(2, 0), textOf(1, 1)]).size).toBe(3);
  });

  test.each([true, false])(
    "ends before a stop text, and generates no token after it (chat: %s)",
    (isChat) => {
      const given = { promptTokens: Uint32Array.of(7), seed: 1, isChat, tokensMax: 30, naturalTokens: 99 };
      const whole = new AnswerText({ ...given, stops: [] });
      const words = whole.text.trim().split(" ");
      for (const [stop, tokens] of [
        [words[3]!, 4],
        [`${words[3]!.at(-1)!} ${words[4]!}`, 5],
        [` ${words[6]!.slice(0, 2)}`, 7],
      ] as const) {
        const at = whole.text.indexOf(stop);
        const answer = new AnswerText({ ...given, stops: ["nowhere", stop] });
        expect([answer.text, answer.endsItself]).toEqual([whole.text.slice(0, at), true]);
        expect([...answer.tokens]).toEqual([...whole.tokens.subarray(0, tokens)]);
      }
    },
  );
});
