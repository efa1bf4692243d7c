/**
 * The stack for a cluster without the Prometheus Operator, as a kustomization. It has every program of stack.ts, the exporters that the
 * rules read, and the policies between them.
 *
 *     namespace monitoring   prometheus  alertmanager  grafana  loki  log-collector  kube-state-metrics  node-exporter
 *     namespace tracing      jaeger, under the names jaeger-query and jaeger-collector
 *
 *  C1  Every Service of the guide has its name, its namespace and its port (cluster.test.ts).
 *  C2  Every address in a configuration is one of these Services (cluster.test.ts).
 *  C3  No Secret is among the objects: scripts/deploy-monitoring.sh makes them, or a person does (cluster.test.ts).
 *
 * One replica of each: the rules and dashboards are in the repository, and what is lost with a volume are figures of the past. Those who
 * need more have an operator.
 *
 * Source: Kubernetes API reference; documentation of each program for its ports and paths of health.
 */

import { datasourceProvisioning, dashboardProvisioning } from "../dashboards/provisioning.ts";
import type { Project } from "../project.ts";
import { ruleFileName } from "../project.ts";
import { alertmanagerConfiguration } from "../rules/alertmanager.ts";
import { clusterPrometheusConfiguration, generatedYaml, ruleFile } from "../rules/prometheus.ts";
import { logDashboard, logDashboardUid } from "../signals/log-dashboard.ts";
import { collectorConfiguration } from "./collector.ts";
import { jaegerConfiguration } from "./jaeger.ts";
import { lokiConfiguration } from "./loki.ts";
import { dashboardMapName, dashboardMaps } from "./operator.ts";
import { CLUSTER_IMAGES, IMAGES, PORTS, RETENTION, type StackFacts } from "./stack.ts";
import { type Program, programObjects } from "./workload.ts";

/** Where everything but traces runs. */
export const MONITORING = "monitoring";
/** Where Jaeger runs. */
export const TRACING = "tracing";
/** Namespaces with it reach the daemon's port (infra/kubernetes/network-policy.yaml). */
const CALLERS = { "kvsync.io/callers": "true" } as const;

/** Secrets that the programs read, with their keys. */
export const SECRETS = {
  "alertmanager-secrets": ["slack-webhook-url", "smtp-password", "pagerduty-routing-key"],
  "grafana-secrets": ["admin-password"],
} as const;

/** Users of the images. */
const USERS = { nobody: 65_534, grafana: 472, loki: 10_001, jaeger: 10_001, root: 0 } as const;

/** A root is read-only, and some programs write temporary files. */
const TEMPORARY = {
  volume: { name: "temporary", emptyDir: {} },
  mount: { name: "temporary", mountPath: "/tmp" },
} as const;

const DASHBOARDS = "/var/lib/grafana/dashboards";

/**
 * The files of the kustomization.
 *
 * @param project - whose.
 * @param facts - of its application.
 * @param dashboards - path of the kustomization that has a ConfigMap for each of its dashboards.
 * @returns text by file name.
 */
export function clusterFiles(
  project: Project,
  facts: StackFacts,
  dashboards: string,
): ReadonlyMap<string, string> {
  const logs = logDashboards(project);
  const boards = [...project.dashboards.map(({ uid }) => uid), ...logs.keys()];
  const programs: readonly Program[] = [
    prometheus(project),
    alertmanager(project),
    grafana(project, boards),
    loki(project),
    jaeger(project),
    collector(project, facts),
    stateMetrics(),
    nodeExporter(),
  ];
  const files = new Map(
    programs.map((program) => [
      `${program.name}.yaml`,
      documents(project, [...accounts(program), ...programObjects(program)]),
    ]),
  );
  files.set("namespaces.yaml", documents(project, [namespace(MONITORING, CALLERS), namespace(TRACING, {})]));
  if (logs.size > 0) files.set("log-dashboard.yaml", dashboardMaps(project, logs));
  const resources = ["namespaces.yaml", ...[...files.keys()].filter((name) => name !== "namespaces.yaml")];
  return files.set(
    "kustomization.yaml",
    generatedYaml(project, {
      apiVersion: "kustomize.config.k8s.io/v1beta1",
      kind: "Kustomization",
      resources: [...resources, dashboards],
      // The programs are in two namespaces, so the kustomization sets none.
      patches: [
        {
          target: { kind: "ConfigMap", labelSelector: "grafana_dashboard" },
          patch: JSON.stringify([{ op: "add", path: "/metadata/namespace", value: MONITORING }]),
        },
      ],
    }),
  );
}

