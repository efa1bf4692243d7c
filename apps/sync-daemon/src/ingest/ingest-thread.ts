/**
 * Entry of an ingest worker thread. It makes its part of the index (shared memory), the sockets and the ingest,
 * and obeys the main thread's messages (thread-messages.ts). An uncaught error ends the thread, and
 * with it the process. The thread's state is unknown then, and everything can be rebuilt from the
 * engines.
 */

import { parentPort, workerData } from "node:worker_threads";

import { setImmediate as turn } from "node:timers/promises";

import { assert, type IndexCopy, PrefixIndex, RankHomes } from "@kvsync/core";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { PREFIX_INDEX_METRICS } from "@kvsync/observability/kvsync/prefix-index";
import { TELEMETRY_METRICS } from "@kvsync/observability/kvsync/telemetry";
import { MetricSlots } from "@kvsync/observability/slots";

import { epochMs } from "../clock.ts";
import { resolverOf } from "../engine/host-names.ts";
import { type CurveNetwork, EngineTransports } from "../transport/engine-transports.ts";
import type { Transport } from "../transport/transport.ts";
import { ZmtpTransport } from "../transport/zmtp-transport.ts";
import { LineGate } from "../log/line-gate.ts";
import { LogLevel } from "../log/log-level.ts";
import type { TakenSnapshot } from "../snapshot/taken-snapshot.ts";
import { Ingest } from "./ingest.ts";
import { adopt, takeOver } from "./rank-takeover.ts";
import { restoreSnapshot } from "./snapshot-restore.ts";
import { droppedCounters } from "../telemetry/dropped-lines.ts";
import { ThreadSpans } from "../telemetry/thread-spans.ts";
import { BoardWriter } from "../board/stream-board.ts";
import { buffersOf, type FromIngest, type IngestSettings, type ToIngest } from "./thread-messages.ts";
import { yieldToLookups } from "./thread-priority.ts";

assert(parentPort !== null, "ingest-thread runs as a worker thread");
yieldToLookups();
const port = parentPort;
const settings = workerData as IngestSettings;
const tell = (message: FromIngest, given: readonly ArrayBuffer[] = []): void => {
  port.postMessage(message, given);
};

/**
 * A thread that ends with sockets open can abort the process (zeromq.js 6.8), before the main thread
 * hears of it. So it tells the main thread, which ends the process, and does nothing any more.
 */
process.on("uncaughtException", (error: unknown) => {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
  tell({ kind: "failed", error: { name, message, stack: stack ?? "" } });
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
});

const metrics = new MetricSlots(CATALOGUE, settings.worker, (announcement) => {
  tell({ kind: "metrics", announcement });
});
/** Ranks that limits took something of before anybody followed them. */
const evictedWhileRestoring = new Set<number>();
let isRestoring = true;
const part = { number: settings.workerNumber, count: settings.workerCount };
const homes = RankHomes.attach(settings.homes);
const index = PrefixIndex.create({
  ...settings.index,
  part,
  seed: settings.hashSeed.value,
  keyedHashes: settings.hashSeed.isKeyed,
  onEviction: (reason, blockCount, rankSlots) => {
    metrics.counter(PREFIX_INDEX_METRICS.indexerEvictions, { reason }).inc(blockCount);
    if (isRestoring) for (const slot of rankSlots) evictedWhileRestoring.add(slot);
    else ingest.evicted(reason, rankSlots);
  },
});
const ingest = new Ingest(settings, {
  transports: await transportsOf(settings),
  index,
  board: new BoardWriter(settings.board, settings.workerNumber),
  metrics,
  log: new LineGate({
    thread: settings.worker,
    level: LogLevel.attach(settings.logLevel),
    write: (line) => {
      tell({ kind: "log", line });
    },
    dropped: droppedCounters(metrics, settings.worker),
    now: epochMs,
  }),
  spans: threadSpans(settings.tracedRatio),
  unknownKind: (rankSlot, name) => {
    tell({ kind: "unknown_kind", rankSlot, name });
  },
  now: epochMs,
  random: Math.random,
});

