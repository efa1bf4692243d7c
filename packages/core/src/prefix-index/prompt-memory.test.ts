/** A thread's memory of prompts against plain code: both kinds of hashes, any block size, lookahead, digests, pieces. */
import { describe, expect, it } from "vitest";
import { KeyedReferenceHash } from "../block-hash/testing/keyed-reference-hash.ts";
import { hexAt, ReferenceHash, wordsOf } from "../block-hash/testing/reference-hash.ts";
import { Prng } from "../prng.ts";
import { PromptMemory } from "./prompt-memory.ts";

const BLOCKS = 5;
const SEED = 0x1_2345_6789_abcdn;
const SIZES = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 48, 60, 61, 64, 100, 256, 257];

function fill(memory: PromptMemory, random: Prng): void {
  for (let i = 0; i < memory.tokens.length; i++) memory.tokens[i] = random.below(2 ** 32);
}

function hexes(memory: PromptMemory, count: number): string[] {
  return Array.from({ length: count }, (_, i) => hexAt(memory.hashes, i));
}

describe.each([
  { kind: "XXH3", isKeyed: false, reference: ReferenceHash.create(SEED) },
  { kind: "keyed", isKeyed: true, reference: KeyedReferenceHash.create(SEED) },
])("$kind prefix hashes", ({ isKeyed, reference: promise }) => {
  it.each(SIZES)(
    "of blocks of %i tokens are those of plain code, with lookahead, digests and parents",
    async (size) => {
      const reference = await promise;
      const memory = new PromptMemory({ value: SEED, isKeyed }, BLOCKS * size + 7, BLOCKS);
      fill(memory, new Prng(size));
      memory.extraDigests.set([0, 0, 7, 9, 0, 0, 0, 1]);
      for (const lookahead of [0, 1, 7])
        for (const hasExtra of [false, true])
          for (const parent of [null, "0123456789abcdef"]) {
            const [low, high] = wordsOf(parent ?? "0");
            memory.hash(size, lookahead, 0, BLOCKS, hasExtra, parent === null ? null : { low, high });
            const digests = hasExtra ? memory.extraDigests.slice(0, 2 * BLOCKS) : null;
            const locals = reference.locals(memory.tokens, BLOCKS, size, lookahead, digests);
            expect(hexes(memory, BLOCKS)).toEqual(reference.prefixes(locals, parent));
          }
    },
  );

  it("are the same whether a prompt is hashed at once or in pieces", () => {
    const memory = new PromptMemory({ value: SEED, isKeyed }, 16 * 200, 200);
    fill(memory, new Prng(1));
    memory.hash(16, 0, 0, 200, false, null);
    const whole = hexes(memory, 200);
    memory.hashes.fill(0);
    for (const [from, to] of [
      [0, 0],
      [0, 1],
      [1, 64],
      [64, 65],
      [65, 200],
    ])
      memory.hash(16, 0, from, to, false, null);
    expect(hexes(memory, 200)).toEqual(whole);
  });
});

/** Blocks that differ a little from one another, as an attacker or a template makes them. */
const LIKE: readonly { readonly claim: string; readonly change: (block: number[], random: Prng) => void }[] =
  [
    { claim: "one token", change: (block, random) => void (block[random.below(16)] = random.below(128_000)) },
    {
      claim: "the highest bit of two tokens",
      change: (block, random) => {
        const first = random.below(16);
        for (const i of [first, (first + 1 + random.below(15)) % 16])
          block[i] = (block[i] ^ 0x8000_0000) >>> 0;
      },
    },
    {
      claim: "two tokens that change places",
      change: (block, random) => {
        const [i, j] = [random.below(16), random.below(16)];
        [block[i], block[j]] = [block[j], block[i]];
      },
    },
    {
      claim: "a token that grows by as much as another one shrinks",
      change: (block, random) => {
        const [i, by] = [random.below(15), 1 + random.below(1_000)];
        block[i] += by;
        block[i + 1] = (block[i + 1] - by) >>> 0;
      },
    },
  ];

describe("keyed prefix hashes", () => {
  it.each(LIKE)("differ for prompts of three blocks that differ in $claim, under any seed", ({ change }) => {
    const random = new Prng(5);
    const memory = new PromptMemory({ value: BigInt(random.below(2 ** 32)), isKeyed: true }, 48, 3);
    const hashOf = new Map<string, string>();
    const block = Array.from({ length: 16 }, () => random.below(128_000));
    for (let i = 0; i < 20_000; i++) {
      const changed = [...block];
      for (let times = 1 + random.below(3); times > 0; times--) change(changed, random);
      memory.tokens.set([...changed, ...block, ...(i % 2 === 0 ? changed : block)]);
      memory.hash(16, 0, 0, 3, false, null);
      hashOf.set(memory.tokens.join(), hexAt(memory.hashes, 2));
    }
    expect(new Set(hashOf.values()).size).toBe(hashOf.size);
  });

  it("have nothing in common under two seeds", () => {
    const hashes = [1n, 2n].map((value) => {
      const memory = new PromptMemory({ value, isKeyed: true }, 16, 1);
      memory.hash(16, 0, 0, 1, false, null);
      return hexAt(memory.hashes, 0);
    });
    expect(hashes[0]).not.toBe(hashes[1]);
  });

  it("spread: a changed bit of a token changes half of the bits of the hash", () => {
    const memory = new PromptMemory({ value: SEED, isKeyed: true }, 32, 2);
    const bits = (): string =>
      BigInt(`0x${hexAt(memory.hashes, 1)}`)
        .toString(2)
        .padStart(64, "0");
    memory.hash(16, 0, 0, 2, false, null);
    const before = bits();
    let changed = 0;
    for (let bit = 0; bit < 512; bit++) {
      memory.tokens[bit >> 5] ^= 1 << (bit & 31);
      memory.hash(16, 0, 0, 2, false, null);
      changed += Array.from(bits()).filter((each, i) => each !== before[i]).length;
      memory.tokens[bit >> 5] ^= 1 << (bit & 31);
    }
    expect(Math.abs(changed / 512 - 32)).toBeLessThan(1);
  });
});

it.each([31, 17, 16])(
  "blocks with a token that is 2^%i apart have sums that differ in all bits, over many seeds",
  async (power) => {
    const seeds = 512;
    const block = Uint32Array.from({ length: 16 }, (_, i) => 1000 + i);
    const other = block.slice();
    other[0] = (block[0] + 2 ** power) >>> 0;
    let alike = 0;
    for (let seed = 1; seed <= seeds; seed++) {
      const reference = await KeyedReferenceHash.create(seed);
      const sumOf = (tokens: Uint32Array): bigint =>
        BigInt(`0x${reference.locals(tokens, 1, 16, 0, null).join("")}`);
      if (((sumOf(block) - sumOf(other)) & 0xffn) === 0n) alike++;
    }
    // Two of 512 by chance. All were, where the sums were joined without their halves changing places.
    expect(alike).toBeLessThan(16);
  },
);
