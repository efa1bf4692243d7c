/** Alert: A StatefulSet has fewer replicas than it asks for. With `persistence.enabled` the chart deploys one. */

import { CLUSTER_METRICS } from "../../../../exporters.ts";
import { OF_KVSYNC } from "../../../catalogue/platform.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { above, minus, sum } from "../../../../promql/operators.ts";
import { value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { steady, TARGET } from "../../trial.ts";

const ready = sum(value(CLUSTER_METRICS.statefulSetReplicasReady, { statefulset: OF_KVSYNC }), [
  "cluster",
  "namespace",
  "statefulset",
]);
const wanted = sum(value(CLUSTER_METRICS.statefulSetReplicasWanted, { statefulset: OF_KVSYNC }), [
  "cluster",
  "namespace",
  "statefulset",
]);

/** Its condition, texts, runbook and trial. */
export const STATEFUL_SET_REPLICA_MISMATCH = alert({
  name: "StatefulSetReplicaMismatch",
  when: above(minus(wanted, ready), 0),
  for: "10m",
  severity: "warning",
  component: "platform",
  summary: "A StatefulSet has fewer replicas than it asks for.",
  description: ({ label, counted }) =>
    `${label("statefulset")} in ${label("namespace")} lacks ${counted("replica", "replicas")}.`,
  panel: panelOf(SERVICE, "statefulSet"),
  runbook: {
    meaning: "For ten minutes, some replicas that the StatefulSet wants have not been ready.",
    impact:
      "Less capacity. A StatefulSet replaces one pod at a time, so a pod that is not ready also stops a rollout.",
    diagnosis: [
      { text: "Wanted.", query: wanted.text },
      { text: "The rollout.", command: "kubectl rollout status statefulset/kvsync-daemon --timeout=5s" },
      { text: "Volumes that are not bound.", command: "kubectl get pvc" },
    ],
    mitigation: [
      {
        cause: "A rollout whose new pod is not ready.",
        fix: "kubectl rollout undo statefulset/kvsync-daemon. If the pod stays, delete it.",
      },
      {
        cause: "The volume of a pod is on a node or in a zone that has no room.",
        fix: "Make room there. Or delete the claim and the pod: the replica starts without a snapshot, and replays.",
      },
      { cause: "No room on the nodes.", fix: "Add nodes." },
    ],
    prevention:
      "Keep free room for one more replica on the nodes, and roll out with the probes of the chart.",
    escalation: "During a roll-out, the person who started it; otherwise platform on-call.",
  },
  trial: {
    series: (level) => [
      steady(
        CLUSTER_METRICS.statefulSetReplicasWanted,
        { namespace: "kvsync", statefulset: "kvsync-daemon" },
        2,
      ),
      steady(
        CLUSTER_METRICS.statefulSetReplicasReady,
        { namespace: "kvsync", statefulset: "kvsync-daemon" },
        2 - level,
      ),
    ],
    fires: 1,
    calm: 0,
    labels: { cluster: TARGET.cluster, namespace: "kvsync", statefulset: "kvsync-daemon" },
    settle: "1m",
  },
});
