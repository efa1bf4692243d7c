/** Alert: Events wait long between socket and index. */

import { STREAM_METRICS } from "../../../catalogue/stream.ts";
import { INGEST } from "../../../dashboards/ingest.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, quantile, summed } from "../../../../promql/operators.ts";
import { recorded } from "../../../../promql/recording.ts";
import { bucketRate } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { RECORDINGS } from "../../recordings.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { distributed, MODEL, MODEL_LABELS } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const HIGH_EVENT_LATENCY = alert({
  name: "HighEventLatency",
  when: above(recorded(RECORDINGS.eventLatencyP99), THRESHOLDS.eventLatencySeconds),
  for: "5m",
  severity: "warning",
  component: "ingest",
  summary: "Events wait long between socket and index.",
  description: ({ label, value: time }) =>
    `One message in a hundred of ${label("model")} takes ${label("instance")} more than ${time} to apply.`,
  panel: panelOf(INGEST, "latency"),
  runbook: {
    meaning:
      "The time from reading a message to having applied it has grown; almost always it is waiting in the queue.",
    impact: "Lookups miss blocks that were stored moments ago, and name some that are gone.",
    diagnosis: [
      {
        text: "Waiting or working?",
        query: quantile(0.99, summed(bucketRate(STREAM_METRICS.streamQueueWait, "5m"), ["lane"])).text,
      },
      { text: "Busy workers?", query: recorded(RECORDINGS.workerUtilization).text },
    ],
    mitigation: [
      { cause: "Queue wait is most of it.", fix: "As for HighQueueDepth: more ingest capacity." },
      { cause: "It comes with replays.", fix: "Find out why there are gaps (KVEventSequenceGaps)." },
    ],
    prevention: "Keep each ingest worker below half of a core, as docs/operations/capacity.md plans it.",
    escalation: "kvsync's maintainers when neither queue nor CPU explains it.",
  },
  trial: {
    series: (level) => distributed(STREAM_METRICS.streamEventLatency, { model: MODEL }, 0.99, level),
    fires: 0.101,
    calm: 0.099,
    labels: MODEL_LABELS,
  },
});
