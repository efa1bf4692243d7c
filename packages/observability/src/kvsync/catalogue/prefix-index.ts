/**
 * Families about the prefix index and its lookups.
 */

import { doubling } from "../../definition.ts";
import { counter, gauge, histogram } from "../namespace.ts";
import { MODEL } from "./label-domains.ts";

/** LoRA adapters with blocks in the index; empty for the base model. */
const LORA_ID = { maxValues: 1000 } as const;

/** Families about the index and lookups. */
export const PREFIX_INDEX_METRICS = {
  indexerContexts: gauge({
    name: "sync_indexer_contexts",
    help: "Contexts in the index: (model, LoRA adapter, block size).",
    unit: "none",
    labels: { model: MODEL },
    preset: "absent until known",
    why: "Near its limit, the least recently used context is forgotten.",
  }),
  indexerPrefixes: gauge({
    name: "sync_indexer_prefixes",
    help: "Distinct prefix blocks held.",
    unit: "none",
    labels: { model: MODEL, lora_id: LORA_ID },
    preset: "absent until known",
    why: "The size of what can be matched.",
  }),
  indexerMappings: gauge({
    name: "sync_indexer_mappings",
    help: "Entries from engine hashes to prefix hashes.",
    unit: "none",
    labels: { model: MODEL, lora_id: LORA_ID },
    preset: "absent until known",
    why: "Far above the prefixes: engines disagree on hash seeds, which costs memory.",
  }),
  indexerOperations: counter({
    name: "sync_indexer_operations_total",
    help: "Operations on the index, by outcome.",
    unit: "none",
    labels: {
      model: MODEL,
      operation: ["store", "remove", "clear", "match"],
      status: ["ok", "rejected"],
    },
    preset: "absent until known",
    why: "Lookups per second, and stores that were parked or refused.",
  }),
  indexerOperationDuration: histogram({
    name: "sync_indexer_operation_duration_seconds",
    help: "Time of one index operation.",
    unit: "seconds",
    labels: { operation: ["match"] },
    preset: "zero is a fact",
    buckets: doubling(0.00001, 10),
    why: "The index's own part of a lookup's latency.",
  }),
  indexerEvictions: counter({
    name: "sync_indexer_evictions_total",
    help: "Blocks that the index forgot because of its own limits.",
    unit: "none",
    labels: { reason: ["context_limit", "prefix_limit", "memory_limit", "park_limit"] },
    preset: "zero is a fact",
    why: "Each one is an under-report: a limit is too small for this fleet.",
  }),
  indexerMatchPercentage: histogram({
    name: "sync_indexer_match_percentage",
    help: "Share of a query's blocks that the best worker holds.",
    unit: "percent",
    labels: { model: MODEL },
    preset: "absent until known",
    buckets: [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100],
    why: "The share of each prompt that cache-aware routing can save.",
  }),
  indexerMemory: gauge({
    name: "sync_indexer_memory_bytes",
    help: "Bytes of the index: allocated, and reserved from the system.",
    unit: "bytes",
    labels: { kind: ["allocated", "reserved"] },
    preset: "absent until known",
    why: "Against the configured limit, when eviction will begin.",
  }),
  syncStatus: gauge({
    name: "prefix_cache_sync_status",
    help: "1 while at least one engine of the model is connected.",
    unit: "none",
    labels: { model: MODEL },
    preset: "absent until known",
    why: "At 0, lookups for the model soon become stale.",
  }),
};