/** The networks that the settings ask for. libzmq is loaded by whoever uses it. */
async function transportsOf({
  transport,
  curve,
  queue,
  messagePartsMax,
  publisherRanges,
  dnsServers,
}: IngestSettings): Promise<EngineTransports> {
  // Twice the limit on messages, so that one that is only too long is dropped by its name (`message_too_large`) and the stream
  // goes on; what is longer still ends its connection.
  const messageBytes = 2 * queue.messageBytes;
  const plain: Transport =
    transport === "own"
      ? new ZmtpTransport({ messageBytes, messageParts: messagePartsMax }, publisherRanges, queue.bytes.live)
      : new (await import("../transport/zmq-transport.ts")).ZmqTransport(null, messageBytes, publisherRanges);
  const loadCurve = async (): Promise<CurveNetwork> => {
    const { curveNetworks } = await import("../transport/zmq-transport.ts");
    return curveNetworks(curve.pair, messageBytes);
  };
  return new EngineTransports({ plain, loadCurve }, curve.fleetKey, resolverOf(dnsServers));
}

function threadSpans(ratio: number | null): ThreadSpans | null {
  if (ratio === null) return null;
  return new ThreadSpans(ratio, {
    send: (span) => {
      tell({ kind: "span", span });
    },
    dropped: metrics.counter(TELEMETRY_METRICS.spans, { outcome: "thread_budget" }),
    now: epochMs,
    random: Math.random,
  });
}

port.on("message", (message: ToIngest) => {
  switch (message.kind) {
    case "follow":
      homes.place(message.rank.rankSlot, part.number);
      takeOver(ingest, index, message.rank, message.parked);
      break;
    case "release":
      release(message.rankSlot);
      break;
    case "adopt":
      void adoptRank(message);
      break;
    case "forget":
      ingest.forget(message.rankSlot);
      tell({ kind: "forgotten", rankSlot: message.rankSlot });
      break;
    case "redial":
      ingest.redial(message.rankSlot);
      break;
    case "snapshot":
      tell({ kind: "snapshot", taken: takeSnapshot() });
      break;
    case "stop":
      ingest.stop();
      port.close();
      break;
  }
});

/** The last copy, which is written before the next is asked for (snapshot-store.ts): its memory serves all. */
let lastCopy: IndexCopy | null = null;

/** Between two messages: what the streams say and what this part of the index holds belong together. */
function takeSnapshot(): TakenSnapshot {
  const beganMs = performance.now();
  const [takenMs, streams] = [Date.now(), ingest.positions()];
  lastCopy = index.copy(lastCopy);
  return { takenMs, streams, copies: [lastCopy], stoodStillMs: performance.now() - beganMs };
}

/** Leaves a rank to another worker. Its rows stay until that one has them (`forget`). */
function release(rankSlot: number): void {
  const position = ingest.release(rankSlot);
  if (position === null) {
    tell({ kind: "released", rankSlot, moved: null });
    return;
  }
  const moved = { position, parked: index.takeParked(rankSlot), rows: index.exportRank(rankSlot) };
  tell({ kind: "released", rankSlot, moved }, buffersOf(moved));
}

async function adoptRank({ rank, moved }: Extract<ToIngest, { kind: "adopt" }>): Promise<void> {
  const home = { ingest, index, homes, part: part.number, limits: settings.index, turn };
  tell({ kind: "adopted", rankSlot: rank.rankSlot, fits: await adopt(home, rank, moved) });
}

const restored =
  settings.restoreFrom === null ? null : restoreSnapshot(index, settings.restoreFrom, evictedWhileRestoring);
isRestoring = false;
if (restored?.kind === "restored")
  for (const { rankSlot } of restored.streams) homes.place(rankSlot, part.number);
ingest.start();
tell({ kind: "ready", index: index.shared, restored });
