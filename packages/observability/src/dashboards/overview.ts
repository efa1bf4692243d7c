/**
 * The dashboard to open first: is sync on, are engines connected, is anything lost, does it pay off?
 */

import { INGEST_METRICS } from "../catalogue/ingest.ts";
import { LIMIT_METRICS } from "../catalogue/limits.ts";
import { PREFIX_INDEX_METRICS } from "../catalogue/prefix-index.ts";
import { ROUTING_METRICS } from "../catalogue/routing.ts";
import { max, min, quantile, ratio, sum, summed } from "../promql/operators.ts";
import { recorded } from "../promql/recording.ts";
import { bucketRate, rate, value } from "../promql/series.ts";
import { RECORDINGS } from "../rules/recordings.ts";
import { THRESHOLDS } from "../rules/thresholds.ts";
import {
  bucketsQuery,
  dashboard,
  heatmap,
  quantileQueries,
  query,
  stat,
  stateTimeline,
  timeseries,
} from "./panel.ts";
import { HERE, MODELS, PODS, RATE } from "./scope.ts";

const untrusted = { trust: ["partial", "stale", "unknown"] } as const;

/** KV event sync overview. */
export const OVERVIEW = dashboard({
  uid: "kvsync-overview",
  title: "KV event sync overview",
  description: "Is sync on, are engines connected, is anything lost, and does cache-aware routing pay off?",
  variables: ["job", "instance", "model", "pod"],
  refresh: "10s",
  rows: [
    {
      id: 100,
      title: "Is it working?",
      panels: ["configuration", "connected", "untrusted", "hitRateNow", "syncStatus"],
    },
    {
      id: 101,
      title: "Connections and events",
      panels: ["connections", "attempts", "received", "processed"],
    },
    {
      id: 102,
      title: "Latency and loss",
      panels: ["processingLatency", "dropped", "dropRatio", "gaps", "replays"],
    },
    {
      id: 103,
      title: "Index",
      panels: [
        "contexts",
        "capacity",
        "prefixes",
        "mappings",
        "memory",
        "evictions",
        "operations",
        "operationLatency",
      ],
    },
    { id: 104, title: "What it is worth", panels: ["hitRate", "matchShare", "routingLatency"] },
  ],
  panels: {
    configuration: stat({
      id: 1,
      title: "Configuration",
      shows: "Whether sync, when it was asked for, has all the settings that it needs.",
      normal: "Valid.",
      width: 4,
      height: 4,
      queries: [query(min(value(INGEST_METRICS.configurationValid, HERE), []), "configuration")],
      levels: { critical: 1, warning: 1, bad: "below" },
      states: [
        { value: 0, text: "invalid", color: "red" },
        { value: 1, text: "valid", color: "green" },
      ],
    }),
    connected: stat({
      id: 2,
      title: "Connected engines",
      shows: "Open connections to engine event sockets, all models together, at the replica with the fewest.",
      normal: "As many as there are engine streams (DP ranks) in the fleet.",
      width: 4,
      height: 4,
      queries: [
        query(min(sum(value(INGEST_METRICS.connectionsActive, MODELS), ["instance"]), []), "connections"),
      ],
      levels: { critical: 1, warning: 1, bad: "below" },
    }),
    untrusted: stat({
      id: 3,
      title: "Streams not exact",
      shows:
        "Engine streams whose part of the index may miss or invent blocks, at the replica with the most.",
      normal: "0; for seconds more while a gap is repaired or an engine starts.",
      width: 4,
      height: 4,
      queries: [
        query(
          max(sum(value(INGEST_METRICS.streamTrust, { ...PODS, ...untrusted }), ["instance"]), []),
          "streams",
        ),
      ],
      levels: { warning: 1, bad: "above" },
    }),
    hitRateNow: stat({
      id: 4,
      title: "Hit rate",
      shows: "Rolling share of a prompt's blocks that the best worker holds, over the chosen models.",
      normal: "Depends on the workload; conversations reach 0.3 to 0.6.",
      width: 4,
      height: 4,
      queries: [query(max(recorded(RECORDINGS.hitRate, MODELS), []), "hit rate")],
      levels: { warning: THRESHOLDS.hitRate, bad: "below" },
    }),
    syncStatus: stateTimeline({
      id: 5,
      title: "Sync status by model",
      shows: "Whether at least one engine of the model is connected.",
      normal: "Active all the time.",
      width: 8,
      height: 4,
      queries: [
        query(max(value(PREFIX_INDEX_METRICS.syncStatus, MODELS), ["model"]), (label) => label("model")),
      ],
      states: [
        { value: 0, text: "inactive", color: "red" },
        { value: 1, text: "active", color: "green" },
      ],
    }),
    connections: timeseries({
      id: 6,
      title: "Active connections by model",
      shows: "Open connections to engine event sockets, at the replica with the fewest.",
      normal: "Flat; steps only when engines are added, removed or rolled.",
      width: 12,
      height: 8,
      queries: [
        query(
          min(sum(value(INGEST_METRICS.connectionsActive, MODELS), ["instance", "model"]), ["model"]),
          (label) => label("model"),
        ),
      ],
      levels: { critical: 1, warning: 1, bad: "below" },
    }),
    attempts: timeseries({
      id: 7,
      title: "Connection attempts",
      shows: "Attempts per second to connect to engines, by outcome.",
      normal: "0 but for the start of engines; failures stay below one in ten seconds.",
      width: 12,
      height: 8,
      queries: [
        query(sum(rate(INGEST_METRICS.connections, RATE, PODS), ["status"]), (label) => label("status")),
      ],
      levels: { warning: THRESHOLDS.connectionFailuresPerSecond, bad: "above" },
    }),
    received: timeseries({
      id: 8,
      title: "Events received",
      shows:
        "Events decoded per second, by type. Stores follow prompts, removals follow eviction in the engines.",
      normal: "Follows the load; removals a little behind stores once the engines' caches are full.",
      width: 12,
      height: 8,
      queries: [
        query(sum(rate(INGEST_METRICS.eventsReceived, RATE, PODS), ["event_type"]), (label) =>
          label("event_type"),
        ),
      ],
      stacked: true,
    }),
    processed: timeseries({
      id: 9,
      title: "Event processing rate",
      shows: "Events applied to the index per second, by model.",
      normal: "The same curve as the events received.",
      width: 12,
      height: 8,
      queries: [
        query(sum(rate(INGEST_METRICS.eventsProcessed, RATE, PODS), ["model"]), (label) => label("model")),
      ],
    }),
    processingLatency: timeseries({
      id: 10,
      title: "Processing latency p99",
      shows: "Time to decode and apply one event that 99 % stay below, by type.",
      normal: "Well below a millisecond; events of thousands of blocks take longer.",
      width: 8,
      height: 8,
      queries: [
        query(
          quantile(
            0.99,
            summed(bucketRate(INGEST_METRICS.eventProcessingDuration, RATE, MODELS), ["event_type"]),
          ),
          (label) => label("event_type"),
        ),
      ],
      levels: { warning: THRESHOLDS.eventProcessingSeconds, bad: "above" },
    }),
    dropped: timeseries({
      id: 11,
      title: "Dropped events",
      shows:
        "Events per second that were not applied, by reason. The reference of reasons is in the alert's runbook.",
      normal: "0. What an engine publishes by design and we do not index appears here too, with its reason.",
      width: 8,
      height: 8,
      queries: [
        query(sum(rate(INGEST_METRICS.eventsDropped, RATE, PODS), ["reason"]), (label) => label("reason")),
      ],
      levels: { warning: THRESHOLDS.droppedEventsPerSecond, bad: "above" },
    }),
    dropRatio: timeseries({
      id: 12,
      title: "Drop ratio by model",
      shows: "Events dropped per event received over five minutes.",
      normal: "0 %.",
      width: 8,
      height: 8,
      queries: [query(max(recorded(RECORDINGS.dropRatio, MODELS), ["model"]), (label) => label("model"))],
      levels: { warning: THRESHOLDS.rejectedRatio, bad: "above" },
    }),
    gaps: timeseries({
      id: 13,
      title: "Sequence gaps p95",
      shows: "Messages missed per gap: 95 % of gaps are smaller. No line means no gap at all.",
      normal: "No data, or single messages.",
      width: 12,
      height: 8,
      queries: [
        query(
          quantile(0.95, summed(bucketRate(INGEST_METRICS.sequenceGap, RATE, PODS), ["model"])),
          (label) => label("model"),
        ),
      ],
      levels: { warning: THRESHOLDS.sequenceGapMessages, bad: "above" },
    }),
    replays: timeseries({
      id: 14,
      title: "Replays",
      shows: "Replays per second, asked for and as they ended.",
      normal: "Requested and completed lie on each other; failed stays at 0.",
      width: 12,
      height: 8,
      queries: [
        query(sum(rate(INGEST_METRICS.replayRequests, RATE, PODS), ["status"]), (label) => label("status")),
      ],
    }),
    contexts: timeseries({
      id: 15,
      title: "Contexts by model",
      shows:
        "Contexts in the index: one per (model, LoRA adapter, block size), at the replica with the most.",
      normal: "Flat; grows by one with each adapter.",
      width: 6,
      height: 8,
      queries: [
        query(
          max(sum(value(PREFIX_INDEX_METRICS.indexerContexts, MODELS), ["instance", "model"]), ["model"]),
          (label) => label("model"),
        ),
      ],
    }),
    capacity: timeseries({
      id: 16,
      title: "Index capacity",
      shows: "Contexts in use per contexts allowed, by replica.",
      normal: "Below 90 %; at 100 % contexts are forgotten.",
      width: 6,
      height: 8,
      queries: [
        query(
          ratio(
            sum(value(PREFIX_INDEX_METRICS.indexerContexts, HERE), ["instance"]),
            sum(value(LIMIT_METRICS.contextsLimit, HERE), ["instance"]),
          ),
          (label) => label("instance"),
        ),
      ],
      levels: { warning: THRESHOLDS.contextsRatio, bad: "above" },
    }),
    prefixes: timeseries({
      id: 17,
      title: "Prefix blocks held",
      shows: "Distinct prefix blocks in the index, by model, at the replica with the most.",
      normal: "Rises to the fleet's cache size, then stays level.",
      width: 6,
      height: 8,
      queries: [
        query(
          max(sum(value(PREFIX_INDEX_METRICS.indexerPrefixes, MODELS), ["instance", "model"]), ["model"]),
          (label) => label("model"),
        ),
      ],
    }),
    mappings: timeseries({
      id: 18,
      title: "Engine hash mappings",
      shows: "Entries from engine hashes to prefix hashes, by model, at the replica with the most.",
      normal: "About the number of prefix blocks; far above it, engines use different hash seeds.",
      width: 6,
      height: 8,
      queries: [
        query(
          max(sum(value(PREFIX_INDEX_METRICS.indexerMappings, MODELS), ["instance", "model"]), ["model"]),
          (label) => label("model"),
        ),
      ],
    }),
    memory: timeseries({
      id: 19,
      title: "Index memory",
      shows: "Bytes that the index uses, and bytes that it has reserved from the system.",
      normal: "Level once the fleet's caches are full; churn does not make it grow.",
      width: 6,
      height: 8,
      queries: [
        query(sum(value(PREFIX_INDEX_METRICS.indexerMemory, HERE), ["kind"]), (label) => label("kind")),
      ],
    }),
    evictions: timeseries({
      id: 20,
      title: "Index evictions",
      shows: "Blocks per second that the index forgot because of a limit of its own, by limit.",
      normal: "0: the engines evict, the index only follows.",
      width: 6,
      height: 8,
      queries: [
        query(sum(rate(PREFIX_INDEX_METRICS.indexerEvictions, RATE, HERE), ["reason"]), (label) =>
          label("reason"),
        ),
      ],
      levels: { warning: THRESHOLDS.evictionsPerSecond, bad: "above" },
    }),
    operations: timeseries({
      id: 21,
      title: "Index operations",
      shows: "Operations per second, by kind and outcome.",
      normal: "Hardly any rejected.",
      width: 6,
      height: 8,
      queries: [
        query(
          sum(rate(PREFIX_INDEX_METRICS.indexerOperations, RATE, MODELS), ["operation", "status"]),
          (label) => `${label("operation")} ${label("status")}`,
        ),
      ],
    }),
    operationLatency: timeseries({
      id: 22,
      title: "Index operation latency p99",
      shows: "Time of one index operation that 99 % stay below.",
      normal: "Tens of microseconds for prompts of thousands of blocks.",
      width: 6,
      height: 8,
      queries: [
        query(
          quantile(
            0.99,
            summed(bucketRate(PREFIX_INDEX_METRICS.indexerOperationDuration, RATE, HERE), ["operation"]),
          ),
          (label) => label("operation"),
        ),
      ],
    }),
    hitRate: timeseries({
      id: 23,
      title: "Prefix cache hit rate",
      shows: "Rolling share of a prompt's blocks that the best worker holds, by model.",
      normal: "Steady for a steady workload; a sudden fall without a change of workload means lost events.",
      width: 8,
      height: 8,
      queries: [query(max(recorded(RECORDINGS.hitRate, MODELS), ["model"]), (label) => label("model"))],
      levels: { warning: THRESHOLDS.hitRate, bad: "below" },
    }),
    matchShare: heatmap({
      id: 24,
      title: "Match share of prompts",
      shows: "How much of each prompt was found, in steps of ten per cent: lookups per second by share.",
      normal: "Two bands: first turns near 0, later turns of conversations near 100.",
      width: 8,
      height: 8,
      rows: "buckets",
      queries: [
        bucketsQuery(summed(bucketRate(PREFIX_INDEX_METRICS.indexerMatchPercentage, RATE, MODELS), [])),
      ],
    }),
    routingLatency: timeseries({
      id: 25,
      title: "Routing decision latency",
      shows: "From a request's body to the answer that a gateway routes by.",
      normal: "Below a millisecond without tokenization.",
      width: 8,
      height: 8,
      queries: quantileQueries(
        summed(bucketRate(ROUTING_METRICS.routingLatency, RATE, MODELS), []),
        [0.5, 0.99],
      ),
      levels: { warning: THRESHOLDS.routingLatencySeconds, bad: "above" },
    }),
  },
});
