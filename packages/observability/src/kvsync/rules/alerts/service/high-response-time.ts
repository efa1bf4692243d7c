/** Alert: Requests take long. */

import { SERVICE_METRICS } from "../../../catalogue/service.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { above } from "../../../../promql/operators.ts";
import { recorded } from "../../../../promql/recording.ts";
import { alert } from "../../../../rules/alert.ts";
import { RECORDINGS } from "../../recordings.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { distributed, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const HIGH_RESPONSE_TIME = alert({
  name: "HighResponseTime",
  when: above(recorded(RECORDINGS.requestP95), THRESHOLDS.requestSeconds),
  for: "5m",
  severity: "warning",
  component: "http",
  summary: "Requests take long.",
  description: ({ label, value: time }) =>
    `One request in twenty to ${label("route")} takes ${label("instance")} more than ${time}.`,
  panel: panelOf(SERVICE, "latencyByRoute"),
  runbook: {
    meaning: "The slowest twentieth of requests takes more than a second.",
    impact: "A gateway that waits this long gains nothing from the answer.",
    diagnosis: [
      { text: "Every route, or dumps only?", query: recorded(RECORDINGS.requestP95).text },
      { text: "Lookup or something else?", query: recorded(RECORDINGS.lookupLatencyP99).text },
    ],
    mitigation: [
      { cause: "Dumps of a large index.", fix: "Expected; they do not hold up matches." },
      {
        cause: "The remote tokenizer is slow.",
        fix: "Send token ids, or give the tokenizer more capacity.",
      },
      { cause: "Event-loop lag.", fix: "See HighEventLoopLag." },
    ],
    prevention: "Have gateways send token ids, and dump the index in quiet hours.",
    escalation: "kvsync's maintainers when matches with token ids are slow.",
  },
  trial: {
    series: (level) =>
      distributed(
        SERVICE_METRICS.httpRequestDuration,
        { method: "POST", route: "/api/v1/match" },
        0.95,
        level,
      ),
    fires: 1.01,
    calm: 0.99,
    labels: { ...TARGET, route: "/api/v1/match" },
  },
});
