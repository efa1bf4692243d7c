/**
 * Entry of an ingest worker thread: makes the index (shared memory), the sockets and the ingest,
 * and obeys the main thread's messages (thread-messages.ts). An uncaught error ends the thread, and
 * with it the process. The thread's state is unknown then, and everything can be rebuilt from the
 * engines.
 */

import { parentPort, workerData } from "node:worker_threads";

import {
  assert,
  type EvictionReason,
  type IndexCopy,
  PrefixIndex,
  type PrefixIndexOptions,
} from "@kvsync/core";
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
import { indexSeed } from "./index-seed.ts";
import { takeOver } from "./rank-takeover.ts";
import { letGo, othersStand, type SnapshotBarrier, standStill } from "./snapshot-barrier.ts";
import { restoreSnapshot } from "./snapshot-restore.ts";
import { droppedCounters } from "../telemetry/dropped-lines.ts";
import { ThreadSpans } from "../telemetry/thread-spans.ts";
import { BoardWriter } from "../board/stream-board.ts";
import type { FromIngest, IngestSettings, ToIngest } from "./thread-messages.ts";
import { yieldToLookups } from "./thread-priority.ts";

assert(parentPort !== null, "ingest-thread runs as a worker thread");
yieldToLookups();
const port = parentPort;
const settings = workerData as IngestSettings;
const tell = (message: FromIngest): void => {
  port.postMessage(message);
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
/** Longest wait for the other workers before a snapshot: many slices. */
const GATHER_MS_MAX = 1000;
/** Longest time that they stand still; a copy that takes longer is thrown away. */
const STAND_MS_MAX = 10_000;

/** Ranks that limits took something of before anybody followed them. */
const evictedWhileRestoring = new Set<number>();
let isRestoring = true;
const indexOptions: PrefixIndexOptions = {
  ...settings.index,
  onEviction: (reason, blockCount, rankSlots) => {
    metrics.counter(PREFIX_INDEX_METRICS.indexerEvictions, { reason }).inc(blockCount);
    if (isRestoring) for (const slot of rankSlots) evictedWhileRestoring.add(slot);
    ingest.evicted(reason, rankSlots);
    tellEvicted(reason, rankSlots);
  },
};
/** What limits took since the last time that the main thread was told, by reason. */
const evictedSlots = new Map<EvictionReason, Set<number>>();

/** Tells the main thread, once a slice: one message of an engine can make limits take a million times. */
function tellEvicted(reason: EvictionReason, rankSlots: readonly number[]): void {
  if (evictedSlots.size === 0)
    setImmediate(() => {
      for (const [own, slots] of evictedSlots) tell({ kind: "evicted", reason: own, rankSlots: [...slots] });
      evictedSlots.clear();
    });
  const slots = evictedSlots.get(reason) ?? new Set();
  evictedSlots.set(reason, slots);
  for (const slot of rankSlots) slots.add(slot);
}

const index =
  settings.sharedIndex === null
    ? PrefixIndex.create({
        ...indexOptions,
        seed: indexSeed(
          settings.prefixHashes,
          settings.sharedSeed ?? null,
          settings.restoreFrom?.paths[0] ?? null,
        ),
      })
    : PrefixIndex.attach(settings.sharedIndex, indexOptions);
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
      takeOver(ingest, index, message.rank, message.parked);
      break;
    case "release": {
      const { rankSlot } = message;
      const position = ingest.release(rankSlot);
      const moved = position === null ? null : { position, parked: index.takeParked(rankSlot) };
      tell({ kind: "released", rankSlot, moved });
      break;
    }
    case "evicted":
      ingest.evicted(message.reason, message.rankSlots);
      break;
    case "forget":
      ingest.forget(message.rankSlot);
      tell({ kind: "forgotten", rankSlot: message.rankSlot });
      break;
    case "redial":
      ingest.redial(message.rankSlot);
      break;
    case "snapshot":
      if (message.barrier !== null && settings.workerNumber > 0) {
        // Said before standing still, since nothing is said meanwhile.
        tell({ kind: "standing", part: { streams: ingest.positions(), parked: index.copyParked() } });
        standStill(message.barrier, STAND_MS_MAX);
      } else tell({ kind: "snapshot", taken: takeSnapshot(message.barrier) });
      break;
    case "stop":
      ingest.stop();
      port.close();
      break;
  }
});

/** The last copy, which is written before the next is asked for (snapshot-store.ts): its memory serves all. */
let lastCopy: IndexCopy | null = null;

/**
 * Between two messages: what the streams say and what the index holds belong together. With several workers the others
 * stand still meanwhile; when one does not come in time there is no snapshot, since it may be in the middle of a write.
 */
function takeSnapshot(barrier: SnapshotBarrier | null): TakenSnapshot | null {
  const isStill = barrier === null || othersStand(barrier, GATHER_MS_MAX);
  const beganMs = performance.now();
  let taken: TakenSnapshot | null = null;
  if (isStill) {
    const [takenMs, streams] = [Date.now(), ingest.positions()];
    lastCopy = index.copy(lastCopy);
    taken = { takenMs, streams, copy: lastCopy, stoodStillMs: performance.now() - beganMs };
  }
  return barrier === null || letGo(barrier) ? taken : null;
}

const restored =
  settings.restoreFrom === null ? null : restoreSnapshot(index, settings.restoreFrom, evictedWhileRestoring);
isRestoring = false;
ingest.start();
tell({ kind: "ready", index: index.shared, restored });