/** What reads Loki: only a Grafana that has it shows no panel as failed. */
function logDashboards(project: Project): ReadonlyMap<string, string> {
  if (Object.keys(project.logEvents).length === 0) return new Map();
  return new Map([[logDashboardUid(project), JSON.stringify(logDashboard(project))]]);
}

function documents(project: Project, objects: readonly object[]): string {
  return objects
    .map((object) => generatedYaml(project, object))
    .map((text, i) => (i === 0 ? text : text.slice(text.indexOf("\n") + 1)))
    .join("---\n");
}

function namespace(name: string, labels: Readonly<Record<string, string>>): object {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } };
}

function prometheus(project: Project): Program {
  return {
    name: "prometheus",
    namespace: MONITORING,
    image: IMAGES.prometheus,
    args: [
      "--config.file=/etc/prometheus/prometheus.yaml",
      "--storage.tsdb.path=/prometheus",
      `--storage.tsdb.retention.time=${RETENTION.metricsDays}d`,
      `--storage.tsdb.retention.size=${RETENTION.metricsGigabytes}GB`,
      "--enable-feature=exemplar-storage",
    ],
    ports: { http: PORTS.prometheus },
    health: ["http", "/-/ready"],
    files: {
      folder: "/etc/prometheus",
      texts: {
        "prometheus.yaml": clusterPrometheusConfiguration(project),
        [ruleFileName(project)]: ruleFile(project),
      },
    },
    data: { folder: "/prometheus", size: `${Math.ceil(RETENTION.metricsGigabytes * 1.2)}Gi` },
    memory: "2Gi",
    user: USERS.nobody,
    account: true,
    services: { prometheus: ["http"] },
    callers: [{ ports: ["http"], programs: ["grafana"] }],
  };
}

function alertmanager(project: Project): Program {
  return {
    name: "alertmanager",
    namespace: MONITORING,
    image: IMAGES.alertmanager,
    args: [
      "--config.file=/etc/alertmanager/config/alertmanager.yaml",
      "--storage.path=/alertmanager",
      "--cluster.listen-address=",
    ],
    ports: { http: PORTS.alertmanager },
    health: ["http", "/-/ready"],
    files: {
      folder: "/etc/alertmanager/config",
      texts: { "alertmanager.yaml": alertmanagerConfiguration(project) },
    },
    data: { folder: "/alertmanager", size: "1Gi" },
    memory: "256Mi",
    user: USERS.nobody,
    // Without the Secret it runs, and NotificationDeliveryFailures fires.
    volumes: [{ name: "secrets", secret: { secretName: "alertmanager-secrets", optional: true } }],
    mounts: [{ name: "secrets", mountPath: "/etc/alertmanager/secrets", readOnly: true }],
    services: { alertmanager: ["http"] },
    callers: [{ ports: ["http"], programs: ["prometheus", "grafana"] }],
  };
}

