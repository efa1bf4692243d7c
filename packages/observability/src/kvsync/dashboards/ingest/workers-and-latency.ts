/** Row of the dashboard "KV ingest stream": Workers and latency. */

import { STREAM_METRICS } from "../../catalogue/stream.ts";
import { max, summed } from "../../../promql/operators.ts";
import { recorded } from "../../../promql/recording.ts";
import { bucketRate, value } from "../../../promql/series.ts";
import { RECORDINGS } from "../../rules/recordings.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { heatmap, quantileQueries, query, row, timeseries } from "../../../dashboards/panel.ts";
import { HERE, MODELS, RATE } from "../scope.ts";

/** The row with its panels. */
export const WORKERS_AND_LATENCY = row({
  id: 104,
  title: "Workers and latency",
  folded: true,
  panels: {
    workers: heatmap({
      id: 18,
      title: "Worker utilisation",
      shows: "Busy share of each ingest worker over time: one line of cells per worker.",
      normal: "Below 50 %, in an even color.",
      width: 12,
      height: 8,
      rows: "series",
      queries: [
        query(
          max(value(STREAM_METRICS.streamWorkerUtilization, HERE), ["instance", "worker"]),
          (label) => `${label("instance")} ${label("worker")}`,
        ),
      ],
    }),
    busy: timeseries({
      id: 19,
      title: "Mean worker utilisation",
      shows: "Mean busy share of the ingest workers, by replica.",
      normal: "Below 50 %; near 100 % the next engine makes the queue grow.",
      width: 12,
      height: 8,
      queries: [
        query(max(recorded(RECORDINGS.workerUtilization, HERE), ["instance"]), (label) => label("instance")),
      ],
      levels: { warning: THRESHOLDS.workerUtilizationHigh, bad: "above" },
    }),
    latency: timeseries({
      id: 20,
      title: "Event latency",
      shows: "From reading a message off its socket to having applied it.",
      normal: "p99 below 10 ms, p50 a tenth of it.",
      width: 8,
      height: 8,
      logarithmic: true,
      queries: quantileQueries(
        summed(bucketRate(STREAM_METRICS.streamEventLatency, RATE, MODELS), []),
        [0.5, 0.99, 0.999],
      ),
      levels: { warning: THRESHOLDS.eventLatencySeconds, bad: "above" },
    }),
    propagation: timeseries({
      id: 21,
      title: "Propagation",
      shows: "From the engine's own timestamp to having applied the message. Clocks must agree.",
      normal: "Below 1 s, a little more than the event latency.",
      width: 8,
      height: 8,
      logarithmic: true,
      queries: quantileQueries(
        summed(bucketRate(STREAM_METRICS.streamPropagation, RATE, MODELS), []),
        [0.5, 0.99],
      ),
      levels: { warning: THRESHOLDS.propagationSeconds, bad: "above" },
    }),
    lookup: timeseries({
      id: 22,
      title: "Lookup latency p99 by model",
      shows: "Time that 99 % of lookups stay below: hashing, matching and assembling the answer.",
      normal: "Below 1 ms, also while ingest is busy.",
      width: 8,
      height: 8,
      logarithmic: true,
      queries: [
        query(max(recorded(RECORDINGS.lookupLatencyP99, MODELS), ["model"]), (label) => label("model")),
      ],
      levels: { warning: THRESHOLDS.lookupLatencySeconds, bad: "above" },
    }),
  },
});
