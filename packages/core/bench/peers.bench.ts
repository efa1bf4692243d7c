/**
 * Compares the index with those of other projects in one run: the same workload file (fleet-workload.ts), slice by slice in turn.
 * Costs, memory, and how often each is wrong.
 *
 *     node packages/core/bench/peers.bench.ts [--sharing=1] [--peers=smg-chain,dynamo-crtc,…] [--quick]
 *
 *     this process ──play 0 16384──▶ peers smg-chain      a process for each peer: peers/src/main.rs, built with cargo
 *                  ◀──nanoseconds──
 *
 * Needs Rust and its registry of packages, for this comparison only; versions of peers stand in peers/Cargo.lock. Times are CPU
 * times, also of a peer's own thread. Making an event of decoded tokens and names counts for all. For ours that is the copy to
 * the index's memory; for peers it is the hashes of blocks and the event's objects.
 *
 * Answers are compared with those of a bit for each worker and block. Prompts end at random blocks: with all blocks stored,
 * with every seventh removed, and with those stored again. Dynamo's PositionalIndexer is not here: it finds only blocks whose
 * names from the engine are its own hashes.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { parseArgs } from "node:util";

import { PrefixHasher } from "../src/prefix-index/prefix-hasher.ts";
import { PrefixIndex } from "../src/prefix-index/prefix-index.ts";
import { PrefixReader } from "../src/prefix-index/prefix-reader.ts";
import { nameHigh, nameLow } from "../src/prefix-index/testing/fleet-world.ts";
import { Prng } from "../src/prng.ts";
import { benchShare } from "./bench-figure.ts";
import { CONTEXT, indexTarget, play, type Slice, slicesOf, type Target } from "./fleet-replay.ts";
import {
  BLOCK_SIZE,
  encodeWorkload,
  EVENT_WORDS,
  type FleetWorkload,
  makeWorkload,
  workerOf,
  writeTokens,
} from "./fleet-workload.ts";

const PEERS = ["smg-chain", "dynamo-crtc", "dynamo-radix"];
const { values: options } = parseArgs({
  options: {
    sharing: { type: "string", default: "1" },
    peers: { type: "string", default: PEERS.join(",") },
    quick: { type: "boolean", default: false },
  },
});
const SEED = 20_261_201;
const SLICE_EVENTS = 16_384;
const HOLE_EVERY = 7;
const LOOKUP_BLOCKS = 8_192;
const RUN_BLOCKS = 64;
const LOOKUP_ROUNDS = 12;
const here = import.meta.dirname;

/** One index that is compared. All calls come one after the other. */
interface Side {
  readonly name: string;
  /** Applies the events of a slice. @returns nanoseconds. */
  play(slice: Slice, isSingly: boolean): Promise<number>;
  punch(isRefill: boolean): Promise<void>;
  /** Rows `worker:blocks` of the prompt that ends with this block. */
  ask(block: number): Promise<string>;
  /** Bytes that the index has now. */
  memory(): Promise<number>;
  /** Makes another index, in which so many workers hold one prompt. */
  hold(workers: number): Promise<void>;
  /** @returns nanoseconds of a lookup there. */
  find(by: "tokens" | "hashes", blocks: number, times: number): Promise<number>;
  end(): void;
}

/** Blocks before a block: the prompts of the workload. */
class Prompts {
  /** Of each block: the block before it + 1, 0 at the root. */
  readonly #parents: Uint32Array;
  readonly #holders: Uint8Array;
  readonly #workload: FleetWorkload;

  constructor(workload: FleetWorkload) {
    const { blocks, stores, workers, events } = workload;
    this.#workload = workload;
    this.#parents = new Uint32Array(blocks);
    this.#holders = new Uint8Array(Math.ceil((workers * blocks) / 8));
    for (let event = 0; event < stores; event++) {
      const at = EVENT_WORDS * event;
      for (let i = 0; i < events[at + 1]; i++) {
        const block = events[at] + i;
        this.#parents[block] = i === 0 ? events[at + 2] : block;
        this.hold(workerOf(workload, at), block, true);
      }
    }
  }

