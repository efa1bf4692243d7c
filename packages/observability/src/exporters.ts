/**
 * Families of other exporters that rules and dashboards read, as those exporters document them. The
 * exporters are Prometheus itself, our process (prom-client's default metrics), Alertmanager,
 * kube-state-metrics, the kubelet with its cAdvisor, and node-exporter.
 */

import { external } from "./external.ts";

const NAMESPACE = { maxValues: 1000 } as const;
const POD_NAME = { maxValues: 10_000 } as const;
const DISK_TRAFFIC = {
  namespace: NAMESPACE,
  pod: POD_NAME,
  container: { maxValues: 1000 },
  device: { maxValues: 100 },
} as const;

const PROMETHEUS = "Prometheus";
const PROCESS = "prom-client default metrics (our own process)";
const KUBE_STATE = "kube-state-metrics";
const KUBELET = "kubelet";
const CADVISOR = "cAdvisor (kubelet)";

/** Exporters whose series carry the application's own `job` and `instance`. */
export const TARGET_EXPORTERS: ReadonlySet<string> = new Set([PROMETHEUS, PROCESS]);

/** Families that Prometheus makes itself. */
export const PROMETHEUS_METRICS = {
  up: external({
    kind: "gauge",
    name: "up",
    unit: "none",
    labels: {},
    exporter: PROMETHEUS,
    help: "1 when the last scrape of the target succeeded.",
  }),
  scrapeDuration: external({
    kind: "gauge",
    name: "scrape_duration_seconds",
    unit: "seconds",
    labels: {},
    exporter: PROMETHEUS,
    help: "How long the last scrape of the target took.",
  }),
  alerts: external({
    kind: "gauge",
    name: "ALERTS",
    unit: "none",
    labels: {
      alertname: { maxValues: 1000 },
      alertstate: ["pending", "firing"],
      severity: ["critical", "warning", "info"],
      component: { maxValues: 100 },
    },
    exporter: PROMETHEUS,
    help: "1 for each pending or firing alert.",
  }),
  alertsForState: external({
    kind: "gauge",
    name: "ALERTS_FOR_STATE",
    unit: "timestamp",
    labels: {
      alertname: { maxValues: 1000 },
      severity: ["critical", "warning", "info"],
      component: { maxValues: 100 },
    },
    exporter: PROMETHEUS,
    help: "When the condition of each pending or firing alert began to hold.",
  }),
};

/** Families of our own process that its metrics library exports by default. */
export const PROCESS_METRICS = {
  startTime: external({
    kind: "gauge",
    name: "process_start_time_seconds",
    unit: "timestamp",
    labels: {},
    exporter: PROCESS,
    help: "When the process started.",
  }),
  cpuSeconds: external({
    kind: "counter",
    name: "process_cpu_seconds_total",
    unit: "seconds",
    labels: {},
    exporter: PROCESS,
    help: "CPU time of all threads, user and system.",
  }),
  residentMemory: external({
    kind: "gauge",
    name: "process_resident_memory_bytes",
    unit: "bytes",
    labels: {},
    exporter: PROCESS,
    help: "Memory of the process that is in RAM, index included.",
  }),
  openFileDescriptors: external({
    kind: "gauge",
    name: "process_open_fds",
    unit: "none",
    labels: {},
    exporter: PROCESS,
    help: "Open file descriptors; each engine stream takes a few.",
  }),
  maxFileDescriptors: external({
    kind: "gauge",
    name: "process_max_fds",
    unit: "none",
    labels: {},
    exporter: PROCESS,
    help: "Limit of open file descriptors.",
  }),
  eventLoopLagP99: external({
    kind: "gauge",
    name: "nodejs_eventloop_lag_p99_seconds",
    unit: "seconds",
    labels: {},
    exporter: PROCESS,
    help: "99th percentile of the main thread's event-loop lag since the last scrape.",
  }),
  eventLoopLagMax: external({
    kind: "gauge",
    name: "nodejs_eventloop_lag_max_seconds",
    unit: "seconds",
    labels: {},
    exporter: PROCESS,
    help: "Largest event-loop lag of the main thread since the last scrape.",
  }),
  gcDuration: external({
    kind: "histogram",
    name: "nodejs_gc_duration_seconds",
    unit: "seconds",
    labels: { kind: ["major", "minor", "incremental", "weakcb"] },
    buckets: [0.001, 0.01, 0.1, 1, 2, 5],
    exporter: PROCESS,
    help: "Pauses of the main thread for garbage collection, by kind.",
  }),
  heapUsed: external({
    kind: "gauge",
    name: "nodejs_heap_size_used_bytes",
    unit: "bytes",
    labels: {},
    exporter: PROCESS,
    help: "JavaScript heap in use by the main thread.",
  }),
};

/** File systems that something could be written to for good. */
export const REAL_DISKS = { fstype: { not: ["tmpfs", "overlay", "squashfs"] } } as const;

/** Families of Alertmanager. */
export const ALERTMANAGER_METRICS = {
  notifications: external({
    kind: "counter",
    name: "alertmanager_notifications_total",
    unit: "none",
    labels: { integration: { maxValues: 32 } },
    exporter: "Alertmanager",
    help: "Notifications attempted.",
  }),
  notificationsFailed: external({
    kind: "counter",
    name: "alertmanager_notifications_failed_total",
    unit: "none",
    labels: { integration: { maxValues: 32 } },
    exporter: "Alertmanager",
    help: "Notifications that failed.",
  }),
};

