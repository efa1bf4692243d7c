/** `PrefixHasher` against an XXH3 that is not ours (hash-wasm, around the C code of its author). */
import { describe, expect, it } from "vitest";
import { hexAt, ReferenceHash, wordsOf } from "../block-hash/testing/reference-hash.ts";
import { PrefixHasher } from "./prefix-hasher.ts";

function tokensOf(count: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) => Math.imul(i + 1, 2_654_435_761));
}

describe("PrefixHasher", () => {
  it.each([1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 32, 33, 59, 60, 61, 64, 128, 256, 257, 1024])(
    "chains blocks of %i tokens as XXH3 does, at the root and behind a parent",
    async (blockSize) => {
      const seed = 0x1_2345_6789_abcdn;
      const reference = await ReferenceHash.create(seed);
      const tokens = tokensOf(5 * blockSize);
      const locals = reference.locals(tokens, 5, blockSize, 0, null);
      const out = new Uint32Array(10);
      for (const parent of [null, "0123456789abcdef"]) {
        const words = parent === null ? null : wordsOf(parent);
        PrefixHasher.create(seed).hash(tokens, 5, blockSize, words && { low: words[0], high: words[1] }, out);
        expect([0, 1, 2, 3, 4].map((i) => hexAt(out, i))).toEqual(reference.prefixes(locals, parent));
      }
    },
  );

  it("gives the same hashes for one long run as for its blocks one by one", () => {
    const hasher = PrefixHasher.create();
    const [count, size] = [20_000, 16];
    const tokens = tokensOf(count * size);
    const whole = new Uint32Array(2 * count);
    hasher.hash(tokens, count, size, null, whole);
    const one = new Uint32Array(2);
    for (let i = 0; i < count; i++) {
      const parent = i === 0 ? null : { low: one[0], high: one[1] };
      hasher.hash(tokens.subarray(i * size), 1, size, parent, one);
    }
    expect([one[0], one[1]]).toEqual([whole[2 * count - 2], whole[2 * count - 1]]);
  });

  it("digests bytes of any length up to its room, and refuses more", async () => {
    const hasher = PrefixHasher.create(7);
    const reference = await ReferenceHash.create(7n);
    const out = new Uint32Array(4);
    for (const length of [0, 1, 11, 64, 300]) {
      const bytes = Uint8Array.from({ length }, (_, i) => i * 7);
      hasher.digestBytes(bytes, out, 2);
      expect(hexAt(out, 1)).toBe(reference.digest(bytes));
    }
    expect(() => {
      hasher.digestBytes(new Uint8Array(600_000), out, 0);
    }).toThrow(
      expect.objectContaining({ facts: { code: "too_many_bytes", actual: 600_000, expectedMax: 524_288 } }),
    );
  });

  it("refuses sizes and counts that do not fit, with a code and the limit", () => {
    const hasher = PrefixHasher.create();
    const out = new Uint32Array(8);
    expect(() => {
      hasher.hash(tokensOf(16), 1, 0, null, out);
    }).toThrow(
      expect.objectContaining({ facts: { code: "invalid_block_size", blockSize: 0, blockSizeMax: 65_536 } }),
    );
    expect(() => {
      hasher.hash(tokensOf(16), 2, 16, null, out);
    }).toThrow(expect.objectContaining({ facts: { code: "too_many_blocks", actual: 2, expectedMax: 1 } }));
  });
});
