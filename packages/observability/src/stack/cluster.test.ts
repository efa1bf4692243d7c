/** The stack for a cluster without an operator: names that fit each other (C1 to C3), hardened containers (K1 of workload.ts), kustomize. */
import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { expect, test } from "vitest";
import { parse, parseAllDocuments, stringify } from "yaml";

import { CLUSTER_METRICS, KUBELET_PAGES } from "../exporters.ts";
import { KVSYNC } from "../kvsync/project.ts";
import { render } from "../render.ts";
import { logDashboardUid } from "../signals/log-dashboard.ts";
import { MONITORING, SECRETS, TRACING } from "./cluster.ts";
import { CLUSTER_IMAGES, IMAGES, PORTS, RETENTION } from "./stack.ts";
import { programObjects } from "./workload.ts";

const runFile = promisify(execFile);

const FOLDER = "infra/kubernetes/monitoring";
const COMPOSE = new URL("../../../../infra/compose/compose.yaml", import.meta.url);
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;
const HAS_KUBECTL = spawnSync("kubectl", ["version", "--client"]).status === 0;
const HAS_PROMTOOL = spawnSync("promtool", ["--version"]).status === 0;

interface Container {
  readonly name: string;
  readonly image: string;
  readonly args?: readonly string[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly securityContext: object;
  readonly resources: { readonly limits: object };
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
}
interface Volume {
  readonly name: string;
  readonly configMap?: { readonly name: string };
  readonly secret?: { readonly secretName: string };
  readonly projected?: { readonly sources: readonly { readonly configMap: { readonly name: string } }[] };
}
interface Spec {
  readonly selector: object;
  readonly ports: readonly { readonly name: string; readonly port: number }[];
  readonly podSelector: { readonly matchLabels: Readonly<Record<string, string>> };
  readonly ingress: readonly {
    readonly from: readonly object[];
    readonly ports: readonly { readonly port: string }[];
  }[];
  readonly volumeClaimTemplates?: readonly { readonly metadata: { readonly name: string } }[];
  readonly template: {
    readonly metadata: { readonly labels: object };
    readonly spec: { readonly containers: readonly [Container]; readonly volumes: readonly Volume[] };
  };
}
interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string; readonly labels: object };
  readonly data: Readonly<Record<string, string>>;
  readonly spec: Spec;
  /** Of a role. */
  readonly rules?: readonly object[];
}
interface ScrapeJob {
  readonly job_name: string;
  readonly metrics_path?: string;
  readonly metric_relabel_configs?: readonly { readonly regex: string }[];
}

const files = render(KVSYNC);
const manifests = [...files]
  .filter(([path]) => path.startsWith(`${FOLDER}/`) && !path.endsWith("/kustomization.yaml"))
  .flatMap(([, text]) => parseAllDocuments(text).map((document) => document.toJS() as Manifest));
const of = (...kinds: readonly string[]): readonly Manifest[] =>
  manifests.filter(({ kind }) => kinds.includes(kind));
const workloads = of("Deployment", "StatefulSet", "DaemonSet");

test("Services have the names, namespaces and ports of the guide (C1)", () => {
  const services = of("Service").map(({ metadata, spec }) => [
    `${metadata.namespace}/${metadata.name}`,
    spec.ports.map(({ port }) => port),
  ]);
  expect(Object.fromEntries(services)).toMatchObject({
    "monitoring/grafana": [PORTS.grafana],
    "monitoring/prometheus": [PORTS.prometheus],
    "monitoring/alertmanager": [PORTS.alertmanager],
    "monitoring/loki": [PORTS.loki],
    "tracing/jaeger-query": [PORTS.jaeger],
    "tracing/jaeger-collector": [PORTS.otlpGrpc, PORTS.otlpHttp],
  });
});

test("every address in a configuration is a Service of the stack with that port (C2)", () => {
  const texts = of("ConfigMap").flatMap(({ metadata, data }) =>
    Object.values(data).map((text) => [metadata.namespace, text] as const),
  );
  const found = texts.flatMap(([namespace, text]) =>
    [...text.matchAll(/(?:https?:\/\/|- )([a-z][a-z.-]*):(\d{4,5})\b/g)].map(([, host = "", port]) => [
      host.includes(".") ? host : `${host}.${namespace}`,
      Number(port),
    ]),
  );
  const known = of("Service").flatMap(({ metadata, spec }) =>
    spec.ports.map(({ port }) => `${metadata.name}.${metadata.namespace}:${port}`),
  );
  const own = /^(?:localhost\.|[a-z.]*\.example$)/;
  const asked = found.filter(([host]) => !own.test(String(host)) && !String(host).includes(".example"));
  expect(asked.length).toBeGreaterThan(6);
  for (const [host, port] of asked) expect(known).toContain(`${host}:${port}`);
});

