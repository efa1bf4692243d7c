/** Alert: The Kubernetes API server has sent nothing for a long time. */

import { DISCOVERY_METRICS } from "../../../catalogue/discovery.ts";
import { ENGINES } from "../../../dashboards/engines.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { above, max, sum } from "../../../../promql/operators.ts";
import { rate, value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { BY_SOURCE } from "../../label-sets.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { steady, TARGET } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const DISCOVERY_SILENT = alert({
  name: "DiscoverySilent",
  when: above(
    max(value(DISCOVERY_METRICS.age, { source: "kubernetes" }), BY_SOURCE),
    THRESHOLDS.discoveryAgeSeconds,
  ),
  for: "2m",
  severity: "warning",
  component: "ingest",
  summary: "The Kubernetes API server has sent nothing for a long time.",
  description: ({ label, value: seconds }) =>
    `${label("instance")} was last in touch with the API server ${seconds} ago.`,
  panel: panelOf(ENGINES, "discoveryAge"),
  runbook: {
    meaning:
      "No list, watch, event or bookmark has come through for longer than a watch may last. Either every attempt fails, or the loop that watches is stuck.",
    impact: "As with DiscoveryStale: new engines are not known to lookups, gone ones count as stale.",
    diagnosis: [
      { text: "Since when?", query: max(value(DISCOVERY_METRICS.age), ["instance", "source"]).text },
      {
        text: "Does it fail, or is it silent?",
        query: sum(rate(DISCOVERY_METRICS.failures, "5m"), ["instance", "source", "reason"]).text,
      },
    ],
    mitigation: [
      { cause: "It fails.", fix: "See DiscoveryStale." },
      {
        cause: "It is silent without failing, or discovery.kubernetes.watch_seconds is set long.",
        fix: "Restart the replica; it continues from its snapshot. Report the fault with the log.",
      },
    ],
    prevention:
      "Leave discovery.kubernetes.watch_seconds at its default, which is well below the threshold of this alert.",
    escalation: "kvsync's maintainers when no failures are counted.",
  },
  trial: {
    series: (level) => [steady(DISCOVERY_METRICS.age, { source: "kubernetes" }, level)],
    fires: THRESHOLDS.discoveryAgeSeconds + 1,
    calm: THRESHOLDS.discoveryAgeSeconds,
    labels: { ...TARGET, source: "kubernetes" },
  },
});
