/**
 * The daemon's metrics, log and traces, made before the parts that use them.
 *
 *     main thread's slots ─┐
 *     ingest threads' ─────┴─▶ Exposition ─▶ /metrics
 *     parts of the main thread ─▶ LineGate ─┐
 *     ingest threads ─▶ LineGate of theirs ─┴─▶ written
 *     requests, lookups, snapshots, ingest threads' spans ─▶ Tracing, null when off
 */

import { Exposition } from "@kvsync/observability/exposition";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { SPAN_OUTCOMES, type SpanOutcome, TELEMETRY_METRICS } from "@kvsync/observability/kvsync/telemetry";
import { MetricSlots, type SlotAnnouncement } from "@kvsync/observability/slots";

import { LevelControl } from "../log/level-control.ts";
import { LineGate } from "../log/line-gate.ts";
import { LogLevel } from "../log/log-level.ts";
import type { LogLine } from "../log/log-line.ts";
import { droppedCounters } from "./dropped-lines.ts";
import type { Settings } from "../settings/settings.ts";
import { startTracing } from "./start-tracing.ts";
import type { Tracing } from "./tracing.ts";

/** A daemon's ways to tell. */
export interface Telemetry {
  readonly exposition: Exposition;
  /** Takes slots of other threads into the exposition. */
  readonly announce: (announcement: SlotAnnouncement) => void;
  /** Metrics of the main thread. */
  readonly metrics: MetricSlots;
  /** Log of the main thread. */
  readonly log: LineGate;
  /** Writes a line that has passed another thread's gate. */
  readonly threadLine: (line: LogLine) => void;
  readonly level: LogLevel;
  readonly levelControl: LevelControl;
  /** Null when it is off. */
  readonly tracing: Tracing | null;
}

/**
 * Starts telling.
 *
 * @param settings - how much is logged, and whether there are traces.
 * @param version - of the product.
 * @param write - writes a line of the log.
 * @param now - milliseconds since the Unix epoch that never go back.
 * @returns everything, the caller's.
 */
export async function startTelemetry(
  settings: Settings,
  version: string,
  write: (line: LogLine) => void,
  now: () => number,
): Promise<Telemetry> {
  const exposition = new Exposition(CATALOGUE);
  const announce = (announcement: SlotAnnouncement): void => {
    exposition.accept(announcement);
  };
  const metrics = new MetricSlots(CATALOGUE, "main", announce);
  const level = LogLevel.create(settings.log.level);
  let tracing: Tracing | null = null;
  // A line that is written within a span says so.
  const writeTraced = (line: LogLine): void => {
    const ids = tracing?.activeIds() ?? null;
    write(ids === null ? line : { ...line, trace: ids });
  };
  const dropped = droppedCounters(metrics, "main");
  const log = new LineGate({ thread: "sync", level, write: writeTraced, dropped, now });
  tracing = await startTracing(settings.tracing, { version, count: spanCounter(metrics), log: log.write });
  const levelControl = new LevelControl(level, now);
  return { exposition, announce, metrics, log, threadLine: write, level, levelControl, tracing };
}

/** All outcomes are there from the start, so that none is a figure too. */
function spanCounter(metrics: MetricSlots): (outcome: SpanOutcome, spans: number) => void {
  const counters = new Map(
    SPAN_OUTCOMES.map((outcome) => [outcome, metrics.counter(TELEMETRY_METRICS.spans, { outcome })]),
  );
  return (outcome, spans) => {
    counters.get(outcome)?.inc(spans);
  };
}