function grafana(project: Project, boards: readonly string[]): Program {
  const { name } = project;
  return {
    name: "grafana",
    namespace: MONITORING,
    image: IMAGES.grafana,
    env: [
      { name: "GF_SECURITY_ADMIN_PASSWORD__FILE", value: "/etc/grafana-secrets/admin-password" },
      { name: "GF_PATHS_PROVISIONING", value: "/etc/grafana-provisioning" },
      { name: "GF_ANALYTICS_REPORTING_ENABLED", value: "false" },
      { name: "GF_ANALYTICS_CHECK_FOR_UPDATES", value: "false" },
    ],
    ports: { http: PORTS.grafana },
    health: ["http", "/api/health"],
    files: {
      folder: "/etc/grafana-files",
      texts: {
        "datasources.yaml": datasourceProvisioning(project, `jaeger-query.${TRACING}`),
        "dashboards.yaml": dashboardProvisioning(project),
      },
    },
    data: { folder: "/var/lib/grafana", size: "1Gi" },
    memory: "512Mi",
    user: USERS.grafana,
    volumes: [
      // Grafana looks for each kind of file in a folder of its own.
      {
        name: "datasources",
        configMap: { name: "grafana", items: [{ key: "datasources.yaml", path: "datasources.yaml" }] },
      },
      {
        name: "providers",
        configMap: { name: "grafana", items: [{ key: "dashboards.yaml", path: "dashboards.yaml" }] },
      },
      {
        name: "dashboards",
        projected: { sources: boards.map((uid) => ({ configMap: { name: dashboardMapName(uid) } })) },
      },
      { name: "secrets", secret: { secretName: "grafana-secrets" } },
      TEMPORARY.volume,
    ],
    mounts: [
      { name: "datasources", mountPath: "/etc/grafana-provisioning/datasources", readOnly: true },
      { name: "providers", mountPath: "/etc/grafana-provisioning/dashboards", readOnly: true },
      { name: "dashboards", mountPath: `${DASHBOARDS}/${name}`, readOnly: true },
      { name: "secrets", mountPath: "/etc/grafana-secrets", readOnly: true },
      TEMPORARY.mount,
    ],
    services: { grafana: ["http"] },
    callers: [{ ports: ["http"], programs: null }],
  };
}

function loki(project: Project): Program {
  return {
    name: "loki",
    namespace: MONITORING,
    image: IMAGES.loki,
    args: ["-config.file=/etc/loki/loki.yaml"],
    ports: { http: PORTS.loki },
    health: ["http", "/ready"],
    files: { folder: "/etc/loki", texts: { "loki.yaml": lokiConfiguration(project) } },
    data: { folder: "/loki", size: "20Gi" },
    memory: "1Gi",
    user: USERS.loki,
    volumes: [TEMPORARY.volume],
    mounts: [TEMPORARY.mount],
    services: { loki: ["http"] },
    callers: [{ ports: ["http"], programs: ["grafana", COLLECTOR] }],
  };
}

/** Jaeger under the two names that its users know it by. */
function jaeger(project: Project): Program {
  return {
    name: "jaeger",
    namespace: TRACING,
    image: IMAGES.jaeger,
    args: ["--config=/etc/jaeger/jaeger.yaml"],
    ports: {
      query: PORTS.jaeger,
      "otlp-grpc": PORTS.otlpGrpc,
      "otlp-http": PORTS.otlpHttp,
      health: PORTS.health,
    },
    health: ["health", "/status"],
    files: { folder: "/etc/jaeger", texts: { "jaeger.yaml": jaegerConfiguration(project) } },
    memory: "1Gi",
    user: USERS.jaeger,
    services: { "jaeger-query": ["query"], "jaeger-collector": ["otlp-grpc", "otlp-http"] },
    callers: [{ ports: ["query", "otlp-grpc", "otlp-http"], programs: null, namespaces: [MONITORING] }],
  };
}

/** Not called after its image: it stands where Promtail stood. */
const COLLECTOR = "log-collector";

