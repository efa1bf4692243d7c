/** Row of the dashboard "KV event sync overview": Index. */

import { LIMIT_METRICS } from "../../catalogue/limits.ts";
import { PREFIX_INDEX_METRICS } from "../../catalogue/prefix-index.ts";
import { max, quantile, ratio, sum, summed, sumOnce } from "../../../promql/operators.ts";
import { bucketRate, rate, value } from "../../../promql/series.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { query, row, timeseries } from "../../../dashboards/panel.ts";
import { HERE, MODELS, RATE } from "../scope.ts";

const OPERATION = ["model", "operation", "status"] as const;
const changes = { operation: ["store", "remove", "clear"] } as const;

/** The row with its panels. */
export const PREFIX_INDEX = row({
  id: 103,
  title: "Index",
  folded: true,
  panels: {
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
      shows:
        "Contexts that the index holds, as a share of the limit of contexts that it may hold, by replica.",
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
      shows:
        "Bytes that the index uses, and bytes that it has reserved from the system, at the replica with the most.",
      normal: "Level once the fleet's caches are full; churn does not make it grow.",
      width: 6,
      height: 8,
      queries: [
        query(
          max(sum(value(PREFIX_INDEX_METRICS.indexerMemory, HERE), ["instance", "kind"]), ["kind"]),
          (label) => label("kind"),
        ),
      ],
    }),
    evictions: timeseries({
      id: 20,
      title: "Index evictions",
      shows:
        "Blocks per second that the index forgot because of a limit of its own, by limit, at the replica with the most.",
      normal: "0: the engines evict, the index only follows.",
      width: 6,
      height: 8,
      queries: [
        query(
          sumOnce(rate(PREFIX_INDEX_METRICS.indexerEvictions, RATE, HERE), ["reason"], ["reason"]),
          (label) => label("reason"),
        ),
      ],
      levels: { warning: THRESHOLDS.evictionsPerSecond, bad: "above" },
    }),
    operations: timeseries({
      id: 21,
      title: "Index operations",
      shows:
        "Operations per second, by kind and outcome: lookups of all replicas together, changes at the replica with the most.",
      normal: "Hardly any rejected.",
      width: 6,
      height: 8,
      queries: [
        query(
          sumOnce(rate(PREFIX_INDEX_METRICS.indexerOperations, RATE, { ...MODELS, ...changes }), OPERATION, [
            "operation",
            "status",
          ]),
          (label) => `${label("operation")} ${label("status")}`,
        ),
        query(
          sum(rate(PREFIX_INDEX_METRICS.indexerOperations, RATE, { ...MODELS, operation: "match" }), [
            "operation",
            "status",
          ]),
          (label) => `${label("operation")} ${label("status")}, all replicas`,
        ),
      ],
    }),
    operationLatency: timeseries({
      id: 22,
      title: "Index operation latency p99",
      shows: "Time of one index operation that 99 % stay below.",
      normal: "Below 1 ms, far less for prompts of a few blocks.",
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
  },
});
