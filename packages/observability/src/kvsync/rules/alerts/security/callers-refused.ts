/** Alert: Callers are refused again and again. */

import { SECURITY_METRICS } from "../../../catalogue/security.ts";
import { SERVICE_METRICS } from "../../../catalogue/service.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { above, sum } from "../../../../promql/operators.ts";
import { rate } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { logLines } from "../../commands.ts";
import { INSTANCE } from "../../label-sets.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { growing, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const CALLERS_REFUSED = alert({
  name: "CallersRefused",
  when: above(
    sum(rate(SECURITY_METRICS.accessRefusals, "5m"), [...INSTANCE, "code"]),
    THRESHOLDS.refusedCallersPerSecond,
  ),
  for: "10m",
  severity: "warning",
  component: "http",
  summary: "Callers are refused again and again.",
  description: ({ label, value: perMinute }) =>
    `${label("instance")} rejects ${perMinute} requests per minute with ${label("code")}.`,
  panel: panelOf(SERVICE, "refusedCallers"),
  runbook: {
    meaning:
      "Requests have no token, an unknown token or a token of too little scope, or exceed the rate for one caller.",
    impact:
      "A gateway that sends them routes without cache information. Requests of an unknown client have no impact.",
    diagnosis: [
      {
        text: "Which routes, and for what?",
        query: sum(rate(SERVICE_METRICS.httpRequestErrors, "5m"), ["route", "code"]).text,
      },
      {
        text: "Were the tokens changed, and read?",
        ...logLines(5, { events: ["security_file_reloaded", "security_file_refused"] }),
      },
      {
        text: "Were connections closed because of a limit?",
        ...logLines(5, { events: ["connection_refused"] }),
      },
    ],
    mitigation: [
      {
        cause: "unknown_token after a rotation: a gateway still has the old token.",
        fix: "Give it the new one; keep both in the file until all gateways have it (docs/operations/security.md).",
      },
      {
        cause: "insufficient_scope.",
        fix: "Give that caller an admin token, or have it leave the route alone.",
      },
      { cause: "rate_limited.", fix: "Raise callers.read_per_second, or find out what asks so often." },
      {
        cause: "foreign_host: a proxy on the same machine passes its own host name on.",
        fix: "List the name in http.host_names. A name that is not yours may be an attack by DNS rebinding.",
      },
      {
        cause: "An unknown client.",
        fix: "Close the port to it: use a network policy, or listen on fewer addresses.",
      },
    ],
    prevention:
      "Rotate tokens in two steps, with old and new in the file until every gateway has the new one.",
    escalation: "The team of the gateways; the security team when the client is unknown.",
  },
  trial: {
    series: (level) => [growing(SECURITY_METRICS.accessRefusals, { code: "unknown_token" }, level)],
    fires: THRESHOLDS.refusedCallersPerSecond + 0.1,
    calm: THRESHOLDS.refusedCallersPerSecond - 0.1,
    labels: { ...TARGET, code: "unknown_token" },
  },
});
