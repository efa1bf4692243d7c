/** Alert: The volume of a claim is nearly full. */

import { CLUSTER_METRICS } from "../../../../exporters.ts";
import { CLAIM_OF_KVSYNC } from "../../../catalogue/platform.ts";
import { SNAPSHOT_METRICS } from "../../../catalogue/snapshot.ts";
import { panelOf } from "../../../../dashboards/panel.ts";
import { SERVICE } from "../../../dashboards/service.ts";
import { below, max, ratio } from "../../../../promql/operators.ts";
import { value } from "../../../../promql/series.ts";
import { alert } from "../../../../rules/alert.ts";
import { THRESHOLDS } from "../../thresholds.ts";
import { steady, TARGET } from "../../trial.ts";

const claims = { persistentvolumeclaim: CLAIM_OF_KVSYNC } as const;
const CLAIM = { namespace: "kvsync", persistentvolumeclaim: "state-kvsync-daemon-0" } as const;

// A volume that several nodes mount has a series for each of them.
const available = max(value(CLUSTER_METRICS.volumeAvailable, claims), [
  "cluster",
  "namespace",
  "persistentvolumeclaim",
]);
const capacity = max(value(CLUSTER_METRICS.volumeCapacity, claims), [
  "cluster",
  "namespace",
  "persistentvolumeclaim",
]);

/** Its condition, texts, runbook and trial. */
export const VOLUME_SPACE_LOW = alert({
  name: "VolumeSpaceLow",
  when: below(ratio(available, capacity), THRESHOLDS.volumeFreeRatio),
  for: "5m",
  severity: "warning",
  component: "platform",
  summary: "The volume of a claim is nearly full.",
  description: ({ label, value: share }) =>
    `${share} of the volume of ${label("persistentvolumeclaim")} in ${label("namespace")} is free.`,
  panel: panelOf(SERVICE, "volumes"),
  runbook: {
    meaning: "Less than a tenth of the volume of a daemon can still be written. The kubelet measures it.",
    impact:
      "Snapshots fail once it is full, and earlier ones stay. A restart then replays more, or begins cold.",
    diagnosis: [
      { text: "How fast does it fill?", query: available.text },
      {
        text: "How large is a snapshot? Three must fit.",
        query: max(value(SNAPSHOT_METRICS.snapshotSize), ["instance"]).text,
      },
      {
        text: "What is the claim's size?",
        command: "kubectl get pvc -l app.kubernetes.io/name=kvsync-daemon",
      },
    ],
    mitigation: [
      {
        cause: "The index has grown.",
        fix: "Enlarge the claim, where its storage class allows expansion, or lower limits.index_bytes.",
      },
      { cause: "Foreign files are in the folder.", fix: "Remove them." },
    ],
    prevention:
      "Give the volume room for three snapshots of limits.index_bytes each, as persistence.size of the chart states.",
    escalation: "Platform on-call.",
  },
  trial: {
    series: (level) => [
      steady(CLUSTER_METRICS.volumeAvailable, CLAIM, level * 1e9),
      steady(CLUSTER_METRICS.volumeCapacity, CLAIM, 1e9),
    ],
    fires: 0.09,
    calm: 0.11,
    labels: { cluster: TARGET.cluster, ...CLAIM },
    settle: "1m",
  },
});
