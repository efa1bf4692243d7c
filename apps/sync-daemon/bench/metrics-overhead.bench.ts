/**
 * The cost of metrics for ingest. The real Ingest (queue, streams, decoder, index) is fed from
 * memory, with the daemon's metric handles and with handles that do nothing. Each run is a separate
 * process, so that no run uses the other's compiled code. Runs alternate, so that a machine that
 * slows down affects both. The bench measures CPU time because other processes use the machine too.
 * It prints the median of the pairs' ratios, and the spread.
 *
 * Messages are seeded and have the shape of an engine under load. Decode steps fill a block for
 * some requests and evict as many. A prefill chunk comes now and then.
 *
 *     node apps/sync-daemon/bench/metrics-overhead.bench.ts [pairs]
 */
import { execFileSync } from "node:child_process";
import { cpus } from "node:os";
import { argv, execPath, version } from "node:process";
import { fileURLToPath } from "node:url";

import {
  encodeEventBatch,
  encodeLiveFrames,
  encodeReplayEnd,
  type KvEvent,
  PrefixIndex,
  Prng,
  RankHomes,
} from "@kvsync/core";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { Counter, Gauge, Histogram, MetricSlots } from "@kvsync/observability/slots";

import type {
  Frames,
  ReplayEvents,
  ReplayPatience,
  SubscriptionEvents,
  Transport,
} from "../dist/transport/transport.js";
import { LineGate } from "../dist/log/line-gate.js";
import { LogLevel } from "../dist/log/log-level.js";
import { droppedCounters } from "../dist/telemetry/dropped-lines.js";
import { Ingest } from "../dist/ingest/ingest.js";
import { BoardReader, BoardWriter, createBoardMemory } from "../dist/board/stream-board.js";
import { benchFigure } from "../../../packages/core/bench/bench-figure.ts";

const SEED = 20261121;
const MESSAGES = 200_000;
/** Handed in at a time, as a socket's reader does. */
const BURST = 256;
const BLOCK_SIZE = 16;
/** Blocks that the made-up engine holds before it evicts one for each that it stores. */
const POOL = 50_000;
const PAIRS_DEFAULT = 7;

class NoCounter extends Counter {
  override inc(): void {
    return;
  }
}
class NoGauge extends Gauge {
  override set(): void {
    return;
  }
}
class NoHistogram extends Histogram {
  override observe(): void {
    return;
  }
}

