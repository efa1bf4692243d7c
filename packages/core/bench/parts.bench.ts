/**
 * The cost of several memories that are read as one: lookups, and memory for blocks that ranks of several parts hold.
 *
 *     lookups   one prompt that all ranks hold, from tokens and from prefix hashes, over an index of 1, 2 and 4 parts
 *     memory    bytes for each (rank, block), where 32 ranks hold every block
 *     moves     a rank goes to another part and back
 *
 * The numbers of parts take turns in every round; figures are medians of CPU time.
 *
 *     node packages/core/bench/parts.bench.ts [rounds=15]
 */
import { cpus } from "node:os";
import { argv, version } from "node:process";

import {
  attachReader,
  PrefixHasher,
  PrefixIndex,
  type PrefixReader,
  RankHomes,
  RankImport,
  rowCount,
} from "@kvsync/core";
import { benchFigure } from "./bench-figure.ts";

const PARTS = [1, 2, 4] as const;
const KEY = { model: "bench/model", loraName: null, blockSize: 16, lookahead: 0 };
const LENGTHS = [256, 8192] as const;
const RANKS = [1, 1000] as const;
/** Ranks that hold a block, and blocks, where memory is measured. */
const SHARING = 32;
const BLOCKS = 65_536;

class Index {
  readonly parts: readonly PrefixIndex[];
  readonly homes = RankHomes.create();
  readonly reader: PrefixReader;

  constructor(count: number) {
    this.parts = Array.from({ length: count }, (_, number) =>
      PrefixIndex.create({ part: { number, count } }),
    );
    const shared = { parts: this.parts.map((part) => part.shared), homes: this.homes.memory };
    this.reader = attachReader(shared, { tokensMax: 16 * LENGTHS[1] });
  }

  /** Stores the prompt 0, 1, 2 … */
  store(rank: number, blocks: number): void {
    const number = rank % this.parts.length;
    const part = this.parts[number];
    this.homes.place(rank, number);
    for (let from = 0; from < blocks; from += 4096) {
      const count = Math.min(4096, blocks - from);
      const { tokens, hashes } = part.scratch;
      for (let i = 0; i < 16 * count; i += 1) tokens[i] = 16 * from + i;
      for (let i = 0; i < count; i += 1) hashes.set([from + i + 1, 1], 2 * i);
      part.storeBlocks(part.openContext(KEY), rank, 0, count, from > 0, from, 1, false);
    }
  }

  get bytes(): number {
    return this.parts.reduce((sum, part) => sum + part.stats().allocatedBytes, 0);
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** Microseconds of CPU of one call. */
function cost(repeats: number, call: () => void): number {
  const began = process.cpuUsage();
  for (let i = 0; i < repeats; i += 1) call();
  const { user, system } = process.cpuUsage(began);
  return (user + system) / repeats;
}

function lookups(rounds: number): void {
  for (const ranks of RANKS)
    for (const blocks of LENGTHS) {
      const indexes = PARTS.map((count) => {
        const index = new Index(count);
        for (let rank = 0; rank < ranks; rank += 1) index.store(rank, blocks);
        for (let i = 0; i < 16 * blocks; i += 1) index.reader.tokens[i] = i;
        return index;
      });
      const seen = indexes.map((): { tokens: number[]; missed: number[]; hashes: number[] } => ({
        tokens: [],
        missed: [],
        hashes: [],
      }));
      const hashed = new Uint32Array(2 * blocks);
      const prompt = Uint32Array.from({ length: 16 * blocks }, (_, i) => i);
      PrefixHasher.create().hash(prompt, blocks, 16, null, hashed);
      const repeats = Math.ceil(400_000 / blocks / 8);
      for (let round = 0; round <= rounds; round += 1)
        for (const [i, { reader }] of indexes.entries()) {
          const id = reader.findContext(KEY);
          reader.hashes.set(hashed);
          const hashes = cost(8 * repeats, () => reader.matchHashes(id, blocks));
          const tokens = cost(repeats, () => reader.matchTokens(id, 16 * blocks, false));
          reader.tokens[0] = 9;
          const missed = cost(8 * repeats, () => reader.matchTokens(id, 16 * blocks, false));
          reader.tokens[0] = 0;
          if (round === 0) continue;
          seen[i]?.tokens.push(tokens);
          seen[i]?.hashes.push(hashes);
          seen[i]?.missed.push(missed);
        }
      const text = (of: "tokens" | "hashes" | "missed"): string =>
        PARTS.map((count, i) => `${count}: ${median(seen[i]?.[of] ?? []).toFixed(1)}`).join(", ");
      process.stdout.write(
        `${blocks} blocks, ${ranks} holders, µs by parts\n  tokens ${text("tokens")}\n  tokens that no rank holds ${text("missed")}\n  hashes ${text("hashes")}\n`,
      );
    }
}

function memory(): void {
  const bytes = PARTS.map((count) => {
    const index = new Index(count);
    const empty = index.bytes;
    for (let rank = 0; rank < SHARING; rank += 1) index.store(rank, BLOCKS);
    return ((index.bytes - empty) / (SHARING * BLOCKS)).toFixed(2);
  });
  process.stdout.write(
    `bytes for each (rank, block) at ${SHARING} holders by parts: ${PARTS.map((count, i) => `${count}: ${bytes[i]}`).join(", ")}\n`,
  );
}

function moves(rounds: number): void {
  const index = new Index(2);
  for (let rank = 0; rank < SHARING; rank += 1) index.store(rank, BLOCKS);
  const seen: { out: number; in: number }[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const [from, to] = round % 2 === 0 ? index.parts : index.parts.toReversed();
    let rows = from.exportRank(0);
    const out = cost(1, () => {
      rows = from.exportRank(0);
    });
    const moving = RankImport.begin(to.importer(), rows);
    const into = cost(1, () => {
      while (moving?.step() === true);
    });
    from.clearRank(0);
    if (round > 0) seen.push({ out: out / rowCount(rows), in: into / rowCount(rows) });
  }
  const nanos = (of: "out" | "in"): string => (1000 * median(seen.map((one) => one[of]))).toFixed(0);
  process.stdout.write(
    `a rank of ${BLOCKS} blocks moves: ${nanos("out")} ns a block to read it, ${nanos("in")} ns to take it in\n`,
  );
}

const rounds = benchFigure("rounds", argv[2] ?? 15, 1, 10_000);
process.stdout.write(`Node ${version}, ${cpus().length} × ${cpus()[0]?.model ?? ""}\n`);
memory();
moves(rounds);
lookups(rounds);
