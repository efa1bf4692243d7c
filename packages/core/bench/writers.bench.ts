/**
 * Two writing threads against one. The two write one index under its lock, or an index each, as the ingest workers of the daemon do.
 *
 *     calls      a store of new blocks and the removal of the oldest ones, `RUN_BLOCKS` or one a call: the index alone
 *     messages   1 to 4 stores of one block and as many removals, from frames to the index, as an ingest thread applies them
 *
 * All three alternate, so that a machine that slows down does so for all, and figures are medians over the rounds. A thread that
 * neither ran nor waited for a core, as Linux accounts for both, was blocked by the lock. Where other programs take the cores, the
 * two threads run at one moment less often. Then the lock shows less than it costs on free cores. So compare the two lines of a
 * run: the gain of writers with an index each is all that the machine had to give. "On cores of their own" leaves the wait
 * for a core out. It compares the CPU and blocked time of a block with that of one writer, times the number of writers.
 *
 *     node packages/core/bench/writers.bench.ts [rounds=7]
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { argv, version } from "node:process";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

import {
  encodeEventBatch,
  encodeLiveFrames,
  EventBatchDecoder,
  type KvEvent,
  PrefixIndex,
  Prng,
  type SharedPrefixIndex,
  WorkerSync,
} from "@kvsync/core";
import { benchFigure } from "./bench-figure.ts";

const SEED = 20_261_201;
const BLOCK_SIZE = 16;
const RUN_BLOCKS = 64;
/** Blocks that a thread's rank holds before it removes. */
const POOL = 65_536;
/** Blocks that the rank of its messages holds before they remove. */
const SINGLES = 1000;
const BLOCKS_A_ROUND = 400_000;
const SINGLES_A_ROUND = 150_000;
const MESSAGES_A_ROUND = 15_000;
const KEY = { model: "bench/model", loraName: null, blockSize: BLOCK_SIZE, lookahead: 0 };

/** What a thread does in a round: `run` blocks a call, or messages for 0. */
interface Order {
  readonly isShared: boolean;
  readonly run: number;
}

/** Of one thread in one round. */
interface Result {
  readonly blocks: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** Neither running nor waiting for a core. */
  readonly blockedSeconds: number;
}

/** Seconds that the calling thread ran, and that it waited for a core. */
function scheduled(): readonly [ran: number, waited: number] {
  const [ran = 0, waited = 0] = readFileSync("/proc/thread-self/schedstat", "utf8").split(" ").map(Number);
  return [ran / 1e9, waited / 1e9];
}

/** One rank's writes, to one index. */
class Writes {
  readonly #index: PrefixIndex;
  readonly #rank: number;
  readonly #random: Prng;
  readonly #sync: WorkerSync;
  #next = 1;
  #oldest = 1;
  #oldestSingle = 0;
  #messages: Uint8Array[][] = [];
  #blocks = 0;

