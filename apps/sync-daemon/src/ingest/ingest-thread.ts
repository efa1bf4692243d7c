/**
 * Entry of an ingest worker thread: makes the index (shared memory), the sockets and the ingest, and obeys the main
 * thread's messages (thread-messages.ts). An error that nothing catches ends the thread, and with it the process: what it
 * was doing is unknown, and everything can be rebuilt from the engines.
 */

import { parentPort, workerData } from "node:worker_threads";

import { assert, PrefixIndex } from "@kvsync/core";
import { MetricSlots, PREFIX_INDEX_METRICS } from "@kvsync/observability";

import { ZmqTransport } from "../engine/zmq-transport.ts";
import { Ingest } from "./ingest.ts";
import { BoardWriter } from "./stream-board.ts";
import type { FromIngest, IngestSettings, ToIngest } from "./thread-messages.ts";
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
const index = PrefixIndex.create({
  ...settings.index,
  onEviction: (reason, blockCount, rankSlots) => {
    metrics.counter(PREFIX_INDEX_METRICS.indexerEvictions, { reason }).inc(blockCount);
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
    case "stop":
      ingest.stop();
      port.close();
      break;
  }
});
ingest.start();
tell({ kind: "ready", index: index.shared });
