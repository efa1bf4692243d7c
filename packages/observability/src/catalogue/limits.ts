/**
 * The limits that gauges are compared with, exported beside them, so that a rule states a share and not a setting; and the sign of life
 * of the ingest workers.
 */

import { external } from "../external.ts";
import { WORKER } from "./label-domains.ts";

const EXPORTER = "sync-daemon";

/** Families that state limits. */
export const LIMIT_METRICS = {
  contextsLimit: external({
    kind: "gauge",
    name: "aibrix_sync_indexer_contexts_limit",
    help: "Contexts that the index may hold at once.",
    unit: "none",
    labels: {},
    exporter: EXPORTER,
  }),
  memoryLimit: external({
    kind: "gauge",
    name: "aibrix_kv_memory_limit_bytes",
    help: "Memory that the process may use: the container's limit, or the machine's memory without one.",
    unit: "bytes",
    labels: {},
    exporter: EXPORTER,
  }),
  workerHeartbeat: external({
    kind: "gauge",
    name: "aibrix_kv_stream_worker_heartbeat_timestamp_seconds",
    help: "When an ingest worker last ran its tick, as seconds since 1970.",
    unit: "timestamp",
    labels: { worker: WORKER },
    exporter: EXPORTER,
  }),
};
