/** Row of the dashboard "KV ingest stream": Queue. */

import { STREAM_METRICS } from "../../catalogue/stream.ts";
import { max, quantile, sum, summed } from "../../../promql/operators.ts";
import { recorded } from "../../../promql/recording.ts";
import { bucketRate, value } from "../../../promql/series.ts";
import { RECORDINGS } from "../../rules/recordings.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { query, row, timeseries } from "../../../dashboards/panel.ts";
import { HERE, RATE } from "../scope.ts";

/** The row with its panels. */
export const QUEUE = row({
  id: 102,
  title: "Queue",
  panels: {
    depth: timeseries({
      id: 10,
      title: "Queue depth by lane",
      shows: "Messages waiting, by lane, and the capacity of the lane, at the replica with the most.",
      normal: "Next to nothing, with short peaks; never a slope.",
      width: 6,
      height: 8,
      queries: [
        query(
          max(sum(value(STREAM_METRICS.streamQueueDepth, HERE), ["instance", "lane"]), ["lane"]),
          (label) => label("lane"),
        ),
        query(
          max(sum(value(STREAM_METRICS.streamQueueCapacity, HERE), ["instance", "lane"]), ["lane"]),
          (label) => `${label("lane")} capacity`,
        ),
      ],
    }),
    utilization: timeseries({
      id: 11,
      title: "Queue utilisation",
      shows: "Share of each lane's capacity in use, by replica.",
      normal: "Below 10 %.",
      width: 6,
      height: 8,
      queries: [
        query(
          max(recorded(RECORDINGS.queueUtilization, HERE), ["instance", "lane"]),
          (label) => `${label("instance")} ${label("lane")}`,
        ),
      ],
      levels: {
        warning: THRESHOLDS.queueRatioWarning,
        critical: THRESHOLDS.queueRatioCritical,
        bad: "above",
      },
    }),
    memory: timeseries({
      id: 12,
      title: "Queue memory",
      shows: "Payload bytes waiting in the ingest queue, by replica.",
      normal: "Below 10 MB.",
      width: 6,
      height: 8,
      queries: [
        query(sum(value(STREAM_METRICS.streamQueueMemory, HERE), ["instance"]), (label) => label("instance")),
      ],
    }),
    queueWait: timeseries({
      id: 13,
      title: "Queue wait p99",
      shows: "Time that 99 % of messages wait less than, by lane.",
      normal: "Below 1 ms on the live lane.",
      width: 6,
      height: 8,
      queries: [
        query(
          quantile(0.99, summed(bucketRate(STREAM_METRICS.streamQueueWait, RATE, HERE), ["lane"])),
          (label) => label("lane"),
        ),
      ],
      levels: { warning: THRESHOLDS.eventLatencySeconds, bad: "above" },
    }),
  },
});
