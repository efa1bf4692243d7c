/**
 * Alerts about what the daemon stands on: container, cluster, disk, and the alerting itself. Their metrics come from other exporters.
 */

import {
  ALERTMANAGER_METRICS,
  CLUSTER_METRICS,
  OF_KVSYNC,
  PROMETHEUS_METRICS,
  REAL_DISKS,
} from "../catalogue/platform.ts";
import { panelOf } from "../dashboards/panel.ts";
import { SERVICE } from "../dashboards/service.ts";
import { above, absent, below, both, equals, max, minus, orZero, ratio, sum } from "../promql/operators.ts";
import { increase, rate, value } from "../promql/series.ts";
import { alert, type Alert } from "./alert.ts";
import { DAEMON_JOB, THRESHOLDS } from "./thresholds.ts";
import { growing, steady, TARGET } from "./trial.ts";

const C = CLUSTER_METRICS;
const A = ALERTMANAGER_METRICS;

const POD = { namespace: "kvsync", pod: "kvsync-daemon-0" } as const;
const CONTAINER = { ...POD, container: "daemon" } as const;
const DISK = { device: "/dev/vda1", fstype: "ext4", mountpoint: "/" } as const;

const cores = { resource: "cpu", pod: OF_KVSYNC } as const;
const available = sum(value(C.deploymentReplicasAvailable, { deployment: OF_KVSYNC }), [
  "namespace",
  "deployment",
]);
const wanted = sum(value(C.deploymentReplicasWanted, { deployment: OF_KVSYNC }), ["namespace", "deployment"]);
const replicas = sum(value(C.autoscalerReplicas, { horizontalpodautoscaler: OF_KVSYNC }), [
  "namespace",
  "horizontalpodautoscaler",
]);
const most = sum(value(C.autoscalerMaxReplicas, { horizontalpodautoscaler: OF_KVSYNC }), [
  "namespace",
  "horizontalpodautoscaler",
]);
const attempted = sum(rate(A.notifications, "5m"), ["job", "integration"]);
const missed = sum(rate(A.notificationsFailed, "5m"), ["job", "integration"]);

