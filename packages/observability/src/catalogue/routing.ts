/**
 * Families about what a gateway gets out of the index: how long an answer takes and how much of a prompt it finds.
 */

import { doubling, gauge, histogram } from "../definition.ts";
import { MODEL } from "./label-domains.ts";

/** Families about answers to gateways. */
export const ROUTING_METRICS = {
  routingLatency: histogram({
    name: "prefix_cache_routing_latency_seconds",
    help: "From a match request's body being read to its answer being ready, tokenization included.",
    unit: "seconds",
    labels: { model: MODEL },
    preset: "absent until known",
    buckets: doubling(0.00001, 10),
    why: "What a routing decision costs a request before it has begun.",
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