  hold(worker: number, block: number, isHeld: boolean): void {
    const bit = worker * this.#workload.blocks + block;
    if (isHeld) this.#holders[bit >> 3] |= 1 << (bit & 7);
    else this.#holders[bit >> 3] &= ~(1 << (bit & 7));
  }

  parentOf(block: number): number {
    return this.#parents[block] - 1;
  }

  /** The blocks of the prompt that ends with this one. */
  to(block: number): number[] {
    const blocks: number[] = [];
    for (let at = block; at >= 0; at = this.parentOf(at)) blocks.push(at);
    return blocks.reverse();
  }

  /** Every hole-th block of each store, with its holder. */
  *punched(): Generator<{ worker: number; block: number }> {
    const { events, stores } = this.#workload;
    for (let event = 0; event < stores; event++) {
      const at = EVENT_WORDS * event;
      for (let block = events[at]; block < events[at] + events[at + 1]; block++)
        if (block % HOLE_EVERY === 0) yield { worker: workerOf(this.#workload, at), block };
    }
  }

  /** The right rows of a prompt. */
  rows(block: number): string {
    const blocks = this.to(block);
    const rows: string[] = [];
    for (let worker = 0; worker < this.#workload.workers; worker++) {
      const lost = blocks.findIndex((each) => {
        const bit = worker * this.#workload.blocks + each;
        return (this.#holders[bit >> 3] & (1 << (bit & 7))) === 0;
      });
      const count = lost < 0 ? blocks.length : lost;
      if (count > 0) rows.push(`${worker}:${count}`);
    }
    return rows.join(" ");
  }
}

/** Our index, in this process. */
class OwnSide implements Side {
  readonly name = "kvsync";
  readonly #workload: FleetWorkload;
  readonly #prompts: Prompts;
  readonly #index = PrefixIndex.create();
  readonly #target: Target = indexTarget(this.#index);
  readonly #emptyBytes = this.#index.stats().allocatedBytes;
  #reader: PrefixReader | null = null;
  #held: { reader: PrefixReader; contextId: number; tokens: Uint32Array; hashes: Uint32Array } | null = null;

  constructor(workload: FleetWorkload, prompts: Prompts) {
    this.#workload = workload;
    this.#prompts = prompts;
  }

  play(slice: Slice, isSingly: boolean): Promise<number> {
    const start = process.threadCpuUsage();
    play(this.#target, this.#workload, slice, isSingly);
    return Promise.resolve(nanosecondsSince(start));
  }

  punch(isRefill: boolean): Promise<void> {
    const { tokens, hashes } = this.#target;
    for (const { worker, block } of this.#prompts.punched()) {
      hashes.set([nameLow(block, 0), nameHigh(block, 0)]);
      if (isRefill) {
        writeTokens(tokens, 0, block, 1);
        this.#target.store(worker, 1, this.#prompts.parentOf(block));
      } else this.#target.remove(worker, 1);
    }
    return Promise.resolve();
  }

  ask(block: number): Promise<string> {
    const reader = (this.#reader ??= PrefixReader.attach(this.#index.shared));
    const blocks = this.#prompts.to(block);
    blocks.forEach((each, i) => {
      writeTokens(reader.tokens, i * BLOCK_SIZE, each, 1);
    });
    const contextId = reader.findContext(CONTEXT);
    const { matchCount, rows } = reader.matchTokens(contextId, blocks.length * BLOCK_SIZE, false);
    const words = rows.length / Math.max(1, matchCount);
    const found = Array.from({ length: matchCount }, (_, i) => [rows[words * i], rows[words * i + 1]]);
    found.sort(([a], [b]) => a - b);
    return Promise.resolve(found.map(([worker, count]) => `${worker}:${count}`).join(" "));
  }

  memory(): Promise<number> {
    return Promise.resolve(this.#index.stats().allocatedBytes - this.#emptyBytes);
  }

  hold(workers: number): Promise<void> {
    const index = PrefixIndex.create();
    const contextId = index.openContext(CONTEXT);
    const target = indexTarget(index);
    const names = Uint32Array.from({ length: 2 * LOOKUP_BLOCKS }, (_, i) =>
      i % 2 === 0 ? nameLow(i >> 1, 0) : nameHigh(i >> 1, 0),
    );
    for (let worker = 0; worker < workers; worker++)
      for (let first = 0; first < LOOKUP_BLOCKS; first += RUN_BLOCKS) {
        writeTokens(target.tokens, 0, first, RUN_BLOCKS);
        target.hashes.set(names.subarray(2 * first, 2 * (first + RUN_BLOCKS)));
        target.store(worker, RUN_BLOCKS, first - 1);
      }
    const tokens = new Uint32Array(LOOKUP_BLOCKS * BLOCK_SIZE);
    writeTokens(tokens, 0, 0, LOOKUP_BLOCKS);
    const hashes = new Uint32Array(2 * LOOKUP_BLOCKS);
    PrefixHasher.create(index.seed).hash(tokens, LOOKUP_BLOCKS, BLOCK_SIZE, null, hashes);
    this.#held = { reader: PrefixReader.attach(index.shared), contextId, tokens, hashes };
    return Promise.resolve();
  }

  find(by: "tokens" | "hashes", blocks: number, times: number): Promise<number> {
    if (this.#held === null) throw new Error("no worker holds the prompt");
    const { reader, contextId, tokens, hashes } = this.#held;
    const input = by === "tokens" ? tokens.subarray(0, blocks * BLOCK_SIZE) : hashes.subarray(0, 2 * blocks);
    const start = process.threadCpuUsage();
    for (let i = 0; i < times; i++) {
      reader[by].set(input);
      if (by === "tokens") reader.matchTokens(contextId, input.length, false);
      else reader.matchHashes(contextId, blocks);
    }
    return Promise.resolve(nanosecondsSince(start) / times);
  }

  end(): void {
    this.#reader?.detach();
    this.#held?.reader.detach();
  }
}

function nanosecondsSince(start: NodeJS.CpuUsage): number {
  const { user, system } = process.threadCpuUsage(start);
  return 1_000 * (user + system);
}

/** A peer, in a process of its own. */
class PeerSide implements Side {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  #emptyBytes = 0;

  private constructor(name: string, program: string, file: string) {
    this.name = name;
    this.#child = spawn(program, [name, file], { stdio: ["pipe", "pipe", "inherit"] });
    if (this.#child.stdout === null) throw new Error(`${name} has no output`);
    this.#lines = createInterface({ input: this.#child.stdout });
  }

  static async start(name: string, program: string, file: string): Promise<PeerSide> {
    const side = new PeerSide(name, program, file);
    side.#emptyBytes = Number(await side.#command("memory"));
    return side;
  }

  #command(line: string): Promise<string> {
    return new Promise((resolve_, reject) => {
      const ended = (): void => {
        reject(new Error(`${this.name} ended at "${line}"`));
      };
      this.#child.once("exit", ended);
      this.#lines.once("line", (answer) => {
        this.#child.off("exit", ended);
        resolve_(answer);
      });
      this.#child.stdin?.write(`${line}\n`);
    });
  }

  async play({ from, to }: Slice, isSingly: boolean): Promise<number> {
    return Number(await this.#command(`play ${from} ${to}${isSingly ? " singly" : ""}`));
  }

  async punch(isRefill: boolean): Promise<void> {
    await this.#command(`${isRefill ? "refill" : "holes"} ${HOLE_EVERY}`);
  }

  ask(block: number): Promise<string> {
    return this.#command(`ask ${block}`);
  }

  async memory(): Promise<number> {
    return Number(await this.#command("memory")) - this.#emptyBytes;
  }

  async hold(workers: number): Promise<void> {
    await this.#command(`fleet ${workers} ${LOOKUP_BLOCKS}`);
  }

  async find(by: "tokens" | "hashes", blocks: number, times: number): Promise<number> {
    return Number(await this.#command(`find ${by} ${blocks} ${times}`));
  }

  end(): void {
    this.#child.stdin?.end();
  }
}

/** A table: our figure, and each peer's as a multiple of it. Below 1 the peer is cheaper. */
class Comparison {
  readonly #sides: readonly Side[];
  constructor(sides: readonly Side[]) {
    this.#sides = sides;
    const names = sides.map(({ name }) => name);
    console.log(`\n| what | ${names.join(" | ")} |\n| --- |${names.map(() => " ---: |").join("")}`);
  }

  /** @param figures - of each side. */
  print(what: string, unit: string, figures: readonly number[]): void {
    const [own, ...others] = figures;
    const ratios = others.map((figure) => `×${(figure / own).toFixed(2)}`);
    console.log(`| ${what} | ${own.toFixed(own < 100 ? 1 : 0)} ${unit} | ${ratios.join(" | ")} |`);
  }

  /** Sides take turns, and who begins changes. @returns sums by side. */
  async inTurns(turns: number, run: (side: Side, turn: number) => Promise<number>): Promise<number[]> {
    const sums = this.#sides.map(() => 0);
    for (let turn = 0; turn < turns; turn++)
      for (let i = 0; i < this.#sides.length; i++) {
        const at = (turn + i) % this.#sides.length;
        sums[at] += await run(this.#sides[at], turn);
      }
    return sums;
  }
}

async function comparePlay(
  table: Comparison,
  workload: FleetWorkload,
  from: number,
  to: number,
  what: string,
  isSingly: boolean,
): Promise<void> {
  const slices = [...slicesOf(workload, from, to, SLICE_EVENTS)];
  const blocks = slices.reduce((sum, slice) => sum + slice.blocks, 0);
  const times = await table.inTurns(slices.length, (side, turn) => side.play(slices[turn], isSingly));
  table.print(
    what,
    "ns a block",
    times.map((time) => time / blocks),
  );
}

async function compareAnswers(
  sides: readonly Side[],
  prompts: Prompts,
  workload: FleetWorkload,
  what: string,
): Promise<void> {
  const random = new Prng(SEED);
  const asked = options.quick ? 500 : 10_000;
  const wrong = sides.map(() => 0);
  for (let i = 0; i < asked; i++) {
    const block = random.below(workload.blocks);
    const rows = prompts.rows(block);
    for (let side = 0; side < sides.length; side++)
      if ((await sides[side].ask(block)) !== rows) wrong[side]++;
  }
  console.log(`| wrong of ${asked} answers, ${what} | ${wrong.join(" | ")} |`);
  if (wrong[0] > 0) throw new Error("our own answers are wrong");
}

async function compareLookups(sides: readonly Side[], table: Comparison, workers: number): Promise<void> {
  for (const side of sides) await side.hold(workers);
  for (const blocks of [256, LOOKUP_BLOCKS])
    for (const by of ["hashes", "tokens"] as const) {
      const times = (by === "tokens" ? 64 : 512) * (LOOKUP_BLOCKS / blocks);
      await table.inTurns(2, (side) => side.find(by, blocks, times));
      const sums = await table.inTurns(LOOKUP_ROUNDS, (side) => side.find(by, blocks, times));
      const holders = workers === 1 ? "1 holder" : `${workers} holders`;
      table.print(
        `lookup of ${blocks} blocks from ${by}, ${holders}`,
        "µs",
        sums.map((sum) => sum / LOOKUP_ROUNDS / 1_000),
      );
    }
}

function buildPeers(): string {
  const target = resolve(here, "../../../.cache/peers");
  try {
    execFileSync(
      "cargo",
      [
        "build",
        "--release",
        "--locked",
        "--quiet",
        "--manifest-path",
        join(here, "peers/Cargo.toml"),
        "--target-dir",
        target,
      ],
      { stdio: ["ignore", "inherit", "inherit"] },
    );
  } catch (error) {
    const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
    console.error(
      isMissing
        ? "cargo is not on the path; expected Rust 1.88 or newer, with which the peers are built"
        : "the peers cannot be built; cargo says why above. It needs the registry of Rust's packages",
    );
    process.exit(2);
  }
  return join(target, "release/peers");
}

function versionsOfPeers(): string {
  const lock = readFileSync(join(here, "peers/Cargo.lock"), "utf8");
  const version = (name: string): string =>
    new RegExp(`name = "${name}"\nversion = "([^"]+)"`).exec(lock)?.[1] ?? "unknown";
  return `kv-index ${version("kv-index")} (smg), dynamo-kv-router ${version("dynamo-kv-router")}`;
}

async function main(): Promise<void> {
  const names = options.peers.split(",").filter((name) => name !== "");
  const unknown = names.find((name) => !PEERS.includes(name));
  if (unknown !== undefined) {
    console.error(`--peers: ${unknown}: expected some of ${PEERS.join(", ")}`);
    process.exit(2);
  }
  const sharings = options.sharing.split(",").map((each) => benchShare("--sharing", each, 1, 128));
  const program = buildPeers();
  const folder = mkdtempSync(join(tmpdir(), "kvsync-peers-"));
  const cargo = execFileSync("cargo", ["--version"], { encoding: "utf8" }).trim();
  console.log(
    `# The index and its peers\n\n${cpus().length} × ${cpus()[0].model}, Node ${process.version}, ${cargo}, seed ${SEED}`,
  );
  console.log(`${versionsOfPeers()}\nnode ${process.argv.slice(1).join(" ")}`);
  process.once("exit", () => {
    rmSync(folder, { recursive: true });
  });
  for (const sharing of sharings) {
    const workers = options.quick ? 32 : 128;
    const workload = makeWorkload({
      workers,
      poolBlocks: options.quick ? 2_048 : 16_384,
      sharing,
      seed: SEED,
    });
    const file = join(folder, "workload");
    writeFileSync(file, encodeWorkload(workload));
    const prompts = new Prompts(workload);
    const sides: Side[] = [new OwnSide(workload, prompts)];
    for (const name of names) sides.push(await PeerSide.start(name, program, file));
    try {
      await compare(sides, workload, prompts, sharing);
    } finally {
      for (const side of sides) side.end();
    }
  }
}

async function compare(
  sides: readonly Side[],
  workload: FleetWorkload,
  prompts: Prompts,
  sharing: number,
): Promise<void> {
  const { stores, removals, workers, events } = workload;
  console.log(`\n## Sharing ${sharing}: ${workers} workers, ${workload.blocks} blocks, ${stores} stores`);
  const table = new Comparison(sides);
  await comparePlay(table, workload, 0, stores, "store from tokens", false);
  let pairs = 0;
  for (let event = 0; event < stores; event++) pairs += events[EVENT_WORDS * event + 1];
  const bytes: number[] = [];
  for (const side of sides) bytes.push((await side.memory()) / pairs);
  table.print("memory for a pair of worker and block", "B", bytes);
  await compareAnswers(sides, prompts, workload, "all stored");
  const half = stores + (removals >> 1);
  await comparePlay(table, workload, stores, half, "remove in runs", false);
  await comparePlay(table, workload, half, stores + removals, "remove singly, a call each", true);
  for (const slice of slicesOf(workload, 0, stores, SLICE_EVENTS))
    for (const side of sides) await side.play(slice, false);
  for (const side of sides) await side.punch(false);
  for (const { worker, block } of prompts.punched()) prompts.hold(worker, block, false);
  await compareAnswers(sides, prompts, workload, "with holes");
  for (const side of sides) await side.punch(true);
  for (const { worker, block } of prompts.punched()) prompts.hold(worker, block, true);
  await compareAnswers(sides, prompts, workload, "holes filled again");
  for (const holders of [1, 1_000]) await compareLookups(sides, table, holders);
}

await main();
