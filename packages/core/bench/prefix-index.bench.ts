/**
 * Benchmarks of the prefix index at the size of a fleet: 128 workers with pools of 16,384 blocks of
 * 16 tokens. Half of each pool are prompts of 8,192 blocks (128k tokens), half are prompts of 512.
 * All arrive in stores of 64 blocks, interleaved over the workers, each behind its parent. The call
 * alone is timed: its input is written to the scratch before it, as a decoder would. Lookups go
 * round over several prompts, so that they do not live in the first-level cache.
 *
 *     npx pnpm@12.21.0 --filter @kvsync/core bench            about a minute
 *     npx pnpm@12.21.0 --filter @kvsync/core bench --quick    an eighth of the size
 *
 * Everything is seeded. Results go to docs/benchmarks.md, with machine, Node version and command.
 */
import { execFileSync } from "node:child_process";
import { cpus } from "node:os";
import {
  type BlockStored,
  type ContextKey,
  type Dialect,
  encodeEventBatch,
  EventBatchDecoder,
  type IndexScratch,
  type IndexWriter,
  type MatchResult,
  PrefixHasher,
  PrefixIndex,
  PrefixReader,
  Prng,
  toBigInt,
} from "@kvsync/core";
import { nameHigh, nameLow } from "../src/prefix-index/testing/fleet-world.ts";
import { NaivePrefixIndex } from "../src/prefix-index/testing/naive-prefix-index.ts";

const SEED = 20_250_914;
const IS_QUICK = process.argv.includes("--quick");
const ROUNDS = IS_QUICK ? 2 : 7;
const WORKERS = IS_QUICK ? 16 : 128;
/** Of these, how many send their stores as messages: all of them would take gigabytes of messages made beforehand. */
const WIRE_WORKERS = WORKERS / 4;
const POOL_BLOCKS = 16_384;
const BLOCK_SIZE = 16;
const LONG_PROMPT_BLOCKS = 8_192;
const SHORT_PROMPT_BLOCKS = 512;
const RUN_BLOCKS = 64;
/** Moments at which memory is weighed while a fleet's second half is stored. */
const WEIGHINGS = 32;
const CONTEXT: ContextKey = { model: "m", loraName: null, blockSize: BLOCK_SIZE, lookahead: 0 };

/** A run of blocks that one worker stores, removes or looks up. */
interface Run {
  readonly worker: number;
  readonly first: number;
  readonly count: number;
  readonly isRoot: boolean;
}

/** The reading side of either index. */
interface Reader extends IndexScratch {
  matchTokens(contextId: number, tokenCount: number, hasExtra: boolean): MatchResult;
  matchHashes(contextId: number, blockCount: number): MatchResult;
}

interface Measured {
  readonly name: string;
  readonly unit: string;
  readonly values: readonly number[];
}

function report(title: string, rows: readonly Measured[]): void {
  console.log(`\n### ${title}\n\n| what | min | median | unit |\n| --- | ---: | ---: | --- |`);
  for (const { name, unit, values } of rows) {
    const sorted = [...values].sort((a, b) => a - b);
    const cells = [sorted[0], sorted[sorted.length >> 1]].map((value) => value.toFixed(value < 100 ? 1 : 0));
    console.log(`| ${name} | ${cells.join(" | ")} | ${unit} |`);
  }
}

/** Gives the memories of earlier rounds back, so that they do not press on later ones. */
function collectGarbage(): void {
  (globalThis as { gc?: () => void }).gc?.();
}

/** Token ids like a tokenizer's: below 128,000, a function of the block. */
function writeTokens(tokens: Uint32Array, first: number, count: number): void {
  for (let i = 0; i < count * BLOCK_SIZE; i++) {
    const mixed = Math.imul(first * BLOCK_SIZE + i + 1, 0x9e37_79b1);
    tokens[i] = (mixed ^ (mixed >>> 15)) & 0x1_ffff;
  }
}

function writeNames(hashes: Uint32Array, { first, count, worker }: Run, aliases: boolean): void {
  const seed = aliases ? worker : 0;
  for (let i = 0; i < count; i++) {
    hashes[2 * i] = nameLow(first + i, seed);
    hashes[2 * i + 1] = nameHigh(first + i, seed);
  }
}

/** Holders of the next prompt: all prompts together have `sharing` on average. */
function holderCount(sharing: number, random: Prng): number {
  if (sharing !== 1.4) return sharing;
  return random.chance(0.8) ? 1 : 3;
}

