/**
 * Instructions that calls of the index take, counted by valgrind. Other programs do not move the figure, and no hardware
 * counters are needed.
 *
 *     node packages/core/bench/instructions.bench.ts [../other-checkout] [part of a call's name, as "removal, 1"]
 *
 * Needs `valgrind` on the path; without it the bench reports that and ends. Two runs differ in their number of calls
 * only. A figure is the difference of their instructions by that number: start and compilation fall out. The kernel
 * is compiled by the optimizing compiler from the first call. Instructions are not time: a cache miss costs hundreds of them.
 *
 * The other checkout needs no build and no packages: its sources and its committed kernel are run as they are.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { ContextKey } from "../src/prefix-index/contract.ts";
import type { PrefixHasher } from "../src/prefix-index/prefix-hasher.ts";
import type { PrefixIndex } from "../src/prefix-index/prefix-index.ts";
import type { PrefixReader } from "../src/prefix-index/prefix-reader.ts";

const BLOCK_SIZE = 16;
/** Blocks stored and not yet removed by the calls that store and remove in turn. */
const LAG = 512;
const CALLS = [60_000, 120_000] as const;
const NODE_FLAGS = [
  "--no-liftoff",
  "--no-wasm-tier-up",
  "--single-threaded",
  "--predictable",
  "--hash-seed=1",
  "--random-seed=1",
];
const VALGRIND_FLAGS = [
  "--tool=cachegrind",
  "--cache-sim=no",
  "--cachegrind-out-file=/dev/null",
  "--smc-check=all-non-file",
];
/** `bigram` is what earlier versions have in place of `lookahead`. */
const CONTEXT: ContextKey & { bigram: boolean } = {
  model: "m",
  loraName: null,
  blockSize: BLOCK_SIZE,
  lookahead: 0,
  bigram: false,
};

/** An index that holds `blocks` blocks, and a reader whose query they are. */
interface World {
  readonly index: PrefixIndex;
  readonly reader: PrefixReader;
  readonly contextId: number;
  readonly blocks: number;
}

const WORKLOADS: Readonly<Record<string, (world: World, call: number) => void>> = {
  "lookup by tokens": ({ reader, contextId, blocks }) => {
    if (reader.matchTokens(contextId, blocks * BLOCK_SIZE, false).matchCount !== 1)
      throw new Error("no match");
  },
  "lookup by hashes": ({ reader, contextId, blocks }) => {
    if (reader.matchHashes(contextId, blocks).matchCount !== 1) throw new Error("no match");
  },
  "store of blocks that are there": ({ index, contextId, blocks }) => {
    index.storeBlocks(contextId, 0, 0, blocks, false, 0, 0, false);
  },
  "store and removal": ({ index, contextId, blocks }, call) => {
    writeRun(index, blocks, call + 1);
    index.storeBlocks(contextId, 0, 0, blocks, false, 0, 0, false);
    if (call < LAG) return;
    writeRun(index, blocks, call + 1 - LAG);
    if (index.removeBlocks(0, 0, blocks) !== blocks) throw new Error("blocks were missing");
  },
};

/** Tokens and names of run `run`. */
function writeRun({ scratch }: PrefixIndex, blocks: number, run: number): void {
  scratch.tokens[0] = run;
  for (let i = 0; i < blocks; i += 1) {
    scratch.hashes[2 * i] = Math.imul(run * blocks + i, 0x9e37_79b1);
    scratch.hashes[2 * i + 1] = run;
  }
}

async function work(checkout: string, name: string, blocks: number, calls: number): Promise<void> {
  const load = (file: string): Promise<unknown> =>
    import(pathToFileURL(resolve(checkout, `packages/core/src/prefix-index/${file}.ts`)).href);
  const { PrefixIndex: Index } = (await load("prefix-index")) as {
    PrefixIndex: { create: (options: object) => PrefixIndex };
  };
  const { PrefixReader: Reader } = (await load("prefix-reader")) as {
    PrefixReader: { attach: (shared: unknown, options: object) => PrefixReader };
  };
  const index = Index.create({ secret: [1, 2, 3, 4], memoryBytesMax: 67_108_864 });
  const reader = Reader.attach(index.shared, { tokensMax: blocks * BLOCK_SIZE });
  const contextId = index.openContext(CONTEXT);
  for (let i = 0; i < blocks * BLOCK_SIZE; i += 1) index.scratch.tokens[i] = i;
  writeRun(index, blocks, 0);
  index.storeBlocks(contextId, 0, 0, blocks, false, 0, 0, false);
  for (let i = 0; i < blocks * BLOCK_SIZE; i += 1) reader.tokens[i] = i;
  reader.tokens[0] = 0;
  const world = { index, reader, contextId, blocks };
  // What the reader hashed is what it looks up by hashes.
  const hashes = await prefixHashes(checkout, reader.tokens, blocks);
  reader.hashes.set(hashes);
  const call = WORKLOADS[name];
  for (let i = 0; i < calls; i += 1) call(world, i);
}

async function prefixHashes(checkout: string, tokens: Uint32Array, blocks: number): Promise<Uint32Array> {
  const at = resolve(checkout, "packages/core/src/prefix-index/prefix-hasher.ts");
  const { PrefixHasher: Hasher } = (await import(pathToFileURL(at).href)) as {
    PrefixHasher: { create: () => PrefixHasher };
  };
  const hashes = new Uint32Array(2 * blocks);
  Hasher.create().hash(tokens, blocks, BLOCK_SIZE, null, hashes);
  return hashes;
}

/** Instructions of a whole process with so many calls. */
function count(checkout: string, name: string, blocks: number, calls: number): number {
  const script = [import.meta.filename, "--work", checkout, name, String(blocks), String(calls)];
  const { stderr, status } = spawnSync(
    "valgrind",
    [...VALGRIND_FLAGS, process.execPath, ...NODE_FLAGS, ...script],
    {
      encoding: "utf8",
    },
  );
  const found = /I\s+refs:\s+([\d,]+)/.exec(stderr);
  if (status !== 0 || found === null) throw new Error(`valgrind ended with ${status}:\n${stderr}`);
  return Number(found[1].replaceAll(",", ""));
}

function perCall(checkout: string, name: string, blocks: number): number {
  const [few, many] = CALLS.map((calls) => count(checkout, name, blocks, calls));
  return (many - few) / (CALLS[1] - CALLS[0]);
}

function hasValgrind(): boolean {
  try {
    execFileSync("valgrind", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const first = process.argv.at(2);
const rest = process.argv.slice(3);
if (first === "--work") {
  const [checkout, name, blocks, calls] = rest;
  await work(checkout, name, Number(blocks), Number(calls));
} else if (!hasValgrind()) {
  console.log("valgrind is not on the path: instructions are not counted");
} else {
  const [only = ""] = rest;
  const own = resolve(import.meta.dirname, "../../..");
  console.log("| call | blocks | this, instructions | other | ratio |\n| --- | ---: | ---: | ---: | ---: |");
  for (const name of Object.keys(WORKLOADS))
    for (const blocks of [1, 64]) {
      if (!`${name}, ${blocks}`.includes(only)) continue;
      const mine = perCall(own, name, blocks);
      const other = first === undefined ? Number.NaN : perCall(resolve(first), name, blocks);
      const cells = [mine.toFixed(0), other.toFixed(0), (mine / other).toFixed(3)];
      console.log(`| ${name} | ${blocks} | ${cells.join(" | ")} |`);
    }
}
