/** Alert: A pod of kvsync does not run. */

import { CLUSTER_METRICS } from "../../../../exporters.ts";
import { OF_KVSYNC } from "../../../catalogue/platform.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { above, sum } from "../../../../promql/operators.ts";
import { value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { POD, steady } from "../../trial.ts";

/** Its condition, texts, runbook and trial. */
export const POD_DOWN = alert({
  name: "PodDown",
  when: above(
    sum(value(CLUSTER_METRICS.podPhase, { pod: OF_KVSYNC, phase: ["Pending", "Failed", "Unknown"] }), [
      "cluster",
      "namespace",
      "pod",
      "phase",
    ]),
    0,
  ),
  for: "2m",
  severity: "critical",
  component: "platform",
  summary: "A pod of kvsync does not run.",
  description: ({ label }) => `${label("pod")} in ${label("namespace")} is ${label("phase")}.`,
  panel: panelOf(SERVICE, "podPhases"),
  runbook: {
    meaning: "Kubernetes could not start the pod, lost it, or gave it up.",
    impact: "One replica less; with a single one, cache-aware routing is off.",
    diagnosis: [
      {
        text: "Which phases are there?",
        query: sum(value(CLUSTER_METRICS.podPhase, { pod: OF_KVSYNC }), ["pod", "phase"]).text,
      },
      { text: "Why?", command: "kubectl describe pod POD -n NAMESPACE | tail -n 20" },
    ],
    mitigation: [
      { cause: "Pending: no node has room.", fix: "Free or add nodes, or lower the requests." },
      { cause: "Failed: the image cannot be pulled, or the process exits at once.", fix: "Roll back." },
      { cause: "Unknown: the node is gone.", fix: "Delete the pod once the node is known to be off." },
    ],
    prevention: "Reserve room for the pod with requests and a priority class, and pin the image by digest.",
    escalation: "Platform on-call.",
  },
  trial: {
    series: (level) => [steady(CLUSTER_METRICS.podPhase, { ...POD, phase: "Pending" }, level)],
    fires: 1,
    calm: 0,
    labels: { ...POD, phase: "Pending" },
    settle: "1m",
  },
});
