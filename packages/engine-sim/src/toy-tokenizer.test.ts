import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { VOCABULARY_SIZE } from "./active-request.ts";
import { tokenizeMessages, tokenizeText } from "./toy-tokenizer.ts";

describe("the toy tokenizer", () => {
  test("gives equal texts equal tokens, all inside the vocabulary, whatever the text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const tokens = tokenizeText(text, true);
        expect(tokens).toEqual(tokenizeText(text, true));
        expect(tokens[0]).toBe(1);
        expect(tokens.every((token) => token > 0 && token < VOCABULARY_SIZE)).toBe(true);
      }),
    );
  });

  test("cuts text at words, digits and signs", () => {
    expect(tokenizeText("", false)).toEqual([]);
    expect(tokenizeText("ab 12, internationalisation", false).length).toBe(1 + 3 + 1 + 4);
    expect(tokenizeText("same same", false)[0]).not.toBe(tokenizeText("same same", false)[1]);
  });

  test("a conversation's next turn extends the tokens of the last one", () => {
    const first = [{ role: "user", content: "What is a KV block?" }];
    const second = [...first, { role: "assistant", content: "A run of tokens." }];
    const before = tokenizeMessages(first, { addGenerationPrompt: false });
    expect(tokenizeMessages(second, { addGenerationPrompt: false }).slice(0, before.length)).toEqual(before);
    const opened = tokenizeMessages(first, { addGenerationPrompt: true });
    expect(tokenizeMessages(second, { addGenerationPrompt: true }).slice(0, opened.length)).toEqual(opened);
  });
});
