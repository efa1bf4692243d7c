/** Alert: A deployment has fewer replicas than it asks for. */

import { CLUSTER_METRICS } from "../../../../exporters.ts";
import { OF_KVSYNC } from "../../../catalogue/platform.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { above, minus, sum } from "../../../../promql/operators.ts";
import { value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { steady, TARGET } from "../../trial.ts";

const available = sum(value(CLUSTER_METRICS.deploymentReplicasAvailable, { deployment: OF_KVSYNC }), [
  "cluster",
  "namespace",
  "deployment",
]);
const wanted = sum(value(CLUSTER_METRICS.deploymentReplicasWanted, { deployment: OF_KVSYNC }), [
  "cluster",
  "namespace",
  "deployment",
]);

/** Its condition, texts, runbook and trial. */
export const DEPLOYMENT_REPLICA_MISMATCH = alert({
  name: "DeploymentReplicaMismatch",
  when: above(minus(wanted, available), 0),
  for: "10m",
  severity: "warning",
  component: "platform",
  summary: "A deployment has fewer replicas than it asks for.",
  description: ({ label, counted }) =>
    `${label("deployment")} in ${label("namespace")} lacks ${counted("replica", "replicas")}.`,
  panel: panelOf(SERVICE, "deployment"),
  runbook: {
    meaning: "For ten minutes, some replicas that the deployment wants have not been available.",
    impact: "Less capacity, and a rollout may be stuck.",
    diagnosis: [
      { text: "Wanted.", query: wanted.text },
      { text: "The rollout.", command: "kubectl rollout status deploy/kvsync-daemon --timeout=5s" },
    ],
    mitigation: [
      {
        cause: "A rollout whose new pods are not ready.",
        fix: "kubectl rollout undo deploy/kvsync-daemon.",
      },
      { cause: "No room on the nodes.", fix: "Add nodes." },
    ],
    prevention:
      "Keep free room for one more replica on the nodes, and roll out with the probes of infra/kubernetes/daemon.yaml.",
    escalation: "During a roll-out, the person who started it; otherwise platform on-call.",
  },
  trial: {
    series: (level) => [
      steady(
        CLUSTER_METRICS.deploymentReplicasWanted,
        { namespace: "kvsync", deployment: "kvsync-daemon" },
        2,
      ),
      steady(
        CLUSTER_METRICS.deploymentReplicasAvailable,
        { namespace: "kvsync", deployment: "kvsync-daemon" },
        2 - level,
      ),
    ],
    fires: 1,
    calm: 0,
    labels: { cluster: TARGET.cluster, namespace: "kvsync", deployment: "kvsync-daemon" },
    settle: "1m",
  },
});
