/** Alert: Applying an event takes unusually long. */

import { INGEST_METRICS } from "../../../catalogue/ingest.ts";
import { STREAM_METRICS } from "../../../catalogue/stream.ts";
import { OVERVIEW } from "../../../dashboards/overview.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, max, quantile, summed } from "../../../../promql/operators.ts";
import { bucketRate, value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { BY_MODEL } from "../../label-sets.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { distributed, MODEL, MODEL_LABELS } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const KV_EVENT_PROCESSING_LATENCY = alert({
  name: "KVEventProcessingLatency",
  when: above(
    quantile(0.99, summed(bucketRate(INGEST_METRICS.eventProcessingDuration, "5m"), BY_MODEL)),
    THRESHOLDS.eventProcessingSeconds,
  ),
  for: "5m",
  severity: "warning",
  component: "ingest",
  summary: "Applying an event takes unusually long.",
  description: ({ label, value: time }) =>
    `One event in a hundred of ${label("model")} takes ${label("instance")} more than ${time}.`,
  panel: panelOf(OVERVIEW, "processingLatency"),
  runbook: {
    meaning:
      "Decoding and applying single events has become slow: they are huge, or the ingest thread does not get its core.",
    impact: "The queue fills, events reach the index late, and lookups describe the past.",
    diagnosis: [
      {
        text: "Which type of event?",
        query: quantile(
          0.99,
          summed(bucketRate(INGEST_METRICS.eventProcessingDuration, "5m"), ["event_type"]),
        ).text,
      },
      {
        text: "Is the worker starved?",
        query: max(value(STREAM_METRICS.streamWorkerUtilization), ["instance", "worker"]).text,
      },
    ],
    mitigation: [
      { cause: "The container is throttled.", fix: "Give it one core per ingest worker and one for HTTP." },
      {
        cause: "Engines send batches of many thousands of blocks.",
        fix: "Harmless while the queue is short; otherwise add an ingest worker (AIBRIX_KV_EVENT_WORKERS).",
      },
    ],
    prevention: "Set a CPU limit of one core for each ingest worker and one for HTTP.",
    escalation: "kvsync's maintainers, with a CPU profile of the worker.",
  },
  trial: {
    series: (level) =>
      distributed(
        INGEST_METRICS.eventProcessingDuration,
        { model: MODEL, event_type: "BlockStored" },
        0.99,
        level,
      ),
    fires: 0.0101,
    calm: 0.0099,
    labels: MODEL_LABELS,
  },
});
