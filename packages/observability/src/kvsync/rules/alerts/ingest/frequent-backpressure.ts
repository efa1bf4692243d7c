/** Alert: Ingest flaps in and out of back-pressure. */

import { STREAM_METRICS } from "../../../catalogue/stream.ts";
import { INGEST } from "../../../dashboards/ingest.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, sum } from "../../../../promql/operators.ts";
import { recorded } from "../../../../promql/recording.ts";
import { rate } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { INSTANCE } from "../../label-sets.ts";
import { RECORDINGS } from "../../recordings.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { growing, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const FREQUENT_BACKPRESSURE = alert({
  name: "FrequentBackpressure",
  when: above(
    sum(rate(STREAM_METRICS.streamBackpressureActivations, "5m", { level: { not: "normal" } }), INSTANCE),
    THRESHOLDS.backpressureActivationsPerSecond,
  ),
  for: "5m",
  severity: "warning",
  component: "ingest",
  summary: "Ingest flaps in and out of back-pressure.",
  description: ({ label, value: rateText }) =>
    `${label("instance")} enters a back-pressure level ${rateText} times per minute.`,
  panel: panelOf(INGEST, "pressure"),
  runbook: {
    meaning:
      "The queue crosses a level up and down many times a second: load sits right at the edge of capacity.",
    impact: "None yet; the next increase of load makes the queue stay full.",
    diagnosis: [
      {
        text: "Which level?",
        query: sum(rate(STREAM_METRICS.streamBackpressureActivations, "5m"), ["level"]).text,
      },
      { text: "How full is the queue?", query: recorded(RECORDINGS.queueUtilization).text },
    ],
    mitigation: [
      { cause: "There is no spare capacity.", fix: "Add an ingest worker before the load grows." },
    ],
    prevention: "Add an ingest worker when the busiest one is half used.",
    escalation: "Capacity planning, in working hours.",
  },
  trial: {
    series: (level) => [growing(STREAM_METRICS.streamBackpressureActivations, { level: "warning" }, level)],
    fires: 101,
    calm: 99,
    labels: { ...TARGET },
  },
});
