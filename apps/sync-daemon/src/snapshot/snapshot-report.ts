/**
 * Reports the use of snapshots at the start: log lines and counters.
 */

import { SNAPSHOT_METRICS } from "@kvsync/observability/kvsync/snapshot";
import type { MetricSlots } from "@kvsync/observability/slots";

import type { RestoredSnapshot } from "./restored-snapshot.ts";
import type { WriteEvent } from "../log/log-line.ts";
import type { FoundSnapshot, SourceListener } from "./snapshot-source.ts";

function operationOf(origin: FoundSnapshot["origin"]): "fetch" | "read" {
  return origin === "sibling" ? "fetch" : "read";
}

/**
 * Counts and tells of snapshots that are not used.
 *
 * @param metrics - of this thread.
 * @param log - where lines go.
 */
export function refusals(metrics: MetricSlots, log: WriteEvent): SourceListener {
  return {
    refused: (origin, error) => {
      const operation = operationOf(origin);
      metrics.counter(SNAPSHOT_METRICS.snapshotOperations, { operation, status: "failed" }).inc();
      metrics.counter(SNAPSHOT_METRICS.snapshotErrors, { operation }).inc();
      log("snapshot_refused", { origin, code: error.code }, { text: error.message });
    },
  };
}

/**
 * Counts and tells of the one that was to be used.
 *
 * @param found - which.
 * @param restored - what became of it; null when the ingest thread did not try.
 * @param metrics - of this thread.
 * @param log - where lines go.
 */
export function tellRestored(
  { origin, paths }: FoundSnapshot,
  restored: RestoredSnapshot | null,
  metrics: MetricSlots,
  log: WriteEvent,
): void {
  const operation = operationOf(origin);
  const [first, ...others] = paths;
  const path = others.length === 0 ? first : `${first} and ${others.length} more`;
  if (restored?.kind === "restored") {
    metrics.counter(SNAPSHOT_METRICS.snapshotOperations, { operation, status: "ok" }).inc();
    const { rows, streams, createdMs } = restored;
    const age_seconds = Math.round((Date.now() - createdMs) / 1000);
    const facts = { origin, path, rows, streams: streams.length, age_seconds };
    log("snapshot_loaded", facts);
    return;
  }
  metrics.counter(SNAPSHOT_METRICS.snapshotOperations, { operation, status: "failed" }).inc();
  metrics.counter(SNAPSHOT_METRICS.snapshotErrors, { operation }).inc();
  const text = restored === null ? `${path}: not used` : restored.message;
  log("snapshot_refused", { origin, code: restored?.code ?? "unused" }, { text });
}