/** The stores that fill all pools, in the order of their arrival. */
function fillingStores(workers: number, poolBlocks: number, sharing: number, runBlocks = RUN_BLOCKS): Run[] {
  const random = new Prng(SEED);
  const tasks: { worker: number; first: number; blocks: number }[] = [];
  const room = new Uint32Array(workers).fill(poolBlocks);
  let first = 0;
  for (const blocks of [LONG_PROMPT_BLOCKS, SHORT_PROMPT_BLOCKS]) {
    const floor = blocks === LONG_PROMPT_BLOCKS ? poolBlocks / 2 : 0;
    for (let prompt = 0, next = 0; room.some((left) => left - blocks >= floor); prompt++) {
      const holders = holderCount(sharing, random);
      for (let i = 0, tried = 0; i < holders && tried < workers; next = (next + 1) % workers, tried++) {
        if (room[next] - blocks < floor) continue;
        room[next] -= blocks;
        tasks.push({ worker: next, first, blocks });
        i++;
      }
      first += blocks;
    }
  }
  for (let i = tasks.length - 1; i > 0; i--) {
    const other = random.below(i + 1);
    [tasks[i], tasks[other]] = [tasks[other], tasks[i]];
  }
  return tasks.flatMap(({ worker, first: start, blocks }) =>
    Array.from({ length: blocks / runBlocks }, (_, i) => {
      return { worker, first: start + i * runBlocks, count: runBlocks, isRoot: i === 0 };
    }),
  );
}

/** Stores runs; returns nanoseconds per block of the calls alone. */
function timeStores(index: IndexWriter, runs: readonly Run[], aliases: boolean): number {
  const { scratch } = index;
  let total = 0;
  let blocks = 0;
  for (const run of runs) {
    writeTokens(scratch.tokens, run.first, run.count);
    writeNames(scratch.hashes, run, aliases);
    const seed = aliases ? run.worker : 0;
    const [low, high] = run.isRoot ? [0, 0] : [nameLow(run.first - 1, seed), nameHigh(run.first - 1, seed)];
    const start = performance.now();
    const contextId = index.openContext(CONTEXT);
    index.storeBlocks(contextId, run.worker, 0, run.count, !run.isRoot, low, high, false);
    total += performance.now() - start;
    blocks += run.count;
  }
  return (total * 1e6) / blocks;
}

/** Removes runs, last one first as engines evict; returns nanoseconds per block. */
function timeRemoves(index: IndexWriter, runs: readonly Run[], aliases: boolean): number {
  let total = 0;
  let blocks = 0;
  for (const run of [...runs].reverse()) {
    writeNames(index.scratch.hashes, run, aliases);
    const start = performance.now();
    const count = index.removeBlocks(run.worker, 0, run.count);
    total += performance.now() - start;
    if (count !== run.count) throw new Error(`removed ${String(count)} of ${String(run.count)} blocks`);
    blocks += run.count;
  }
  return (total * 1e6) / blocks;
}

interface Prompt {
  readonly tokens: Uint32Array;
  readonly hashes: Uint32Array;
}

function promptOf(first: number, count: number): Prompt {
  const tokens = new Uint32Array(count * BLOCK_SIZE);
  const hashes = new Uint32Array(2 * count);
  writeTokens(tokens, first, count);
  PrefixHasher.create().hash(tokens, count, BLOCK_SIZE, null, hashes);
  return { tokens, hashes };
}

/** Microseconds per lookup, by tokens and by hashes; the copy of the input to the reader's buffer is not counted. */
function timeLookups(
  reader: Reader,
  contextId: number,
  prompts: readonly Prompt[],
  blockCount: number,
  matchCountMin: number,
): readonly [number[], number[]] {
  const times: [number[], number[]] = [[], []];
  for (let round = 0; round < (IS_QUICK ? 40 : 200); round++) {
    const prompt = prompts[round % prompts.length];
    reader.tokens.set(prompt.tokens.subarray(0, blockCount * BLOCK_SIZE));
    let start = performance.now();
    const byTokens = reader.matchTokens(contextId, blockCount * BLOCK_SIZE, false).matchCount;
    times[0].push((performance.now() - start) * 1e3);
    reader.hashes.set(prompt.hashes.subarray(0, 2 * blockCount));
    start = performance.now();
    const byHashes = reader.matchHashes(contextId, blockCount).matchCount;
    times[1].push((performance.now() - start) * 1e3);
    if (Math.min(byTokens, byHashes) < matchCountMin)
      throw new Error(`${String(byTokens)} matches are too few`);
  }
  return times;
}

