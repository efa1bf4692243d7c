/**
 * Families about the bounded queue between sockets and index, and the thread that empties it.
 */

import { counter, doubling, gauge, histogram } from "../definition.ts";
import { BACKPRESSURE_LEVELS, LANES, MODEL, WORKER } from "./label-domains.ts";

/** Families about the ingest queue and its worker. */
export const STREAM_METRICS = {
  streamEvents: counter({
    name: "kv_stream_events_total",
    help: "Messages taken from the ingest queue.",
    unit: "none",
    labels: { model: MODEL, lane: LANES },
    why: "Throughput, and how much of it is repair.",
  }),
  streamEventsRejected: counter({
    name: "kv_stream_events_rejected_total",
    help: "Messages refused at the ingest queue, or because ranks or topics share a socket.",
    unit: "none",
    labels: {
      model: MODEL,
      reason: [
        "queue_messages",
        "queue_bytes",
        "message_too_large",
        "other_dp_rank",
        "unnamed_dp_rank",
        "other_topic",
      ],
    },
    why: "Loss of our own making; replay repairs it, but the daemon is too slow.",
  }),
  streamBackpressureActivations: counter({
    name: "kv_stream_backpressure_activations_total",
    help: "Transitions of the ingest queue into a level.",
    unit: "none",
    labels: { level: BACKPRESSURE_LEVELS },
    why: "How often the queue fills.",
  }),
  streamBackpressureState: gauge({
    name: "kv_stream_backpressure_state",
    help: "0 normal, 1 warning, 2 critical, 3 overloaded.",
    unit: "none",
    labels: {},
    why: "Above normal for long: ingest does not keep up.",
  }),
  streamBatchesProcessed: counter({
    name: "kv_stream_batches_processed_total",
    help: "Messages applied by an ingest worker.",
    unit: "none",
    labels: { worker: WORKER },
    why: "Load per worker.",
  }),
  streamBatchFailures: counter({
    name: "kv_stream_batch_failures_total",
    help: "Messages that could not be applied as a whole.",
    unit: "none",
    labels: { worker: WORKER, error_type: ["undecodable"] },
    why: "A publisher that speaks another dialect, or corruption.",
  }),
  streamQueueDepth: gauge({
    name: "kv_stream_queue_depth",
    help: "Messages waiting in the ingest queue.",
    unit: "none",
    labels: { lane: LANES },
    why: "How far behind ingest is.",
  }),
  streamQueueCapacity: gauge({
    name: "kv_stream_queue_capacity",
    help: "Messages that the ingest queue holds at most.",
    unit: "none",
    labels: { lane: LANES },
    why: "The bound that depth is compared with.",
  }),
  streamQueueMemory: gauge({
    name: "kv_stream_queue_memory_bytes",
    help: "Payload bytes waiting in the ingest queue.",
    unit: "bytes",
    labels: {},
    why: "The other bound of the queue.",
  }),
  streamWorkerUtilization: gauge({
    name: "kv_stream_worker_utilization_ratio",
    help: "Share of the last second in which an ingest worker's event loop was busy.",
    unit: "ratio",
    labels: { worker: WORKER },
    why: "Near 1, the next engine makes the queue grow.",
  }),
  streamActiveSessions: gauge({
    name: "kv_stream_active_sessions",
    help: "Engine streams being followed.",
    unit: "none",
    labels: { kind: ["engine"] },
    why: "What the daemon thinks it should follow.",
  }),
  streamEventLatency: histogram({
    name: "kv_stream_event_latency_seconds",
    help: "From reading a message off its socket to having applied it.",
    unit: "seconds",
    labels: { model: MODEL },
    buckets: doubling(0.00005, 16),
    why: "The daemon's own share of staleness.",
  }),
  streamPropagation: histogram({
    name: "kv_stream_propagation_seconds",
    help: "From the engine's own timestamp to having applied the live message (clocks must agree).",
    unit: "seconds",
    labels: { model: MODEL },
    buckets: doubling(0.001, 14),
    why: "Staleness as a router sees it.",
  }),
  streamLookupLatency: histogram({
    name: "kv_stream_lookup_latency_seconds",
    help: "One lookup: hashing, matching and assembling the answer, without HTTP.",
    unit: "seconds",
    labels: { model: MODEL },
    buckets: doubling(0.000005, 16),
    why: "What a gateway waits for.",
  }),
  streamBatchSize: histogram({
    name: "kv_stream_batch_size",
    help: "Events per applied message.",
    unit: "none",
    labels: { worker: WORKER },
    buckets: doubling(1, 12),
    why: "How engines batch; many small messages cost more.",
  }),
  streamQueueWait: histogram({
    name: "kv_stream_queue_wait_seconds",
    help: "Time a message waited in the ingest queue.",
    unit: "seconds",
    labels: { lane: LANES },
    buckets: doubling(0.00005, 16),
    why: "Separates waiting from applying.",
  }),
  streamWorkStolen: counter({
    name: "kv_stream_work_stolen_total",
    help: "Engine streams that an ingest worker took over from a busier one.",
    unit: "none",
    labels: { worker: WORKER },
    why: "Streams that move all the time cost replays, and show a load that no placement evens out.",
  }),
};
