/**
 * Alerts about the index, its lookups and what routing gets out of it.
 */

import { LIMIT_METRICS } from "../catalogue/limits.ts";
import { PREFIX_INDEX_METRICS } from "../catalogue/prefix-index.ts";
import { ROUTING_METRICS } from "../catalogue/routing.ts";
import { STREAM_METRICS } from "../catalogue/stream.ts";
import { INGEST } from "../dashboards/ingest.ts";
import { OVERVIEW } from "../dashboards/overview.ts";
import { panelOf } from "../dashboards/panel.ts";
import { above, below, given, ratio, sum } from "../promql/operators.ts";
import { recorded } from "../promql/recording.ts";
import { countRate, rate, value } from "../promql/series.ts";
import { alert, type Alert } from "./alert.ts";
import { RECORDINGS } from "./recordings.ts";
import { REQUEST_FLOOR_PER_SECOND, THRESHOLDS } from "./thresholds.ts";
import { distributed, growing, steady, TARGET } from "./trial.ts";

const P = PREFIX_INDEX_METRICS;
const INSTANCE = ["job", "instance"] as const;
const BY_MODEL = ["job", "instance", "model"] as const;
const MODEL = "example/model";
const MODEL_LABELS = { ...TARGET, model: MODEL };

/** Alerts of the index and its use. */
export const INDEX_ALERTS: readonly Alert[] = [
  alert({
    name: "SyncIndexerNearCapacity",
    when: above(
      ratio(sum(value(P.indexerContexts), INSTANCE), sum(value(LIMIT_METRICS.contextsLimit), INSTANCE)),
      THRESHOLDS.contextsRatio,
    ),
    for: "5m",
    severity: "warning",
    component: "index",
    summary: "The index is near its limit of contexts.",
    description: ({ label, value: share }) =>
      `${label("instance")} uses ${share} of the contexts it may hold.`,
    panel: panelOf(OVERVIEW, "capacity"),
    runbook: {
      meaning:
        "A context is a pair of model and LoRA adapter, at one block size. New ones are made as engines speak of them.",
      impact: "At the limit, new contexts are refused or old ones forgotten: their lookups find nothing.",
      diagnosis: [
        { text: "Which models have many?", query: sum(value(P.indexerContexts), ["model"]).text },
        { text: "Adapters in use.", query: sum(value(P.indexerPrefixes), ["model", "lora_id"]).text },
      ],
      mitigation: [
        {
          cause: "Many LoRA adapters, as planned.",
          fix: "Raise AIBRIX_SYNC_MAX_CONTEXTS; a context without blocks costs little.",
        },
        {
          cause: "Engines name adapters that do not exist.",
          fix: "Find the engine, and correct its adapter names.",
        },
      ],
      escalation: "Capacity planning, in working hours.",
    },
    trial: {
      series: (level) => [
        steady(P.indexerContexts, { model: MODEL }, level * 1000),
        steady(LIMIT_METRICS.contextsLimit, {}, 1000),
      ],
      fires: 0.91,
      calm: 0.89,
      labels: { ...TARGET },
      settle: "1m",
    },
  }),
  alert({
    name: "SyncIndexerEvictionRate",
    when: above(
      sum(rate(P.indexerEvictions, "5m"), ["job", "instance", "reason"]),
      THRESHOLDS.evictionsPerSecond,
    ),
    for: "5m",
    severity: "warning",
    component: "index",
    summary: "The index forgets blocks because of its own limits.",
    description: ({ label, value: rateText }) =>
      `${label("instance")} forgets ${rateText} blocks per second (${label("reason")}).`,
    panel: panelOf(OVERVIEW, "evictions"),
    runbook: {
      meaning: "The engines hold more than the index may: blocks are dropped that are still in a cache.",
      impact: "Lookups under-report; trust says partial.",
      diagnosis: [
        { text: "Which limit?", query: sum(rate(P.indexerEvictions, "5m"), ["reason"]).text },
        { text: "How large is the index?", query: sum(value(P.indexerMemory), ["instance", "kind"]).text },
      ],
      mitigation: [
        { cause: "memory_limit.", fix: "Raise the memory budget: about 40 bytes per block and worker." },
        {
          cause: "park_limit: stores whose parents never arrive.",
          fix: "Look for gaps; parents are lost messages.",
        },
      ],
      escalation: "Capacity planning.",
    },
    trial: {
      series: (level) => [growing(P.indexerEvictions, { reason: "memory_limit" }, level)],
      fires: 1.01,
      calm: 0.99,
      labels: { ...TARGET, reason: "memory_limit" },
    },
  }),
  alert({
    name: "PrefixCacheLowHitRate",
    when: given(
      below(recorded(RECORDINGS.hitRate), THRESHOLDS.hitRate),
      above(sum(countRate(P.indexerMatchPercentage, "5m"), BY_MODEL), REQUEST_FLOOR_PER_SECOND),
      BY_MODEL,
    ),
    for: "10m",
    severity: "info",
    component: "routing",
    summary: "Little of the prompts is found in any cache.",
    description: ({ label, value: share }) =>
      `For ${label("model")}, the best worker holds ${share} of a prompt on average (${label("instance")}).`,
    panel: panelOf(OVERVIEW, "hitRate"),
    runbook: {
      meaning: "The share of a prompt that some engine already holds is low while there is traffic.",
      impact: "Prefill is computed again; time to first token rises.",
      diagnosis: [
        { text: "All at once, or slowly?", query: recorded(RECORDINGS.hitRate).text },
        { text: "Is the index complete?", query: recorded(RECORDINGS.dropRatio).text },
        { text: "How many blocks are there?", query: sum(value(P.indexerPrefixes), ["model"]).text },
      ],
      mitigation: [
        { cause: "The workload has no shared prefixes.", fix: "Nothing to do; this alert is information." },
        {
          cause: "The client's tokenizer or block size differs from the engines'.",
          fix: "Compare one prompt's tokens on both sides.",
        },
        { cause: "Caches are too small for the working set.", fix: "More KV memory per engine, or tiers." },
      ],
      escalation: "None.",
    },
    trial: {
      series: (level) => [
        steady(ROUTING_METRICS.hitRate, { model: MODEL }, level),
        ...distributed(P.indexerMatchPercentage, { model: MODEL }, 0.5, 25),
      ],
      fires: 0.29,
      calm: 0.31,
      labels: MODEL_LABELS,
    },
  }),
  alert({
    name: "HighLookupLatency",
    when: above(recorded(RECORDINGS.lookupLatencyP99), THRESHOLDS.lookupLatencySeconds),
    for: "5m",
    severity: "warning",
    component: "index",
    summary: "Lookups in the index are slow.",
    description: ({ label, value: time }) =>
      `One lookup in a hundred for ${label("model")} takes ${label("instance")} more than ${time}.`,
    panel: panelOf(INGEST, "lookup"),
    runbook: {
      meaning:
        "A lookup of thousands of blocks takes well below a millisecond; tens of milliseconds mean that the thread did not run.",
      impact: "Gateways wait, or time out and fall back.",
      diagnosis: [
        { text: "Does the event loop lag?", query: "max by (instance) (nodejs_eventloop_lag_p99_seconds)" },
        {
          text: "How many lookups are there?",
          query: sum(rate(P.indexerOperations, "5m", { operation: "match" }), ["model"]).text,
        },
      ],
      mitigation: [
        { cause: "The process is starved of CPU.", fix: "Raise its limit." },
        {
          cause: "Dumps or very large answers run at the same time.",
          fix: "Ask for fewer workers (top_k), dump in quiet hours.",
        },
        { cause: "More lookups than one thread answers.", fix: "Add replicas behind the gateway." },
      ],
      escalation: "kvsync's maintainers, with the size of prompts and fleet.",
    },
    trial: {
      series: (level) => distributed(STREAM_METRICS.streamLookupLatency, { model: MODEL }, 0.99, level),
      fires: 0.051,
      calm: 0.049,
      labels: MODEL_LABELS,
    },
  }),
];
