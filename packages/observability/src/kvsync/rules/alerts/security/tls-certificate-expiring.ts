/** Alert: The certificate of the HTTP API ends within two weeks. */

import { SECURITY_METRICS } from "../../../catalogue/security.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { below, min, timeLeft } from "../../../../promql/operators.ts";
import { value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { logLines } from "../../commands.ts";
import { INSTANCE } from "../../label-sets.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { steady, TARGET } from "../../trial.ts";

const HOUR_SECONDS = 3600;

/** Its condition, texts, runbook and trial. */
export const TLS_CERTIFICATE_EXPIRING = alert({
  name: "TlsCertificateExpiring",
  when: below(
    timeLeft(min(value(SECURITY_METRICS.certificateExpiry), INSTANCE)),
    THRESHOLDS.certificateSecondsLeft,
  ),
  for: "10m",
  severity: "warning",
  component: "http",
  summary: "The certificate of the HTTP API ends within two weeks.",
  description: ({ label, value: left }) =>
    `The certificate of the HTTP API of ${label("instance")} ends in ${left}. A negative time has passed since its end.`,
  panel: panelOf(SERVICE, "certificate"),
  runbook: {
    meaning: "The certificate that is served ends in less than fourteen days, or has ended.",
    impact: "From then on no caller can connect, and gateways route without cache information.",
    diagnosis: [
      {
        text: "What does the daemon serve?",
        command: "openssl s_client -connect DAEMON </dev/null 2>/dev/null | openssl x509 -noout -enddate",
      },
      {
        text: "Was it renewed and not read?",
        ...logLines(5, { events: ["security_file_reloaded", "security_file_refused"] }),
      },
    ],
    mitigation: [
      { cause: "It was not renewed.", fix: "Renew it; see why its automation did not." },
      { cause: "It was renewed and cannot be used.", fix: "See SecurityFileRefused." },
    ],
    prevention: "Renew certificates by automation at two thirds of their life.",
    escalation: "The team that renews certificates.",
  },
  trial: {
    // Time in a promtool test begins at 0: an end that moves with the clock stays as far away.
    series: (level) => [{ ...steady(SECURITY_METRICS.certificateExpiry, {}, level), perSecond: 1 }],
    fires: THRESHOLDS.certificateSecondsLeft - HOUR_SECONDS,
    calm: THRESHOLDS.certificateSecondsLeft + HOUR_SECONDS,
    labels: { ...TARGET },
    settle: "1m",
  },
});