/** Slots whose handles do nothing. */
class NoSlots extends MetricSlots {
  readonly #values = new Float64Array(64);
  override counter(): Counter {
    return new NoCounter(this.#values, 0);
  }
  override gauge(): Gauge {
    return new NoGauge(this.#values, 0);
  }
  override histogram(): Histogram {
    return new NoHistogram(this.#values, 0, new Float64Array(1));
  }
  override release(): void {
    return;
  }
}

/** A network with one engine that has no history. */
class OneEngine implements Transport {
  events: SubscriptionEvents | null = null;

  subscribe(_endpoint: string, _topic: string, events: SubscriptionEvents) {
    this.events = events;
    setImmediate(() => {
      events.connected();
    });
    return { close: () => undefined };
  }

  listen(): never {
    throw new Error("no engine connects here");
  }

  requestReplay(_endpoint: string, _from: number, _patience: ReplayPatience, events: ReplayEvents) {
    setImmediate(() => {
      events.message(encodeReplayEnd(new Uint8Array(0), "plain").slice(1));
      events.ended(null);
    });
    return { close: () => undefined };
  }

  close(): void {
    return;
  }
}

function messages(): Frames[] {
  const random = new Prng(SEED);
  const held: bigint[] = [];
  let next = 1n;
  const store = (count: number): KvEvent => {
    const blockHashes = Array.from({ length: count }, () => next++);
    held.push(...blockHashes);
    const tokenIds = Array.from({ length: count * BLOCK_SIZE }, () => random.below(128_000));
    return {
      type: "BlockStored",
      blockHashes,
      parentBlockHash: null,
      tokenIds,
      blockSize: BLOCK_SIZE,
      medium: "GPU",
    };
  };
  return Array.from({ length: MESSAGES }, (_, number) => {
    const stores = random.chance(0.05)
      ? [store(64)]
      : Array.from({ length: 1 + random.below(8) }, () => store(1));
    const excess = Math.max(0, held.length - POOL);
    const removals = held
      .splice(0, excess)
      .map((hash): KvEvent => ({ type: "BlockRemoved", blockHashes: [hash], medium: "GPU" }));
    const batch = {
      timestampSeconds: 1_757_500_000 + number / 100,
      events: [...removals, ...stores],
      dataParallelRank: 0,
    };
    return encodeLiveFrames("", number, encodeEventBatch(batch, "vllm-0.24"));
  });
}

/** Seconds of CPU that all messages take, the first tenth left out. */
async function run(isMetered: boolean): Promise<number> {
  const memory = createBoardMemory();
  const now = (): number => performance.timeOrigin + performance.now();
  const metrics = isMetered
    ? new MetricSlots(CATALOGUE, "ingest-0", () => undefined)
    : new NoSlots(CATALOGUE, "ingest-0", () => undefined);
  const level = LogLevel.create(1);
  const dropped = droppedCounters(metrics, "ingest-0");
  const board = new BoardReader(memory);
  const transport = new OneEngine();
  const ingest = new Ingest(
    {
      worker: "ingest-0",
      workerNumber: 0,
      workerCount: 1,
      homes: RankHomes.create().memory,
      hashSeed: { value: 1337n, isKeyed: false },
      restoreFrom: null,
      publisherRanges: [],
      transport: "own",
      messagePartsMax: 64,
      dnsServers: [],
      board: memory,
      logLevel: level.memory,
      journal: null,
      tracedRatio: null,
      queue: { messages: { live: 1e6, replay: 1e6 }, bytes: { live: 4e9, replay: 1e9 }, messageBytes: 1e8 },
      holdBytesMax: 1e9,
      tickMs: 100,
      replayTimeoutMs: 1000,
      replayStallMs: 1000,
      replaysMax: 4,
      dials: { perSecond: 200, burst: 64 },
      reconnectMsMin: 100,
      reconnectMsMax: 1000,
      curve: { fleetKey: null, pair: { publicKey: "", secretKey: "" } },
      index: { contextCountMax: 4, prefixesPerContextMax: 1e7, memoryBytesMax: 1e9, parkedBytesMax: 1e6 },
    },
    {
      transports: { of: () => transport, close: () => undefined },
      index: PrefixIndex.create(),
      board: new BoardWriter(memory, 0),
      metrics,
      spans: null,
      unknownKind: () => undefined,
      log: new LineGate({ thread: "ingest-0", level, write: () => undefined, dropped, now }),
      now,
      random: Math.random,
    },
  );
  const all = messages();
  ingest.start();
  ingest.follow({
    rankSlot: 0,
    workerId: "engine-0",
    model: "m",
    dpRank: 0,
    endpoint: "tcp://h:1",
    replayEndpoint: "tcp://h:2",
    topic: "",
    sharedSocket: false,
    bind: false,
    curveServerKey: null,
    reportMode: "delta",
    dropsLastBlock: false,
    engineSlot: 0,
    resumeFrom: null,
  });
  while (board.status(0).trust !== "exact") await new Promise(setImmediate);
  let began: NodeJS.CpuUsage | undefined;
  let sent = 0;
  while (sent < MESSAGES) {
    for (const frames of all.slice(sent, sent + BURST)) transport.events?.message(frames);
    sent = Math.min(MESSAGES, sent + BURST);
    while ((board.status(0).lastSequenceNumber ?? -1) < sent - 1) await new Promise(setImmediate);
    if (sent >= MESSAGES / 10) began ??= process.cpuUsage();
  }
  const { user, system } = process.cpuUsage(began);
  ingest.stop();
  return (user + system) / 1e6;
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? 0;
}

const [, script = "", first = ""] = argv;
if (first === "on" || first === "off") {
  process.stdout.write(`${await run(first === "on")}\n`);
} else {
  const pairs = benchFigure("pairs", argv[2] ?? PAIRS_DEFAULT, 1, 10_000);
  console.log(`${cpus()[0]?.model ?? "?"}, ${cpus().length} cores, Node ${version}`);
  console.log(`${execPath} ${fileURLToPath(import.meta.url)} ${pairs}; seed ${SEED}`);
  const seconds = { on: [] as number[], off: [] as number[] };
  for (let pair = 0; pair < pairs; pair++)
    for (const side of pair % 2 === 0 ? (["on", "off"] as const) : (["off", "on"] as const))
      seconds[side].push(Number(execFileSync(execPath, [script, side], { encoding: "utf8" })));
  const ratios = seconds.on.map((on, i) => on / (seconds.off[i] ?? Number.NaN) - 1);
  const perMessage = (values: readonly number[]): string =>
    `${((median(values) / (MESSAGES * 0.9)) * 1e6).toFixed(2)} µs a message`;
  const percent = (ratio: number): string => `${(ratio * 100).toFixed(2)} %`;
  console.log(`with metrics     ${perMessage(seconds.on)}`);
  console.log(`without          ${perMessage(seconds.off)}`);
  console.log(
    `overhead         ${percent(median(ratios))}   (pairs: ${percent(Math.min(...ratios))} … ${percent(Math.max(...ratios))})`,
  );
}
