/**
 * The panels that operators were promised, with what each shows, written a second time. Links and
 * habits rely on them, and a removed panel breaks no other test.
 */
import { NAMESPACE } from "../namespace.ts";
import { expect, test } from "vitest";

import { queriesOf } from "../../dashboards/panel.ts";
import { DASHBOARDS } from "./dashboards.ts";

test.each([
  ["kvsync-overview", "Active connections by model", `${NAMESPACE}_kv_zmq_connections_active`],
  ["kvsync-overview", "Event processing rate", `${NAMESPACE}_kv_events_processed_total`],
  ["kvsync-overview", "Processing latency p99", `${NAMESPACE}_kv_event_processing_duration_seconds`],
  ["kvsync-overview", "Dropped events", `${NAMESPACE}_kv_events_dropped_total`],
  ["kvsync-overview", "Sequence gaps p95", `${NAMESPACE}_kv_event_sequence_gap`],
  ["kvsync-overview", "Index capacity", `${NAMESPACE}_sync_indexer_contexts_limit`],
  ["kvsync-overview", "Prefix cache hit rate", `${NAMESPACE}_prefix_cache_hit_rate`],
  ["kvsync-overview", "Routing decision latency", `${NAMESPACE}_prefix_cache_routing_latency_seconds`],
  ["kvsync-ingest", "Messages per second", `${NAMESPACE}_kv_stream_events`],
  ["kvsync-ingest", "Queue depth", `${NAMESPACE}_kv_stream_queue_depth`],
  ["kvsync-ingest", "Sessions", `${NAMESPACE}_kv_stream_active_sessions`],
  ["kvsync-ingest", "Rate by model", `${NAMESPACE}_kv_stream_events`],
  ["kvsync-ingest", "Queue depth by lane", `${NAMESPACE}_kv_stream_queue_depth`],
  ["kvsync-ingest", "Worker utilisation", `${NAMESPACE}_kv_stream_worker_utilization_ratio`],
  ["kvsync-ingest", "Event latency", `${NAMESPACE}_kv_stream_event_latency_seconds`],
  ["kvsync-ingest", "Back-pressure events", `${NAMESPACE}_kv_stream_backpressure_activations_total`],
  ["kvsync-ingest", "Back-pressure state", `${NAMESPACE}_kv_stream_backpressure_state`],
  ["kvsync-ingest", "Lookup latency p99 by model", `${NAMESPACE}_kv_stream_lookup_latency_seconds`],
  ["kvsync-ingest", "Messages by worker", `${NAMESPACE}_kv_stream_batches_processed_total`],
  ["kvsync-ingest", "Streams moved by worker", `${NAMESPACE}_kv_stream_work_stolen_total`],
  ["kvsync-ingest", "Events per message", `${NAMESPACE}_kv_stream_batch_size`],
  ["kvsync-ingest", "Failed messages", `${NAMESPACE}_kv_stream_batch_failures_total`],
  ["kvsync-service", "Requests by route", `${NAMESPACE}_kv_http_requests`],
  ["kvsync-service", "Errors by code", `${NAMESPACE}_kv_http_request_errors_total`],
  ["kvsync-service", "Response time", `${NAMESPACE}_kv_http_request_duration_seconds`],
  ["kvsync-service", "CPU", "process_cpu"],
  ["kvsync-service", "Memory", "process_resident_memory_bytes"],
  ["kvsync-service", "Event-loop lag", "nodejs_eventloop_lag_p99_seconds"],
  ["kvsync-service", "Garbage collection", "nodejs_gc_duration_seconds"],
  ["kvsync-service", "Snapshot size", `${NAMESPACE}_kv_snapshot_size_bytes`],
  ["kvsync-service", "Snapshot age", `${NAMESPACE}_kv_snapshot_age_seconds`],
  ["kvsync-service", "Volume space free", "kubelet_volume_stats_available_bytes"],
  ["kvsync-service", "Disk traffic", "container_fs_reads_bytes_total"],
  ["kvsync-service", "Disk traffic", "container_fs_writes_bytes_total"],
  ["kvsync-service", "Health checks", `${NAMESPACE}_kv_health_check`],
  ["kvsync-service", "Builds", `${NAMESPACE}_kv_build_info`],
  ["kvsync-service", "Youngest process", "process_start_time_seconds"],
  ["kvsync-engines", "Engines", `${NAMESPACE}_kv_stream_trust`],
  ["kvsync-engines", "Engines", `${NAMESPACE}_kv_stream_state`],
  ["kvsync-engines", "Engines", `${NAMESPACE}_kv_stream_last_sequence_number`],
  ["kvsync-engines", "Engines", `${NAMESPACE}_kv_stream_last_event_age_seconds`],
  ["kvsync-engines", "Engines", `${NAMESPACE}_kv_stream_blocks`],
  ["kvsync-engines", "Engines", `${NAMESPACE}_kv_event_sequence_gap`],
  ["kvsync-engines", "Engines", `${NAMESPACE}_kv_replay_requests_total`],
])("%s has the panel %s, which shows %s", (uid, title, family) => {
  const board = DASHBOARDS.find((candidate) => candidate.uid === uid);
  const panel = Object.values(board?.panels ?? {}).find((candidate) => candidate.title === title);
  const queries = panel === undefined ? [] : queriesOf(panel).map(({ text }) => text);
  expect(queries.filter((text) => text.includes(family))).not.toEqual([]);
});