function lookupRows(name: string, times: readonly [number[], number[]]): Measured[] {
  return [
    { name: `${name}, from tokens`, unit: "µs", values: times[0] },
    { name: `${name}, from hashes`, unit: "µs", values: times[1] },
  ];
}

/** Stores all runs; weighs the index at moments of the second half, since tables grow by steps. */
function fillAndWeigh(
  index: PrefixIndex,
  runs: readonly Run[],
  aliases: boolean,
): { nanoseconds: number; bytes: number[] } {
  const empty = index.stats().allocatedBytes;
  const bytes: number[] = [];
  let total = 0;
  const sliceRuns = Math.ceil(runs.length / (2 * WEIGHINGS));
  for (let done = 0; done < runs.length; done += sliceRuns) {
    const slice = runs.slice(done, done + sliceRuns);
    total += timeStores(index, slice, aliases) * slice.length;
    const blocks = (done + slice.length) * RUN_BLOCKS;
    if (2 * done >= runs.length) bytes.push((index.stats().allocatedBytes - empty) / blocks);
  }
  return { nanoseconds: total / runs.length, bytes };
}

/** Forgets everything, and writes nothing until the sweep is done: what is left is an empty index in memory used before. */
function clearAll(index: PrefixIndex): void {
  for (let worker = 0; worker < WORKERS; worker++) index.clearRank(worker);
  while (index.stats().sweepCount > 0) index.removeBlocks(0, 0, RUN_BLOCKS);
}

/** Fills the fleet's pools, measures stores and memory, then removals and clears on what was built. */
function benchFleet(sharing: number, aliases: boolean): void {
  const runs = fillingStores(WORKERS, POOL_BLOCKS, sharing);
  const blocks = runs.length * RUN_BLOCKS;
  const stores: number[] = [];
  const again: number[] = [];
  const removes: number[] = [];
  const clears: number[] = [];
  const bytes: number[] = [];
  const storesAfterClear: number[] = [];
  let prefixCount = 0;
  for (let round = 0; round < ROUNDS; round++) {
    collectGarbage();
    const index = PrefixIndex.create();
    const filled = fillAndWeigh(index, runs, aliases);
    stores.push(filled.nanoseconds);
    bytes.push(...filled.bytes);
    ({ prefixCount } = index.stats());
    clearAll(index);
    again.push(timeStores(index, runs, aliases));
    const ofWorkers = (from: number, to: number): Run[] =>
      runs.filter((run) => run.worker >= from && run.worker < to);
    removes.push(timeRemoves(index, ofWorkers(0, WORKERS / 8), aliases));
    for (let worker = WORKERS / 8; worker < WORKERS / 4; worker++) {
      const start = performance.now();
      index.clearRank(worker);
      clears.push((performance.now() - start) * 1e3);
    }
    storesAfterClear.push(timeStores(index, ofWorkers(WORKERS / 8, WORKERS / 4), aliases));
  }
  const shape = `${blocks} (worker, block) pairs, ${prefixCount} blocks`;
  report(
    `Sharing ${(blocks / prefixCount).toFixed(1)}, ${aliases ? "an engine hash seed per worker" : "one engine hash seed"} (${shape})`,
    [
      { name: "store, from decoded arrays, into fresh memory", unit: "ns/block", values: stores },
      { name: "the same again, into memory used before", unit: "ns/block", values: again },
      { name: "remove", unit: "ns/block", values: removes },
      { name: `clear of a rank with ${POOL_BLOCKS} blocks`, unit: "µs", values: clears },
      { name: "store after clears, their sweep included", unit: "ns/block", values: storesAfterClear },
      { name: "memory per (worker, block), while the second half is stored", unit: "bytes", values: bytes },
      { name: "the same, at the fullest moment of its tables", unit: "bytes", values: [Math.max(...bytes)] },
    ],
  );
}

/** Stores of one block each, as engines send while they decode: what a call costs beside its blocks. */
function benchSingles(): void {
  const runs = fillingStores(WIRE_WORKERS, POOL_BLOCKS, 1, 1);
  const stores: number[] = [];
  const removes: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    collectGarbage();
    const index = PrefixIndex.create();
    stores.push(timeStores(index, runs, false));
    removes.push(timeRemoves(index, runs, false));
  }
  report(`One block a call (${runs.length} blocks)`, [
    { name: "store, from decoded arrays", unit: "ns/block", values: stores },
    { name: "remove", unit: "ns/block", values: removes },
  ]);
}

