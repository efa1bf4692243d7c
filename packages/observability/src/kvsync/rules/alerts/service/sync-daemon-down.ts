/** Alert: A replica of the sync daemon does not answer. */

import { PROMETHEUS_METRICS } from "../../../../exporters.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { equals, max, sum } from "../../../../promql/operators.ts";
import { value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { ask, lastWords } from "../../commands.ts";
import { INSTANCE } from "../../label-sets.ts";
import { DAEMON_JOB } from "../../thresholds.ts";
import { steady, TARGET } from "../../trial.ts";

const daemon = { job: DAEMON_JOB } as const;

/** Its condition, texts, runbook and trial. */
export const SYNC_DAEMON_DOWN = alert({
  name: "SyncDaemonDown",
  when: equals(max(value(PROMETHEUS_METRICS.up, daemon), INSTANCE), 0),
  for: "30s",
  severity: "critical",
  component: "process",
  summary: "A replica of the sync daemon does not answer.",
  description: ({ label }) => `Prometheus cannot scrape ${label("instance")} (${label("job")}).`,
  panel: panelOf(SERVICE, "up"),
  runbook: {
    meaning:
      "The process is gone, hangs, or cannot be reached. Its other alerts are silenced meanwhile, since they would only repeat this one.",
    impact: "Gateways lose this replica's answers; with a single replica, cache-aware routing is off.",
    diagnosis: [
      { text: "One replica, or all?", query: sum(value(PROMETHEUS_METRICS.up, daemon), ["job"]).text },
      {
        text: "What did it log last?",
        command: lastWords(40),
      },
      { text: "Does it answer at all?", command: ask("/livez") },
    ],
    mitigation: [
      {
        cause: "Killed for memory.",
        fix: "Raise the limit, or lower the index's budget; see HighMemoryUsage.",
      },
      { cause: "Exit code 2: unusable settings.", fix: "The log names the setting and what is expected." },
      {
        cause: "Exit code 1: an assertion.",
        fix: "It restarts and rebuilds by itself; report the log line.",
      },
    ],
    prevention:
      "Run two replicas or more on different nodes, with the memory limit of docs/operations/capacity.md.",
    escalation: "kvsync's maintainers when it does not come back by itself.",
  },
  trial: {
    series: (level) => [steady(PROMETHEUS_METRICS.up, {}, level)],
    fires: 0,
    calm: 1,
    labels: { ...TARGET },
    settle: "1m",
  },
});
