/**
 * The index against its specification at a size where its tables grow, split and are used again.
 * There is a tree of conversations (fleet-world.ts), and each rank behaves like an engine. It
 * stores the part of a prompt that it lacks, behind the part that it has. It evicts single blocks,
 * which leaves holes. It offloads, clears itself, and now and then sends a senseless event. Between
 * batches of writes, prompts are looked up and everything is compared.
 *
 * KVSYNC_MODEL_SEED repeats a run; KVSYNC_MODEL_LONG=1 makes a million lookups, which takes a quarter of an hour.
 */
import { describe, expect, test } from "vitest";
import { KeyedReferenceHash } from "../block-hash/testing/keyed-reference-hash.ts";
import { ReferenceHash } from "../block-hash/testing/reference-hash.ts";
import { Prng } from "../prng.ts";
import { DEFAULT_HASH_SEED, type ContextKey, type IndexWriter, type Tier } from "./contract.ts";
import { FleetWorld, nameHigh, nameLow } from "./testing/fleet-world.ts";
import { dumpLines } from "./testing/index-pair.ts";
import { NaivePrefixIndex } from "./testing/naive-prefix-index.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { PrefixReader } from "./prefix-reader.ts";
import { matchText } from "./testing/prefix-world.ts";

const SEED = Number(process.env["KVSYNC_MODEL_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const IS_LONG = process.env["KVSYNC_MODEL_LONG"] === "1";
const BATCHES = IS_LONG ? 1_000 : 12;
const WRITES_PER_BATCH = 150;
const EVICTED_AT_ONCE_MAX = 64;
const CONTEXT: ContextKey = { model: "m", loraName: null, blockSize: 16, lookahead: 0 };

/** Which part of the size a test is about. */
interface Scale {
  readonly claim: string;
  readonly blockCount: number;
  readonly runBlocksMax: number;
  readonly rankCount: number;
  /** Blocks that a rank's pool has. */
  readonly poolBlocks: number;
  /** Of 1,000 writes, how many clear a rank. */
  readonly clearPermille: number;
  readonly lookupsPerBatch: number;
}

const SCALES: readonly Scale[] = [
  {
    claim: "tens of thousands of blocks: tables grow, split and shrink",
    blockCount: 60_000,
    runBlocksMax: 200,
    rankCount: 16,
    poolBlocks: 6_000,
    clearPermille: 3,
    lookupsPerBatch: IS_LONG ? 1_000 : 200,
  },
  {
    claim: "hundreds of ranks: sets of holders come, merge and go by the thousand",
    blockCount: 3_000,
    runBlocksMax: 40,
    rankCount: 300,
    poolBlocks: 400,
    clearPermille: 20,
    lookupsPerBatch: 40,
  },
];

/** What one simulated engine has, for choosing what it does next. */
interface Engine {
  readonly slot: number;
  readonly seed: number;
  /** Blocks in the order of their arrival; some may be gone. */
  readonly arrivals: number[];
  /** Block → copies on device, or 0 when it has none there. */
  readonly onDevice: Uint8Array;
  /** Block → 1 when on host. */
  readonly onHost: Uint8Array;
}

/** A block range to store, behind `parent`, −1 at a root. */
interface Store {
  readonly blocks: readonly number[];
  readonly parent: number;
}

class Fleet {
  readonly #world: FleetWorld;
  readonly #random: Prng;
  readonly #indexes: readonly IndexWriter[];
  readonly #scale: Scale;
  readonly #engines: readonly Engine[];

  constructor(world: FleetWorld, random: Prng, indexes: readonly IndexWriter[], scale: Scale) {
    this.#world = world;
    this.#random = random;
    this.#indexes = indexes;
    this.#scale = scale;
    this.#engines = Array.from({ length: scale.rankCount }, (_, i) => ({
      slot: i * 5,
      seed: i % 3,
      arrivals: [],
      onDevice: new Uint8Array(world.blockCount),
      onHost: new Uint8Array(world.blockCount),
    }));
  }

  /** One thing that one engine does, told to all indexes. */
  writeOnce(): void {
    const random = this.#random;
    const engine = random.pick(this.#engines);
    const dice = random.below(1_000);
    if (dice < this.#scale.clearPermille) this.#clear(engine);
    else if (dice < 40) this.#lie(engine);
    else if (dice < 90) this.#offload(engine);
    else if (dice < 320 || engine.arrivals.length > this.#scale.poolBlocks) this.#evict(engine);
    else this.#prefill(engine);
  }

  #prefill(engine: Engine): void {
    const path = this.#world.pathTo(this.#random.below(this.#world.blockCount));
    const firstMissing = path.findIndex(
      (block) => engine.onDevice[block] === 0 && engine.onHost[block] === 0,
    );
    const from = firstMissing < 0 ? this.#random.below(path.length) : firstMissing;
    const blocks = path.slice(from, from + 1 + this.#random.below(400));
    this.#store(engine, { blocks, parent: from === 0 ? -1 : path[from - 1] });
    for (const block of blocks) {
      if (engine.onDevice[block] < 255) engine.onDevice[block]++;
      engine.arrivals.push(block);
    }
  }

  #store({ slot, seed }: Engine, { blocks, parent }: Store): void {
    const hasParent = parent >= 0;
    const outcomes = this.#indexes.map((index) => {
      this.#world.writeNames(index.scratch, blocks, seed);
      this.#world.writeTokens(index.scratch, blocks);
      const contextId = index.openContext(CONTEXT);
      const [low, high] = hasParent ? [nameLow(parent, seed), nameHigh(parent, seed)] : [0, 0];
      return index.storeBlocks(contextId, slot, 0, blocks.length, hasParent, low, high, false);
    });
    expect(new Set(outcomes).size).toBe(1);
  }

  #evict(engine: Engine): void {
    const { arrivals, onDevice } = engine;
    const count = Math.min(arrivals.length, 1 + this.#random.below(EVICTED_AT_ONCE_MAX));
    // The oldest half of the time, and any at all otherwise: holes in the middle of prompts.
    const start = this.#random.chance(0.5) ? 0 : this.#random.below(arrivals.length - count + 1);
    const blocks = arrivals.splice(start, count);
    for (const block of blocks) if (onDevice[block] > 0) onDevice[block]--;
    this.#sameCount(engine, blocks, (index) => index.removeBlocks(engine.slot, 0, blocks.length));
  }

  #offload(engine: Engine): void {
    const { arrivals, onHost, slot } = engine;
    if (arrivals.length === 0) return;
    const blocks = Array.from({ length: 1 + this.#random.below(32) }, () => this.#random.pick(arrivals));
    const isBack = this.#random.chance(0.5);
    for (const block of blocks) onHost[block] = isBack ? 0 : 1;
    const tier: Tier = 1;
    this.#sameCount(engine, blocks, (index) => {
      return isBack
        ? index.removeBlocks(slot, tier, blocks.length)
        : index.storeKnownBlocks(slot, tier, blocks.length);
    });
  }

  #lie(engine: Engine): void {
    const blocks = Array.from({ length: 4 }, () => this.#random.below(this.#world.blockCount));
    if (this.#random.chance(0.5)) {
      this.#sameCount({ ...engine, seed: 9 }, blocks, (index) =>
        index.removeBlocks(engine.slot, 0, blocks.length),
      );
    } else {
      // Contents under the names of others: tokens of one row of blocks, names of another.
      const names = blocks.map((block) => (block + 1) % this.#world.blockCount);
      const outcomes = this.#indexes.map((index) => {
        this.#world.writeTokens(index.scratch, blocks);
        this.#world.writeNames(index.scratch, names, engine.seed);
        return index.storeBlocks(index.openContext(CONTEXT), engine.slot, 0, 4, false, 0, 0, false);
      });
      expect(new Set(outcomes).size).toBe(1);
    }
  }

  #clear(engine: Engine): void {
    for (const index of this.#indexes) index.clearRank(engine.slot);
    engine.arrivals.length = 0;
    engine.onDevice.fill(0);
    engine.onHost.fill(0);
  }

  #sameCount({ seed }: Engine, blocks: readonly number[], count: (index: IndexWriter) => number): void {
    const counts = this.#indexes.map((index) => {
      this.#world.writeNames(index.scratch, blocks, seed);
      return count(index);
    });
    expect(new Set(counts).size).toBe(1);
  }
}