/** Lookups in fleets of different sizes that all hold the same prompts, whole or to a depth of their own. */
function benchLookups(): void {
  const rows: Measured[] = [];
  const promptCount = IS_QUICK ? 2 : 4;
  const prompts = Array.from({ length: promptCount }, (_, i) =>
    promptOf(i * LONG_PROMPT_BLOCKS, LONG_PROMPT_BLOCKS),
  );
  for (const depth of ["whole", "to random depths"] as const)
    for (const workers of [1, 16, 256, 1_000]) {
      collectGarbage();
      const random = new Prng(SEED);
      const index = PrefixIndex.create();
      const runsMax = LONG_PROMPT_BLOCKS / RUN_BLOCKS;
      for (let worker = 0; worker < workers; worker++)
        for (let prompt = 0; prompt < promptCount; prompt++) {
          const runCount = depth === "whole" ? runsMax : 1 + random.below(runsMax);
          const runs = Array.from({ length: runCount }, (_, i): Run => {
            const first = prompt * LONG_PROMPT_BLOCKS + i * RUN_BLOCKS;
            return { worker, first, count: RUN_BLOCKS, isRoot: i === 0 };
          });
          timeStores(index, runs, false);
        }
      const reader = PrefixReader.attach(index.shared);
      const contextId = reader.findContext(CONTEXT);
      for (const blockCount of [256, LONG_PROMPT_BLOCKS]) {
        const name = `${blockCount} blocks held ${depth} by ${workers} worker${workers === 1 ? "" : "s"}`;
        timeLookups(reader, contextId, prompts, blockCount, workers);
        rows.push(...lookupRows(name, timeLookups(reader, contextId, prompts, blockCount, workers)));
      }
    }
  report("Lookups by size of the fleet", rows);
}

/** Pools at their limit: each store of a run is preceded by the removal of another, for several turnovers. */
function benchChurn(): void {
  const workers = 16;
  const turnovers = IS_QUICK ? 2 : 6;
  const rows: Measured[] = [];
  collectGarbage();
  const index = PrefixIndex.create();
  const runs: Run[] = [];
  const random = new Prng(SEED);
  let first = 0;
  const nextRun = (): Run => {
    const run = { worker: random.below(workers), first, count: RUN_BLOCKS, isRoot: true };
    first += RUN_BLOCKS;
    return run;
  };
  while (runs.length < (workers * POOL_BLOCKS) / RUN_BLOCKS) runs.push(nextRun());
  timeStores(index, runs, false);
  const stores: number[] = [];
  const removes: number[] = [];
  for (let turnover = 0; turnover < turnovers; turnover++) {
    let [store, remove] = [0, 0];
    for (let i = 0; i < runs.length; i++) {
      const at = random.below(runs.length);
      remove += timeRemoves(index, [runs[at]], false);
      runs[at] = nextRun();
      store += timeStores(index, [runs[at]], false);
    }
    stores.push(store / runs.length);
    removes.push(remove / runs.length);
  }
  rows.push({ name: "remove a run somewhere", unit: "ns/block", values: removes });
  rows.push({ name: "store a new run", unit: "ns/block", values: stores });
  const reader = PrefixReader.attach(index.shared);
  const prompts = runs.slice(0, 512).map((run) => promptOf(run.first, run.count));
  rows.push(
    ...lookupRows(
      "look up a run of 64 blocks",
      timeLookups(reader, reader.findContext(CONTEXT), prompts, 64, 1),
    ),
  );
  // Prompts that are stored now lie in the holes that churn left, not one block behind the other.
  const long = Array.from({ length: 4 }, () => {
    const start = first;
    first += LONG_PROMPT_BLOCKS;
    for (let i = 0; i < LONG_PROMPT_BLOCKS / RUN_BLOCKS; i++) {
      timeRemoves(index, [runs.pop()!], false);
      const run = { worker: 0, first: start + i * RUN_BLOCKS, count: RUN_BLOCKS, isRoot: i === 0 };
      timeStores(index, [run], false);
    }
    return promptOf(start, LONG_PROMPT_BLOCKS);
  });
  const longTimes = timeLookups(reader, reader.findContext(CONTEXT), long, LONG_PROMPT_BLOCKS, 1);
  rows.push(...lookupRows("look up 8192 blocks stored in the holes", longTimes));
  report(`Churn: 16 full pools, ${turnovers} turnovers of random runs`, rows);
}

