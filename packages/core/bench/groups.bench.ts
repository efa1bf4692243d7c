/**
 * The cost of KV-cache groups and of lookahead, for a lookup and for a store: one prompt of 8,192 blocks. All cases are in one
 * run, in turns, so that the ratios hold on a busy machine too. CPU time of this process; the least of the rounds.
 *
 *     node packages/core/bench/groups.bench.ts [RANKS] [ROUNDS]
 *
 * A lookup is compared with a plain one: a main group only, held by all ranks. Where groups miss blocks, holder sets change
 * along the prompt. The same number of changes without groups is a case of its own.
 */
import { argv, execPath, version } from "node:process";
import { type GroupShape, PrefixIndex, PrefixReader } from "@kvsync/core";
import { benchFigure } from "./bench-figure.ts";

const BLOCKS = 8_192;
const BLOCK_SIZE = 16;
const LOOKAHEADS = [1, 32];
const RANKS = benchFigure("ranks", argv[2] ?? 32, 1, 2_000);
const ROUNDS = benchFigure("rounds", argv[3] ?? 15, 1, 10_000);
const LOOKUPS = 10;
const WINDOW: GroupShape = {
  index: 1,
  rule: "window",
  kind: "sliding_window",
  windowTokens: 1_024,
  blockSize: BLOCK_SIZE,
};
const STATES: GroupShape = { index: 2, rule: "last", kind: "mamba", windowTokens: 0, blockSize: BLOCK_SIZE };

/** Whether a block is missing: of a rank's groups, or of the main group of one more rank. */
type IsGone = (block: number, rank: number) => boolean;

interface Case {
  readonly name: string;
  readonly groups: readonly GroupShape[];
  readonly isGone: IsGone;
  readonly lookahead?: number;
  /** Whether one more rank has only the blocks that are not gone. */
  readonly hasOneMore?: boolean;
}

interface Subject {
  readonly name: string;
  readonly reader: PrefixReader;
  readonly contextId: number;
  /** Tokens of the query. */
  readonly tokenCount: number;
  /** Memory that the groups took. */
  readonly groupBytes: number;
}

const CASES: readonly Case[] = [
  { name: "main group only", groups: [], isGone: () => false },
  ...LOOKAHEADS.map((lookahead) => ({
    name: `main group only, lookahead ${lookahead}`,
    groups: [],
    isGone: () => false,
    lookahead,
  })),
  {
    name: "main group only, and one more rank that has every second block",
    groups: [],
    isGone: (block) => block % 2 === 0,
    hasOneMore: true,
  },
  { name: "and a window, all held", groups: [WINDOW], isGone: () => false },
  {
    name: "and a window, only its last 64 blocks held",
    groups: [WINDOW],
    isGone: (block) => block < BLOCKS - 64,
  },
  {
    name: "and a window and states, three quarters gone",
    groups: [WINDOW, STATES],
    isGone: (block) => block % 64 < 48,
  },
  // No engine evicts as in the last two: the end of each rank sinks block by block to the beginning.
  { name: "and a window, every second block gone", groups: [WINDOW], isGone: (block) => block % 2 === 0 },
  {
    name: "and a window, every second block gone, by chance",
    groups: [WINDOW],
    isGone: (block, rank) => (Math.imul(block * 4_096 + rank + 1, 0x9e37_79b1) >>> 15) % 2 === 0,
  },
];

function writeNames(index: PrefixIndex, isWanted: (block: number) => boolean): number {
  let count = 0;
  for (let block = 0; block < BLOCKS; block++)
    if (isWanted(block)) index.scratch.hashes.set([block + 1, 7], 2 * count++);
  return count;
}

function writeTokens(tokens: Uint32Array, lookahead: number): void {
  for (let i = 0; i < BLOCKS * BLOCK_SIZE + lookahead; i++) tokens[i] = 7 * i + 3;
}

function openContext(index: PrefixIndex, lookahead: number): number {
  return index.openContext({ model: "m", loraName: null, blockSize: BLOCK_SIZE, lookahead });
}

function storeMain(index: PrefixIndex, contextId: number, rank: number, lookahead: number): void {
  writeTokens(index.scratch.tokens, lookahead);
  index.storeBlocks(
    contextId,
    rank,
    0,
    writeNames(index, () => true),
    false,
    0,
    0,
    false,
  );
}

