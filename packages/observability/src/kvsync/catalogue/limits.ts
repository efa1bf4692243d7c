/**
 * The limits of gauges, exported as metrics, so that a rule states a share and not a setting. The
 * heartbeat of the ingest workers is here too.
 */

import { gauge } from "../namespace.ts";
import { WORKER } from "./label-domains.ts";

/** Families that state limits, and signs of life. */
export const LIMIT_METRICS = {
  contextsLimit: gauge({
    name: "sync_indexer_contexts_limit",
    help: "Contexts that the index may hold at once.",
    unit: "none",
    labels: {},
    preset: "absent until known",
    why: "The bound that the number of contexts is compared with.",
  }),
  memoryLimit: gauge({
    name: "kv_memory_limit_bytes",
    help: "Memory that the process may use: the container's limit, or the machine's memory without one.",
    unit: "bytes",
    labels: {},
    preset: "absent until known",
    why: "The bound that resident memory is compared with.",
  }),
  cpuLimit: gauge({
    name: "kv_cpus",
    help: "CPUs that the process may use at once.",
    unit: "none",
    labels: {},
    preset: "absent until known",
    why: "Fewer CPUs than ingest workers make lookups wait.",
  }),
  eventLoopLagLimit: gauge({
    name: "kv_event_loop_lag_limit_seconds",
    help: "Event-loop lag (p99) above which the daemon calls itself degraded.",
    unit: "seconds",
    labels: {},
    preset: "absent until known",
    why: "The bound that event-loop lag is compared with.",
  }),
  workerHeartbeat: gauge({
    name: "kv_stream_worker_heartbeat_timestamp_seconds",
    help: "When an ingest worker last ran its tick, as seconds since 1970.",
    unit: "timestamp",
    labels: { worker: WORKER },
    preset: "absent until known",
    why: "A worker that hangs applies nothing and logs nothing.",
  }),
};
