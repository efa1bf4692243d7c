/** Alert: Ingest workers carry very different loads. */

import { INGEST_METRICS } from "../../../catalogue/ingest.ts";
import { STREAM_METRICS } from "../../../catalogue/stream.ts";
import { INGEST } from "../../../dashboards/ingest.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, max, min, minus, sum } from "../../../../promql/operators.ts";
import { rate, value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { INSTANCE } from "../../label-sets.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { steady, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const WORKER_UTILIZATION_IMBALANCE = alert({
  name: "WorkerUtilizationImbalance",
  when: above(
    minus(
      max(value(STREAM_METRICS.streamWorkerUtilization), INSTANCE),
      min(value(STREAM_METRICS.streamWorkerUtilization), INSTANCE),
    ),
    THRESHOLDS.workerUtilizationSpread,
  ),
  for: "5m",
  severity: "warning",
  component: "ingest",
  summary: "Ingest workers carry very different loads.",
  description: ({ label, value: spread }) =>
    `The busiest and the idlest ingest worker of ${label("instance")} differ by ${spread} of a core.`,
  panel: panelOf(INGEST, "workers"),
  runbook: {
    meaning: "Engines are spread over workers unevenly, by number or by their message rates.",
    impact: "The busiest worker becomes the bottleneck while others idle.",
    diagnosis: [
      {
        text: "Per worker.",
        query: max(value(STREAM_METRICS.streamWorkerUtilization), ["instance", "worker"]).text,
      },
      {
        text: "How many events does each engine send?",
        query: sum(rate(INGEST_METRICS.eventsReceived, "5m"), ["pod"]).text,
      },
    ],
    mitigation: [
      {
        cause: "A few very busy engines share a worker.",
        fix: "Add workers: engines with this rate need one each. The balancer moves one stream at a time, and not where the move only reverses the difference.",
      },
    ],
    prevention:
      "Set at least as many ingest workers as there are engines with an unusually high rate of events.",
    escalation: "kvsync's maintainers, once the busiest worker is above 80 %.",
  },
  trial: {
    series: (level) => [
      steady(STREAM_METRICS.streamWorkerUtilization, { worker: "0" }, 0.5 + level),
      steady(STREAM_METRICS.streamWorkerUtilization, { worker: "1" }, 0.5),
    ],
    fires: 0.41,
    calm: 0.39,
    labels: { ...TARGET },
  },
});