test("no Secret is among the objects, and those that pods mount are the ones that the script makes (C3)", () => {
  expect(of("Secret")).toEqual([]);
  const mounted = workloads.flatMap(({ spec }) =>
    spec.template.spec.volumes.flatMap(({ secret }) => secret?.secretName ?? []),
  );
  expect(mounted.toSorted()).toEqual(Object.keys(SECRETS).toSorted());
});

test("every container is hardened and limited, and mounts what its pod has (K1)", () => {
  expect(workloads).toHaveLength(8);
  for (const { metadata, spec } of workloads) {
    const { containers, volumes } = spec.template.spec;
    const [container] = containers;
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
    expect(container.resources.limits).toHaveProperty("memory");
    const claims = (spec.volumeClaimTemplates ?? []).map((claim) => claim.metadata.name);
    const there = [...volumes.map(({ name }) => name), ...claims];
    for (const { name } of container.volumeMounts) expect(there).toContain(name);
    const places = container.volumeMounts.map(({ mountPath }) => mountPath);
    expect([metadata.name, new Set(places).size]).toEqual([metadata.name, places.length]);
    // A folder inside a read-only one cannot be made when the pod starts.
    const nested = places.filter((place) =>
      places.some((other) => place.startsWith(`${other}/`) && other !== "/var/lib/grafana"),
    );
    expect([metadata.name, nested]).toEqual([metadata.name, []]);
  }
});

test("a program that writes temporary files in Compose may write them in a cluster too, and no other", () => {
  const compose = parse(readFileSync(COMPOSE, "utf8"), { merge: true }) as {
    readonly services: Readonly<Record<string, { readonly tmpfs?: readonly string[] }>>;
  };
  const both = workloads.flatMap(({ metadata, spec }) => {
    const name = metadata.name === "log-collector" ? "collector" : metadata.name;
    const service = compose.services[name];
    if (service === undefined) return [];
    const mounts = spec.template.spec.containers[0].volumeMounts.map(({ mountPath }) => mountPath);
    return [[name, service.tmpfs?.includes("/tmp") === true, mounts.includes("/tmp")] as const];
  });
  expect(both.map(([name]) => name).toSorted()).toEqual([
    "alertmanager",
    "collector",
    "grafana",
    "jaeger",
    "loki",
    "prometheus",
  ]);
  for (const [name, there, here] of both) expect([name, here]).toEqual([name, there]);
});

test("images are those of the stack, and configurations are the ConfigMaps' own", () => {
  const known: readonly string[] = [...Object.values(IMAGES), ...Object.values(CLUSTER_IMAGES)];
  const maps = new Map(of("ConfigMap").map(({ metadata, data }) => [metadata.name, data]));
  const uids = [...KVSYNC.dashboards.map(({ uid }) => uid), logDashboardUid(KVSYNC)];
  const boards = uids.map((uid) => `${uid}-dashboard`);
  for (const { spec } of workloads) {
    const { containers, volumes } = spec.template.spec;
    expect(known).toContain(containers[0].image);
    for (const { configMap, projected } of volumes) {
      if (configMap !== undefined) expect([...maps.keys()]).toContain(configMap.name);
      if (projected !== undefined)
        expect(projected.sources.map((source) => source.configMap.name)).toEqual(boards);
    }
    for (const argument of containers[0].args ?? []) {
      const [, path = ""] = /config(?:\.file)?=(\S+)$/.exec(argument) ?? [];
      if (path !== "")
        expect(Object.keys(maps.get(containers[0].name) ?? {})).toContain(path.split("/").at(-1));
    }
  }
  const [prometheus] = workloads.filter(({ metadata }) => metadata.name === "prometheus");
  expect(prometheus?.spec.template.spec.containers[0].args).toContain(
    `--storage.tsdb.retention.time=${RETENTION.metricsDays}d`,
  );
});

