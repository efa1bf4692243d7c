/**
 * One thread writes as fast as it can, others look up (`test/reader-storm.mjs`). Nothing
 * synchronizes them, so an answer cannot be compared with a state. It can be compared with facts
 * that are true in every state. The writer keeps to a plan that makes this decidable. Prompts come
 * in families, a rank stores only prompts of its family, and never deeper than its own depth. Block
 * ids, holder sets, contexts and tables are freed and used again all the time, across families. So
 * a reader that trusts invalid memory reports the wrong family, a wrong depth, or numbers that do
 * not add up.
 *
 * At the end the index must be whole (check()) and equal to its specification, driven by the same
 * commands.
 */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { ReferenceHash, wordsOf } from "../block-hash/testing/reference-hash.ts";
import { Prng } from "../prng.ts";
import { DEFAULT_HASH_SEED, type ContextKey, type IndexWriter, type Tier } from "./contract.ts";
import { dumpLines } from "./testing/index-pair.ts";
import { NaivePrefixIndex } from "./testing/naive-prefix-index.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { PrefixReader } from "./prefix-reader.ts";

const SEED = Number(process.env["KVSYNC_MODEL_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const WRITES = process.env["KVSYNC_MODEL_LONG"] === "1" ? 1_000_000 : 20_000;
const READERS = 2;
/** Lookups that each reader has made before a storm may end, however slow the machine gives it time. */
const LOOKUPS_MIN = 2_000;
/** Control words, as in reader-storm.mjs: the one that ends the readers, and behind it each reader's lookups so far. */
const STOP = 0;
const LOOKUPS = 1;

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
  /** Of 100 writes, how many clear a rank. */
  readonly clearPercent: number;
  /** Rank slot → blocks that it stores of a prompt at most. */
  readonly depths: readonly number[];
  /** Prefix hashes of all prompts, family by family, branch by branch. */
  readonly hashes: Uint32Array;
}

function tokenOf(plan: Plan, prompt: number, block: number, position: number): number {
  return (prompt * plan.depth + block) * 64 + position;
}

async function planOf(contextCount: number, rankCount: number, clearPercent: number): Promise<Plan> {
  const contexts = Array.from({ length: contextCount }, (_, i) => {
    return { model: "m", loraName: i === 0 ? null : `adapter-${i}`, blockSize: 4, lookahead: 0 };
  });
  const [familyCount, branchCount, depth] = [5, 8, 48];
  const depths = Array.from({ length: rankCount }, (_, slot) => 4 + ((slot * 7) % (depth - 4)));
  const hashes = new Uint32Array(2 * familyCount * branchCount * depth);
  const shape = { blockSize: 4, familyCount, branchCount, depth, rankCount, clearPercent };
  const plan = { ...shape, contexts, depths, hashes };
  const reference = await ReferenceHash.create(DEFAULT_HASH_SEED);
  for (let prompt = 0; prompt < familyCount * branchCount; prompt++) {
    const tokens = Uint32Array.from({ length: depth * 4 }, (_, i) => tokenOf(plan, prompt, i >> 2, i & 3));
    const prefixes = reference.prefixes(reference.locals(tokens, depth, 4, 0, null), null);
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
  if (kind < plan.clearPercent) index.clearRank(slot);
  else if (kind < 60) {
    const contextId = index.openContext(key);
    for (let i = 0; i < (end - from) * 4; i++) tokens[i] = tokenOf(plan, prompt, from + (i >> 2), i & 3);
    const [low, high] = from === 0 ? [0, 0] : nameOf(from - 1);
    index.storeBlocks(contextId, slot, tier, end - from, from > 0, low, high, false);
  } else if (kind < 95) index.removeBlocks(slot, tier, end - from);
  else index.storeKnownBlocks(slot, tier, end - from);
}

interface Storm {
  readonly writes: number;
  readonly readers: readonly StormCounts[];
}

/** Writes while readers read; returns what each reader saw, and how often was written. */
async function storm(plan: Plan, index: PrefixIndex): Promise<Storm> {
  const control = new Int32Array(new SharedArrayBuffer(4 * (1 + READERS)));
  const workers = Array.from({ length: READERS }, (_, i) => {
    const workerData = { shared: index.shared, control, plan, number: i, seed: SEED + i };
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
    let writes = 0;
    while (
      writes < WRITES ||
      (control.subarray(LOOKUPS).some((lookups) => lookups < LOOKUPS_MIN) && writes < 10 * WRITES)
    )
      writeOnce(index, plan, writes++, random);
    Atomics.store(control, STOP, 1);
    return { writes, readers: (await messages()).map(([counts]) => counts as StormCounts) };
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

function expectCalmReaders({ writes, readers }: Storm): void {
  const counts = readers.map(({ lookups, rows }) => `${lookups} lookups with ${rows} rows`);
  console.log(`${writes} writes beside ${counts.join(" and ")}`);
  expect(readers.flatMap((reader) => reader.violations)).toEqual([]);
  // A reader that sees nothing proves nothing.
  for (const { lookups, rows, matchedBlocks } of readers) {
    expect(lookups).toBeGreaterThan(LOOKUPS_MIN / 2);
    expect(rows).toBeGreaterThan(LOOKUPS_MIN / 20);
    expect(matchedBlocks).toBeGreaterThan(rows);
  }
}

describe(`readers beside a storm of writes (KVSYNC_MODEL_SEED=${SEED})`, { timeout: 600_000 }, () => {
  test("never crash, hang or report what a rank never held, and the index ends as its specification does", async () => {
    const plan = await planOf(2, 40, 2);
    const index = PrefixIndex.create({ parkedStoresPerRankMax: 10 * WRITES, parkedBytesMax: 2 ** 30 });
    const naive = await NaivePrefixIndex.create();
    const happened = await storm(plan, index);
    expectCalmReaders(happened);
    expect(index.check()).toEqual([]);
    const random = new Prng(SEED);
    for (let i = 0; i < happened.writes; i++) writeOnce(naive, plan, i, random);
    const reader = PrefixReader.attach(index.shared);
    for (const key of plan.contexts)
      expect(dumpLines(reader, reader.findContext(key))).toEqual(naive.dump(naive.openContext(key)));
  });

  test("hold while limits evict blocks and whole contexts under the readers", async () => {
    const plan = await planOf(6, 40, 2);
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

  test("hold while ranks are cleared all the time and their places in the sets go to others", async () => {
    const plan = await planOf(1, 300, 30);
    const index = PrefixIndex.create();
    expectCalmReaders(await storm(plan, index));
    expect(index.check()).toEqual([]);
    for (let slot = 0; slot < plan.rankCount; slot++) index.clearRank(slot);
    expect(index.check()).toEqual([]);
    const { deadCount, mappingCount, ...rest } = index.stats();
    expect(rest).toMatchObject({ holderCount: 0, prefixCount: 0, limboCount: 0 });
    // What the sweep has not come to yet still has its name.
    expect(mappingCount).toBeLessThanOrEqual(deadCount);
  });
});
