/**
 * Compares the prefix index of this checkout with that of another checkout. Both run in one process
 * and in turn, so that a busy machine slows both alike. Only these figures are meaningful while
 * other processes use the same cores.
 *
 *     node packages/core/bench/against.bench.ts ../other-checkout [rounds] [blocks in a call]
 *
 * The other checkout needs no build and no packages: its sources and its committed kernel are run as they are.
 *
 * Each round fills a fresh pair of indexes. It stores 2,048 runs of new blocks, and the same runs
 * by a second rank and by a rank with its own names. Then it looks them up. Removals by all three
 * ranks follow. Both indexes do each call, directly one after the other, and the first one
 * alternates. A figure is the ratio of the 10th percentiles of the two times. The figure below it
 * is the ratio of the sums without the slowest tenth. Above 1 this checkout is slower.
 */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { ContextKey } from "../src/prefix-index/contract.ts";
import { nameHigh, nameLow } from "../src/prefix-index/testing/fleet-world.ts";
import type { PrefixIndex } from "../src/prefix-index/prefix-index.ts";
import type { PrefixReader } from "../src/prefix-index/prefix-reader.ts";
import { benchFigure } from "./bench-figure.ts";

const checkout = process.argv[2] ?? "";
const rounds = benchFigure("rounds", process.argv[3] ?? 12, 1, 10_000);
/** Runs of a prompt, and of all: each but a prompt's first is stored behind its parent. */
const PROMPT_RUNS = 8;
const RUNS = 2_048;
const RUN_BLOCKS = benchFigure("blocks", process.argv[4] ?? 64, 1, 4_096);
const BLOCK_SIZE = 16;
/** `bigram` is what earlier versions have in place of `lookahead`. */
const CONTEXT: ContextKey & { bigram: boolean } = {
  model: "m",
  loraName: null,
  blockSize: BLOCK_SIZE,
  lookahead: 0,
  bigram: false,
};

interface Sources {
  readonly makeIndex: () => PrefixIndex;
  readonly attach: (index: PrefixIndex) => PrefixReader;
}

/** One of the two, with the times of its calls by kind. */
interface Side {
  readonly sources: Sources;
  readonly times: Map<string, number[]>;
  index: PrefixIndex;
  reader: PrefixReader;
  contextId: number;
}

async function sourcesOf(core: string): Promise<Sources> {
  const load = (name: string): Promise<unknown> =>
    import(pathToFileURL(resolve(core, `src/prefix-index/${name}.ts`)).href);
  const { PrefixIndex: Index } = (await load("prefix-index")) as {
    PrefixIndex: { create: () => PrefixIndex };
  };
  const { PrefixReader: Reader } = (await load("prefix-reader")) as {
    PrefixReader: { attach: (shared: unknown) => PrefixReader };
  };
  return { makeIndex: () => Index.create(), attach: (index) => Reader.attach(index.shared) };
}

function restart(side: Side): void {
  side.index = side.sources.makeIndex();
  side.reader = side.sources.attach(side.index);
  side.contextId = side.index.openContext(CONTEXT);
}

function writeTokens(tokens: Uint32Array, run: number, runs = 1): void {
  for (let i = 0; i < runs * RUN_BLOCKS * BLOCK_SIZE; i++) {
    const mixed = Math.imul(run * RUN_BLOCKS * BLOCK_SIZE + i + 1, 0x9e37_79b1);
    tokens[i] = (mixed ^ (mixed >>> 15)) & 0x1_ffff;
  }
}

/** Rank 2 has a hash seed of its own, so the index keeps its names apart. */
function seedOf(rank: number): number {
  return rank === 2 ? 7 : 0;
}

function writeNames(hashes: Uint32Array, run: number, rank: number): void {
  const seed = seedOf(rank);
  for (let i = 0; i < RUN_BLOCKS; i++) {
    hashes[2 * i] = nameLow(run * RUN_BLOCKS + i, seed);
    hashes[2 * i + 1] = nameHigh(run * RUN_BLOCKS + i, seed);
  }
}

