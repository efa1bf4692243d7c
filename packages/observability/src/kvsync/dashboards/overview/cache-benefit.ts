/** Row of the dashboard "KV event sync overview": Cache benefit. */

import { PREFIX_INDEX_METRICS } from "../../catalogue/prefix-index.ts";
import { ROUTING_METRICS } from "../../catalogue/routing.ts";
import { max, meanShare, ratio, sum, summed } from "../../../promql/operators.ts";
import { recorded } from "../../../promql/recording.ts";
import { bucketRate, rate } from "../../../promql/series.ts";
import { RECORDINGS } from "../../rules/recordings.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { bucketsQuery, heatmap, quantileQueries, query, row, timeseries } from "../../../dashboards/panel.ts";
import { MODELS, RATE } from "../scope.ts";

/** The row with its panels. */
export const CACHE_BENEFIT = row({
  id: 104,
  title: "Cache benefit",
  panels: {
    hitRate: timeseries({
      id: 23,
      title: "Prefix cache hit rate",
      shows:
        "Share of a prompt's blocks that the best worker holds, averaged over the lookups of all replicas, by model. The rolling lines are the averages of each replica.",
      normal: "Steady for a steady workload; a sudden fall without a change of workload means lost events.",
      width: 8,
      height: 8,
      queries: [
        query(meanShare(PREFIX_INDEX_METRICS.indexerMatchPercentage, RATE, MODELS, ["model"]), (label) =>
          label("model"),
        ),
        query(
          max(recorded(RECORDINGS.hitRate, MODELS), ["instance", "model"]),
          (label) => `${label("model")} at ${label("instance")}, rolling`,
        ),
      ],
      levels: { warning: THRESHOLDS.hitRate, bad: "below" },
    }),
    matchShare: heatmap({
      id: 24,
      title: "Match share of prompts",
      shows: "How much of each prompt was found, in steps of ten per cent: lookups per second by share.",
      normal: "Two bands: first turns at the lower end, later turns of conversations at the upper end.",
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
      normal: "Below 1 ms without tokenization.",
      width: 8,
      height: 8,
      queries: quantileQueries(
        summed(bucketRate(ROUTING_METRICS.routingLatency, RATE, MODELS), []),
        [0.5, 0.99],
      ),
      levels: { warning: THRESHOLDS.routingLatencySeconds, bad: "above" },
    }),
    decisions: timeseries({
      id: 26,
      title: "Lookups by decision",
      counts: "requests",
      shows: "Lookups answered per second, by decision, all replicas together.",
      normal: "Almost all exact; degraded and fallback for moments after starts.",
      width: 8,
      height: 8,
      stacked: true,
      queries: [
        query(sum(rate(ROUTING_METRICS.lookups, RATE, MODELS), ["decision"]), (label) => label("decision")),
      ],
    }),
    fallbackShare: timeseries({
      id: 27,
      title: "Fallback share",
      shows: "Share of lookups answered without cache information, by model, all replicas together.",
      normal: "0 %.",
      width: 8,
      height: 8,
      queries: [
        query(
          ratio(
            sum(rate(ROUTING_METRICS.lookups, RATE, { ...MODELS, decision: "fallback" }), ["model"]),
            sum(rate(ROUTING_METRICS.lookups, RATE, MODELS), ["model"]),
          ),
          (label) => label("model"),
        ),
      ],
      levels: { warning: THRESHOLDS.fallbackRatio, bad: "above" },
    }),
    fallbackReasons: timeseries({
      id: 28,
      title: "Fallbacks by reason",
      counts: "requests",
      shows: "Lookups answered with a fallback per second, by reason, all replicas together.",
      normal: "0.",
      width: 8,
      height: 8,
      stacked: true,
      queries: [
        query(sum(rate(ROUTING_METRICS.fallbacks, RATE, MODELS), ["reason"]), (label) => label("reason")),
      ],
    }),
  },
});
