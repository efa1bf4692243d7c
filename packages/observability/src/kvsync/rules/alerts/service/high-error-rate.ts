/** Alert: Many requests fail. */

import { SERVICE_METRICS } from "../../../catalogue/service.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { above, both, sum } from "../../../../promql/operators.ts";
import { recorded } from "../../../../promql/recording.ts";
import { rate } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { ask, logLines } from "../../commands.ts";
import { INSTANCE } from "../../label-sets.ts";
import { RECORDINGS } from "../../recordings.ts";
import { REQUEST_FLOOR_PER_SECOND, THRESHOLDS } from "../../thresholds.ts";
import { growing, TARGET } from "../../trial.ts";

const requests = sum(rate(SERVICE_METRICS.httpRequests, "5m"), INSTANCE);

/** Its condition, texts, runbook and trial. */
export const HIGH_ERROR_RATE = alert({
  name: "HighErrorRate",
  when: both(
    above(recorded(RECORDINGS.errorRatio), THRESHOLDS.requestErrorRatio),
    above(requests, REQUEST_FLOOR_PER_SECOND),
  ),
  for: "2m",
  severity: "critical",
  component: "http",
  summary: "Many requests fail.",
  description: ({ label, value: share }) =>
    `${label("instance")} answers ${share} of requests with a server error.`,
  panel: panelOf(SERVICE, "errorRatio"),
  runbook: {
    meaning: "More than one request in twenty ends in a 5xx status.",
    impact: "Gateways fall back for these requests.",
    diagnosis: [
      {
        text: "Which code, which route?",
        query: sum(rate(SERVICE_METRICS.httpRequestErrors, "5m"), ["route", "code"]).text,
      },
      { text: "Is it ready?", command: ask("/readyz?verbose") },
      { text: "Which errors, where it is internal_error?", ...logLines(10, { events: ["request_failed"] }) },
    ],
    mitigation: [
      {
        cause: "503 from readyz only: engines known at start are not in sync.",
        fix: "See StreamUntrusted; take the engine off the list if it is gone.",
      },
      { cause: "500: a defect.", fix: "Restart the replica; report the log line with its code." },
    ],
    prevention: "Roll a release out to one replica first, and compare its errors with those of the others.",
    escalation: "Page kvsync's maintainers.",
  },
  trial: {
    series: (level) => [
      growing(
        SERVICE_METRICS.httpRequests,
        { method: "POST", route: "/api/v1/match", status: "500" },
        level * 100,
      ),
      growing(
        SERVICE_METRICS.httpRequests,
        { method: "POST", route: "/api/v1/match", status: "200" },
        (1 - level) * 100,
      ),
    ],
    fires: 0.051,
    calm: 0.049,
    labels: { ...TARGET },
  },
});
