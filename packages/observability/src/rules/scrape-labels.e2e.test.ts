/**
 * The labels of a discovered daemon's series, by Prometheus's own relabeling. The targets carry the
 * `__meta_*` labels that Kubernetes discovery would set, and `promtool check service-discovery`
 * relabels them.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";

import { CATALOGUE } from "../kvsync/catalogue/catalogue.ts";
import { prometheusConfiguration, serviceMonitor } from "./prometheus.ts";
import { KVSYNC } from "../kvsync/project.ts";
import { DAEMON_JOB } from "../kvsync/rules/thresholds.ts";

const HAS_PROMTOOL = spawnSync("promtool", ["--version"]).status === 0;

interface Relabeling {
  readonly source_labels?: readonly string[];
  readonly target_label?: string;
  readonly regex?: string;
  readonly action?: string;
}

/** What discovery knows of the pods of two replicas, and of a port that is not the daemon's. */
const DISCOVERED = [
  ["10.0.0.1:7070", "kvsync-daemon-a", "http"],
  ["10.0.0.2:7070", "kvsync-daemon-b", "http"],
  ["10.0.0.2:9229", "kvsync-daemon-b", "inspector"],
].map(([address = "", pod = "", port = ""]) => ({
  targets: [address],
  labels: {
    __meta_kubernetes_namespace: "serving",
    __meta_kubernetes_pod_name: pod,
    __meta_kubernetes_pod_container_port_name: port,
    __meta_kubernetes_service_name: DAEMON_JOB,
  },
}));

/** What the Prometheus Operator writes before a ServiceMonitor's own relabelings. */
const OF_THE_OPERATOR: readonly Relabeling[] = [
  { source_labels: ["__meta_kubernetes_pod_container_port_name"], regex: "http", action: "keep" },
  { source_labels: ["__meta_kubernetes_namespace"], target_label: "namespace" },
  { source_labels: ["__meta_kubernetes_service_name"], target_label: "service" },
  { source_labels: ["__meta_kubernetes_pod_name"], target_label: "pod" },
  { source_labels: ["__meta_kubernetes_pod_container_port_name"], target_label: "container" },
  { source_labels: ["__meta_kubernetes_service_name"], target_label: "job" },
  { source_labels: ["__meta_kubernetes_pod_container_port_name"], target_label: "endpoint" },
];

/** The labels of each target that is scraped. */
function scrapedLabels(relabelings: readonly Relabeling[]): object[] {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-discovery-"));
  const config = {
    scrape_configs: [{ job_name: DAEMON_JOB, static_configs: DISCOVERED, relabel_configs: relabelings }],
  };
  writeFileSync(join(folder, "prometheus.yaml"), stringify(config));
  const { stdout, stderr } = spawnSync(
    "promtool",
    ["check", "service-discovery", "--timeout=10s", "prometheus.yaml", DAEMON_JOB],
    { cwd: folder, encoding: "utf8" },
  );
  rmSync(folder, { recursive: true });
  expect(stdout, stderr).not.toBe("");
  const found = JSON.parse(stdout) as { labels: Record<string, string> | null }[];
  const scraped = found.flatMap(({ labels }) => {
    const kept = Object.entries(labels ?? {}).filter(([name]) => !name.startsWith("__"));
    return kept.length === 0 ? [] : [Object.fromEntries(kept)];
  });
  // promtool lists targets in no order.
  return scraped.sort((a, b) => (a["instance"] ?? "").localeCompare(b["instance"] ?? ""));
}

const REPLICAS = [
  { instance: "10.0.0.1:7070", job: DAEMON_JOB, namespace: "serving", replica: "kvsync-daemon-a" },
  { instance: "10.0.0.2:7070", job: DAEMON_JOB, namespace: "serving", replica: "kvsync-daemon-b" },
];

const jobOf = (configuration: string) =>
  (parse(configuration) as { scrape_configs: { relabel_configs: Relabeling[] }[] }).scrape_configs[0];

const monitored = () =>
  (
    parse(serviceMonitor(KVSYNC)) as {
      spec: { endpoints: { relabelings: Record<string, unknown>[] }[] };
    }
  ).spec.endpoints.flatMap(({ relabelings }) =>
    relabelings.map(({ sourceLabels, targetLabel, ...rest }) => ({
      ...rest,
      ...(sourceLabels === undefined ? {} : { source_labels: sourceLabels }),
      ...(targetLabel === undefined ? {} : { target_label: targetLabel }),
    })),
  ) as Relabeling[];

describe.skipIf(!HAS_PROMTOOL)("promtool (Debian package prometheus)", () => {
  test("the scrape job keeps each replica's pod as replica, and no label that our series have", () => {
    const labels = scrapedLabels(jobOf(prometheusConfiguration(KVSYNC))?.relabel_configs ?? []);
    expect(labels).toEqual(REPLICAS);
  });

  test("the ServiceMonitor does the same to what the operator adds", () => {
    expect(scrapedLabels([...OF_THE_OPERATOR, ...monitored()])).toEqual(REPLICAS);
  });

  test("without the ServiceMonitor's relabelings the operator's pod and endpoint would hide ours", () => {
    const [first] = scrapedLabels(OF_THE_OPERATOR);
    const ours = new Set(CATALOGUE.flatMap(({ labels }) => Object.keys(labels)));
    expect(Object.keys(first ?? {}).filter((name) => ours.has(name))).toEqual(["endpoint", "pod"]);
  });
});

test("no label of a scraped target is one of a family's", () => {
  const ours = new Set(CATALOGUE.flatMap(({ labels }) => Object.keys(labels)));
  for (const name of Object.keys(REPLICAS[0] ?? {})) expect(ours).not.toContain(name);
});
