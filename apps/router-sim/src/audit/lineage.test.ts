import { PrefixHasher } from "@kvsync/core";
import { describe, expect, it } from "vitest";

import { lineageFromPrompts } from "./lineage.ts";

function hashesOf(tokens: Uint32Array, blockSize: number): BigUint64Array {
  const blockCount = Math.floor(tokens.length / blockSize);
  const words = new Uint32Array(2 * blockCount);
  PrefixHasher.create().hash(tokens, blockCount, blockSize, null, words);
  return new BigUint64Array(words.buffer);
}

describe("lineage", () => {
  const first = Uint32Array.from({ length: 70 }, (_, i) => i);
  const second = Uint32Array.from({ length: 64 }, (_, i) => (i < 32 ? i : 1_000 + i));

  it("names each block's parent, and null for a prompt's first block", () => {
    const hashes = hashesOf(first, 16);
    const lineage = lineageFromPrompts(new Set(hashes), [first], 16);
    expect([...hashes].map((hash) => lineage.get(hash))).toEqual([null, hashes[0], hashes[1], hashes[2]]);
  });

  it("joins prompts where they share a prefix and parts them where they do not", () => {
    const [a, b] = [hashesOf(first, 16), hashesOf(second, 16)];
    const lineage = lineageFromPrompts(new Set([...a, ...b]), [first, second], 16);
    expect(lineage.size).toBe(6);
    expect(lineage.get(b[2]!)).toBe(a[1]);
  });

  it("answers only what was asked", () => {
    const hashes = hashesOf(first, 16);
    expect([...lineageFromPrompts(new Set([hashes[1]!, 5n]), [first], 16).keys()]).toEqual([hashes[1]]);
  });
});
