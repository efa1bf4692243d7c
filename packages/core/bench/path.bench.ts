/**
 * The cost of a message from its bytes to the index, and of a lookup, against another build of
 * core. Both run in one process and slice by slice in turn, so that a busy machine slows both
 * alike.
 *
 *     node packages/core/bench/path.bench.ts DIST [OTHER_DIST] [pairs of slices]
 *
 * DIST is the folder of the build that is compared with, its `dist`; OTHER_DIST is this checkout's unless given. A
 * copy of one build against itself shows what a ratio can mean: within 0.99 … 1.01. The compiler of JavaScript decides
 * differently from process to process, so that a figure is the median of at least three of them.
 *
 * A full pool is followed: each message stores as many blocks as it removes. The removed blocks
 * were stored half a cycle ago.
 */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type * as Core from "@kvsync/core";
import { benchFigure } from "./bench-figure.ts";

const otherDist = process.argv[2] ?? "";
const ownDist = process.argv[3] ?? resolve(import.meta.dirname, "../dist");
if (otherDist === "") throw new Error("give the dist folder of the build to compare with");
const PAIRS = benchFigure("pairs", process.argv[4] ?? 800, 4, 1_000_000);
const WARMING_PAIRS = PAIRS / 4;
const BLOCK_SIZE = 16;
const LOOKUP_BLOCKS = 8192;
const RUN_BLOCKS = 64;
const MODEL = "bench";

type Build = typeof Core;
type Work = (build: Build) => Side;

/** One build at work: what is prepared is not timed. */
interface Side {
  readonly prepare: () => void;
  readonly run: () => void;
}

async function load(dist: string): Promise<Build> {
  return (await import(pathToFileURL(resolve(dist, "index.js")).href)) as Build;
}

const other = await load(otherDist);
const own = await load(ownDist);
const prng = new own.Prng(20_261_129);

function hashes(count: number): bigint[] {
  return Array.from({ length: count }, () => (BigInt(prng.nextU32()) << 32n) | BigInt(prng.nextU32()));
}

function store(blockHashes: readonly bigint[]): Core.KvEvent {
  const tokenIds = Uint32Array.from({ length: blockHashes.length * BLOCK_SIZE }, () => prng.below(152_064));
  return {
    type: "BlockStored",
    blockHashes,
    parentBlockHash: null,
    tokenIds,
    blockSize: BLOCK_SIZE,
    medium: "GPU",
    extraKeys: blockHashes.map(() => null),
    groupIdx: 0,
    kvCacheSpecKind: "full_attention",
  };
}

function payloadOf(events: readonly Core.KvEvent[]): Uint8Array {
  return own.encodeEventBatch({ timestampSeconds: 1, events, dataParallelRank: 0 }, "vllm-0.29");
}

/** Messages of `stores` stores of `blocks` blocks; a cycle of `count`, of which `perSlice` are timed together. */
function follow(count: number, perSlice: number, stores: number, blocks: number): Work {
  const lag = count / 2;
  const names = Array.from({ length: count }, () => Array.from({ length: stores }, () => hashes(blocks)));
  const events = names.map((each) => each.map(store));
  const filling = events.map(payloadOf);
  const steady = events.map((each, at) => {
    const gone = names[(at + count - lag) % count];
    return payloadOf(
      each.flatMap((event, i) => [
        { type: "BlockRemoved", blockHashes: gone[i], medium: "GPU", groupIdx: 0 },
        event,
      ]),
    );
  });
  return ({ PrefixIndex, EventBatchDecoder, WorkerSync }) => {
    const index = PrefixIndex.create();
    const decoder = new EventBatchDecoder(index.scratch);
    const settings = { rankSlot: 0, model: MODEL, dpRank: 0, hasReplay: false };
    const sync = new WorkerSync(settings, { index, decoder });
    sync.connected(0);
    let next = 0;
    let slice: Uint8Array[][] = [];
    const frames = (number: number): Uint8Array[] => {
      const payload = Uint8Array.from((number < lag ? filling : steady)[number % count]);
      // A batch begins with its time, which must not go back.
      new DataView(payload.buffer).setFloat64(2, 1_757_500_000 + number / 20);
      return own.encodeLiveFrames("kv", number, payload);
    };
    const side = {
      prepare: () => (slice = Array.from({ length: perSlice }, (_, i) => frames(next + i))),
      run: () => {
        for (const message of slice) sync.liveMessage(message, next++);
        if (sync.trust !== "exact") throw new Error(`${sync.trust}: ${sync.trustReason}`);
      },
    };
    while (next < count) {
      side.prepare();
      side.run();
    }
    return side;
  };
}

