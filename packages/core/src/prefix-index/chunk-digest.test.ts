/** Digests of chunks, against the same sums in plain numbers. */
import { describe, expect, it } from "vitest";
import { Prng } from "../prng.ts";
import { IndexError } from "./index-error.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { DIGEST_WORDS, PrefixReader } from "./prefix-reader.ts";

const TOKENS_MAX = 1024;
const CHUNK = 256;
const VECTORS = 8;
const STARTS = [
  0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0x082efa98, 0xec4e6c89,
];

function reader(seed: number): PrefixReader {
  return PrefixReader.attach(PrefixIndex.create({ seed }).shared, { tokensMax: TOKENS_MAX });
}

function digests(of: PrefixReader, tokens: readonly number[], chunkTokens = CHUNK): number[] {
  of.tokens.set(tokens);
  return [...of.digestChunks(tokens.length, chunkTokens)];
}

function mixed(state: number, word: number): number {
  const product = Math.imul(state ^ word, 0x9e3779b1);
  return (product ^ (product >>> 15)) >>> 0;
}

/** Word `lane` of a chunk's digest. */
function expectedWord(chunk: readonly number[], lane: number): number {
  let vectors = STARTS.map((start, vector) => {
    let state = start;
    for (let at = 4 * vector + lane; at < chunk.length; at += 4 * VECTORS) state = mixed(state, chunk[at]);
    return state;
  });
  while (vectors.length > 1)
    vectors = vectors.flatMap((state, i) => (i % 2 === 0 ? [mixed(state, vectors[i + 1])] : []));
  return vectors[0];
}

describe("digests of chunks", () => {
  const random = new Prng(7);
  const prompt = Array.from({ length: 3 * CHUNK + 40 }, () => random.nextU32());

  it("are the sums of their definition, for any number of rounds in a chunk", () => {
    const ours = reader(1);
    for (const chunkTokens of [32, 96, CHUNK]) {
      const expected: number[] = [];
      for (let at = 0; at + chunkTokens <= prompt.length; at += chunkTokens)
        for (let lane = 0; lane < DIGEST_WORDS; lane++)
          expected.push(expectedWord(prompt.slice(at, at + chunkTokens), lane));
      expect(digests(ours, prompt, chunkTokens)).toEqual(expected);
    }
  });

  it("are alike in indexes of different seeds", () => {
    expect(digests(reader(1), prompt)).toEqual(digests(reader(2), prompt));
  });

  it("change with any one token, in its own chunk alone", () => {
    const ours = reader(1);
    const before = digests(ours, prompt);
    for (let at = 0; at < 3 * CHUNK; at += 5) {
      const changed = digests(ours, prompt.with(at, prompt[at] ^ (1 << random.below(32))));
      const chunks = new Set(
        changed.flatMap((word, i) => (word === before[i] ? [] : [Math.floor(i / DIGEST_WORDS)])),
      );
      expect([...chunks]).toEqual([Math.floor(at / CHUNK)]);
    }
  });

  it("have none for less than a chunk, and refuse a prompt that does not fit", () => {
    const ours = reader(1);
    expect(digests(ours, prompt.slice(0, CHUNK - 1))).toEqual([]);
    expect(() => ours.digestChunks(ours.tokens.length + 1, CHUNK)).toThrow(IndexError);
  });

  it("leave the tokens as they are, so that a lookup may follow", () => {
    const ours = reader(1);
    digests(ours, prompt);
    expect([...ours.tokens.subarray(0, prompt.length)]).toEqual(prompt);
  });
});