/** Alerts of the platform. */
export const PLATFORM_ALERTS: readonly Alert[] = [
  alert({
    name: "SyncDaemonAbsent",
    // Whatever labels absence copies from its selector say nothing here.
    when: equals(sum(absent(value(PROMETHEUS_METRICS.up, { job: DAEMON_JOB })), []), 1),
    for: "5m",
    severity: "critical",
    component: "platform",
    summary: "Prometheus knows no replica of the sync daemon at all.",
    description: () =>
      `Prometheus has no target of the job ${DAEMON_JOB}: not one that fails, none. No other alert about the daemon can fire.`,
    panel: panelOf(SERVICE, "up"),
    runbook: {
      meaning:
        "Service discovery finds nothing to scrape. A target that fails is SyncDaemonDown; one that is gone leaves no series behind, and everything that is computed from them falls silent.",
      impact:
        "Nobody sees how the daemon is. It may be well, scaled to nothing, or deleted; gateways without it route without cache knowledge.",
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
      escalation: "Whoever runs Prometheus.",
    },
    trial: {
      series: (level) => [steady(PROMETHEUS_METRICS.up, level === 1 ? { job: "another" } : {}, 1)],
      fires: 1,
      calm: 0,
      labels: {},
    },
  }),
  alert({
    name: "HighCPUUsage",
    when: above(
      ratio(
        sum(rate(C.containerCpu, "5m", { pod: OF_KVSYNC }), ["namespace", "pod", "container"]),
        sum(value(C.containerCpuLimit, cores), ["namespace", "pod", "container"]),
      ),
      THRESHOLDS.cpuRatio,
    ),
    for: "5m",
    severity: "warning",
    component: "platform",
    summary: "A container is about to be throttled.",
    description: ({ label, value: share }) =>
      `${label("container")} of ${label("pod")} uses ${share} of its CPU limit.`,
    panel: panelOf(SERVICE, "containerCpu"),
    runbook: {
      meaning: "The container uses nearly all the CPU that its limit allows; the kernel will pause it.",
      impact: "Lookups get slow in bursts, and the ingest queue grows.",
      diagnosis: [
        {
          text: "Which container?",
          query: sum(rate(C.containerCpu, "5m", { pod: OF_KVSYNC }), ["pod", "container"]).text,
        },
        { text: "Its limit.", query: sum(value(C.containerCpuLimit, cores), ["pod", "container"]).text },
      ],
      mitigation: [
        {
          cause: "The fleet or its traffic has grown.",
          fix: "Raise the limit: one core for HTTP and one per ingest worker.",
        },
        { cause: "A loop that should not be there.", fix: "Take a CPU profile, restart, report." },
      ],
      escalation: "Capacity planning.",
    },
    trial: {
      series: (level) => [
        growing(C.containerCpu, CONTAINER, level * 2),
        steady(C.containerCpuLimit, { ...CONTAINER, resource: "cpu", unit: "core" }, 2),
      ],
      fires: 0.91,
      calm: 0.89,
      labels: CONTAINER,
    },
  }),
  alert({
    name: "DiskSpaceLow",
    when: below(
      ratio(
        max(value(C.filesystemAvailable, REAL_DISKS), ["instance", "mountpoint"]),
        max(value(C.filesystemSize, REAL_DISKS), ["instance", "mountpoint"]),
      ),
      THRESHOLDS.diskFreeRatio,
    ),
    for: "5m",
    severity: "warning",
    component: "platform",
    summary: "A file system is nearly full.",
    description: ({ label, value: share }) =>
      `${share} of ${label("mountpoint")} on ${label("instance")} is free.`,
    panel: panelOf(SERVICE, "disk"),
    runbook: {
      meaning: "Less than a tenth of the file system can still be written.",
      impact: "Logs, metrics and snapshots cannot be written once it is full.",
      diagnosis: [
        {
          text: "How fast does it fill?",
          query: max(value(C.filesystemAvailable, REAL_DISKS), ["instance", "mountpoint"]).text,
        },
        { text: "What is large?", command: "du -xh --max-depth=2 MOUNTPOINT | sort -h | tail" },
      ],
      mitigation: [{ cause: "Old metrics or logs.", fix: "Shorten retention, or enlarge the volume." }],
      escalation: "Platform on-call.",
    },
    trial: {
      series: (level) => [
        steady(C.filesystemAvailable, DISK, level * 1e9),
        steady(C.filesystemSize, DISK, 1e9),
      ],
      fires: 0.09,
      calm: 0.11,
      labels: { instance: TARGET.instance, mountpoint: "/" },
      settle: "1m",
    },
  }),
  alert({
    name: "PodDown",
    when: above(
      sum(value(C.podPhase, { pod: OF_KVSYNC, phase: ["Pending", "Failed", "Unknown"] }), [
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
          query: sum(value(C.podPhase, { pod: OF_KVSYNC }), ["pod", "phase"]).text,
        },
        { text: "Why?", command: "kubectl describe pod POD -n NAMESPACE | tail -n 20" },
      ],
      mitigation: [
        { cause: "Pending: no node has room.", fix: "Free or add nodes, or lower the requests." },
        { cause: "Failed: the image cannot be pulled, or the process exits at once.", fix: "Roll back." },
        { cause: "Unknown: the node is gone.", fix: "Delete the pod once the node is known to be off." },
      ],
      escalation: "Platform on-call.",
    },
    trial: {
      series: (level) => [steady(C.podPhase, { ...POD, phase: "Pending" }, level)],
      fires: 1,
      calm: 0,
      labels: { ...POD, phase: "Pending" },
      settle: "1m",
    },
  }),
  alert({
    name: "PodRestartingTooOften",
    when: above(
      sum(increase(C.containerRestarts, "15m", { pod: OF_KVSYNC }), ["namespace", "pod", "container"]),
      THRESHOLDS.restartsPerQuarterHour,
    ),
    for: "5m",
    severity: "warning",
    component: "platform",
    summary: "A container keeps restarting.",
    description: ({ label, value: restarts }) =>
      `${label("container")} of ${label("pod")} restarted ${restarts} times in a quarter of an hour.`,
    panel: panelOf(SERVICE, "podRestarts"),
    runbook: {
      meaning:
        "The process ends and is started again: killed for memory, failing probes, or ended by an assertion.",
      impact: "After each start the index is rebuilt from replay; answers are unknown for seconds.",
      diagnosis: [
        {
          text: "How often?",
          query: sum(increase(C.containerRestarts, "15m", { pod: OF_KVSYNC }), ["pod", "container"]).text,
        },
        {
          text: "How did it end?",
          command: "kubectl get pod POD -o jsonpath='{.status.containerStatuses[*].lastState.terminated}'",
        },
      ],
      mitigation: [
        { cause: "OOMKilled.", fix: "Raise the memory limit." },
        { cause: "Exit code 1.", fix: "Report the last log lines; roll back if it began with a release." },
        { cause: "Liveness probe.", fix: "See HighEventLoopLag." },
      ],
      escalation: "kvsync's maintainers.",
    },
    trial: {
      series: (level) => [growing(C.containerRestarts, CONTAINER, level / 900)],
      fires: 1,
      calm: 0,
      labels: CONTAINER,
      settle: "16m",
    },
  }),
  alert({
    name: "DeploymentReplicaMismatch",
    when: above(minus(wanted, available), 0),
    for: "10m",
    severity: "warning",
    component: "platform",
    summary: "A deployment has fewer replicas than it asks for.",
    description: ({ label, value: missing }) =>
      `${label("deployment")} in ${label("namespace")} lacks ${missing} of its replicas.`,
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
      escalation: "Whoever rolls out; platform on-call otherwise.",
    },
    trial: {
      series: (level) => [
        steady(C.deploymentReplicasWanted, { namespace: "kvsync", deployment: "kvsync-daemon" }, 2),
        steady(
          C.deploymentReplicasAvailable,
          { namespace: "kvsync", deployment: "kvsync-daemon" },
          2 - level,
        ),
      ],
      fires: 1,
      calm: 0,
      labels: { namespace: "kvsync", deployment: "kvsync-daemon" },
      settle: "1m",
    },
  }),
  alert({
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
      escalation: "Capacity planning.",
    },
    trial: {
      series: (level) => [
        steady(C.autoscalerMaxReplicas, { namespace: "kvsync", horizontalpodautoscaler: "kvsync-daemon" }, 4),
        steady(
          C.autoscalerReplicas,
          { namespace: "kvsync", horizontalpodautoscaler: "kvsync-daemon" },
          4 - level,
        ),
      ],
      fires: 0,
      calm: 1,
      labels: { namespace: "kvsync", horizontalpodautoscaler: "kvsync-daemon" },
      settle: "1m",
    },
  }),
  alert({
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
      impact: "Somebody is not told what they should be told, possibly this.",
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
      escalation: "Platform on-call, by telephone.",
    },
    trial: {
      series: (level) => [
        growing(A.notificationsFailed, { integration: "slack", job: "alertmanager" }, level),
        growing(A.notifications, { integration: "slack", job: "alertmanager" }, 1),
      ],
      fires: 0.11,
      calm: 0.09,
      labels: { job: "alertmanager", integration: "slack" },
    },
  }),
];