  constructor(index: PrefixIndex, number: number) {
    this.#index = index;
    this.#rank = 2 * number;
    this.#random = new Prng(SEED + number);
    this.#sync = new WorkerSync(
      {
        rankSlot: this.#rank + 1,
        model: KEY.model,
        dpRank: 0,
        hasReplay: false,
        reportMode: "delta",
        startedAtMs: 0,
      },
      { index, decoder: new EventBatchDecoder(index.scratch) },
    );
    this.#sync.connected(0);
    this.calls(RUN_BLOCKS, POOL, false);
  }

  /** Stores and removes so many blocks. */
  calls(run: number, blocks: number, removes = true): number {
    const index = this.#index;
    const contextId = index.openContext(KEY);
    const { tokens, hashes } = index.scratch;
    for (let done = 0; done < blocks; done += run) {
      for (let i = 0; i < run; i += 1) {
        tokens.fill(this.#random.below(128_000), BLOCK_SIZE * i, BLOCK_SIZE * (i + 1));
        tokens[BLOCK_SIZE * i] = this.#next;
        this.#name(hashes, i, this.#next);
        this.#next += 1;
      }
      index.storeBlocks(contextId, this.#rank, 0, run, false, 0, 0, false);
      if (!removes) continue;
      for (let i = 0; i < run; i += 1) this.#name(hashes, i, this.#oldest++);
      index.removeBlocks(this.#rank, 0, run);
    }
    return removes ? 2 * blocks : blocks;
  }

  #name(hashes: Uint32Array, i: number, name: number): void {
    hashes[2 * i] = name;
    hashes[2 * i + 1] = this.#rank + 1;
  }

  /** Encodes the messages of the next round. */
  encode(): void {
    this.#blocks = 0;
    if (this.#oldestSingle === 0) this.#oldestSingle = this.#next;
    this.#messages = Array.from({ length: MESSAGES_A_ROUND }, () => {
      const events: KvEvent[] = [];
      for (let i = 1 + this.#random.below(4); i > 0; i -= 1) {
        const tokenIds = Array.from({ length: BLOCK_SIZE }, () => this.#random.below(128_000));
        const named = { parentBlockHash: null, tokenIds, blockSize: BLOCK_SIZE, medium: "GPU" } as const;
        events.push({ type: "BlockStored", blockHashes: [BigInt(this.#next++)], ...named });
        this.#blocks += 1;
        if (this.#next - this.#oldestSingle <= SINGLES) continue;
        events.push({ type: "BlockRemoved", blockHashes: [BigInt(this.#oldestSingle++)], medium: "GPU" });
        this.#blocks += 1;
      }
      return [
        encodeEventBatch({ timestampSeconds: 1_757_500_000, events, dataParallelRank: 0 }, "vllm-0.29"),
      ];
    });
  }

  /** Applies them. */
  messages(): number {
    let number = (this.#sync.lastSequenceNumber ?? -1) + 1;
    for (const [payload = new Uint8Array()] of this.#messages)
      this.#sync.liveMessage(encodeLiveFrames("", number++, payload), 1);
    return this.#blocks;
  }
}

function work(shared: SharedPrefixIndex, number: number): void {
  const indexes = [
    new Writes(PrefixIndex.attach(shared), number),
    new Writes(PrefixIndex.create(), number),
  ] as const;
  parentPort?.on("message", ({ isShared, run }: Order | { isShared: boolean; run: -1 }) => {
    const own = indexes[isShared ? 0 : 1];
    if (run === -1) {
      own.encode();
      parentPort?.postMessage(null);
      return;
    }
    const [[ran, waited], beganMs] = [scheduled(), performance.now()];
    const blocks = run === 0 ? own.messages() : own.calls(run, run === 1 ? SINGLES_A_ROUND : BLOCKS_A_ROUND);
    const seconds = (performance.now() - beganMs) / 1000;
    const [ranUntil, waitedUntil] = scheduled();
    const cpuSeconds = ranUntil - ran;
    const blockedSeconds = Math.max(0, seconds - cpuSeconds - (waitedUntil - waited));
    parentPort?.postMessage({ blocks, seconds, cpuSeconds, blockedSeconds } satisfies Result);
  });
  parentPort?.postMessage("ready");
}

async function ask(
  threads: readonly Worker[],
  order: Order | { isShared: boolean; run: -1 },
): Promise<Result[]> {
  const answers = threads.map((thread) => once(thread, "message"));
  for (const thread of threads) thread.postMessage(order);
  return (await Promise.all(answers)).map(([answer]) => answer as Result);
}

const sum = (values: readonly number[]): number => values.reduce((all, one) => all + one, 0);

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** Of all threads of a round. */
interface Cost {
  readonly cpuNanos: number;
  readonly blockedNanos: number;
  /** Blocks a second of all threads together. */
  readonly rate: number;
}

async function measure(threads: readonly Worker[], isShared: boolean, run: number): Promise<Cost> {
  if (run === 0) await ask(threads, { isShared, run: -1 });
  const results = await ask(threads, { isShared, run });
  const blocks = sum(results.map((one) => one.blocks));
  const cpuNanos = (sum(results.map(({ cpuSeconds }) => cpuSeconds)) / blocks) * 1e9;
  const blockedNanos = (sum(results.map(({ blockedSeconds }) => blockedSeconds)) / blocks) * 1e9;
  return { cpuNanos, blockedNanos, rate: blocks / Math.max(...results.map(({ seconds }) => seconds)) };
}

async function main(rounds: number): Promise<void> {
  process.stdout.write(`Node ${version}, ${cpus().length} × ${cpus()[0]?.model ?? ""}\n`);
  const { shared } = PrefixIndex.create();
  const threads = [0, 1].map(
    (number) => new Worker(new URL(import.meta.url), { workerData: { shared, number } }),
  );
  await Promise.all(threads.map((thread) => once(thread, "message")));
  for (const [name, run] of [
    [`calls of ${RUN_BLOCKS} blocks`, RUN_BLOCKS],
    ["calls of 1 block", 1],
    ["messages", 0],
  ] as const) {
    const seen: Record<"one" | "sharing" | "apart", Cost>[] = [];
    for (let round = 0; round <= rounds; round += 1) {
      const one = await measure(threads.slice(0, 1), true, run);
      const sharing = await measure(threads, true, run);
      const apart = await measure(threads, false, run);
      // The first round warms up.
      if (round > 0) seen.push({ one, sharing, apart });
    }
    const cost = (of: keyof (typeof seen)[number]): string => {
      const cpu = median(seen.map((all) => all[of].cpuNanos));
      const blocked = median(seen.map((all) => all[of].blockedNanos));
      const gain = median(seen.map((all) => all[of].rate / all.one.rate));
      const writers = of === "one" ? 1 : 2;
      const busy = (one: Cost): number => one.cpuNanos + one.blockedNanos;
      const alone = median(seen.map((all) => (writers * busy(all.one)) / busy(all[of])));
      return `${cpu.toFixed(0)} ns of CPU a block, blocked ${blocked.toFixed(0)} ns; together × ${gain.toFixed(2)} of one writer, × ${alone.toFixed(2)} on cores of their own`;
    };
    process.stdout.write(
      `${name}\n  one writer: ${cost("one")}\n  two, one index: ${cost("sharing")}\n  two, an index each: ${cost("apart")}\n`,
    );
  }
  await Promise.all(threads.map((thread) => thread.terminate()));
}

if (isMainThread) await main(benchFigure("rounds", argv[2] ?? 7, 1, 10_000));
else {
  const { shared, number } = workerData as { shared: SharedPrefixIndex; number: number };
  work(shared, number);
}
