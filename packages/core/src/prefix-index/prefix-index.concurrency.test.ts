/**
 * One thread writes as fast as it can, others look up (test/reader-storm.mjs). Nothing synchronises them, so an answer cannot
 * be compared with a state; it can be compared with what is true in every state. The writer keeps to a plan that makes this
 * decidable: prompts come in families, a rank only ever stores prompts of its family, and never deeper than a depth of its
 * own. Block ids, holder sets, contexts and tables are freed and used again all the time, across families, so that a reader
 * that trusts memory it should not trust reports the wrong family, a wrong depth, or nothing that adds up.
 *
 * When the storm is over, the index must be whole (check()) and equal to its specification, driven by the same commands.
 */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { ReferenceHash, wordsOf } from "../block-hash/reference-hash.ts";
import { Prng } from "../prng.ts";
import { DEFAULT_HASH_SEED, type ContextKey, type IndexWriter, type Tier } from "./contract.ts";
import { dumpLines } from "./index-pair.ts";
import { NaivePrefixIndex } from "./naive-prefix-index.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { PrefixReader } from "./prefix-reader.ts";

const SEED = Number(process.env["KVSYNC_MODEL_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const WRITES = process.env["KVSYNC_MODEL_LONG"] === "1" ? 1_000_000 : 20_000;
const READERS = 2;
/** The control word that ends the readers, as in reader-storm.mjs. */
const STOP = 0;

interface StormCounts {
  readonly lookups: number;
  readonly rows: number;
  readonly matchedBlocks: number;
  readonly violations: readonly string[];
}

interface Plan {
  readonly contexts: readonly ContextKey[];
  readonly blockSize: number;
  readonly familyCount: number;
  readonly branchCount: number;
  /** Blocks of every prompt. */
  readonly depth: number;
  readonly rankCount: number;
  /** Rank slot → blocks that it stores of a prompt at most. */
  readonly depths: readonly number[];
  /** Prefix hashes of all prompts, family by family, branch by branch. */
  readonly hashes: Uint32Array;
}

function tokenOf(plan: Plan, prompt: number, block: number, position: number): number {
  return (prompt * plan.depth + block) * 64 + position;
}

async function planOf(contextCount: number): Promise<Plan> {
  const contexts = Array.from({ length: contextCount }, (_, i) => {
    return { model: "m", loraName: i === 0 ? null : `adapter-${i}`, blockSize: 4, bigram: false };
  });
  const [familyCount, branchCount, depth, rankCount] = [5, 8, 48, 40];
  const depths = Array.from({ length: rankCount }, (_, slot) => 4 + ((slot * 7) % (depth - 4)));
  const hashes = new Uint32Array(2 * familyCount * branchCount * depth);
  const plan = { contexts, blockSize: 4, familyCount, branchCount, depth, rankCount, depths, hashes };
  const reference = await ReferenceHash.create(DEFAULT_HASH_SEED);
  for (let prompt = 0; prompt < familyCount * branchCount; prompt++) {
    const tokens = Uint32Array.from({ length: depth * 4 }, (_, i) => tokenOf(plan, prompt, i >> 2, i & 3));
    const prefixes = reference.prefixes(reference.locals(tokens, depth, 4, false, null), null);
    prefixes.forEach((prefix, block) => {
      hashes.set(wordsOf(prefix), 2 * (prompt * depth + block));
    });
  }
  return plan;
}

/** Writes after which the next two contexts are the ones in use. */
const WRITES_PER_PHASE = 500;

/** One random write, the same on every index that is given the same step and random numbers. */
function writeOnce(index: IndexWriter, plan: Plan, step: number, random: Prng): void {
  const slot = random.below(plan.rankCount);
  const prompt = (slot % plan.familyCount) * plan.branchCount + random.below(plan.branchCount);
  const phase = Math.floor(step / WRITES_PER_PHASE) + random.below(2);
  const key = plan.contexts[phase % plan.contexts.length];
  const [start, length] = [random.below(plan.depths[slot]), 1 + random.below(24)];
  const from = random.chance(0.5) ? 0 : start;
  const end = Math.min(plan.depths[slot], from + length);
  const kind = random.below(100);
  const tier: Tier = random.chance(0.8) ? 0 : 1;
  // Ranks 0 to 9 share a seed, the others have one each; a context's names are its own.
  const nameSeed = (slot < 10 ? 1 : slot) * 16 + plan.contexts.indexOf(key);
  const { tokens, hashes } = index.scratch;
  const nameOf = (block: number): [number, number] => [
    Math.imul(prompt * plan.depth + block + 1, 0x9e37_79b1) >>> 0,
    nameSeed,
  ];
  for (let block = from; block < end; block++) hashes.set(nameOf(block), 2 * (block - from));
  if (kind < 60) {
    const contextId = index.openContext(key);
    for (let i = 0; i < (end - from) * 4; i++) tokens[i] = tokenOf(plan, prompt, from + (i >> 2), i & 3);
    const [low, high] = from === 0 ? [0, 0] : nameOf(from - 1);
    index.storeBlocks(contextId, slot, tier, end - from, from > 0, low, high, false);
  } else if (kind < 94) index.removeBlocks(slot, tier, end - from);
  else if (kind < 98) index.storeKnownBlocks(slot, tier, end - from);
  else index.clearRank(slot);
}

/** Writes while readers read; returns what each reader saw. */
async function storm(plan: Plan, index: PrefixIndex): Promise<readonly StormCounts[]> {
  const control = new Int32Array(new SharedArrayBuffer(4));
  const workers = Array.from({ length: READERS }, (_, i) => {
    const workerData = { shared: index.shared, control, plan, seed: SEED + i };
    return new Worker(new URL("../../test/reader-storm.mjs", import.meta.url), { workerData });
  });
  const crashed = new Promise<never>((_, reject) => {
    for (const worker of workers) worker.once("error", reject);
  });
  const messages = (): Promise<unknown[][]> =>
    Promise.race([crashed, Promise.all(workers.map((worker) => once(worker, "message")))]);
  try {
    await messages();
    const random = new Prng(SEED);
    for (let i = 0; i < WRITES; i++) writeOnce(index, plan, i, random);
    Atomics.store(control, STOP, 1);
    return (await messages()).map(([counts]) => counts as StormCounts);
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

function expectCalmReaders(counts: readonly StormCounts[]): void {
  console.log(counts.map(({ lookups, rows }) => `${lookups} lookups, ${rows} rows`).join("; "));
  expect(counts.flatMap((count) => count.violations)).toEqual([]);
  // A reader that sees nothing proves nothing.
  for (const { lookups, rows, matchedBlocks } of counts) {
    expect(lookups).toBeGreaterThan(WRITES / 20);
    expect(rows).toBeGreaterThan(WRITES / 20);
    expect(matchedBlocks).toBeGreaterThan(rows);
  }
}

describe(`readers beside a storm of writes (KVSYNC_MODEL_SEED=${SEED})`, { timeout: 600_000 }, () => {
  test("never crash, hang or report what a rank never held, and the index ends as its specification does", async () => {
    const plan = await planOf(2);
    const index = PrefixIndex.create({ parkedStoresPerRankMax: WRITES, parkedBytesMax: 2 ** 30 });
    const naive = await NaivePrefixIndex.create();
    expectCalmReaders(await storm(plan, index));
    expect(index.check()).toEqual([]);
    const random = new Prng(SEED);
    for (let i = 0; i < WRITES; i++) writeOnce(naive, plan, i, random);
    const reader = PrefixReader.attach(index.shared);
    for (const key of plan.contexts)
      expect(dumpLines(reader, reader.findContext(key))).toEqual(naive.dump(naive.openContext(key)));
  });

  test("hold while limits evict blocks and whole contexts under the readers", async () => {
    const plan = await planOf(6);
    const reasons = new Set<string>();
    const index = PrefixIndex.create({
      contextCountMax: 3,
      prefixesPerContextMax: 200,
      onEviction: (reason) => reasons.add(reason),
    });
    expectCalmReaders(await storm(plan, index));
    expect(index.check()).toEqual([]);
    expect([...reasons].sort()).toEqual(expect.arrayContaining(["context_limit", "prefix_limit"]));
  });
});
