/**
 * The reference itself, against vectors from a source that is neither the reference nor the kernel.
 * They are the sanity table of XXH3's author (Cyan4973/xxHash, cli/xsum_sanity_check.c,
 * XSUM_XXH3_testdata) over its generated buffer.
 */
import { expect, test } from "vitest";
import { ReferenceHash, wordsOf, hexAt } from "./testing/reference-hash.ts";
import { toHex } from "./block-hash.ts";

const PRIME64 = 0x9e3779b185ebca8dn;

/** Length, digest with seed 0, digest with seed PRIME64 where the table has it. */
const SANITY_TABLE: readonly (readonly [number, string, string | null])[] = [
  [0, "2d06800538d394c2", "a8a6b918b2f0364a"],
  [1, "c44bdff4074eecdb", "032be332dd766ef8"],
  [6, "27b56a84cd2d7325", "84589c116ab59ab9"],
  [12, "a713daf0dfbb77e7", "e7303e1b2336de0e"],
  [16, "981b17d36c7498c9", null],
  [24, "a3fe70bf9d3510eb", "850e80fc35bdd690"],
  [48, "397da259ecba1f11", "adc2cbaa44acc616"],
  [64, "9cb48487720ec49d", null],
  [80, "bcdefbbb2c47c90a", "c6dd0cb699532e73"],
  [195, "cd94217ee362ec3a", "ba68003d370cb3d9"],
  [241, "c5a639ecd2030e5e", null],
  [403, "cdeb804d65c6dea4", null],
  [2048, "dd59e2c3a5f038e0", null],
];

function sanityBuffer(length: number): Uint8Array {
  let state = 2654435761n;
  return Uint8Array.from({ length }, () => {
    const byte = Number(state >> 56n);
    state = BigInt.asUintN(64, state * PRIME64);
    return byte;
  });
}

test("the reference digests the author's sanity buffer as the author does", async () => {
  const unseeded = await ReferenceHash.create(0);
  const seeded = await ReferenceHash.create(PRIME64);
  const digests = SANITY_TABLE.map(([length, , withPrime]) => {
    const bytes = sanityBuffer(length);
    return [length, unseeded.digest(bytes), withPrime === null ? null : seeded.digest(bytes)];
  });
  expect(digests).toEqual(SANITY_TABLE);
});

test("two hashes are joined as sixteen little-endian bytes, first one first", async () => {
  const hash = await ReferenceHash.create(1337);
  const bytes = Uint8Array.from([8, 7, 6, 5, 4, 3, 2, 1, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11]);
  expect(hash.join("0102030405060708", "1112131415161718")).toBe(hash.digest(bytes));
});

test("a chain starts with its first local hash and a parent continues it", async () => {
  const hash = await ReferenceHash.create(1337);
  const locals = hash.locals(
    Uint32Array.from({ length: 12 }, (_, i) => i),
    3,
    4,
    0,
    null,
  );
  const prefixes = hash.prefixes(locals, null);
  expect(prefixes[0]).toBe(locals[0]);
  expect(prefixes[2]).toBe(hash.join(hash.join(locals[0], locals[1]), locals[2]));
  expect(hash.prefixes(locals.slice(1), prefixes[0])).toEqual(prefixes.slice(1));
});

test("a block with lookahead includes the tokens after it, and an extra digest is joined to its block alone", async () => {
  const hash = await ReferenceHash.create(1337);
  const tokens = Uint32Array.from([1, 2, 3, 4, 5]);
  const digestOf = (...words: number[]): string =>
    hash.digest(new Uint8Array(Uint32Array.from(words).buffer));
  expect(hash.locals(tokens, 2, 2, 1, null)).toEqual([digestOf(1, 2, 3), digestOf(3, 4, 5)]);
  const extraDigests = Uint32Array.from([0, 0, 7, 9]);
  const expected = [digestOf(1, 2), hash.join(digestOf(3, 4), toHex(7, 9))];
  expect(hash.locals(tokens, 2, 2, 0, extraDigests)).toEqual(expected);
});

test("words and digits of a hash are two spellings of one value", () => {
  const words = Uint32Array.from([1, 2, 0xffff_fffe, 0x8000_0001]);
  expect([wordsOf(hexAt(words, 0)), wordsOf(hexAt(words, 1))]).toEqual([
    [1, 2],
    [0xffff_fffe, 0x8000_0001],
  ]);
});
