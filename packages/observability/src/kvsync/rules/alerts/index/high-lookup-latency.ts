/** Alert: Lookups in the index are slow. */

import { PREFIX_INDEX_METRICS } from "../../../catalogue/prefix-index.ts";
import { STREAM_METRICS } from "../../../catalogue/stream.ts";
import { INGEST } from "../../../dashboards/ingest.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, sum } from "../../../../promql/operators.ts";
import { recorded } from "../../../../promql/recording.ts";
import { rate } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { RECORDINGS } from "../../recordings.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { distributed, MODEL, MODEL_LABELS } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const HIGH_LOOKUP_LATENCY = alert({
  name: "HighLookupLatency",
  when: above(recorded(RECORDINGS.lookupLatencyP99), THRESHOLDS.lookupLatencySeconds),
  for: "5m",
  severity: "warning",
  component: "index",
  summary: "Lookups in the index are slow.",
  description: ({ label, value: time }) =>
    `One lookup in a hundred for ${label("model")} takes ${label("instance")} more than ${time}.`,
  panel: panelOf(INGEST, "lookup"),
  runbook: {
    meaning:
      "A lookup of thousands of blocks takes well below a millisecond; tens of milliseconds mean that the thread did not run.",
    impact: "Gateways wait, or time out and fall back.",
    diagnosis: [
      { text: "Does the event loop lag?", query: "max by (instance) (nodejs_eventloop_lag_p99_seconds)" },
      {
        text: "How many lookups are there?",
        query: sum(rate(PREFIX_INDEX_METRICS.indexerOperations, "5m", { operation: "match" }), ["model"])
          .text,
      },
    ],
    mitigation: [
      { cause: "The process is starved of CPU.", fix: "Raise its limit." },
      {
        cause: "Dumps or very large answers run at the same time.",
        fix: "Ask for fewer workers (top_k), dump in quiet hours.",
      },
      { cause: "More lookups than one thread answers.", fix: "Add replicas behind the gateway." },
    ],
    prevention:
      "Give the main thread a core of its own, and plan replicas by the lookups per second of docs/operations/capacity.md.",
    escalation: "kvsync's maintainers, with the size of prompts and fleet.",
  },
  trial: {
    series: (level) => distributed(STREAM_METRICS.streamLookupLatency, { model: MODEL }, 0.99, level),
    fires: 0.051,
    calm: 0.049,
    labels: MODEL_LABELS,
  },
});