test("each program has a policy, whose callers are programs of the stack and whose ports are its own", () => {
  const names = new Set(workloads.map(({ metadata }) => metadata.name));
  const policies = of("NetworkPolicy");
  expect(new Set(policies.map(({ metadata }) => metadata.name))).toEqual(names);
  for (const { metadata, spec } of policies) {
    const program = workloads.find((one) => one.metadata.name === metadata.name);
    const ports = program?.spec.template.spec.containers[0].ports.map(({ name }) => name) ?? [];
    for (const { from, ports: opened } of spec.ingress) {
      expect(from.length).toBeGreaterThan(0);
      for (const { port } of opened) expect(ports).toContain(port);
      for (const text of JSON.stringify(from).matchAll(/"app\.kubernetes\.io\/name":"([^"]+)"/g))
        expect(names).toContain(text[1]);
    }
  }
});

test("what Prometheus scrapes and Grafana asks may connect", () => {
  const allows = (to: string, from: string): boolean =>
    of("NetworkPolicy").some(
      ({ metadata, spec }) =>
        metadata.name === to &&
        spec.ingress.some(
          (rule) =>
            JSON.stringify(rule.from).includes(`"${from}"`) || JSON.stringify(rule.from).includes("{}"),
        ),
    );
  for (const to of ["alertmanager", "kube-state-metrics", "node-exporter", "log-collector"])
    expect([to, allows(to, "prometheus")]).toEqual([to, true]);
  for (const to of ["prometheus", "alertmanager", "loki"])
    expect([to, allows(to, "grafana")]).toEqual([to, true]);
  expect(allows("loki", "log-collector")).toBe(true);
  expect(JSON.stringify(of("NetworkPolicy").find(({ metadata }) => metadata.name === "jaeger"))).toContain(
    MONITORING,
  );
});

test("each family of a cluster's exporters that rules and dashboards read is kept by a scrape job, or its program runs", () => {
  const map = of("ConfigMap").find(({ metadata }) => metadata.name === "prometheus");
  const { scrape_configs: jobs } = parse(map?.data["prometheus.yaml"] ?? "") as {
    readonly scrape_configs: readonly ScrapeJob[];
  };
  const pages = jobs.filter(({ metric_relabel_configs: kept = [] }) => kept.length > 0);
  const kept = pages.flatMap(({ metric_relabel_configs: [first] = [] }) => first?.regex.split("|") ?? []);
  const families = Object.values<{ readonly name: string; readonly exporter: string }>(CLUSTER_METRICS);
  const namesOf = (exporter: string): readonly string[] =>
    families.filter((family) => family.exporter === exporter).map(({ name }) => name);
  const pageExporters = KUBELET_PAGES.map(({ exporter }): string => exporter);
  const ofPages = pageExporters.flatMap(namesOf);
  expect(pages.map(({ job_name: job, metrics_path: path }) => [job, path])).toEqual([
    ["kubelet", "/metrics"],
    ["cadvisor", "/metrics/cadvisor"],
  ]);
  expect(ofPages.length).toBeGreaterThan(4);
  expect(kept.toSorted()).toEqual(ofPages.toSorted());
  const programs = new Set(workloads.map(({ metadata }) => metadata.name));
  for (const { exporter } of families)
    if (!pageExporters.includes(exporter)) expect(programs).toContain(exporter);
  // kube-state-metrics asks for the kinds of objects that it is told, and names its families after them.
  const listed = resourcesOf("kube-state-metrics");
  for (const name of namesOf("kube-state-metrics")) expect(listed).toContain(`${name.split("_")[1] ?? ""}s`);
});

function resourcesOf(program: string): readonly string[] {
  const { spec } = workloads.find(({ metadata }) => metadata.name === program) ?? {};
  const [argument = ""] = spec?.template.spec.containers[0].args ?? [];
  return argument.replace("--resources=", "").split(",");
}

test("node-exporter reads the mounts of the node, below the folder at which it has the node's root", () => {
  const exporter = workloads.find(({ metadata }) => metadata.name === "node-exporter");
  const { args = [], volumeMounts } = exporter?.spec.template.spec.containers[0] ?? {};
  const root = volumeMounts?.[0]?.mountPath ?? "";
  expect(root).not.toBe("");
  expect(args).toContain(`--path.rootfs=${root}`);
  expect(args).toContain(`--path.procfs=${root}/proc`);
});

