/**
 * Families about what a gateway gets out of the index: how long an answer takes and how much of a prompt it finds.
 */

import { doubling, withExemplars } from "../../definition.ts";
import { counter, gauge, histogram } from "../namespace.ts";
import { MODEL } from "./label-domains.ts";
import { TOKENIZER_FAILURES } from "./tokenizer.ts";

/** How a lookup is decided; the daemon's answers have the same closed set, which a test there compares. */
export const LOOKUP_DECISIONS = ["exact", "degraded", "fallback"] as const;

/** Why a lookup is answered with a fallback: no rank to answer from, only ranks of unknown trust, or no tokens. */
export const FALLBACK_REASONS = ["no_ranks", "ranks_unknown", ...TOKENIZER_FAILURES] as const;

/** Families about answers to gateways. */
export const ROUTING_METRICS = {
  routingLatency: withExemplars(
    histogram({
      name: "prefix_cache_routing_latency_seconds",
      help: "From a match request's body being read to its answer being ready, tokenization included.",
      unit: "seconds",
      labels: { model: MODEL },
      preset: "absent until known",
      buckets: doubling(0.00001, 10),
      why: "Every request waits this long before it starts.",
    }),
  ),
  lookups: counter({
    name: "prefix_cache_lookups_total",
    help: "Lookups answered, by decision: exact, degraded when some ranks are not exact, fallback when the caller must route without cache information.",
    unit: "none",
    labels: { model: MODEL, decision: LOOKUP_DECISIONS },
    preset: "absent until known",
    why: "The share of requests that are routed by the cache.",
  }),
  fallbacks: counter({
    name: "prefix_cache_fallbacks_total",
    help: "Lookups answered with a fallback, by reason.",
    unit: "none",
    labels: { model: MODEL, reason: FALLBACK_REASONS },
    preset: "absent until known",
    why: "The cause of requests that are routed without cache information.",
  }),
  hitRate: gauge({
    name: "prefix_cache_hit_rate",
    help: "Rolling average over recent lookups of the share of a prompt's blocks that the best worker holds, 0 to 1.",
    unit: "ratio",
    labels: { model: MODEL },
    preset: "absent until known",
    why: "The prefill work that cache-aware routing can spare.",
  }),
};
