/**
 * The kernel's XXH3-64 and its chain against one that is not ours (hash-wasm, the C code of the
 * algorithm's author). XXH3 treats each range of lengths separately: 0, 1–3, 4–8, 9–16, 17–128,
 * 129–240, and more; beyond 1,024 bytes stripes come in blocks. Each range uses the seed in another
 * way. So every length up to 300 is tried, and the borders of all blocks up to 5,000 bytes. Random
 * contents are seeded; a difference names seed, length and content seed.
 */
import { describe, expect, test } from "vitest";
import { toBigInt } from "../block-hash/block-hash.ts";
import { hexAt, ReferenceHash, wordsOf } from "../block-hash/testing/reference-hash.ts";
import { Prng } from "../prng.ts";
import { PrefixHasher } from "./prefix-hasher.ts";

const SEEDS = [0n, 1337n, 0x8000_0000n, 0xffff_ffff_0000_0000n, 0xffff_ffff_ffff_ffffn];
const LENGTH_MAX = 5_000;
/** Input bytes of one XXH3 block with the default secret: sixteen stripes of 64. */
const XXH3_BLOCK_BYTES = 1_024;

function randomBytes(length: number, contentSeed: number): Uint8Array {
  const random = new Prng(contentSeed);
  // One in four is all zeros or all ones: carries and multiplications by zero show there.
  const kind = contentSeed % 8;
  return Uint8Array.from({ length }, () => (kind === 0 ? 0 : kind === 1 ? 255 : random.below(256)));
}

describe.each(SEEDS)("with seed %i", async (seed) => {
  const reference = await ReferenceHash.create(seed);
  const hasher = PrefixHasher.create(seed);

  function expectSame(length: number, contentSeed: number): void {
    const bytes = randomBytes(length, contentSeed);
    const out = new Uint32Array(2);
    hasher.digestBytes(bytes, out, 0);
    const digest = hexAt(out, 0);
    const expected = reference.digest(bytes);
    if (digest !== expected)
      expect.fail(`length ${length}, content ${contentSeed}: ${digest}, not ${expected}`);
  }

  test("digests of every length to 300 bytes agree", () => {
    for (let length = 0; length <= 300; length++)
      for (let content = 0; content < 16; content++) expectSame(length, content);
  });

  test("digests at the borders of blocks and stripes agree, to 5,000 bytes", () => {
    for (let block = XXH3_BLOCK_BYTES; block < LENGTH_MAX; block += XXH3_BLOCK_BYTES)
      for (const off of [-65, -64, -63, -1, 0, 1, 63, 64, 65])
        for (let content = 0; content < 8; content++) expectSame(block + off, content);
  });

  test("digests of random lengths to 5,000 bytes agree", () => {
    const random = new Prng(Number(seed & 0xffffn) + 1);
    for (let round = 0; round < 2_000; round++)
      expectSame(random.below(LENGTH_MAX + 1), random.below(2 ** 20));
  });

  test("chains of random blocks agree, at roots and behind parents, of any block size", () => {
    const random = new Prng(Number(seed & 0xffffn) + 2);
    for (let round = 0; round < 300; round++) {
      const blockSize = random.chance(0.5) ? 1 + random.below(64) : 1 + random.below(1_300);
      const blockCount = 1 + random.below(6);
      const tokens = Uint32Array.from({ length: blockCount * blockSize }, () => random.nextU32());
      const locals = reference.locals(tokens, blockCount, blockSize, 0, null);
      const parent = random.chance(0.5) ? null : hexAt(Uint32Array.of(random.nextU32(), random.nextU32()), 0);
      const out = new Uint32Array(2 * blockCount);
      const [low, high] = parent === null ? [0, 0] : wordsOf(parent);
      hasher.hash(tokens, blockCount, blockSize, parent === null ? null : { low, high }, out);
      const hashes = Array.from({ length: blockCount }, (_, i) => hexAt(out, i));
      const shape = { round, blockSize, blockCount, parent };
      expect({ ...shape, hashes }).toEqual({ ...shape, hashes: reference.prefixes(locals, parent) });
    }
  });
});

test("tokens 1 … 12 in blocks of 4 have the prefix hashes that Dynamo's own tests state", () => {
  // ai-dynamo/dynamo, lib/tokens/src/lib.rs, HASH_1_4, SEQ_HASH_5_8 and SEQ_HASH_9_12, seed 1337.
  const tokens = Uint32Array.from({ length: 12 }, (_, i) => i + 1);
  const out = new Uint32Array(6);
  PrefixHasher.create().hash(tokens, 3, 4, null, out);
  expect([0, 1, 2].map((i) => toBigInt(out[2 * i], out[2 * i + 1]))).toEqual([
    14643705804678351452n,
    4945711292740353085n,
    12583592247330656132n,
  ]);
});