/** Lookups, by tokens or by hashes, of a prompt that `workers` workers hold. */
function look(by: "tokens" | "hashes", blocks: number, workers: number, repeats: number): Work {
  return ({ PrefixIndex, PrefixReader, PrefixHasher }) => {
    const index = PrefixIndex.create();
    const { scratch } = index;
    // `bigram` is what earlier builds have in place of `lookahead`.
    const key = { model: MODEL, loraName: null, blockSize: BLOCK_SIZE, lookahead: 0, bigram: false };
    const contextId = index.openContext(key);
    for (let worker = 0; worker < workers; worker += 1)
      for (let first = 0; first < LOOKUP_BLOCKS; first += RUN_BLOCKS) {
        for (let i = 0; i < RUN_BLOCKS * BLOCK_SIZE; i += 1) scratch.tokens[i] = first * BLOCK_SIZE + i;
        for (let i = 0; i < RUN_BLOCKS; i += 1) {
          scratch.hashes[2 * i] = Math.imul(first + i + 1, 0x85eb_ca6b);
          scratch.hashes[2 * i + 1] = first + i;
        }
        const parentLow = Math.imul(first, 0x85eb_ca6b) >>> 0;
        index.storeBlocks(contextId, worker, 0, RUN_BLOCKS, first > 0, parentLow, first - 1, false);
      }
    const reader = PrefixReader.attach(index.shared);
    // Builds without a seed of their own hash with none.
    const seed = (index as { seed?: bigint }).seed;
    const hasher = seed === undefined ? PrefixHasher.create() : PrefixHasher.create(seed);
    const tokens = Uint32Array.from({ length: LOOKUP_BLOCKS * BLOCK_SIZE }, (_, i) => i);
    hasher.hash(tokens, LOOKUP_BLOCKS, BLOCK_SIZE, null, reader.hashes);
    reader.tokens.set(tokens);
    const match = (): number =>
      by === "tokens"
        ? reader.matchTokens(contextId, blocks * BLOCK_SIZE, false).matchCount
        : reader.matchHashes(contextId, blocks).matchCount;
    return {
      prepare: () => undefined,
      run: () => {
        for (let i = 0; i < repeats; i += 1) if (match() !== workers) throw new Error("no match");
      },
    };
  };
}

function milliseconds(run: () => void): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}

function compare(name: string, work: Work, perSlice: number): void {
  const sides = [work(other), work(own)];
  const times: number[][] = [[], []];
  for (let pair = -WARMING_PAIRS; pair < PAIRS; pair += 1) {
    for (const side of sides) side.prepare();
    for (const which of pair % 2 === 0 ? [0, 1] : [1, 0]) {
      const ms = milliseconds(sides[which].run);
      if (pair >= 0) times[which].push(ms);
    }
  }
  const [before, now] = times.map(median);
  const each = [before, now].map((ms) => ((1e6 * ms) / perSlice).toFixed(0));
  console.log(`| ${name} | ${each.join(" | ")} | ${(now / before).toFixed(3)} |`);
}

console.log("| what, median ns each | other | this | ratio |\n| --- | ---: | ---: | ---: |");
compare("1 store of 1 block", follow(4000, 100, 1, 1), 100);
compare("1 store of 4 blocks", follow(4000, 100, 1, 4), 100);
compare("1 store of 8 blocks", follow(4000, 100, 1, 8), 100);
compare("16 stores of 1 block", follow(800, 10, 16, 1), 10);
compare("16 stores of 8 blocks", follow(240, 6, 16, 8), 6);
compare("1 store of 512 blocks", follow(64, 4, 1, 512), 4);
for (const by of ["tokens", "hashes"] as const)
  for (const workers of [1, 16])
    for (const blocks of [64, 256, LOOKUP_BLOCKS]) {
      const repeats = by === "tokens" ? Math.max(1, 1024 / blocks) : Math.max(8, 4096 / blocks);
      const name = `lookup of ${blocks} blocks by ${by}, held by ${workers}`;
      compare(name, look(by, blocks, workers, repeats), repeats);
    }