/** Families about the cluster and its machines. */
export const CLUSTER_METRICS = {
  podPhase: external({
    kind: "gauge",
    name: "kube_pod_status_phase",
    unit: "none",
    labels: {
      namespace: NAMESPACE,
      pod: POD_NAME,
      phase: ["Pending", "Running", "Succeeded", "Failed", "Unknown"],
    },
    exporter: KUBE_STATE,
    help: "1 for the present phase of each pod.",
  }),
  containerRestarts: external({
    kind: "counter",
    name: "kube_pod_container_status_restarts_total",
    unit: "none",
    labels: { namespace: NAMESPACE, pod: POD_NAME, container: { maxValues: 1000 } },
    exporter: KUBE_STATE,
    help: "Restarts of each container.",
  }),
  // Cores are seconds of CPU per second, so the limit measures what the rate of the usage does: a ratio.
  containerCpuLimit: external({
    kind: "gauge",
    name: "kube_pod_container_resource_limits",
    unit: "ratio",
    labels: {
      namespace: NAMESPACE,
      pod: POD_NAME,
      container: { maxValues: 1000 },
      resource: ["cpu"],
      unit: ["core"],
    },
    exporter: KUBE_STATE,
    help: "CPU limit of each container in cores; the same name also has other resources, which are not read here.",
  }),
  deploymentReplicasWanted: external({
    kind: "gauge",
    name: "kube_deployment_spec_replicas",
    unit: "none",
    labels: { namespace: NAMESPACE, deployment: { maxValues: 1000 } },
    exporter: KUBE_STATE,
    help: "Replicas that a deployment asks for.",
  }),
  deploymentReplicasAvailable: external({
    kind: "gauge",
    name: "kube_deployment_status_replicas_available",
    unit: "none",
    labels: { namespace: NAMESPACE, deployment: { maxValues: 1000 } },
    exporter: KUBE_STATE,
    help: "Replicas of a deployment that are available.",
  }),
  statefulSetReplicasWanted: external({
    kind: "gauge",
    name: "kube_statefulset_replicas",
    unit: "none",
    labels: { namespace: NAMESPACE, statefulset: { maxValues: 1000 } },
    exporter: KUBE_STATE,
    help: "Replicas that a StatefulSet asks for.",
  }),
  statefulSetReplicasReady: external({
    kind: "gauge",
    name: "kube_statefulset_status_replicas_ready",
    unit: "none",
    labels: { namespace: NAMESPACE, statefulset: { maxValues: 1000 } },
    exporter: KUBE_STATE,
    help: "Replicas of a StatefulSet that are ready.",
  }),
  autoscalerMaxReplicas: external({
    kind: "gauge",
    name: "kube_horizontalpodautoscaler_spec_max_replicas",
    unit: "none",
    labels: { namespace: NAMESPACE, horizontalpodautoscaler: { maxValues: 1000 } },
    exporter: KUBE_STATE,
    help: "Most replicas that an autoscaler may ask for.",
  }),
  autoscalerReplicas: external({
    kind: "gauge",
    name: "kube_horizontalpodautoscaler_status_current_replicas",
    unit: "none",
    labels: { namespace: NAMESPACE, horizontalpodautoscaler: { maxValues: 1000 } },
    exporter: KUBE_STATE,
    help: "Replicas that an autoscaler has now.",
  }),
  containerCpu: external({
    kind: "counter",
    name: "container_cpu_usage_seconds_total",
    unit: "seconds",
    labels: { namespace: NAMESPACE, pod: POD_NAME, container: { maxValues: 1000 } },
    exporter: CADVISOR,
    help: "CPU time of each container.",
  }),
  containerReads: external({
    kind: "counter",
    name: "container_fs_reads_bytes_total",
    unit: "bytes",
    labels: DISK_TRAFFIC,
    exporter: CADVISOR,
    help: "Bytes that each container read from block devices; network file systems are not counted.",
  }),
  containerWrites: external({
    kind: "counter",
    name: "container_fs_writes_bytes_total",
    unit: "bytes",
    labels: DISK_TRAFFIC,
    exporter: CADVISOR,
    help: "Bytes that each container wrote to block devices; under version 1 of cgroups only writes past the page cache.",
  }),
  volumeAvailable: external({
    kind: "gauge",
    name: "kubelet_volume_stats_available_bytes",
    unit: "bytes",
    labels: { namespace: NAMESPACE, persistentvolumeclaim: { maxValues: 10_000 } },
    exporter: KUBELET,
    help: "Bytes of a claim's volume that can still be written.",
  }),
  volumeCapacity: external({
    kind: "gauge",
    name: "kubelet_volume_stats_capacity_bytes",
    unit: "bytes",
    labels: { namespace: NAMESPACE, persistentvolumeclaim: { maxValues: 10_000 } },
    exporter: KUBELET,
    help: "Size of a claim's volume.",
  }),
  filesystemAvailable: external({
    kind: "gauge",
    name: "node_filesystem_avail_bytes",
    unit: "bytes",
    labels: { device: { maxValues: 100 }, fstype: { maxValues: 32 }, mountpoint: { maxValues: 100 } },
    exporter: "node-exporter",
    help: "Bytes of a file system that unprivileged users may still write.",
  }),
  filesystemSize: external({
    kind: "gauge",
    name: "node_filesystem_size_bytes",
    unit: "bytes",
    labels: { device: { maxValues: 100 }, fstype: { maxValues: 32 }, mountpoint: { maxValues: 100 } },
    exporter: "node-exporter",
    help: "Size of a file system.",
  }),
};

/** Pages of a node's kubelet: the scrape job of each, and the exporter whose families it has. */
export const KUBELET_PAGES = [
  { job: "kubelet", path: "/metrics", exporter: KUBELET },
  { job: "cadvisor", path: "/metrics/cadvisor", exporter: CADVISOR },
] as const;