test("Prometheus may read the pages of a node's kubelet", () => {
  const role = manifests.find(
    ({ kind, metadata }) => kind === "ClusterRole" && metadata.name.endsWith("-prometheus"),
  );
  // The kubelet asks the API server for "nodes/metrics" on both of its pages.
  expect(role?.rules).toContainEqual({ apiGroups: [""], resources: ["nodes/metrics"], verbs: ["get"] });
});

test("the daemon's policy lets Prometheus in by the label that the namespace carries", () => {
  const [monitoring, tracing] = of("Namespace");
  expect([monitoring?.metadata.name, tracing?.metadata.name]).toEqual([MONITORING, TRACING]);
  expect(monitoring?.metadata.labels).toEqual({ "kvsync.io/callers": "true" });
});

test("the account of a program names its own role, and others have none", () => {
  const accounts = of("ServiceAccount").map(({ metadata }) => metadata.name);
  expect(accounts).toEqual(["prometheus", "kube-state-metrics"]);
  for (const { spec } of workloads) {
    const { containers, ...pod } = spec.template.spec;
    const isNamed = accounts.includes(containers[0].name);
    expect(pod).toMatchObject({ automountServiceAccountToken: isNamed });
  }
});

test("a program without files has no ConfigMap, and one without a claim is a Deployment", () => {
  const kinds = programObjects({
    name: "a",
    namespace: "b",
    image: "c:1.0",
    ports: { http: 80 },
    health: ["http", "/"],
    memory: "1Gi",
    user: 1000,
    services: { a: ["http"] },
    callers: [],
  }).map(({ kind }) => kind);
  expect(kinds).toEqual(["Deployment", "Service", "NetworkPolicy"]);
});

test.skipIf(!HAS_PROMTOOL && process.env["CI"] === undefined)(
  "promtool (Debian package prometheus) takes the configuration, and nodes are known by their names",
  async () => {
    const map = of("ConfigMap").find(({ metadata }) => metadata.name === "prometheus");
    const config = parse(map?.data["prometheus.yaml"] ?? "") as {
      scrape_configs: ({ job_name: string } & Record<string, unknown>)[];
    };
    // Debian's promtool knows no cluster: what discovery would find stands in its place.
    const found = [
      {
        targets: ["10.0.0.9:10250"],
        labels: {
          __meta_kubernetes_node_name: "n1",
          __meta_kubernetes_pod_node_name: "n1",
          __meta_kubernetes_pod_container_port_name: "metrics",
        },
      },
    ];
    for (const job of config.scrape_configs)
      if (Object.hasOwn(job, "kubernetes_sd_configs")) {
        delete job["kubernetes_sd_configs"];
        job["static_configs"] = found;
      }
    const folder = mkdtempSync(join(tmpdir(), "kvsync-cluster-"));
    try {
      writeFileSync(join(folder, "prometheus.yaml"), stringify(config));
      writeFileSync(join(folder, "kvsync.rules.yaml"), map?.data["kvsync.rules.yaml"] ?? "");
      const check = spawnSync("promtool", ["check", "config", "--syntax-only", "prometheus.yaml"], {
        cwd: folder,
        encoding: "utf8",
      });
      expect([check.status, check.stderr]).toEqual([0, ""]);
      // Each waits for its timeout, so they wait together.
      const scraped = await Promise.all(
        ["node-exporter", "kubelet", "cadvisor", "log-collector"].map((job) =>
          runFile("promtool", ["check", "service-discovery", "--timeout=5s", "prometheus.yaml", job], {
            cwd: folder,
          }),
        ),
      );
      for (const { stdout } of scraped) expect(stdout).toMatch(/"instance": "n1"/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

test.skipIf(!HAS_KUBECTL)(
  "kustomize makes all of it, with the dashboards in Grafana's namespace (kubectl)",
  () => {
    const path = fileURLToPath(new URL(`../../../../${FOLDER}`, import.meta.url));
    const { stdout, stderr } = spawnSync("kubectl", ["kustomize", path], {
      encoding: "utf8",
      maxBuffer: OUTPUT_BYTES_MAX,
    });
    expect(stderr).toBe("");
    const made = parseAllDocuments(stdout).map((document) => document.toJS() as Manifest);
    expect(made).toHaveLength(manifests.length + KVSYNC.dashboards.length);
    const boards = made.filter(({ metadata }) => metadata.name.endsWith("-dashboard"));
    expect(new Set(boards.map(({ metadata }) => metadata.namespace))).toEqual(new Set([MONITORING]));
  },
);
