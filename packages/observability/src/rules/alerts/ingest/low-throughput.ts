/** Alert: Connected engines say little. */

import { INGEST_METRICS } from "../../../catalogue/ingest.ts";
import { OVERVIEW } from "../../../dashboards/overview.ts";
import { panelOf } from "../../../dashboards/panel.ts";
import { above, below, given, sum } from "../../../promql/operators.ts";
import { recorded } from "../../../promql/recording.ts";
import { rate, value } from "../../../promql/series.ts";
import { alert } from "../../alert.ts";
import { BY_MODEL } from "../../label-sets.ts";
import { RECORDINGS } from "../../recordings.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { ENGINE, growing, MODEL, MODEL_LABELS, steady } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const LOW_THROUGHPUT = alert({
  name: "LowThroughput",
  when: given(
    below(sum(rate(INGEST_METRICS.eventsProcessed, "5m"), BY_MODEL), THRESHOLDS.eventsPerSecondMin),
    above(sum(value(INGEST_METRICS.connectionsActive), BY_MODEL), 0),
    BY_MODEL,
  ),
  for: "10m",
  severity: "info",
  component: "ingest",
  summary: "Connected engines say little.",
  description: ({ label, value: rateText }) =>
    `Engines of ${label("model")} are connected to ${label("instance")}, but only ${rateText} events arrive per second.`,
  panel: panelOf(OVERVIEW, "processed"),
  runbook: {
    meaning:
      "Fewer events than a loaded fleet produces: low traffic, full reuse, or engines that publish nothing.",
    impact: "None if traffic is low. If it is not, the index is empty and nobody was told.",
    diagnosis: [
      { text: "Is there traffic?", query: recorded(RECORDINGS.requestRate).text },
      {
        text: "Are the streams verified as idle?",
        query: sum(value(INGEST_METRICS.streamTrust), ["trust"]).text,
      },
    ],
    mitigation: [
      { cause: "Low traffic.", fix: "Nothing to do." },
      {
        cause: "Engines run without prefix caching or without events.",
        fix: "Enable both in the engine's arguments.",
      },
    ],
    escalation: "None.",
  },
  trial: {
    series: (level) => [
      growing(INGEST_METRICS.eventsProcessed, { ...ENGINE, event_type: "BlockStored" }, level),
      steady(INGEST_METRICS.connectionsActive, { model: MODEL }, 4),
    ],
    fires: 99,
    calm: 101,
    labels: MODEL_LABELS,
  },
});
