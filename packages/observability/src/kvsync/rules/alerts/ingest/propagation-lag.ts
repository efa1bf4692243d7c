/** Alert: Events are applied long after engines sent them. */

import { STREAM_METRICS } from "../../../catalogue/stream.ts";
import { INGEST } from "../../../dashboards/ingest.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, quantile, summed } from "../../../../promql/operators.ts";
import { recorded } from "../../../../promql/recording.ts";
import { bucketRate } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { BY_MODEL } from "../../label-sets.ts";
import { RECORDINGS } from "../../recordings.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { distributed, MODEL, MODEL_LABELS } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const PROPAGATION_LAG = alert({
  name: "PropagationLag",
  when: above(
    quantile(0.99, summed(bucketRate(STREAM_METRICS.streamPropagation, "5m"), BY_MODEL)),
    THRESHOLDS.propagationSeconds,
  ),
  for: "5m",
  severity: "warning",
  component: "ingest",
  summary: "Events are applied long after engines sent them.",
  description: ({ label, value: time }) =>
    `One message in a hundred of ${label("model")} is ${time} old when ${label("instance")} has applied it.`,
  panel: panelOf(INGEST, "propagation"),
  runbook: {
    meaning:
      "Measured from the engine's own timestamp: the engine publishes late, the network queues, the daemon is slow, or clocks differ.",
    impact: "A router decides on an old picture of the caches.",
    diagnosis: [
      { text: "Is the daemon's own part of it large?", query: recorded(RECORDINGS.eventLatencyP99).text },
      {
        text: "Do clocks agree?",
        command: "kubectl exec ENGINE_POD -- date +%s.%N; kubectl exec POD -- date +%s.%N",
      },
    ],
    mitigation: [
      { cause: "Clocks differ.", fix: "Repair time synchronization on the node." },
      {
        cause: "The engine's event loop is overloaded.",
        fix: "Its events leave late; look at the engine's own latency.",
      },
    ],
    prevention: "Run time synchronization on every node, and alert on its offset.",
    escalation: "The engines' team, once the daemon's own latency is ruled out.",
  },
  trial: {
    series: (level) => distributed(STREAM_METRICS.streamPropagation, { model: MODEL }, 0.99, level),
    fires: 1.001,
    calm: 0.99,
    labels: MODEL_LABELS,
  },
});
