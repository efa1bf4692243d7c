/**
 * The worlds that approximate indexes answer wrongly. Blocks are evicted from the middle of prompts, stored again, held twice. Ten
 * thousand lookups of each against the naive index, with none wrong. Small worlds of random commands are in
 * prefix-index.model.test.ts.
 *
 *     tails      only blocks behind which the rank holds none go
 *     holes      any go
 *     refill     and are stored again, alone or with what follows, behind a parent that is there
 *     copies     and prompts are stored twice and thrice, and removed once
 */
import { describe, expect, test } from "vitest";
import { ReferenceHash } from "../block-hash/testing/reference-hash.ts";
import { Prng } from "../prng.ts";
import { type ContextKey, DEFAULT_HASH_SEED, type IndexWriter } from "./contract.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { PrefixReader } from "./prefix-reader.ts";
import { FleetWorld, nameHigh, nameLow } from "./testing/fleet-world.ts";
import { NaivePrefixIndex } from "./testing/naive-prefix-index.ts";
import { matchText } from "./testing/prefix-world.ts";

const SEED = 20_261_201;
const RANKS = 24;
const LOOKUPS = 10_000;
const STEPS = 4_000;
/** Lookups are asked between steps, not only at the end. */
const LOOKUPS_A_STEP = LOOKUPS / STEPS;
const CONTEXT: ContextKey = { model: "m", loraName: null, blockSize: 4, lookahead: 0 };

interface Hardship {
  readonly claim: string;
  readonly hasHoles: boolean;
  readonly refills: boolean;
  readonly copies: boolean;
}

const HARDSHIPS: readonly Hardship[] = [
  { claim: "only tails are evicted", hasHoles: false, refills: false, copies: false },
  { claim: "blocks in the middle are evicted", hasHoles: true, refills: false, copies: false },
  { claim: "holes are filled again", hasHoles: true, refills: true, copies: false },
  {
    claim: "holes are filled again, and blocks are held several times",
    hasHoles: true,
    refills: true,
    copies: true,
  },
];

/** Both indexes, and how often each rank holds each block. */
class HardWorld {
  readonly naive: NaivePrefixIndex;
  readonly index = PrefixIndex.create();
  readonly #reader = PrefixReader.attach(this.index.shared, { tokensMax: 16_384 });
  readonly #world = new FleetWorld({
    blockCount: 2_048,
    blockSize: 4,
    runBlocksMax: 24,
    rootPercent: 20,
    seed: SEED,
  });
  readonly #prefixes: Uint32Array;
  readonly #held = Array.from({ length: RANKS }, () => new Uint8Array(2_048));
  readonly #random = new Prng(SEED);
  readonly #hardship: Hardship;

  constructor(hash: ReferenceHash, hardship: Hardship) {
    this.naive = new NaivePrefixIndex(hash);
    this.#prefixes = this.#world.prefixHashes(hash);
    this.#hardship = hardship;
  }

  /** One store or removal by a rank. */
  step(): void {
    const random = this.#random;
    const rank = random.below(RANKS);
    const path = this.#world.pathTo(random.below(this.#world.blockCount));
    if (random.chance(0.5)) this.#store(rank, path);
    else this.#remove(rank, path);
  }

  /** Stores of a prompt what the rank lacks, or some of it again. */
  #store(rank: number, path: readonly number[]): void {
    const { refills, copies } = this.#hardship;
    const held = this.#held[rank];
    const lacks = path.findIndex((block) => held[block] === 0);
    const isAgain = copies && this.#random.chance(0.3);
    if (isAgain) this.#storeRun(rank, path, 0, path.length);
    else if (lacks >= 0 && (refills || path.slice(lacks).every((block) => held[block] === 0))) {
      const end = refills && this.#random.chance(0.5) ? lacks + 1 : path.length;
      this.#storeRun(rank, path, lacks, end);
    }
  }

  #storeRun(rank: number, path: readonly number[], from: number, to: number): void {
    const blocks = path.slice(from, to);
    const parent = from === 0 ? null : path[from - 1];
    for (const index of this.#indexes()) {
      this.#world.writeTokens(index.scratch, blocks);
      this.#world.writeNames(index.scratch, blocks, 0);
      const [low, high] = parent === null ? [0, 0] : [nameLow(parent, 0), nameHigh(parent, 0)];
      const contextId = index.openContext(CONTEXT);
      expect(index.storeBlocks(contextId, rank, 0, blocks.length, parent !== null, low, high, false)).toBe(
        "stored",
      );
    }
    for (const block of blocks) this.#held[rank][block]++;
  }

  /** Removes some of a prompt's blocks, last one first, in one call or singly. */
  #remove(rank: number, path: readonly number[]): void {
    const held = this.#held[rank];
    const reversed = [...path].reverse();
    const ends = reversed.filter((block) => held[block] > 0);
    const some = this.#hardship.hasHoles
      ? ends.filter(() => this.#random.chance(0.4))
      : ends
          .slice(0, 1 + this.#random.below(8))
          .filter((block, i, run) => this.#isTail(rank, block, run.slice(0, i)));
    const isSingly = this.#random.chance(0.3);
    for (const blocks of isSingly ? some.map((block) => [block]) : [some]) {
      if (blocks.length === 0) continue;
      for (const index of this.#indexes()) {
        this.#world.writeNames(index.scratch, blocks, 0);
        expect(index.removeBlocks(rank, 0, blocks.length)).toBe(blocks.length);
      }
    }
    for (const block of some) held[block]--;
  }

  /** Whether a rank holds nothing behind a block, when `gone` are gone. */
  #isTail(rank: number, block: number, gone: readonly number[]): boolean {
    const { parents } = this.#world;
    return parents.every(
      (parent, child) => parent !== block || this.#held[rank][child] === 0 || gone.includes(child),
    );
  }

  #indexes(): readonly IndexWriter[] {
    return [this.naive, this.index];
  }

  /** What both answer to a prompt. */
  ask(): readonly [string, string] {
    const path = this.#world.pathTo(this.#random.below(this.#world.blockCount));
    for (const { hashes } of [this.naive, this.#reader])
      for (const [i, block] of path.entries())
        hashes.set(this.#prefixes.subarray(2 * block, 2 * block + 2), 2 * i);
    return [
      matchText(this.#reader.matchHashes(this.index.openContext(CONTEXT), path.length)),
      matchText(this.naive.matchHashes(this.naive.openContext(CONTEXT), path.length)),
    ];
  }
}

describe("no lookup is wrong", () => {
  test.each(HARDSHIPS)("where $claim", async (hardship) => {
    const world = new HardWorld(await ReferenceHash.create(DEFAULT_HASH_SEED), hardship);
    let asked = 0;
    let matched = 0;
    for (let step = 0; step < STEPS; step++) {
      world.step();
      for (; asked < LOOKUPS_A_STEP * (step + 1); asked++) {
        const [actual, expected] = world.ask();
        expect(actual).toBe(expected);
        if (actual.includes(",")) matched++;
      }
    }
    expect([asked, matched > LOOKUPS / 4]).toEqual([LOOKUPS, true]);
    expect(world.index.check()).toEqual([]);
  });
});
