/** Row of the dashboard "KV sync service and system": Platform (other exporters; empty where they are not scraped). */

import { ALERTMANAGER_METRICS, CLUSTER_METRICS, REAL_DISKS } from "../../../exporters.ts";
import { CLAIM_OF_KVSYNC, OF_KVSYNC } from "../../catalogue/platform.ts";
import { equals, max, ratio, sum } from "../../../promql/operators.ts";
import { increase, rate, value } from "../../../promql/series.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { query, row, timeseries } from "../../../dashboards/panel.ts";
import { RATE } from "../scope.ts";

/** A series without a container has the sum of the pod. */
const CONTAINERS = { pod: OF_KVSYNC, container: { not: "" } } as const;

/** The row with its panels. */
export const PLATFORM = row({
  id: 107,
  title: "Platform (other exporters; empty where they are not scraped)",
  folded: true,
  panels: {
    podPhases: timeseries({
      id: 60,
      title: "Pods by phase",
      shows: "The phase that each pod of kvsync is in, from kube-state-metrics.",
      normal: "All Running.",
      width: 6,
      height: 8,
      stacked: true,
      queries: [
        query(
          max(equals(value(CLUSTER_METRICS.podPhase, { pod: OF_KVSYNC }), 1), ["namespace", "pod", "phase"]),
          (label) => [label("namespace"), label("pod"), label("phase")].join(" "),
        ),
      ],
    }),
    podRestarts: timeseries({
      id: 61,
      title: "Container restarts",
      shows: "Restarts of kvsync's containers within the look-back, from kube-state-metrics.",
      normal: "0; roll-outs make new containers, and are none.",
      width: 6,
      height: 8,
      queries: [
        query(
          sum(increase(CLUSTER_METRICS.containerRestarts, RATE, { pod: OF_KVSYNC }), [
            "namespace",
            "pod",
            "container",
          ]),
          (label) => [label("namespace"), label("pod"), label("container")].join(" "),
        ),
      ],
    }),
    deployment: timeseries({
      id: 62,
      title: "Replicas of deployments",
      shows:
        "Replicas that kvsync's deployments ask for, and those that are available, from kube-state-metrics.",
      normal: "The same; apart for moments of a roll-out.",
      width: 6,
      height: 8,
      queries: [
        query(
          sum(value(CLUSTER_METRICS.deploymentReplicasWanted, { deployment: OF_KVSYNC }), [
            "namespace",
            "deployment",
          ]),
          (label) => `${label("namespace")} ${label("deployment")} asked for`,
        ),
        query(
          sum(value(CLUSTER_METRICS.deploymentReplicasAvailable, { deployment: OF_KVSYNC }), [
            "namespace",
            "deployment",
          ]),
          (label) => `${label("namespace")} ${label("deployment")} available`,
        ),
      ],
    }),
    statefulSet: timeseries({
      id: 67,
      title: "Replicas of StatefulSets",
      shows:
        "Replicas that kvsync's StatefulSets ask for, and those that are ready, from kube-state-metrics.",
      normal:
        "The same; apart for moments of a roll-out. The panel is empty where no StatefulSet is deployed.",
      width: 6,
      height: 8,
      queries: [
        query(
          sum(value(CLUSTER_METRICS.statefulSetReplicasWanted, { statefulset: OF_KVSYNC }), [
            "namespace",
            "statefulset",
          ]),
          (label) => `${label("namespace")} ${label("statefulset")} wanted`,
        ),
        query(
          sum(value(CLUSTER_METRICS.statefulSetReplicasReady, { statefulset: OF_KVSYNC }), [
            "namespace",
            "statefulset",
          ]),
          (label) => `${label("namespace")} ${label("statefulset")} ready`,
        ),
      ],
    }),
    autoscaler: timeseries({
      id: 63,
      title: "Autoscaler",
      shows:
        "Replicas that kvsync's autoscalers have now, and the most that they may ask for, from kube-state-metrics.",
      normal: "Below the most.",
      width: 6,
      height: 8,
      queries: [
        query(
          sum(value(CLUSTER_METRICS.autoscalerReplicas, { horizontalpodautoscaler: OF_KVSYNC }), [
            "namespace",
            "horizontalpodautoscaler",
          ]),
          (label) => `${label("namespace")} ${label("horizontalpodautoscaler")} now`,
        ),
        query(
          sum(value(CLUSTER_METRICS.autoscalerMaxReplicas, { horizontalpodautoscaler: OF_KVSYNC }), [
            "namespace",
            "horizontalpodautoscaler",
          ]),
          (label) => `${label("namespace")} ${label("horizontalpodautoscaler")} most`,
        ),
      ],
    }),
    containerCpu: timeseries({
      id: 64,
      title: "CPU per limit",
      shows: "CPU that kvsync's containers use per CPU that their limit allows, from cAdvisor.",
      normal: "Below 70 %; near 100 % the kernel pauses the container.",
      width: 6,
      height: 8,
      queries: [
        query(
          ratio(
            sum(rate(CLUSTER_METRICS.containerCpu, RATE, { pod: OF_KVSYNC }), [
              "namespace",
              "pod",
              "container",
            ]),
            sum(value(CLUSTER_METRICS.containerCpuLimit, { resource: "cpu", pod: OF_KVSYNC }), [
              "namespace",
              "pod",
              "container",
            ]),
          ),
          (label) => [label("namespace"), label("pod"), label("container")].join(" "),
        ),
      ],
      levels: { warning: THRESHOLDS.cpuRatio, bad: "above" },
    }),
    disk: timeseries({
      id: 65,
      title: "Disk space free",
      shows:
        "Bytes that are still available in each file system, as a share of its size, from node-exporter.",
      normal: "Above 20 %.",
      width: 6,
      height: 8,
      queries: [
        query(
          ratio(
            max(value(CLUSTER_METRICS.filesystemAvailable, REAL_DISKS), ["instance", "mountpoint"]),
            max(value(CLUSTER_METRICS.filesystemSize, REAL_DISKS), ["instance", "mountpoint"]),
          ),
          (label) => `${label("instance")} ${label("mountpoint")}`,
        ),
      ],
      levels: { warning: THRESHOLDS.diskFreeRatio, bad: "below" },
    }),
    notifications: timeseries({
      id: 66,
      title: "Notifications",
      shows: "Notifications per second that Alertmanager attempted, and those that failed, by integration.",
      normal: "None failed.",
      width: 6,
      height: 8,
      queries: [
        query(
          sum(rate(ALERTMANAGER_METRICS.notifications, RATE), ["integration"]),
          (label) => `${label("integration")} attempted`,
        ),
        query(
          sum(rate(ALERTMANAGER_METRICS.notificationsFailed, RATE), ["integration"]),
          (label) => `${label("integration")} failed`,
        ),
      ],
    }),
    volumes: timeseries({
      id: 68,
      title: "Volume space free",
      shows: "Share of the volume of each claim of kvsync that is free, from the kubelet.",
      normal:
        "A third with room for three snapshots. The panel is empty where no claim is mounted, or the kubelet is not scraped.",
      width: 12,
      height: 8,
      queries: [
        query(
          ratio(
            max(value(CLUSTER_METRICS.volumeAvailable, { persistentvolumeclaim: CLAIM_OF_KVSYNC }), [
              "namespace",
              "persistentvolumeclaim",
            ]),
            max(value(CLUSTER_METRICS.volumeCapacity, { persistentvolumeclaim: CLAIM_OF_KVSYNC }), [
              "namespace",
              "persistentvolumeclaim",
            ]),
          ),
          (label) => [label("namespace"), label("persistentvolumeclaim")].join(" "),
        ),
      ],
      levels: { warning: THRESHOLDS.volumeFreeRatio, bad: "below" },
    }),
    diskTraffic: timeseries({
      id: 69,
      title: "Disk traffic",
      shows:
        "Bytes per second that kvsync's pods read from block devices and wrote to them, from cAdvisor. Network file systems are not counted.",
      normal: "Reads at a start, and the size of a snapshot written once per interval.",
      width: 12,
      height: 8,
      queries: [
        query(
          sum(rate(CLUSTER_METRICS.containerReads, RATE, CONTAINERS), ["namespace", "pod"]),
          (label) => `${label("namespace")} ${label("pod")} read`,
        ),
        query(
          sum(rate(CLUSTER_METRICS.containerWrites, RATE, CONTAINERS), ["namespace", "pod"]),
          (label) => `${label("namespace")} ${label("pod")} written`,
        ),
      ],
    }),
  },
});
