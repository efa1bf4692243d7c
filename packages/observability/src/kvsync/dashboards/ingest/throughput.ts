/** Row of the dashboard "KV ingest stream": Throughput. */

import { STREAM_METRICS } from "../../catalogue/stream.ts";
import { sum, summedOnce, sumOnce } from "../../../promql/operators.ts";
import { recorded } from "../../../promql/recording.ts";
import { bucketRate, rate } from "../../../promql/series.ts";
import { RECORDINGS } from "../../rules/recordings.ts";
import { bucketsQuery, heatmap, query, row, timeseries } from "../../../dashboards/panel.ts";
import { HERE, MODELS, RATE } from "../scope.ts";

/** The row with its panels. */
export const THROUGHPUT = row({
  id: 101,
  title: "Throughput",
  panels: {
    rateByModel: timeseries({
      id: 6,
      title: "Rate by model",
      counts: "messages",
      shows: "Messages applied per second, by model, at the replica with the most.",
      normal: "Follows the load; no model falls to nothing while its engines work.",
      width: 12,
      height: 8,
      queries: [
        query(sumOnce(recorded(RECORDINGS.eventRate, MODELS), ["model"], ["model"]), (label) =>
          label("model"),
        ),
      ],
    }),
    lanes: timeseries({
      id: 7,
      title: "Rate by lane",
      counts: "messages",
      shows: "Messages taken per second, by where they came from, at the replica with the most.",
      normal: "Almost all live; replay only after starts and gaps.",
      width: 12,
      height: 8,
      queries: [
        query(
          sumOnce(rate(STREAM_METRICS.streamEvents, RATE, MODELS), ["model", "lane"], ["lane"]),
          (label) => label("lane"),
        ),
      ],
      stacked: true,
    }),
    batches: timeseries({
      id: 8,
      title: "Messages by worker",
      counts: "messages",
      shows: "Messages applied per second by each ingest worker.",
      normal: "All workers have about the same rate.",
      width: 12,
      height: 8,
      queries: [
        query(
          sum(rate(STREAM_METRICS.streamBatchesProcessed, RATE, HERE), ["instance", "worker"]),
          (label) => `${label("instance")} ${label("worker")}`,
        ),
      ],
    }),
    stolen: timeseries({
      id: 60,
      title: "Streams moved by worker",
      shows: "Streams per second that each ingest worker took over from a busier one.",
      normal: "0, a few after engines came or went.",
      width: 12,
      height: 8,
      queries: [
        query(
          sum(rate(STREAM_METRICS.streamWorkStolen, RATE, HERE), ["instance", "worker"]),
          (label) => `${label("instance")} ${label("worker")}`,
        ),
      ],
    }),
    batchSize: heatmap({
      id: 9,
      title: "Events per message",
      shows:
        "How engines batch: messages per second by the number of events they carry, at the replica with the most.",
      normal: "A few to tens; single events cost more.",
      width: 24,
      height: 8,
      rows: "buckets",
      queries: [bucketsQuery(summedOnce(bucketRate(STREAM_METRICS.streamBatchSize, RATE, HERE)))],
    }),
  },
});
