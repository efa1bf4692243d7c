/**
 * The cost of KV-cache groups for a lookup: one prompt of 8,192 blocks, held by 32 ranks. Four
 * cases are compared. They are no further groups, a window next to the main group, a window and
 * Mamba states with most blocks gone, and the worst case. All are in one run, so that the ratios
 * hold on a busy machine too.
 */
import { type GroupShape, PrefixIndex, PrefixReader } from "@kvsync/core";

const BLOCKS = 8_192;
const BLOCK_SIZE = 16;
const RANKS = 32;
const ROUNDS = 15;
const LOOKUPS = 20;
const WINDOW: GroupShape = {
  index: 1,
  rule: "window",
  kind: "sliding_window",
  windowTokens: 1_024,
  blockSize: BLOCK_SIZE,
};
const STATES: GroupShape = { index: 2, rule: "last", kind: "mamba", windowTokens: 0, blockSize: BLOCK_SIZE };

interface Subject {
  readonly name: string;
  readonly reader: PrefixReader;
  readonly contextId: number;
  /** Memory that the groups took. */
  readonly groupBytes: number;
}

function writeNames(index: PrefixIndex, isWanted: (block: number) => boolean): number {
  let count = 0;
  for (let block = 0; block < BLOCKS; block++)
    if (isWanted(block)) index.scratch.hashes.set([block + 1, 7], 2 * count++);
  return count;
}

function subject(name: string, groups: readonly GroupShape[], isGone: (block: number) => boolean): Subject {
  const index = PrefixIndex.create();
  const contextId = index.openContext({ model: "m", loraName: null, blockSize: BLOCK_SIZE, lookahead: 0 });
  for (let rank = 0; rank < RANKS; rank++) {
    for (let i = 0; i < BLOCKS * BLOCK_SIZE; i++) index.scratch.tokens[i] = 7 * i + 3;
    const count = writeNames(index, () => true);
    index.storeBlocks(contextId, rank, 0, count, false, 0, 0, false);
  }
  const before = index.stats().allocatedBytes;
  for (let rank = 0; rank < RANKS && groups.length > 0; rank++) {
    index.openMainGroup(rank, BLOCK_SIZE);
    for (const group of groups) {
      const slot = index.openGroup(rank, group);
      const count = writeNames(index, () => true);
      index.storeGroupBlocks(contextId, slot, 0, count, 1, false, false, 0, 0, false);
      index.removeBlocks(slot, 0, writeNames(index, isGone));
    }
  }
  const reader = PrefixReader.attach(index.shared, { tokensMax: BLOCKS * BLOCK_SIZE });
  for (let i = 0; i < BLOCKS * BLOCK_SIZE; i++) reader.tokens[i] = 7 * i + 3;
  return { name, reader, contextId, groupBytes: index.stats().allocatedBytes - before };
}

function time({ reader, contextId }: Subject): number {
  const started = performance.now();
  for (let i = 0; i < LOOKUPS; i++) reader.matchTokens(contextId, BLOCKS * BLOCK_SIZE, false);
  return (1_000 * (performance.now() - started)) / LOOKUPS;
}

const subjects = [
  subject("main group only", [], () => false),
  subject("and a window, all held", [WINDOW], () => false),
  subject("and a window and states, most gone", [WINDOW, STATES], (block) => block % 64 < 48),
  // No engine evicts so: the end of each rank sinks block by block to the beginning.
  subject("and a window, every second block gone", [WINDOW], (block) => block % 2 === 0),
];
const times = subjects.map((): number[] => []);
for (let round = 0; round < ROUNDS; round++) subjects.forEach((one, i) => times[i]?.push(time(one)));
console.log(`A lookup of ${BLOCKS} blocks by tokens, ${RANKS} ranks`);
const plain = Math.min(...(times[0] ?? []));
subjects.forEach(({ name, groupBytes }, i) => {
  const best = Math.min(...(times[i] ?? []));
  console.log(`${name}: ${best.toFixed(0)} µs, ${(best / plain).toFixed(2)} × plain; ${groupBytes} bytes`);
});
