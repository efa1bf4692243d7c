/**
 * Checks that files of several programs agree on ports, hosts and numbers, and that pages have the same.
 *
 *  G5  The port and the names of the daemon are the same in its settings, its manifests, Prometheus's configuration, the
 *      ServiceMonitor and the pages. Alertmanager is scraped where alerts are sent.
 *  G6  Intervals and defaults that a page states are those of the configurations and settings.
 */

import { parse, parseAllDocuments } from "yaml";

import { type Artefacts, filesAt } from "../../proof/artefacts.ts";
import { SLOWEST_INTERVAL_SECONDS } from "../../proof/expression-shape.ts";
import { type Problem, ProblemList } from "../../proof/problem.ts";
import { PORTS } from "../../stack/stack.ts";
import { SETTINGS_PAGE, settingRows } from "./settings-table.ts";

const MANIFESTS = /^infra\/kubernetes\/.+\.yaml$/;
const DAEMON = "infra/kubernetes/daemon.yaml";
const PROMETHEUS = "infra/prometheus/prometheus.yaml";
const MONITOR = "infra/kubernetes/operator/service-monitor.yaml";
const ALERTMANAGER = "infra/alertmanager/alertmanager.yaml";
const MONITORING = "docs/operations/monitoring.md";
/** The daemon's container in its Deployment. */
const CONTAINER = "spec.template.spec.containers.0";

const PAGES = /^(?:README|docs\/(?:operations|getting-started)\/[\w-]+)\.md$/;

/** The path of a request to the daemon. */
const OWN_ROUTES =
  /https?:\/\/(?:127\.0\.0\.1|localhost|DAEMON):(\d+)\/(?:livez|readyz|health|metrics|api\/v1)/g;

/** The collector serves its own metrics at such a path. */
const COLLECTOR_PORT = String(PORTS.collectorMetrics);

/**
 * Checks manifests, configurations and pages against each other.
 *
 * @param artefacts - all rendered files, and what is around them.
 * @returns findings.
 */
export function checkDeployment(artefacts: Artefacts): readonly Problem[] {
  return new DeploymentCheck(artefacts).run();
}

class DeploymentCheck {
  readonly #found = new ProblemList();
  readonly #artefacts: Artefacts;
  readonly #settings: ReturnType<typeof settingRows>;
  readonly #manifests: readonly unknown[];
  /** The settings in the ConfigMap, as text. */
  readonly #given: string;
  /** The port that the daemon listens on, and the names of its port and its Service. */
  readonly #port: number;
  readonly #portName: unknown;
  readonly #serviceName: unknown;

  constructor(artefacts: Artefacts) {
    this.#artefacts = artefacts;
    this.#settings = settingRows(artefacts.surroundings.get(SETTINGS_PAGE) ?? "");
    this.#manifests = filesAt(artefacts.surroundings, MANIFESTS).flatMap(([, text]) =>
      parseAllDocuments(text).map((document) => document.toJS() as unknown),
    );
    this.#given = String(at(this.#one("ConfigMap"), ["data", "kvsync.yaml"]));
    const given = /^ *port: (\d+)/m.exec(this.#given)?.[1];
    this.#port = Number(given ?? this.#settings.get("http.port")?.preset);
    this.#portName = at(this.#one("Deployment"), `${CONTAINER}.ports.0.name`);
    this.#serviceName = at(this.#one("Service"), "metadata.name");
  }

  run(): readonly Problem[] {
    this.#manifestPorts();
    this.#scrapes();
    this.#monitor();
    this.#pages();
    return this.#found.found;
  }

