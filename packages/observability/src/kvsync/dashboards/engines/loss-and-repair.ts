/** Row of the dashboard "KV engines": Loss and repair. */

import { LINES_MAX } from "../scope.ts";
import { INGEST_METRICS } from "../../catalogue/ingest.ts";
import { quantile, summed, sumOnce } from "../../../promql/operators.ts";
import { bucketRate, countRate, rate } from "../../../promql/series.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { query, row, timeseries } from "../../../dashboards/panel.ts";
import { ENGINE, PODS, RATE } from "../scope.ts";

/** The row with its panels. */
export const LOSS_AND_REPAIR = row({
  id: 103,
  title: "Loss and repair",
  panels: {
    gaps: timeseries({
      id: 9,
      most: LINES_MAX,
      title: "Gaps",
      shows: "Gaps in the sequence per second, by engine.",
      normal: "0.",
      width: 6,
      height: 8,
      queries: [
        query(sumOnce(countRate(INGEST_METRICS.sequenceGap, RATE, PODS), ENGINE, ["pod"]), (label) =>
          label("pod"),
        ),
      ],
    }),
    gapSize: timeseries({
      id: 10,
      most: LINES_MAX,
      title: "Gap size p95",
      shows: "Messages missed per gap that 95 % of gaps stay below, by engine.",
      normal: "No data.",
      width: 6,
      height: 8,
      queries: [
        query(quantile(0.95, summed(bucketRate(INGEST_METRICS.sequenceGap, RATE, PODS), ["pod"])), (label) =>
          label("pod"),
        ),
      ],
      levels: { warning: THRESHOLDS.sequenceGapMessages, bad: "above" },
    }),
    replays: timeseries({
      id: 11,
      most: LINES_MAX,
      title: "Failed replays",
      shows: "Replays per second that failed, by engine.",
      normal: "0.",
      width: 6,
      height: 8,
      queries: [
        query(
          sumOnce(rate(INGEST_METRICS.replayRequests, RATE, { ...PODS, status: "failed" }), ENGINE, ["pod"]),
          (label) => label("pod"),
        ),
      ],
    }),
    dropped: timeseries({
      id: 12,
      most: LINES_MAX,
      title: "Dropped events",
      shows: "Events per second that were not applied, by engine and reason.",
      normal: "0.",
      width: 6,
      height: 8,
      queries: [
        query(
          sumOnce(rate(INGEST_METRICS.eventsDropped, RATE, PODS), [...ENGINE, "reason"], ["pod", "reason"]),
          (label) => `${label("pod")} ${label("reason")}`,
        ),
      ],
      levels: { warning: THRESHOLDS.droppedEventsPerSecond, bad: "above" },
    }),
  },
});
