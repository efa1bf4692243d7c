/** Alert: Alertmanager cannot deliver notifications. */

import { ALERTMANAGER_METRICS } from "../../../../exporters.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { above, orZero, ratio, sum } from "../../../../promql/operators.ts";
import { rate } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { ALERTMANAGER_JOB, THRESHOLDS } from "../../thresholds.ts";
import { growing, TARGET } from "../../trial.ts";

const ofAlertmanager = { job: ALERTMANAGER_JOB } as const;
const attempted = sum(rate(ALERTMANAGER_METRICS.notifications, "5m", ofAlertmanager), [
  "cluster",
  "namespace",
  "job",
  "integration",
]);
const missed = sum(rate(ALERTMANAGER_METRICS.notificationsFailed, "5m", ofAlertmanager), [
  "cluster",
  "namespace",
  "job",
  "integration",
]);

/** Its condition, texts, runbook and trial. */
export const NOTIFICATION_DELIVERY_FAILURES = alert({
  name: "NotificationDeliveryFailures",
  when: above(ratio(orZero(missed, attempted), attempted), THRESHOLDS.notificationFailureRatio),
  for: "5m",
  severity: "warning",
  component: "alerting",
  summary: "Alertmanager cannot deliver notifications.",
  description: ({ label, value: share }) =>
    `${share} of the notifications through ${label("integration")} fail.`,
  panel: panelOf(SERVICE, "notifications"),
  runbook: {
    meaning: "More than a tenth of the notifications of one integration do not get through.",
    impact: "Operators do not receive some alerts, possibly this one too.",
    diagnosis: [
      { text: "Which integration?", query: missed.text },
      { text: "Why?", command: "kubectl logs statefulset/alertmanager | grep -i notify | tail" },
    ],
    mitigation: [
      {
        cause: "A token or webhook was revoked.",
        fix: "Renew the secret; Alertmanager reads its file again by itself.",
      },
      { cause: "The receiver limits the rate.", fix: "Group more, or repeat less often." },
    ],
    prevention: "Renew webhooks and passwords before they end, and send a test alert after each renewal.",
    escalation: "Platform on-call, by telephone.",
  },
  trial: {
    series: (level) => [
      growing(
        ALERTMANAGER_METRICS.notificationsFailed,
        { integration: "slack", job: ALERTMANAGER_JOB },
        level,
      ),
      growing(ALERTMANAGER_METRICS.notifications, { integration: "slack", job: ALERTMANAGER_JOB }, 1),
    ],
    fires: 0.11,
    calm: 0.09,
    labels: {
      cluster: TARGET.cluster,
      namespace: TARGET.namespace,
      job: ALERTMANAGER_JOB,
      integration: "slack",
    },
  },
});
