/**
 * Groups with many holes against the specification. There is one prompt of some hundred blocks. Groups of ranks miss blocks
 * of it at random, in stripes or in one piece. Most ranks change more often along the prompt than a lookup follows block by block,
 * so that it goes over to bits (kernel/group-columns.ts, GC1). Others stay below, and both ways answer the same lookups.
 *
 * KVSYNC_MODEL_SEED repeats a run; KVSYNC_MODEL_LONG=1 runs twenty times as much.
 */
import { describe, expect, test } from "vitest";
import { ReferenceHash } from "../block-hash/testing/reference-hash.ts";
import { Prng } from "../prng.ts";
import {
  DEFAULT_HASH_SEED,
  type ContextKey,
  type GroupRule,
  type GroupShape,
  type IndexWriter,
  type Tier,
} from "./contract.ts";
import { NaivePrefixIndex } from "./testing/naive-prefix-index.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { PrefixReader } from "./prefix-reader.ts";
import { matchText } from "./testing/prefix-world.ts";

const SEED = Number(process.env["KVSYNC_MODEL_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const WORLDS = process.env["KVSYNC_MODEL_LONG"] === "1" ? 1_200 : 60;
const LOOKUPS = 8;
const CONTEXT: ContextKey = { model: "m", loraName: null, blockSize: 4, lookahead: 0 };
const RULES: readonly GroupRule[] = ["run", "window", "last", "chunk"];
const WINDOWS = [0, 1, 4, 5, 9, 64, 250, 257, 300, 2_000];
const STRIDES = [1, 1, 1, 2, 3];

/** Which blocks of the prompt a holder misses. */
type Holes = (block: number) => boolean;

function holesOf(random: Prng, blocks: number): Holes {
  const every = 2 + random.below(70);
  const share = random.below(100);
  const from = random.below(blocks);
  const scattered = Array.from({ length: blocks }, () => random.below(100) < share);
  const kinds: readonly Holes[] = [
    () => false,
    (block) => block % every === 1,
    (block) => block % every !== 1,
    (block) => scattered[block],
    (block) => from > block,
    (block) => block > from && scattered[block],
  ];
  return kinds[random.below(kinds.length)] ?? (() => false);
}

function shapeOf(random: Prng, index: number): GroupShape {
  const rule = RULES[random.below(RULES.length)] ?? "run";
  return {
    index,
    rule,
    kind: "unknown",
    windowTokens: WINDOWS[random.below(WINDOWS.length)] ?? 0,
    blockSize: CONTEXT.blockSize * (STRIDES[random.below(STRIDES.length)] ?? 1),
  };
}

/** Makes the same commands to an index, from the same random numbers. */
class HoledWorld {
  readonly #random: Prng;
  /** Of main groups. */
  readonly #tier: Tier;
  readonly blocks: number;

  constructor(seed: number) {
    this.#random = new Prng(seed);
    this.#tier = this.#random.below(4) === 0 ? 1 : 0;
    this.blocks = 130 + this.#random.below(200);
  }

  build(index: IndexWriter): void {
    const random = this.#random;
    const contextId = index.openContext(CONTEXT);
    const ranks = 1 + random.below(10);
    // So many that holders' numbers begin in another word of the sets.
    for (let other = random.below(2) * random.below(140); other > 0; other--)
      this.#store(index, contextId, 1_000 + other, () => other % 3 === 0);
    for (let rank = 0; rank < ranks; rank++) {
      const isLoose = random.below(6) === 0;
      // A group's blocks are placed by the names of the main group, which may go afterwards.
      this.#store(index, contextId, rank, () => false);
      if (!isLoose) index.openMainGroup(rank, CONTEXT.blockSize);
      for (let group = 1 + random.below(3); group > 0; group--) this.#group(index, contextId, rank, group);
      this.#remove(index, rank, this.#tier, 1, isLoose ? () => true : this.#lateHoles());
    }
  }

  /** Most main groups have the whole prompt; some lose its end. */
  #lateHoles(): Holes {
    const from = this.#random.below(3 * this.blocks);
    return (block) => block >= from;
  }

  #group(index: IndexWriter, contextId: number, rank: number, number: number): void {
    const random = this.#random;
    const shape = shapeOf(random, number);
    const stride = shape.blockSize / CONTEXT.blockSize;
    const slot = index.openGroup(rank, shape);
    const tier: Tier = random.below(4) === 0 ? 1 : 0;
    const count = Math.floor(this.blocks / stride);
    for (let i = 0; i < count; i++) index.scratch.hashes.set([(i + 1) * stride, 7], 2 * i);
    index.storeGroupBlocks(contextId, slot, tier, count, stride, false, false, 0, 0, false);
    this.#remove(index, slot, tier, stride, holesOf(random, this.blocks));
  }

  #store(index: IndexWriter, contextId: number, rank: number, isLeftOut: Holes): void {
    const { tokens, hashes } = index.scratch;
    for (let i = 0; i < this.blocks * CONTEXT.blockSize; i++) tokens[i] = 7 * i + 3;
    for (let block = 0; block < this.blocks; block++) hashes.set([block + 1, 7], 2 * block);
    index.storeBlocks(contextId, rank, this.#tier, this.blocks, false, 0, 0, false);
    this.#remove(index, rank, this.#tier, 1, isLeftOut);
  }

  #remove(index: IndexWriter, slot: number, tier: Tier, stride: number, isHole: Holes): void {
    let count = 0;
    for (let i = 0; (i + 1) * stride <= this.blocks; i++)
      if (isHole(i)) index.scratch.hashes.set([(i + 1) * stride, 7], 2 * count++);
    index.removeBlocks(slot, tier, count);
  }
}

function look(reader: PrefixReader | NaivePrefixIndex, contextId: number, blocks: number): string {
  for (let i = 0; i < blocks * CONTEXT.blockSize; i++) reader.tokens[i] = 7 * i + 3;
  return matchText(reader.matchTokens(contextId, blocks * CONTEXT.blockSize, false));
}

describe(`groups with holes (KVSYNC_MODEL_SEED=${SEED})`, async () => {
  const hash = await ReferenceHash.create(DEFAULT_HASH_SEED);

  test("GC1 a lookup answers as the specification does, however often a group changes along the prompt", () => {
    let cut = 0;
    for (let world = 0; world < WORLDS; world++) {
      const seed = (SEED + 7_919 * world) >>> 0;
      const naive = new NaivePrefixIndex(hash);
      const index = PrefixIndex.create();
      for (const one of [naive, index]) new HoledWorld(seed).build(one);
      const reader = PrefixReader.attach(index.shared, { tokensMax: 4_096 });
      const { blocks } = new HoledWorld(seed);
      for (let i = 0; i < LOOKUPS; i++) {
        // GC2: the lookups differ in length, so that no column of one fits the next.
        const length = i === 0 ? blocks : 1 + new Prng(seed + i).below(blocks);
        const expected = look(naive, naive.openContext(CONTEXT), length);
        expect(look(reader, index.openContext(CONTEXT), length), `world ${seed}, ${length} blocks`).toBe(
          expected,
        );
        cut += expected === `${length}: ` ? 0 : 1;
      }
      expect(index.check()).toEqual([]);
      reader.detach();
    }
    expect(cut).toBeGreaterThan(WORLDS);
  }, 600_000);
});