  #one(kind: string): unknown {
    return this.#manifests.find((manifest) => at(manifest, "kind") === kind);
  }

  #same(what: string, is: unknown, expected: unknown): void {
    if (is !== expected)
      this.#found.add(
        "deployment",
        `${what} is ${is === undefined ? "missing" : JSON.stringify(is)}, not ${JSON.stringify(expected)}`,
      );
  }

  /** G5. */
  #manifestPorts(): void {
    this.#found.at(DAEMON);
    const deployment = this.#one("Deployment");
    const service = this.#one("Service");
    // The collector knows the daemon's log by it.
    this.#same(
      "the container's name",
      at(deployment, `${CONTAINER}.name`),
      this.#artefacts.project.stack?.container,
    );
    this.#same("containerPort", at(deployment, `${CONTAINER}.ports.0.containerPort`), this.#port);
    this.#same("the Service's port", at(service, "spec.ports.0.port"), this.#port);
    this.#same("the Service's targetPort", at(service, "spec.ports.0.targetPort"), this.#portName);
    for (const probe of ["readinessProbe", "livenessProbe"])
      this.#same(
        `the port of ${probe}`,
        at(deployment, `${CONTAINER}.${probe}.httpGet.port`),
        this.#portName,
      );
    const [, host, port] = /warm_from: https?:\/\/([^:\s]+):(\d+)/.exec(this.#given) ?? [];
    this.#same("the host of warm_from", host, this.#serviceName);
    this.#same("the port of warm_from", port, `${this.#port}`);
    for (const metadata of [at(service, "metadata"), at(deployment, "spec.template.metadata")]) {
      const scraped = at(metadata, ["annotations", "prometheus.io/port"]);
      if (scraped !== undefined) this.#same("the annotation prometheus.io/port", scraped, `${this.#port}`);
    }
    this.#found.at("infra/kubernetes/network-policy.yaml");
    this.#same(
      "the open port",
      at(this.#one("NetworkPolicy"), "spec.ingress.0.ports.0.port"),
      this.#portName,
    );
  }

  #scrapes(): void {
    this.#found.at(PROMETHEUS);
    const configuration: unknown = parse(this.#artefacts.files.get(PROMETHEUS) ?? "");
    const jobs = list(at(configuration, "scrape_configs"));
    const daemon = jobs.find((job) => at(job, "kubernetes_sd_configs") !== undefined);
    const kept = list(at(daemon, "relabel_configs")).find(
      (rule) => at(rule, "source_labels.0") === "__meta_kubernetes_pod_container_port_name",
    );
    this.#same("the port that is kept", at(kept, "regex"), this.#portName);
    const labels = Object.entries(at(this.#one("Deployment"), "spec.template.metadata.labels") ?? {});
    this.#same(
      "the label that pods are found by",
      at(daemon, "kubernetes_sd_configs.0.selectors.0.label"),
      labels.map(([name, value]) => `${name}=${String(value)}`).join(),
    );
    // A ServiceMonitor's job is the name of the Service, and rules ask for one job.
    this.#same("the job of the daemon", at(daemon, "job_name"), this.#serviceName);
    const target = "static_configs.0.targets.0";
    this.#same(
      "the scraped Alertmanager",
      at(
        jobs.find((job) => at(job, "job_name") === "alertmanager"),
        target,
      ),
      at(configuration, `alerting.alertmanagers.0.${target}`),
    );
  }

  #monitor(): void {
    this.#found.at(MONITOR);
    const monitor: unknown = parse(this.#artefacts.files.get(MONITOR) ?? "");
    const service = this.#one("Service");
    this.#same("the port", at(monitor, "spec.endpoints.0.port"), at(service, "spec.ports.0.name"));
    for (const [name, value] of Object.entries(at(monitor, "spec.selector.matchLabels") ?? {}))
      this.#same(`the selected label ${name}`, value, at(service, ["metadata", "labels", name]));
  }

  #pages(): void {
    const wait = /group_wait: (\d+)s\n +group_interval: 5m/.exec(
      this.#artefacts.files.get(ALERTMANAGER) ?? "",
    );
    const { intervalSeconds } = this.#artefacts.project;
    const stated: readonly (readonly [RegExp, readonly (string | number | undefined)[]])[] = [
      [/scrape intervals from (\d+) to (\d+) seconds/, [intervalSeconds, SLOWEST_INTERVAL_SECONDS]],
      [/another interval than (\d+) seconds/, [intervalSeconds]],
      [/Scrapes and rules run every (\d+) seconds/, [intervalSeconds]],
      [/warnings to Slack after (\d+) seconds/, [wait?.[1]]],
    ];
    this.#found.at(MONITORING);
    const monitoring = (this.#artefacts.surroundings.get(MONITORING) ?? "").replace(/\s+/g, " ");
    for (const [pattern, values] of stated) {
      const match = pattern.exec(monitoring);
      this.#same(`"${pattern.source}"`, match?.slice(1).join(), values.join());
    }
    for (const [path, text] of [
      ...filesAt(this.#artefacts.surroundings, PAGES),
      ...filesAt(this.#artefacts.files, /^docs\/operations\/runbooks\//),
    ]) {
      this.#found.at(path);
      for (const [, port] of text.matchAll(OWN_ROUTES))
        if (port !== COLLECTOR_PORT)
          this.#same("the daemon's port", port, this.#settings.get("http.port")?.preset);
      this.#defaults(text);
    }
  }

  /** G6: `setting` (N by default), and rows of a table with a setting and its default. */
  #defaults(text: string): void {
    for (const [, name = "", number = "", unit] of text
      .replace(/(\S)\n(?=\S)/g, "$1 ")
      .matchAll(/`([a-z_]+\.[a-z_.]+)` (?:\(|\| )([\d,]+)(?: (MiB|by default)| s\b|(?= \|))/g)) {
      const value = Number(number.replaceAll(",", "")) * (unit === "MiB" ? 2 ** 20 : 1);
      this.#same(`the default of ${name}`, `${value}`, this.#settings.get(name)?.preset);
    }
  }
}

/** What lies at a path in parsed YAML; undefined where the path ends early. */
function at(tree: unknown, path: string | readonly string[]): unknown {
  const keys = typeof path === "string" ? path.split(".") : path;
  return keys.reduce<unknown>(
    (node, key) =>
      typeof node === "object" && node !== null ? (node as Record<string, unknown>)[key] : undefined,
    tree,
  );
}

function list(node: unknown): readonly unknown[] {
  return Array.isArray(node) ? (node as unknown[]) : [];
}