function subject({ name, groups, isGone, lookahead = 0, hasOneMore = false }: Case): Subject {
  const index = PrefixIndex.create();
  const contextId = openContext(index, lookahead);
  for (let rank = 0; rank < RANKS; rank++) storeMain(index, contextId, rank, lookahead);
  if (hasOneMore) {
    storeMain(index, contextId, RANKS, lookahead);
    index.removeBlocks(
      RANKS,
      0,
      writeNames(index, (block) => isGone(block, 0)),
    );
  }
  const before = index.stats().allocatedBytes;
  for (let rank = 0; rank < RANKS && groups.length > 0; rank++) {
    index.openMainGroup(rank, BLOCK_SIZE);
    for (const group of groups) {
      const slot = index.openGroup(rank, group);
      const count = writeNames(index, () => true);
      index.storeGroupBlocks(contextId, slot, 0, count, 1, false, false, 0, 0, false);
      index.removeBlocks(
        slot,
        0,
        writeNames(index, (block) => isGone(block, rank)),
      );
    }
  }
  const tokenCount = BLOCKS * BLOCK_SIZE + lookahead;
  const reader = PrefixReader.attach(index.shared, { tokensMax: tokenCount });
  writeTokens(reader.tokens, lookahead);
  return { name, reader, contextId, tokenCount, groupBytes: index.stats().allocatedBytes - before };
}

/** Microseconds of CPU of one call. */
function cpuOf(calls: number, call: () => void): number {
  const began = process.cpuUsage();
  for (let i = 0; i < calls; i++) call();
  const { user, system } = process.cpuUsage(began);
  return (user + system) / calls;
}

/** Nanoseconds of CPU for a block that a rank stores: to its main group, or by name to a further one. */
function storeCost(lookahead: number, group: GroupShape | null): number {
  const index = PrefixIndex.create();
  const contextId = openContext(index, lookahead);
  const slots = Array.from({ length: RANKS }, (_, rank) => {
    if (group === null) return rank;
    storeMain(index, contextId, rank, lookahead);
    index.openMainGroup(rank, BLOCK_SIZE);
    return index.openGroup(rank, group);
  });
  writeTokens(index.scratch.tokens, lookahead);
  const count = writeNames(index, () => true);
  let next = 0;
  const micros = cpuOf(slots.length, () => {
    const slot = slots[next++] ?? 0;
    if (group === null) index.storeBlocks(contextId, slot, 0, count, false, 0, 0, false);
    else index.storeGroupBlocks(contextId, slot, 0, count, 1, false, false, 0, 0, false);
  });
  return (1_000 * micros) / BLOCKS;
}

/** The least of the rounds of each, in turns. */
function leastOf(costs: readonly (() => number)[]): number[] {
  const least = costs.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < ROUNDS; round++)
    for (const [i, cost] of costs.entries()) least[i] = Math.min(least[i] ?? 0, cost());
  return least;
}

console.log(`${execPath} ${argv.slice(1).join(" ")}; Node ${version}`);
const subjects = CASES.map(subject);
const lookups = leastOf(
  subjects.map(({ reader, contextId, tokenCount }) => () => {
    return cpuOf(LOOKUPS, () => void reader.matchTokens(contextId, tokenCount, false));
  }),
);
console.log(`\nA lookup of ${BLOCKS} blocks by tokens, ${RANKS} ranks`);
for (const [i, { name, groupBytes }] of subjects.entries()) {
  const micros = lookups[i] ?? Number.NaN;
  const ratio = micros / (lookups[0] ?? Number.NaN);
  console.log(`${name}: ${micros.toFixed(0)} µs, ${ratio.toFixed(2)} × plain; ${groupBytes} bytes`);
}
const stores = [
  { name: "to the main group", cost: () => storeCost(0, null) },
  ...LOOKAHEADS.map((lookahead) => ({
    name: `to the main group, lookahead ${lookahead}`,
    cost: () => storeCost(lookahead, null),
  })),
  { name: "by name to a window of the same rank", cost: () => storeCost(0, WINDOW) },
];
const storeTimes = leastOf(stores.map(({ cost }) => cost));
console.log(`\nA store of ${BLOCKS} blocks, by ${RANKS} ranks one after the other`);
for (const [i, { name }] of stores.entries()) {
  const nanos = storeTimes[i] ?? Number.NaN;
  const ratio = nanos / (storeTimes[0] ?? Number.NaN);
  console.log(`${name}: ${nanos.toFixed(1)} ns a block, ${ratio.toFixed(2)} × plain`);
}
