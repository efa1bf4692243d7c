/**
 * Entry of an ingest worker thread: makes the index (shared memory), the sockets and the ingest, and obeys the main
 * thread's messages (thread-messages.ts). An error that nothing catches ends the thread, and with it the process: what it
 * was doing is unknown, and everything can be rebuilt from the engines.
 */

import { parentPort, workerData } from "node:worker_threads";

import { assert, CodedError, DEFAULT_HASH_SEED, PrefixIndex, RANK_SLOTS_MAX } from "@kvsync/core";
import { MetricSlots, PREFIX_INDEX_METRICS } from "@kvsync/observability";

import { ZmqTransport } from "../engine/zmq-transport.ts";
import { loadSnapshot, type SnapshotStream } from "../snapshot/snapshot-file.ts";
import type { TakenSnapshot } from "../snapshot/taken-snapshot.ts";
import { Ingest } from "./ingest.ts";
import { BoardWriter } from "./stream-board.ts";
import type { FromIngest, IngestSettings, RestoredSnapshot, ToIngest } from "./thread-messages.ts";
import { yieldToLookups } from "./thread-priority.ts";

assert(parentPort !== null, "ingest-thread runs as a worker thread");
yieldToLookups();
const port = parentPort;
const settings = workerData as IngestSettings;
const tell = (message: FromIngest): void => {
  port.postMessage(message);
};

const metrics = new MetricSlots(settings.worker, (announcement) => {
  tell({ kind: "metrics", announcement });
});
/** Ranks that limits took something of before anybody followed them. */
const evictedWhileRestoring = new Set<number>();
let isRestoring = true;
const index = PrefixIndex.create({
  ...settings.index,
  onEviction: (reason, blockCount, rankSlots) => {
    metrics.counter(PREFIX_INDEX_METRICS.indexerEvictions, { reason }).inc(blockCount);
    if (isRestoring) for (const slot of rankSlots) evictedWhileRestoring.add(slot);
    ingest.evicted(reason, rankSlots);
  },
});
const ingest = new Ingest(settings, {
  transport: new ZmqTransport(),
  index,
  board: new BoardWriter(settings.board),
  metrics,
  log: (line) => {
    tell({ kind: "log", line });
  },
  now: () => performance.timeOrigin + performance.now(),
  random: Math.random,
});

port.on("message", (message: ToIngest) => {
  switch (message.kind) {
    case "follow":
      ingest.follow(message.rank);
      break;
    case "forget":
      ingest.forget(message.rankSlot);
      tell({ kind: "forgotten", rankSlot: message.rankSlot });
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
/** Between two messages: what the streams say and what the index holds belong together. */
function takeSnapshot(): TakenSnapshot {
  const beganMs = performance.now();
  const taken = { takenMs: Date.now(), streams: ingest.positions(), copy: index.copy() };
  return { ...taken, stoodStillMs: performance.now() - beganMs };
}

function restore(path: string): RestoredSnapshot {
  const importer = index.importer();
  try {
    const { head, rows } = loadSnapshot(path, importer, String(DEFAULT_HASH_SEED));
    const streams = head.streams.map((stream) =>
      importer.incompleteRanks.has(stream.rankSlot) || evictedWhileRestoring.has(stream.rankSlot)
        ? incomplete(stream)
        : stream,
    );
    return { kind: "restored", createdMs: head.createdMs, rows, streams };
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    for (let slot = 0; slot < RANK_SLOTS_MAX; slot++) index.clearRank(slot);
    const { code } = error as CodedError<{ readonly code: string }>;
    return { kind: "refused", code, message: error.message };
  }
}

/** Limits of this daemon are smaller than those of the one that wrote it: something is missing up to here. */
function incomplete(stream: SnapshotStream): SnapshotStream {
  const { position } = stream;
  const applier = { ...position.applier, mayUnderReport: true, historyFrom: position.lastSequenceNumber + 1 };
  return { ...stream, position: { ...position, applier } };
}

const restored = settings.restoreFrom === null ? null : restore(settings.restoreFrom);
isRestoring = false;
ingest.start();
tell({ kind: "ready", index: index.shared, restored });
