/** Alert: Connected engines publish no events. */

import { INGEST_METRICS } from "../../../catalogue/ingest.ts";
import { PREFIX_INDEX_METRICS } from "../../../catalogue/prefix-index.ts";
import { OVERVIEW } from "../../../dashboards/overview.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, below, given, sum } from "../../../../promql/operators.ts";
import { rate, value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { BY_MODEL } from "../../label-sets.ts";
import { REQUEST_FLOOR_PER_SECOND, THRESHOLDS } from "../../thresholds.ts";
import { ENGINE, growing, MODEL, MODEL_LABELS, steady } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const LOW_THROUGHPUT = alert({
  name: "LowThroughput",
  when: given(
    given(
      below(sum(rate(INGEST_METRICS.eventsProcessed, "5m"), BY_MODEL), THRESHOLDS.eventsPerSecondMin),
      above(sum(value(INGEST_METRICS.connectionsActive), BY_MODEL), 0),
      BY_MODEL,
    ),
    above(
      sum(rate(PREFIX_INDEX_METRICS.indexerOperations, "5m", { operation: "match" }), BY_MODEL),
      REQUEST_FLOOR_PER_SECOND,
    ),
    BY_MODEL,
  ),
  for: "10m",
  severity: "info",
  component: "ingest",
  summary: "Connected engines publish no events.",
  description: ({ label }) =>
    `${label("instance")} answers lookups for ${label("model")} and is connected to its engines, but receives almost no events.`,
  panel: panelOf(OVERVIEW, "processed"),
  runbook: {
    meaning:
      "Lookups arrive for the model, its engines are connected, and they publish fewer than one event in 100 seconds.",
    impact: "The index for the model is empty or old: lookups find no prefixes.",
    diagnosis: [
      {
        text: "How many lookups arrive?",
        query: sum(rate(PREFIX_INDEX_METRICS.indexerOperations, "5m", { operation: "match" }), ["model"])
          .text,
      },
      {
        text: "Are the streams verified as idle?",
        query: sum(value(INGEST_METRICS.streamTrust), ["trust"]).text,
      },
    ],
    mitigation: [
      {
        cause: "The engines run without prefix caching or without event publishing.",
        fix: "Enable both in the engine's arguments.",
      },
      {
        cause: "The gateway sends lookups, but routes the requests to other engines.",
        fix: "Compare the gateway's list of engines with /api/v1/engines.",
      },
    ],
    prevention:
      "Set the arguments for prefix caching and event publishing in the template that all engines are started from.",
    escalation: "The team that runs the engines.",
  },
  trial: {
    series: (level) => [
      growing(INGEST_METRICS.eventsProcessed, { ...ENGINE, event_type: "BlockStored" }, level),
      steady(INGEST_METRICS.connectionsActive, { model: MODEL }, 4),
      growing(PREFIX_INDEX_METRICS.indexerOperations, { model: MODEL, operation: "match", status: "ok" }, 1),
    ],
    fires: 0.009,
    calm: 0.011,
    labels: MODEL_LABELS,
  },
});
