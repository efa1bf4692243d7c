/** Alert: An autoscaler cannot add more replicas. */

import { CLUSTER_METRICS } from "../../../../exporters.ts";
import { OF_KVSYNC } from "../../../catalogue/platform.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { above, both, equals, minus, sum } from "../../../../promql/operators.ts";
import { value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { steady, TARGET } from "../../trial.ts";

const replicas = sum(value(CLUSTER_METRICS.autoscalerReplicas, { horizontalpodautoscaler: OF_KVSYNC }), [
  "cluster",
  "namespace",
  "horizontalpodautoscaler",
]);
const most = sum(value(CLUSTER_METRICS.autoscalerMaxReplicas, { horizontalpodautoscaler: OF_KVSYNC }), [
  "cluster",
  "namespace",
  "horizontalpodautoscaler",
]);

/** Its condition, texts, runbook and trial. */
export const HPA_MAXED_OUT = alert({
  name: "HPAMaxedOut",
  when: both(equals(minus(most, replicas), 0), above(most, 1)),
  for: "15m",
  severity: "warning",
  component: "platform",
  summary: "An autoscaler cannot add more replicas.",
  description: ({ label }) =>
    `${label("horizontalpodautoscaler")} in ${label("namespace")} has been at its maximum for a quarter of an hour.`,
  panel: panelOf(SERVICE, "autoscaler"),
  runbook: {
    meaning: "All replicas that the autoscaler may ask for are there, and the load may need more.",
    impact: "Further load is not answered by more capacity.",
    diagnosis: [
      { text: "Replicas now.", query: replicas.text },
      {
        text: "What does it see?",
        command: "kubectl describe hpa -l app.kubernetes.io/name=kvsync-daemon",
      },
    ],
    mitigation: [
      { cause: "Growth.", fix: "Raise maxReplicas, or the resources of each replica." },
      { cause: "A burst of retries.", fix: "Find out why callers retry." },
    ],
    prevention:
      "Set maxReplicas above the planned peak, and keep the fixed share of ingest below half of the target.",
    escalation: "Capacity planning.",
  },
  trial: {
    series: (level) => [
      steady(
        CLUSTER_METRICS.autoscalerMaxReplicas,
        { namespace: "kvsync", horizontalpodautoscaler: "kvsync-daemon" },
        4,
      ),
      steady(
        CLUSTER_METRICS.autoscalerReplicas,
        { namespace: "kvsync", horizontalpodautoscaler: "kvsync-daemon" },
        4 - level,
      ),
    ],
    fires: 0,
    calm: 1,
    labels: { cluster: TARGET.cluster, namespace: "kvsync", horizontalpodautoscaler: "kvsync-daemon" },
    settle: "1m",
  },
});
