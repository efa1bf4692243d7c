/**
 * What a daemon tells of itself, made before anything that has something to tell: metrics, log.
 *
 *     main thread's slots ─┐
 *     ingest threads' ─────┴─▶ Exposition ─▶ /metrics
 *     parts of the main thread ─▶ LineGate ─┐
 *     ingest threads ─▶ LineGate of theirs ─┴─▶ written
 */

import {
  CATALOGUE,
  Exposition,
  MetricSlots,
  type SlotAnnouncement,
  TELEMETRY_METRICS,
} from "@kvsync/observability";

import { LevelControl } from "./log/level-control.ts";
import { LineGate } from "./log/line-gate.ts";
import { LogLevel } from "./log/log-level.ts";
import type { LogLine } from "./log/log-line.ts";
import type { Settings } from "./settings/settings.ts";

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
}

/**
 * Starts telling.
 *
 * @param settings - how much is logged.
 * @param write - writes a line of the log.
 * @param now - milliseconds since the Unix epoch that never go back.
 * @returns everything, the caller's.
 */
export function startTelemetry(
  settings: Settings,
  write: (line: LogLine) => void,
  now: () => number,
): Telemetry {
  const exposition = new Exposition(CATALOGUE);
  const announce = (announcement: SlotAnnouncement): void => {
    exposition.accept(announcement);
  };
  const metrics = new MetricSlots("main", announce);
  const level = LogLevel.create(settings.log.level);
  const dropped = metrics.counter(TELEMETRY_METRICS.logLinesDropped, { thread: "main" });
  const log = new LineGate({ level, write, dropped, now });
  const levelControl = new LevelControl(level, now);
  return { exposition, announce, metrics, log, threadLine: write, level, levelControl };
}