function collector(project: Project, facts: StackFacts): Program {
  return {
    name: COLLECTOR,
    namespace: MONITORING,
    image: IMAGES.collector,
    args: ["--config=/etc/otelcol/collector.yaml"],
    ports: {
      "otlp-grpc": PORTS.otlpGrpc,
      "otlp-http": PORTS.otlpHttp,
      health: PORTS.health,
      metrics: PORTS.collectorMetrics,
    },
    health: ["health", "/"],
    files: {
      folder: "/etc/otelcol",
      texts: { "collector.yaml": collectorConfiguration(project, facts, "kubernetes") },
    },
    memory: "512Mi",
    // Logs of containers belong to root, and are nobody else's to read.
    user: USERS.root,
    everyNode: true,
    volumes: [
      { name: "logs", hostPath: { path: "/var/log/pods" } },
      // Outlives the pod: how far each file was read.
      { name: "offsets", hostPath: { path: "/var/lib/otelcol", type: "DirectoryOrCreate" } },
    ],
    mounts: [
      { name: "logs", mountPath: "/var/log/pods", readOnly: true },
      { name: "offsets", mountPath: "/var/lib/otelcol" },
    ],
    services: { [COLLECTOR]: ["otlp-grpc", "otlp-http"] },
    // Every application of the cluster may send spans.
    callers: [
      { ports: ["otlp-grpc", "otlp-http"], programs: null, namespaces: null },
      { ports: ["metrics"], programs: ["prometheus"] },
    ],
  };
}

/** What the rules read of pods, Deployments and autoscalers. */
const STATE_RESOURCES = ["deployments", "horizontalpodautoscalers", "pods", "statefulsets"];

function stateMetrics(): Program {
  return {
    name: "kube-state-metrics",
    namespace: MONITORING,
    image: CLUSTER_IMAGES.stateMetrics,
    args: [`--resources=${STATE_RESOURCES.join(",")}`],
    ports: { http: PORTS.stateMetrics, telemetry: PORTS.stateMetrics + 1 },
    health: ["telemetry", "/readyz"],
    memory: "256Mi",
    user: USERS.nobody,
    account: true,
    services: { "kube-state-metrics": ["http"] },
    callers: [{ ports: ["http"], programs: ["prometheus"] }],
  };
}

function nodeExporter(): Program {
  return {
    name: "node-exporter",
    namespace: MONITORING,
    image: CLUSTER_IMAGES.nodeExporter,
    args: [
      "--path.rootfs=/host",
      // Its own table of mounts has the node's disk once more for each file that the kubelet mounts into a container.
      "--path.procfs=/host/proc",
      // The rules read file systems alone.
      "--collector.disable-defaults",
      "--collector.filesystem",
    ],
    ports: { http: PORTS.nodeExporter },
    health: ["http", "/"],
    memory: "128Mi",
    user: USERS.nobody,
    everyNode: true,
    volumes: [{ name: "host", hostPath: { path: "/" } }],
    mounts: [{ name: "host", mountPath: "/host", readOnly: true, mountPropagation: "HostToContainer" }],
    services: { "node-exporter": ["http"] },
    callers: [{ ports: ["http"], programs: ["prometheus"] }],
  };
}

/** What an account may read of the cluster. */
const RIGHTS: Readonly<Record<string, readonly object[]>> = {
  prometheus: [
    { apiGroups: [""], resources: ["pods", "nodes"], verbs: ["get", "list", "watch"] },
    { apiGroups: [""], resources: ["nodes/metrics"], verbs: ["get"] },
  ],
  "kube-state-metrics": [
    { apiGroups: [""], resources: ["pods"], verbs: ["list", "watch"] },
    { apiGroups: ["apps"], resources: ["deployments", "statefulsets"], verbs: ["list", "watch"] },
    { apiGroups: ["autoscaling"], resources: ["horizontalpodautoscalers"], verbs: ["list", "watch"] },
  ],
};

function accounts({ name, namespace: place, account = false }: Program): readonly object[] {
  if (!account) return [];
  const api = "rbac.authorization.k8s.io";
  // Cluster roles are in no namespace, so their names carry it.
  const role = `${place}-${name}`;
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace: place } },
    { apiVersion: `${api}/v1`, kind: "ClusterRole", metadata: { name: role }, rules: RIGHTS[name] ?? [] },
    {
      apiVersion: `${api}/v1`,
      kind: "ClusterRoleBinding",
      metadata: { name: role },
      roleRef: { apiGroup: api, kind: "ClusterRole", name: role },
      subjects: [{ kind: "ServiceAccount", name, namespace: place }],
    },
  ];
}
