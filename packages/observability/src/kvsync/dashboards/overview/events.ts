/** Row of the dashboard "KV event sync overview": Events, their latency and loss. */

import { INGEST_METRICS } from "../../catalogue/ingest.ts";
import { max, orZero, quantile, ratio, sum, summed, sumOnce } from "../../../promql/operators.ts";
import { recorded } from "../../../promql/recording.ts";
import { bucketRate, rate } from "../../../promql/series.ts";
import { RECORDINGS } from "../../rules/recordings.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { query, row, timeseries } from "../../../dashboards/panel.ts";
import { ENGINE, MODELS, PODS, RATE, LINES_MAX } from "../scope.ts";

const dropped = sum(rate(INGEST_METRICS.eventsDropped, RATE, PODS), ["model"]);
const received = sum(rate(INGEST_METRICS.eventsReceived, RATE, PODS), ["model"]);

/** The row with its panels. */
export const EVENTS = row({
  id: 102,
  title: "Events, latency and loss",
  folded: true,
  panels: {
    received: timeseries({
      id: 8,
      title: "Events received",
      shows:
        "Events decoded per second, by type, each engine once however many replicas follow it. Stores follow prompts, removals follow eviction in the engines.",
      normal: "Follows the load; removals a little behind stores once the engines' caches are full.",
      width: 12,
      height: 8,
      queries: [
        query(
          sumOnce(rate(INGEST_METRICS.eventsReceived, RATE, PODS), [...ENGINE, "event_type"], ["event_type"]),
          (label) => label("event_type"),
        ),
      ],
      stacked: true,
    }),
    processed: timeseries({
      id: 9,
      title: "Event processing rate",
      shows:
        "Events applied to the index per second, by model, each engine once however many replicas follow it.",
      normal: "The same curve as the events received.",
      width: 12,
      height: 8,
      queries: [
        query(sumOnce(rate(INGEST_METRICS.eventsProcessed, RATE, PODS), ENGINE, ["model"]), (label) =>
          label("model"),
        ),
      ],
    }),
    processingLatency: timeseries({
      id: 10,
      title: "Processing latency p99",
      shows: "Time to decode and apply one event that 99 % stay below, by type.",
      normal: "Below 1 ms; events of thousands of blocks take longer.",
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
      most: LINES_MAX,
      shows:
        "Events per second that were not applied, by reason, each engine once at the replica with the most. The reference of reasons is in the alert's runbook.",
      normal:
        "0. Events that engines publish by design and the daemon does not index appear here too, with their reason.",
      width: 8,
      height: 8,
      queries: [
        query(
          sumOnce(rate(INGEST_METRICS.eventsDropped, RATE, PODS), [...ENGINE, "reason"], ["reason"]),
          (label) => label("reason"),
        ),
      ],
      levels: { warning: THRESHOLDS.droppedEventsPerSecond, bad: "above" },
    }),
    dropRatio: timeseries({
      id: 12,
      title: "Drop ratio by model",
      shows: "Events dropped per event received, over all replicas and at the worst one.",
      normal: "0 %.",
      width: 8,
      height: 8,
      queries: [
        query(ratio(orZero(dropped, received), received), (label) => label("model")),
        query(
          max(recorded(RECORDINGS.dropRatio, MODELS), ["model"]),
          (label) => `${label("model")}, worst replica`,
        ),
      ],
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
      shows:
        "Replays per second, requested and by how they ended, each engine once at the replica with the most.",
      normal: "Requested and completed are equal; none failed.",
      width: 12,
      height: 8,
      queries: [
        query(
          sumOnce(rate(INGEST_METRICS.replayRequests, RATE, PODS), [...ENGINE, "status"], ["status"]),
          (label) => label("status"),
        ),
      ],
    }),
  },
});
