/** Alert: Streams keep moving between ingest workers. */

import { STREAM_METRICS } from "../../../catalogue/stream.ts";
import { INGEST } from "../../../dashboards/ingest.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, max, sum } from "../../../../promql/operators.ts";
import { rate, value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { logLines } from "../../commands.ts";
import { INSTANCE } from "../../label-sets.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { growing, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const EXCESSIVE_WORK_STEALING = alert({
  name: "ExcessiveWorkStealing",
  when: above(sum(rate(STREAM_METRICS.streamWorkStolen, "5m"), INSTANCE), THRESHOLDS.stolenStreamsPerSecond),
  for: "10m",
  severity: "info",
  component: "ingest",
  summary: "Streams keep moving between ingest workers.",
  description: ({ label }) =>
    `Ingest workers of ${label("instance")} take streams from each other at nearly a third of the greatest possible rate.`,
  panel: panelOf(INGEST, "stolen"),
  runbook: {
    meaning:
      "The balancer moves streams from the busiest worker to the idlest, and the load it evens out keeps shifting.",
    impact: "Each move costs a replay and a moment in which that engine's part of the index is stale.",
    diagnosis: [
      {
        text: "Who takes over?",
        query: sum(rate(STREAM_METRICS.streamWorkStolen, "5m"), ["instance", "worker"]).text,
      },
      {
        text: "How busy are they?",
        query: max(value(STREAM_METRICS.streamWorkerUtilization), ["instance", "worker"]).text,
      },
      {
        text: "Which streams?",
        ...logLines(20, { events: ["stream_moved"] }),
      },
    ],
    mitigation: [
      {
        cause: "A few engines make most of the load.",
        fix: "Fewer workers (AIBRIX_KV_EVENT_WORKERS) move less.",
      },
      {
        cause: "The machine gives the process fewer cores than it has workers.",
        fix: "Raise the CPU limit, or set fewer workers.",
      },
    ],
    prevention: "Set AIBRIX_KV_EVENT_WORKERS to no more than the cores that the process has.",
    escalation: "kvsync's maintainers, once streams are often stale.",
  },
  trial: {
    series: (level) => [growing(STREAM_METRICS.streamWorkStolen, { worker: "ingest-0" }, level)],
    fires: 0.11,
    calm: 0.09,
    labels: { ...TARGET },
  },
});
