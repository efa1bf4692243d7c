/** Encoding by segments against encoding whole, with a real vocabulary, on texts around added tokens. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { qwen3 } from "./testing/qwen3.ts";
import { Vocabulary, VocabularyError } from "./vocabulary.ts";

const { tokenizer, config } = qwen3();
const vocabulary = new Vocabulary(tokenizer, config, 1 << 20);
const file = JSON.parse(tokenizer) as Record<string, unknown> & { added_tokens: { content: string }[] };

/** The vocabulary with some of its fields changed. */
function changed(fields: Readonly<Record<string, unknown>>): Vocabulary {
  return new Vocabulary(JSON.stringify({ ...file, ...fields }), config, 1 << 20);
}

const added = fc.constantFrom(...file.added_tokens.map(({ content }) => content));
/** Added tokens as they are and cut short, scripts, white space, lone surrogates. */
const piece = fc.oneof(
  added,
  added.chain((text) => fc.nat(text.length).map((length) => text.slice(0, length))),
  fc.string({ unit: "grapheme", maxLength: 12 }),
  fc.string({ unit: "binary", maxLength: 8 }),
  fc.constantFrom(" ", "  ", "\n", "\r\n", "\t", "\u00a0", "e\u0301", "<", "|>", "123", "don't", "\ud800"),
);

test("V1: by segments every text has the ids that it has as a whole, also when its segments are remembered", () => {
  expect(vocabulary.isSegmented).toBe(true);
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 24 }), fc.boolean(), (pieces, isSpecial) => {
      const text = pieces.join("");
      const whole = vocabulary.encodeWhole(text, isSpecial);
      expect(vocabulary.encode(text, isSpecial)).toEqual(whole);
      expect(vocabulary.encode(text, isSpecial)).toEqual(whole);
    }),
    { numRuns: 400 },
  );
});

test("V1: a conversation that grows has the ids of the whole at each turn", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(piece, piece), { minLength: 1, maxLength: 8 }), (turns) => {
      let text = "";
      for (const [question, answer] of turns) {
        text += `<|im_start|>user\n${question}<|im_end|>\n<|im_start|>assistant\n${answer}<|im_end|>\n`;
        expect(vocabulary.encode(text, true)).toEqual(vocabulary.encodeWhole(text, true));
      }
    }),
    { numRuns: 60 },
  );
});

test("of a conversation that comes again, longer, only what is new is encoded", () => {
  const turn = (i: number): string => `<|im_start|>user\nquestion ${i}<|im_end|>\n`;
  const own = new Vocabulary(tokenizer, config, 1 << 20);
  own.encode(turn(1) + turn(2), false);
  const { misses } = own.counts;
  own.encode(turn(1) + turn(2) + turn(3), false);
  expect(own.counts.misses - misses).toBe(1);
});

describe("V1: vocabularies whose segments depend on each other are encoded whole", () => {
  test.each([
    ["an added token that takes white space", { added_tokens: [{ ...file.added_tokens[0], lstrip: true }] }],
    ["an added token of single words", { added_tokens: [{ ...file.added_tokens[0], single_word: true }] }],
    ["an added token that is normalized", { added_tokens: [{ ...file.added_tokens[0], normalized: true }] }],
    [
      "another pre-tokenizer",
      { pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "first" } },
    ],
    ["another normalizer", { normalizer: { type: "Strip", left: true, right: true } }],
    ["no added tokens", { added_tokens: [] }],
  ])("%s", (_what, fields) => {
    const whole = changed(fields);
    expect(whole.isSegmented).toBe(false);
    const text = "one <|endoftext|> two";
    expect(whole.encode(text, true)).toEqual(whole.encodeWhole(text, true));
  });
});

test("V1: what the post-processor puts at the ends is put there once", () => {
  const bos = file.added_tokens[0]?.content ?? "";
  const post_processor = {
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: bos, type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    pair: [],
    special_tokens: { [bos]: { id: bos, ids: [151_643], tokens: [bos] } },
  };
  const own = changed({ post_processor });
  expect(own.isSegmented).toBe(true);
  expect([...own.encode("a<|im_end|>b", true)]).toEqual([151_643, ...own.encode("a<|im_end|>b", false)]);
  expect(own.encode("a<|im_end|>b", true)).toEqual(own.encodeWhole("a<|im_end|>b", true));
});

test("V2: segments stay within their bytes, and with 0 bytes nothing is remembered", () => {
  const small = new Vocabulary(tokenizer, config, 10_000);
  for (let i = 0; i < 100; i += 1) small.encode(`<|im_start|>${"word ".repeat(40)}${i}<|im_end|>`, false);
  expect(small.counts.bytes).toBeGreaterThan(5000);
  expect(small.counts.bytes).toBeLessThanOrEqual(10_000);
  const forgetful = new Vocabulary(tokenizer, config, 0);
  forgetful.encode("a<|im_end|>a", false);
  expect(forgetful.counts).toEqual({ hits: 0, misses: 0, bytes: 0 });
});

test.each([
  ["{", config, "tokenizer_file", "not_json", "is not JSON"],
  ["{}", config, "tokenizer_file", "not_a_vocabulary", "is no tokenizer.json of Hugging Face (added_tokens)"],
  [tokenizer, "[", "config_file", "not_json", "is not JSON"],
  [tokenizer, "[]", "config_file", "not_a_vocabulary", "is no tokenizer_config.json of Hugging Face"],
])(
  "files that are none are refused by name and without a word of what is in them",
  (one, other, at, code, says) => {
    const read = (): Vocabulary => new Vocabulary(one, other, 0);
    expect(read).toThrow(VocabularyError);
    expect(read).toThrow(expect.objectContaining({ facts: { code, file: at }, message: says }) as Error);
  },
);

test("V1: a file whose probes differ by segments is refused", () => {
  // No file is known that does this and has the types of one that does not: the library is made to do it.
  const own = new Vocabulary(tokenizer, config, 1 << 20);
  const encode = own.encodeWhole.bind(own);
  expect(() => {
    class Other extends Vocabulary {
      override encodeWhole(text: string, isSpecial: boolean): Uint32Array {
        const ids = encode(text, isSpecial);
        return text.includes("<|im_end|>") ? ids.slice(1) : ids;
      }
    }
    return new Other(tokenizer, config, 1 << 20);
  }).toThrow(
    expect.objectContaining({ facts: { code: "segments_differ", file: "tokenizer_file" } }) as Error,
  );
});
