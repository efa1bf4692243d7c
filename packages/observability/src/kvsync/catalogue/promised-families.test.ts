/**
 * The families that operators were promised, with their kinds and labels, written a second time.
 * Dashboards and alerts of our own follow a rename by themselves. Those of operators do not.
 */
import { expect, test } from "vitest";

import { CATALOGUE } from "./catalogue.ts";

test.each([
  ["gauge", "aibrix_kv_sync_configuration_valid", ""],
  ["counter", "aibrix_kv_zmq_connections_total", "pod, model, status"],
  ["gauge", "aibrix_kv_zmq_connections_active", "model"],
  ["counter", "aibrix_kv_events_received_total", "pod, model, event_type"],
  ["counter", "aibrix_kv_events_processed_total", "pod, model, event_type"],
  ["counter", "aibrix_kv_events_dropped_total", "pod, model, event_type, reason"],
  ["histogram", "aibrix_kv_event_processing_duration_seconds", "model, event_type"],
  ["histogram", "aibrix_kv_event_sequence_gap", "pod, model"],
  ["counter", "aibrix_kv_replay_requests_total", "pod, model, status"],
  ["gauge", "aibrix_sync_indexer_contexts", "model"],
  ["gauge", "aibrix_sync_indexer_prefixes", "model, lora_id"],
  ["gauge", "aibrix_sync_indexer_mappings", "model, lora_id"],
  ["counter", "aibrix_sync_indexer_operations_total", "model, operation, status"],
  ["histogram", "aibrix_sync_indexer_operation_duration_seconds", "operation"],
  ["counter", "aibrix_sync_indexer_evictions_total", "reason"],
  ["histogram", "aibrix_sync_indexer_match_percentage", "model"],
  ["gauge", "aibrix_prefix_cache_sync_status", "model"],
  ["counter", "aibrix_kv_stream_events_total", "model, lane"],
  ["counter", "aibrix_kv_stream_events_rejected_total", "model, reason"],
  ["counter", "aibrix_kv_stream_backpressure_activations_total", "level"],
  ["gauge", "aibrix_kv_stream_backpressure_state", ""],
  ["counter", "aibrix_kv_stream_batches_processed_total", "worker"],
  ["counter", "aibrix_kv_stream_batch_failures_total", "worker, error_type"],
  ["gauge", "aibrix_kv_stream_queue_depth", "lane"],
  ["gauge", "aibrix_kv_stream_queue_capacity", "lane"],
  ["gauge", "aibrix_kv_stream_queue_memory_bytes", ""],
  ["gauge", "aibrix_kv_stream_worker_utilization_ratio", "worker"],
  ["gauge", "aibrix_kv_stream_active_sessions", "kind"],
  ["histogram", "aibrix_kv_stream_event_latency_seconds", "model"],
  ["histogram", "aibrix_kv_stream_propagation_seconds", "model"],
  ["histogram", "aibrix_kv_stream_lookup_latency_seconds", "model"],
  ["histogram", "aibrix_kv_stream_batch_size", "worker"],
  ["histogram", "aibrix_kv_stream_queue_wait_seconds", "lane"],
  ["counter", "aibrix_kv_stream_work_stolen_total", "worker"],
  ["histogram", "aibrix_prefix_cache_routing_latency_seconds", "model"],
  ["gauge", "aibrix_prefix_cache_hit_rate", "model"],
])("the %s %s has the labels (%s)", (kind, name, labels) => {
  const family = CATALOGUE.find((candidate) => candidate.name === name);
  expect([family?.kind, Object.keys(family?.labels ?? {}).join(", ")]).toEqual([kind, labels]);
});
