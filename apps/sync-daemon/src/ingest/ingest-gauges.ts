/**
 * Gauges of an ingest thread itself, next to its streams: the queue, its pace, its utilization and
 * its heartbeat.
 */
import { openLabel } from "@kvsync/observability/definition";
import type { BACKPRESSURE_LEVELS } from "@kvsync/observability/kvsync/label-domains";
import { LIMIT_METRICS } from "@kvsync/observability/kvsync/limits";
import { STREAM_METRICS } from "@kvsync/observability/kvsync/stream";
import type { MetricSlots } from "@kvsync/observability/slots";

import type { IngestQueue, Lane } from "./ingest-queue.ts";
import type { IngestSettings } from "./thread-messages.ts";

/** Time over which utilisation is averaged. */
const UTILIZATION_WINDOW_MS = 1000;

/** The thread's own metrics. */
export class IngestGauges {
  readonly #waits;
  readonly #batches;
  readonly #depths;
  readonly #memory;
  readonly #utilization;
  readonly #heartbeat;
  readonly #metrics: MetricSlots;
  #measured = performance.eventLoopUtilization();
  #measuredAtMs = 0;
  #share = 0;

  /**
   * @param settings - name and limits of the thread.
   * @param metrics - its slots.
   */
  constructor(settings: IngestSettings, metrics: MetricSlots) {
    const worker = openLabel("worker", settings.worker);
    this.#metrics = metrics;
    const lanes = ["live", "replay"] as const;
    this.#waits = {
      live: metrics.histogram(STREAM_METRICS.streamQueueWait, { lane: "live" }),
      replay: metrics.histogram(STREAM_METRICS.streamQueueWait, { lane: "replay" }),
    };
    this.#depths = {
      live: metrics.gauge(STREAM_METRICS.streamQueueDepth, { lane: "live" }),
      replay: metrics.gauge(STREAM_METRICS.streamQueueDepth, { lane: "replay" }),
    };
    for (const lane of lanes) {
      metrics.gauge(STREAM_METRICS.streamQueueCapacity, { lane }).set(settings.queue.messages[lane]);
    }
    this.#batches = metrics.counter(STREAM_METRICS.streamBatchesProcessed, { worker });
    this.#memory = metrics.gauge(STREAM_METRICS.streamQueueMemory, {});
    this.#utilization = metrics.gauge(STREAM_METRICS.streamWorkerUtilization, { worker });
    this.#heartbeat = metrics.gauge(LIMIT_METRICS.workerHeartbeat, { worker });
  }

  /** Busy share of the last window, 0 … 1. */
  get share(): number {
    return this.#share;
  }

  /** A message waited this long in the queue. */
  wait(lane: Lane, seconds: number): void {
    this.#waits[lane].observe(seconds);
  }

  /** A message was applied. */
  applied(): void {
    this.#batches.inc();
  }

  /** Back-pressure came to this level. */
  levelEntered(level: (typeof BACKPRESSURE_LEVELS)[number]): void {
    this.#metrics.counter(STREAM_METRICS.streamBackpressureActivations, { level }).inc();
  }

  /** How full the queue is. */
  queue(queue: Pick<IngestQueue<unknown, unknown>, "depth" | "bytes">): void {
    this.#depths.live.set(queue.depth("live"));
    this.#depths.replay.set(queue.depth("replay"));
    this.#memory.set(queue.bytes("live") + queue.bytes("replay"));
  }

  /** The thread is alive. */
  ticked(nowMs: number): void {
    this.#heartbeat.set(nowMs / 1000);
  }

  /** Measures how busy the thread is, once a window. */
  utilization(nowMs: number): void {
    if (nowMs - this.#measuredAtMs < UTILIZATION_WINDOW_MS) return;
    const measured = performance.eventLoopUtilization();
    this.#share = performance.eventLoopUtilization(measured, this.#measured).utilization;
    this.#utilization.set(this.#share);
    this.#measured = measured;
    this.#measuredAtMs = nowMs;
  }
}
