/**
 * The cost of the web page for the main thread. The sampler runs without viewers too, the beat of the
 * live stream with viewers. All ranks change each second.
 *
 *     node apps/sync-daemon/bench/dashboard.bench.ts [RANKS] [VIEWERS]
 *
 * Times are CPU time of the thread. Viewers take bytes and drop them: sockets cost apart. Alerts are
 * sampled over a series for each rank in every family that has the label `pod`; half of the counters grow. The gauges
 * that each scrape sets again are not among the costs.
 */
import { cpus } from "node:os";

import { createSyncCounters, type PrefixReader, type WorkerSync } from "@kvsync/core";
import { Exposition } from "@kvsync/observability/exposition";
import { builtInRules } from "@kvsync/observability/kvsync/built-in-rules";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { MetricSlots } from "@kvsync/observability/slots";

import { QUEUE_DROP_REASONS } from "../dist/board/drop-reasons.js";
import { BoardReader, BoardWriter, createBoardMemory } from "../dist/board/stream-board.js";
import { BuiltInAlerts } from "../dist/dashboard/built-in-alerts.js";
import { DeltaEncoder } from "../dist/dashboard/delta-encoder.js";
import { happeningsBetween } from "../dist/dashboard/happenings.js";
import { LiveStream } from "../dist/dashboard/live-stream.js";
import { Sampler } from "../dist/dashboard/sampler.js";
import { engineEntry } from "../dist/engine/engine-entry.js";
import { EngineRegistry } from "../dist/engine/engine-registry.js";
import { LookupTally } from "../dist/query/lookup-tally.js";
import { rankMetrics } from "../src/dashboard/testing/rank-metrics.ts";
import { benchFigure } from "../../../packages/core/bench/bench-figure.ts";

const ranks = benchFigure("ranks", process.argv[2] ?? 1_000, 1, 4_096);
const viewers = benchFigure("viewers", process.argv[3] ?? 10, 1, 1_000);
const ROUNDS = 100;
const STEP_MS = 5000;

const registry = new EngineRegistry(
  { follow: () => undefined, forget: () => Promise.resolve(), redial: () => undefined },
  { engines: 4096, engineFiles: 1_000_000, filesOf: () => 1 },
);
const memory = createBoardMemory();
const board = new BoardReader(memory);
const writer = new BoardWriter(memory, 0);
const slots = Array.from({ length: ranks }, (_, i) => {
  const entry = engineEntry.parse({
    id: `vllm-${i}`,
    model: `model-${i % 8}`,
    endpoint: `tcp://10.0.${i >> 8}.${i & 255}:5557`,
  });
  return registry.register(entry).registered.ranks[0]?.rankSlot ?? 0;
});
let nowMs = 1_000_000;
let step = 0;

/** All ranks have new messages. */
function change(): void {
  step += 1;
  writer.beat();
  const counters = createSyncCounters();
  counters.eventsApplied.BlockStored = step * 30;
  for (const slot of slots) {
    const sync = {
      state: "live",
      trustReason: null,
      trustSinceMs: 1,
      lastSequenceNumber: step * 3,
      historyFromSequenceNumber: 0,
      lastEventAtMs: nowMs,
    } as unknown as WorkerSync;
    writer.position(slot, sync, true);
    writer.counters(slot, counters, new Float64Array(QUEUE_DROP_REASONS.length));
  }
}

const reader = {
  contexts: () => [],
  rankBlockCount: (slot: number) => (slot * 7919 + step * 12) % 9973,
} as unknown as PrefixReader;
/** Blocks by tier change as often as they are counted, which is rarely. */
const tiersOf = (): readonly number[] => [9000, 900, 0, 0];
/** Rates are measured with each sample. */
const rateOf = (_owner: unknown, rankSlot: number): number =>
  ((rankSlot + Math.floor(nowMs / STEP_MS)) % 97) + 0.5;
const fleet = { registry, board, reader, tiersOf, rateOf };

/** Milliseconds of CPU of one call, the mean: a kernel may count in steps of several milliseconds. */
function cpuMs(work: () => void): number {
  let total = 0;
  for (let i = 0; i < ROUNDS; i++) {
    change();
    const before = process.threadCpuUsage();
    work();
    const { user, system } = process.threadCpuUsage(before);
    total += (user + system) / 1000;
  }
  return total / ROUNDS;
}

const sampler = new Sampler(fleet, new LookupTally(() => true), 3600);
const sampleMs = cpuMs(() => {
  nowMs += STEP_MS;
  sampler.sample(nowMs);
});

const NO_ALERTS = {};
let bytes = 0;
const live = new LiveStream({
  encoder: new DeltaEncoder(
    fleet,
    () => "file",
    () => nowMs,
  ),
  hello: () => ({}),
  totals: () => ({}),
  health: () => ({}),
  alerts: { watch: () => undefined, present: () => NO_ALERTS },
  happenings: (afterMs, untilMs) => happeningsBetween({ registry, history: board.history }, afterMs, untilMs),
  now: () => nowMs,
  metrics: new MetricSlots(CATALOGUE, "bench", () => undefined),
  viewersMax: viewers,
});
for (let i = 0; i < viewers; i++)
  live.watch({
    writableLength: 0,
    write: (sent) => {
      bytes += sent.length;
    },
    end: () => undefined,
  });
const snapshotBytes = bytes / viewers;
bytes = 0;
const beatMs = cpuMs(() => {
  nowMs += 1000;
  live.beat();
});
live.stop();

const exposition = new Exposition(CATALOGUE);
const grow = rankMetrics(
  new MetricSlots(CATALOGUE, "ranks", (announcement) => {
    exposition.accept(announcement);
  }),
  ranks,
);
const rules = builtInRules();
global.gc?.();
const heapBefore = process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers;
const alerts = new BuiltInAlerts({ rules, exposition, instance: "bench", now: () => nowMs });
const ALERT_ROUNDS = 30;
let alertMs = 0;
for (let i = -ALERT_ROUNDS; i < ALERT_ROUNDS; i++) {
  nowMs += rules.intervalSeconds * 1000;
  grow();
  const before = process.threadCpuUsage();
  await alerts.sample();
  const { user, system } = process.threadCpuUsage(before);
  if (i >= 0) alertMs += (user + system) / 1000 / ALERT_ROUNDS;
}
global.gc?.();
const alertBytes = process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers - heapBefore;

const percent = (share: number): string => `${(share * 100).toFixed(3)} % of a core`;
console.log(`${cpus()[0]?.model ?? "unknown"}, ${cpus().length} cores, Node ${process.version}`);
console.log(`${ranks} ranks, all of which change each second; ${viewers} viewers`);
console.log(
  `without viewers: a sample in 5 s takes ${sampleMs.toFixed(2)} ms, ${percent(sampleMs / STEP_MS)}`,
);
console.log(`with viewers: a beat takes ${beatMs.toFixed(2)} ms, ${percent(beatMs / 1000)}`);
console.log(
  `bytes: a snapshot ${Math.round(snapshotBytes)}, a delta ${Math.round(bytes / viewers / ROUNDS)} for each viewer`,
);
console.log(
  `alerts: ${alerts.series} series; in 15 s they take ${alertMs.toFixed(2)} ms, ${percent(alertMs / 15_000)}; ${Math.round(alertBytes / 1e5) / 10} MB (exact with --expose-gc)`,
);