/** What a side does in one turn: input is written before the clock starts. */
const TURNS = {
  store: (side: Side, run: number, rank: number): number => {
    writeTokens(side.index.scratch.tokens, run);
    writeNames(side.index.scratch.hashes, run, rank);
    const seed = seedOf(rank);
    const parent = run * RUN_BLOCKS - 1;
    const hasParent = run % PROMPT_RUNS !== 0;
    const [low, high] = hasParent ? [nameLow(parent, seed), nameHigh(parent, seed)] : [0, 0];
    const start = performance.now();
    side.index.storeBlocks(side.contextId, rank, 0, RUN_BLOCKS, hasParent, low, high, false);
    return performance.now() - start;
  },
  remove: (side: Side, run: number, rank: number): number => {
    writeNames(side.index.scratch.hashes, run, rank);
    const start = performance.now();
    const removed = side.index.removeBlocks(rank, 0, RUN_BLOCKS);
    const time = performance.now() - start;
    if (removed !== RUN_BLOCKS) throw new Error(`removed ${removed} of ${RUN_BLOCKS} blocks`);
    return time;
  },
  match: (side: Side, run: number): number => {
    const runs = (run % PROMPT_RUNS) + 1;
    writeTokens(side.reader.tokens, run + 1 - runs, runs);
    const start = performance.now();
    const { matchCount } = side.reader.matchTokens(side.contextId, runs * RUN_BLOCKS * BLOCK_SIZE, false);
    const time = performance.now() - start;
    if (matchCount !== 3) throw new Error(`${matchCount} ranks matched`);
    return time / runs;
  },
};

const STEPS: readonly (readonly [string, keyof typeof TURNS, number])[] = [
  ["store of new blocks", "store", 0],
  ["store of known blocks by a second rank", "store", 1],
  ["store of known blocks by a rank with names of its own", "store", 2],
  ["lookup", "match", 0],
  ["remove of blocks under names of its own", "remove", 2],
  ["remove of shared blocks", "remove", 1],
  ["remove of the last copies", "remove", 0],
];

function percentile(values: readonly number[], share: number): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length * share)];
}

function trimmedSum(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b).slice(0, Math.ceil(values.length * 0.9));
  return sorted.reduce((sum, value) => sum + value, 0);
}

const sides: Side[] = [];
for (const core of [resolve(import.meta.dirname, ".."), resolve(checkout, "packages/core")]) {
  const side = { sources: await sourcesOf(core), times: new Map<string, number[]>() } as unknown as Side;
  restart(side);
  sides.push(side);
}
for (let round = 0; round < rounds + 1; round++) {
  for (const side of sides) restart(side);
  for (const [name, kind, rank] of STEPS)
    for (let i = 0; i < RUNS; i++) {
      // Prompts take turns, so that no turn finds the lines of the one before.
      const prompts = RUNS / PROMPT_RUNS;
      const run = ((i * 97) % prompts) * PROMPT_RUNS + Math.floor(i / prompts);
      for (const side of i % 2 === 0 ? sides : [...sides].reverse()) {
        const time = TURNS[kind](side, run, rank);
        const times = side.times.get(name) ?? [];
        side.times.set(name, times);
        // The first round is for the compilers.
        if (round > 0) times.push((time * 1e6) / RUN_BLOCKS);
      }
    }
}
console.log(
  `\n| call | this, ns/block | other | ratio | of trimmed sums |\n| --- | ---: | ---: | ---: | ---: |`,
);
for (const [name] of STEPS) {
  const [here, there] = sides.map((side) => side.times.get(name) ?? []);
  const [mine, other] = [here, there].map((values) => percentile(values, 0.1));
  const cells = [mine, other].map((value) => value.toFixed(1));
  const ratios = [mine / other, trimmedSum(here) / trimmedSum(there)].map((value) => value.toFixed(3));
  console.log(`| ${name} | ${[...cells, ...ratios].join(" | ")} |`);
}
