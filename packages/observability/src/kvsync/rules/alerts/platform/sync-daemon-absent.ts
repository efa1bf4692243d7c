/** Alert: Prometheus has no replica of the sync daemon as a target. */

import { PROMETHEUS_METRICS } from "../../../../exporters.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { absent, equals, sum } from "../../../../promql/operators.ts";
import { value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { DAEMON_JOB } from "../../thresholds.ts";
import { steady } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const SYNC_DAEMON_ABSENT = alert({
  name: "SyncDaemonAbsent",
  // Whatever labels absence copies from its selector say nothing here.
  when: equals(sum(absent(value(PROMETHEUS_METRICS.up, { job: DAEMON_JOB })), []), 1),
  for: "5m",
  severity: "critical",
  component: "platform",
  summary: "Prometheus has no replica of the sync daemon as a target.",
  description: () =>
    `Prometheus has no target of the job ${DAEMON_JOB}: not one that fails, none. No other alert about the daemon can fire.`,
  panel: panelOf(SERVICE, "up"),
  runbook: {
    meaning:
      "Service discovery finds nothing to scrape. A target that fails is SyncDaemonDown; one that is gone leaves no series behind, and everything that is computed from them falls silent.",
    impact:
      "The daemon is not monitored. It may run well, be scaled to zero, or be deleted. Gateways without it route without cache information.",
    diagnosis: [
      {
        text: "Is it there?",
        command: "kubectl get deployments,pods -A -l app.kubernetes.io/name=kvsync-daemon",
      },
      {
        text: "Which jobs does Prometheus scrape?",
        query: sum(value(PROMETHEUS_METRICS.up), ["job"]).text,
      },
    ],
    mitigation: [
      {
        cause: "The job has another name than kvsync's rules expect.",
        fix: `Name it ${DAEMON_JOB}, as infra/prometheus/prometheus.yaml does.`,
      },
      {
        cause: "The label or port that discovery goes by was changed.",
        fix: "Compare the pod's labels and port names with the scrape configuration.",
      },
      { cause: "Scaled to zero, or deleted.", fix: "Bring it back; it resumes from its snapshot." },
    ],
    prevention: "Deploy the scrape configuration together with the daemon, from the same commit.",
    escalation: "The team that runs Prometheus.",
  },
  trial: {
    series: (level) => [steady(PROMETHEUS_METRICS.up, level === 1 ? { job: "another" } : {}, 1)],
    fires: 1,
    calm: 0,
    labels: {},
  },
});