/** Messages of one store each, decoded by core's decoder into the index's scratch. */
function benchWire(dialect: Dialect): Measured[] {
  const runs = fillingStores(WIRE_WORKERS, POOL_BLOCKS, 1);
  const tokens = new Uint32Array(RUN_BLOCKS * BLOCK_SIZE);
  const hashOf = (block: number): bigint => toBigInt(nameLow(block, 0), nameHigh(block, 0));
  const payloads = runs.map((run) => {
    writeTokens(tokens, run.first, run.count);
    const event: BlockStored = {
      type: "BlockStored",
      blockHashes: Array.from({ length: run.count }, (_, i) => hashOf(run.first + i)),
      parentBlockHash: run.isRoot ? null : hashOf(run.first - 1),
      tokenIds: tokens,
      blockSize: BLOCK_SIZE,
      medium: "GPU",
    };
    return encodeEventBatch({ timestampSeconds: 1.5, events: [event], dataParallelRank: 0 }, dialect);
  });
  const stores: number[] = [];
  const decodes: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    collectGarbage();
    const index = PrefixIndex.create();
    let worker = 0;
    let isStoring = false;
    const decoder = new EventBatchDecoder(index.scratch);
    const sink = {
      onBlockStored: (event: {
        blockCount: number;
        hasParent: boolean;
        parentLow: number;
        parentHigh: number;
      }) => {
        if (!isStoring) return;
        const { blockCount, hasParent, parentLow, parentHigh } = event;
        const contextId = index.openContext(CONTEXT);
        index.storeBlocks(contextId, worker, 0, blockCount, hasParent, parentLow, parentHigh, false);
      },
      onBlockRemoved: () => undefined,
      onAllBlocksCleared: () => undefined,
      onUnknownField: () => undefined,
      onFault: () => {
        throw new Error("a message could not be decoded");
      },
    };
    for (isStoring of [false, true]) {
      const start = performance.now();
      payloads.forEach((payload, i) => {
        ({ worker } = runs[i]);
        decoder.decode(payload, sink);
      });
      const nanoseconds = ((performance.now() - start) * 1e6) / (runs.length * RUN_BLOCKS);
      (isStoring ? stores : decodes).push(nanoseconds);
    }
    const { prefixCount } = index.stats();
    if (prefixCount !== runs.length * RUN_BLOCKS) throw new Error(`${String(prefixCount)} blocks arrived`);
  }
  return [
    { name: `${dialect}: decode alone`, unit: "ns/block", values: decodes },
    { name: `${dialect}: decode and store`, unit: "ns/block", values: stores },
  ];
}

/** The specification beside it, at a sixteenth of the pools: it is not meant to be fast. */
async function benchNaive(): Promise<void> {
  const workers = 8;
  const runs = fillingStores(workers, POOL_BLOCKS, 1).filter((run) => run.first < 8 * 2_048);
  const index = await NaivePrefixIndex.create();
  const store = timeStores(index, runs, false);
  const prompts = [promptOf(0, 256)];
  const times = timeLookups(index, index.openContext(CONTEXT), prompts, 256, 1);
  report(`The naive index (${runs.length * RUN_BLOCKS} blocks)`, [
    { name: "store, from decoded arrays", unit: "ns/block", values: [store] },
    ...lookupRows("256 blocks", times),
  ]);
}

const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
console.log(
  `prefix-index, commit ${commit}, seed ${SEED}, Node ${process.version}, ${cpus().length} × ${cpus()[0].model}, ` +
    `node ${process.execArgv.join(" ")} ${process.argv.slice(1).join(" ")}`,
);
const started = performance.now();
for (const [sharing, aliases] of [
  [1, false],
  [1.4, false],
  [32, false],
  [1.4, true],
  [32, true],
] as const)
  if (sharing <= WORKERS) benchFleet(sharing, aliases);
report(`From wire bytes, ${WIRE_WORKERS} workers, one store of 64 blocks a message`, [
  ...benchWire("vllm-0.29"),
  ...benchWire("sglang-map"),
]);
benchSingles();
benchLookups();
benchChurn();
await benchNaive();
console.log(`\n${((performance.now() - started) / 1e3).toFixed(0)} s`);