describe(`every lookup is answered as specified (KVSYNC_MODEL_SEED=${SEED})`, {
  timeout: 7_200_000,
}, async () => {
  const hashes = [
    await KeyedReferenceHash.create(DEFAULT_HASH_SEED),
    await ReferenceHash.create(DEFAULT_HASH_SEED),
  ];

  test.each(SCALES.map((scale, i) => ({ ...scale, hash: hashes[i % 2] })))(
    "with $claim",
    ({ hash, ...scale }) => {
      const world = new FleetWorld({ ...scale, blockSize: 16, rootPercent: 5, seed: SEED });
      const prefixHashes = world.prefixHashes(hash);
      const random = new Prng(SEED);
      const naive = new NaivePrefixIndex(hash);
      const { isKeyed: keyedHashes } = hash;
      const index = PrefixIndex.create({
        keyedHashes,
        parkedStoresPerRankMax: 1_000_000,
        parkedBytesMax: 2 ** 30,
      });
      const reader = PrefixReader.attach(index.shared);
      const fleet = new Fleet(world, random, [naive, index], scale);
      const [naiveId, contextId] = [naive.openContext(CONTEXT), index.openContext(CONTEXT)];

      /** Looks the prompt that ends with a block up in every way; returns the blocks that some rank holds of it. */
      const lookUp = (path: readonly number[]): number => {
        path.forEach((block, at) => {
          naive.hashes.set(prefixHashes.subarray(2 * block, 2 * block + 2), 2 * at);
          reader.hashes.set(prefixHashes.subarray(2 * block, 2 * block + 2), 2 * at);
        });
        const expected = matchText(naive.matchHashes(naiveId, path.length));
        expect(matchText(reader.matchHashes(contextId, path.length))).toBe(expected);
        world.writeTokens(reader, path);
        const found = reader.matchTokens(contextId, path.length * world.blockSize, false);
        expect(matchText(found)).toBe(expected);
        return found.matchCount === 0 ? 0 : found.rows[1];
      };

      let matchedBlocks = 0;
      let setCountMax = 0;
      for (let batch = 0; batch < BATCHES; batch++) {
        for (let i = 0; i < WRITES_PER_BATCH; i++) fleet.writeOnce();
        for (let i = 0; i < scale.lookupsPerBatch; i++)
          matchedBlocks += lookUp(world.pathTo(random.below(world.blockCount)));
        setCountMax = Math.max(setCountMax, index.stats().setCount);
        if (batch % 10 !== 0 && batch !== BATCHES - 1) continue;
        expect(index.check()).toEqual([]);
        expect(dumpLines(reader, contextId)).toEqual(naive.dump(naiveId));
      }
      const lookups = BATCHES * scale.lookupsPerBatch;
      const { prefixCount, holderCount } = index.stats();
      console.log(
        `${lookups} prompts by tokens and by hashes, ${matchedBlocks} blocks matched; at the end ` +
          `${prefixCount} prefixes, ${holderCount} holders; at most ${setCountMax} sets`,
      );
      expect(matchedBlocks).toBeGreaterThan(lookups);
    },
  );
});
