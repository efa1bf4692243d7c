/**
 * The cost of the log for ingest. The listener of a stream with the gate in front of it, at level 1
 * where it writes nothing, is compared with the metrics alone. A run that writes every line is
 * shown as well. Time is the median of rounds that alternate in one process. Memory is the growth
 * of the heap while no garbage collection ran, for which the process needs room:
 *
 *     node --expose-gc --min-semi-space-size=128 --max-semi-space-size=128 apps/sync-daemon/bench/log-cost.bench.ts [--json]
 */
import { cpus } from "node:os";
import { argv, execPath, version } from "node:process";

import type { SyncListener } from "@kvsync/core";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { openLabel } from "@kvsync/observability/definition";
import { MetricSlots } from "@kvsync/observability/slots";

import { BoardWriter, createBoardMemory } from "../dist/board/stream-board.js";
import { StreamMetrics } from "../dist/ingest/stream-metrics.js";
import { StreamWatch } from "../dist/ingest/stream-watch.js";
import { LineGate } from "../dist/log/line-gate.js";
import { LOG_LEVEL_MAX, LogLevel } from "../dist/log/log-level.js";
import { droppedCounters } from "../dist/telemetry/dropped-lines.js";

/** Of time; memory alone needs what the compiler needs to be done. */
const ROUNDS = 31;
const ROUNDS_OF_MEMORY = 5;
const MESSAGES = 20_000;
/** Lines that are written are made to be slower by two orders of magnitude. */
const MESSAGES_ON = 1000;
const EVENTS_PER_MESSAGE = 10;

/** What the bench prints with --json. */
export interface LogCost {
  /** Per event, a tenth of its message included. */
  readonly nanoseconds: Readonly<Record<"metrics" | "off" | "on", number>>;
  readonly bytes: Readonly<Record<"metrics" | "off" | "on", number>>;
}

interface Subject {
  readonly listener: Required<Pick<SyncListener, "eventApplied" | "messageApplied">>;
  readonly times: number[];
  readonly messages: number;
}

function metricsOf(slots: MetricSlots, pod: string): StreamMetrics {
  return new StreamMetrics(
    {
      pod: openLabel("pod", pod),
      model: openLabel("model", "m"),
      ingestWorker: openLabel("worker", "ingest-0"),
    },
    slots,
    () => 1,
  );
}

function subjectAt(verbosity: number, slots: MetricSlots): Subject {
  const dropped = droppedCounters(slots, "ingest-0");
  const level = LogLevel.create(verbosity);
  // The clock never ends the second's budget: beyond it a line is still made, which is what is measured.
  const gate = new LineGate({ thread: "ingest-0", level, write: () => undefined, dropped, now: () => 0 });
  const names = { pod: `pod-${verbosity}`, model: "m", dp_rank: 0 };
  const listener = new StreamWatch(
    metricsOf(slots, names.pod),
    {
      log: gate,
      spans: null,
      loggedFields: new Set(),
      now: () => 0,
      unknownKind: () => undefined,
      board: new BoardWriter(createBoardMemory(), 0),
      rankSlot: 0,
    },
    names,
    () => 7,
    () => null,
  );
  return { listener, times: [], messages: verbosity === LOG_LEVEL_MAX ? MESSAGES_ON : MESSAGES };
}

function feed({ listener, messages }: Subject): void {
  for (let message = 0; message < messages; message++) {
    for (let event = 0; event < EVENTS_PER_MESSAGE; event++) listener.eventApplied("BlockStored", 2);
    listener.messageApplied("live", EVENTS_PER_MESSAGE, 1);
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** The least of a few: what the compiler allocates meanwhile is not the subject's. */
function bytesPerEvent(subject: Subject): number {
  return Math.min(...Array.from({ length: 5 }, () => bytesOnce(subject)));
}

function bytesOnce(subject: Subject): number {
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  feed(subject);
  return (process.memoryUsage().heapUsed - before) / (subject.messages * EVENTS_PER_MESSAGE);
}

function measure(rounds: number): LogCost {
  const slots = new MetricSlots(CATALOGUE, "ingest-0", () => undefined);
  const subjects = {
    metrics: { listener: metricsOf(slots, "pod"), times: [], messages: MESSAGES } as Subject,
    off: subjectAt(1, slots),
    on: subjectAt(LOG_LEVEL_MAX, slots),
  };
  for (let round = 0; round < rounds; round++) {
    for (const subject of Object.values(subjects)) {
      const beganMs = performance.now();
      feed(subject);
      const nanoseconds = (performance.now() - beganMs) * 1e6;
      subject.times.push(nanoseconds / (subject.messages * EVENTS_PER_MESSAGE));
    }
  }
  const { metrics, off, on } = subjects;
  return {
    nanoseconds: { metrics: median(metrics.times), off: median(off.times), on: median(on.times) },
    bytes: {
      metrics: bytesPerEvent(metrics),
      off: bytesPerEvent(off),
      on: bytesPerEvent(on),
    },
  };
}

const isForProgram = argv.includes("--json");
const cost = measure(isForProgram ? ROUNDS_OF_MEMORY : ROUNDS);
if (isForProgram) console.log(JSON.stringify(cost));
else {
  console.log(`${cpus()[0]?.model ?? "?"}, ${cpus().length} cores, Node ${version}, ${execPath}`);
  for (const key of ["metrics", "off", "on"] as const) {
    const name = { metrics: "metrics alone", off: "log at level 1", on: "log at level 5" }[key];
    const figures = `${cost.nanoseconds[key].toFixed(1).padStart(8)} ns ${cost.bytes[key].toFixed(2).padStart(9)} bytes`;
    console.log(`${name.padEnd(16)}${figures} per event`);
  }
}
