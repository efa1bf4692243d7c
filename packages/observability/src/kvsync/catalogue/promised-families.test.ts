/**
 * The families that operators were promised, with their kinds and labels, written a second time.
 * Dashboards and alerts of our own follow a rename by themselves. Those of operators do not.
 */
import { NAMESPACE } from "../namespace.ts";
import { expect, test } from "vitest";

import { CATALOGUE } from "./catalogue.ts";

test.each([
  ["gauge", `${NAMESPACE}_kv_sync_configuration_valid`, ""],
  ["counter", `${NAMESPACE}_kv_zmq_connections_total`, "pod, model, status"],
  ["gauge", `${NAMESPACE}_kv_zmq_connections_active`, "model"],
  ["counter", `${NAMESPACE}_kv_events_received_total`, "pod, model, event_type"],
  ["counter", `${NAMESPACE}_kv_events_processed_total`, "pod, model, event_type"],
  ["counter", `${NAMESPACE}_kv_events_dropped_total`, "pod, model, event_type, reason"],
  ["histogram", `${NAMESPACE}_kv_event_processing_duration_seconds`, "model, event_type"],
  ["histogram", `${NAMESPACE}_kv_event_sequence_gap`, "pod, model"],
  ["counter", `${NAMESPACE}_kv_replay_requests_total`, "pod, model, status"],
  ["gauge", `${NAMESPACE}_sync_indexer_contexts`, "model"],
  ["gauge", `${NAMESPACE}_sync_indexer_prefixes`, "model, lora_id"],
  ["gauge", `${NAMESPACE}_sync_indexer_mappings`, "model, lora_id"],
  ["counter", `${NAMESPACE}_sync_indexer_operations_total`, "model, operation, status"],
  ["histogram", `${NAMESPACE}_sync_indexer_operation_duration_seconds`, "operation"],
  ["counter", `${NAMESPACE}_sync_indexer_evictions_total`, "reason"],
  ["histogram", `${NAMESPACE}_sync_indexer_match_percentage`, "model"],
  ["gauge", `${NAMESPACE}_prefix_cache_sync_status`, "model"],
  ["counter", `${NAMESPACE}_kv_stream_events_total`, "model, lane"],
  ["counter", `${NAMESPACE}_kv_stream_events_rejected_total`, "model, reason"],
  ["counter", `${NAMESPACE}_kv_stream_backpressure_activations_total`, "level"],
  ["gauge", `${NAMESPACE}_kv_stream_backpressure_state`, ""],
  ["counter", `${NAMESPACE}_kv_stream_batches_processed_total`, "worker"],
  ["counter", `${NAMESPACE}_kv_stream_batch_failures_total`, "worker, error_type"],
  ["gauge", `${NAMESPACE}_kv_stream_queue_depth`, "lane"],
  ["gauge", `${NAMESPACE}_kv_stream_queue_capacity`, "lane"],
  ["gauge", `${NAMESPACE}_kv_stream_queue_memory_bytes`, ""],
  ["gauge", `${NAMESPACE}_kv_stream_worker_utilization_ratio`, "worker"],
  ["gauge", `${NAMESPACE}_kv_stream_active_sessions`, "kind"],
  ["histogram", `${NAMESPACE}_kv_stream_event_latency_seconds`, "model"],
  ["histogram", `${NAMESPACE}_kv_stream_propagation_seconds`, "model"],
  ["histogram", `${NAMESPACE}_kv_stream_lookup_latency_seconds`, "model"],
  ["histogram", `${NAMESPACE}_kv_stream_batch_size`, "worker"],
  ["histogram", `${NAMESPACE}_kv_stream_queue_wait_seconds`, "lane"],
  ["counter", `${NAMESPACE}_kv_stream_work_stolen_total`, "worker"],
  ["histogram", `${NAMESPACE}_prefix_cache_routing_latency_seconds`, "model"],
  ["gauge", `${NAMESPACE}_prefix_cache_hit_rate`, "model"],
])("the %s %s has the labels (%s)", (kind, name, labels) => {
  const family = CATALOGUE.find((candidate) => candidate.name === name);
  expect([family?.kind, Object.keys(family?.labels ?? {}).join(", ")]).toEqual([kind, labels]);
});
