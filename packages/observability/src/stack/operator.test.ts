/** The resources for the Prometheus Operator: by its own schemas, against the files for Prometheus, and through kustomize. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";
import { expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";

import { KVSYNC } from "../kvsync/project.ts";
import { render } from "../render.ts";

const FOLDER = "infra/kubernetes/operator";
const KUBERNETES = fileURLToPath(new URL("../../../../infra/kubernetes", import.meta.url));
/** The API server refuses larger ones. */
const CONFIG_MAP_BYTES_MAX = 1024 * 1024;
const HAS_KUBECTL = spawnSync("kubectl", ["version", "--client"]).status === 0;

const files = render(KVSYNC);
const read = (name: string): unknown => parse(files.get(`${FOLDER}/${name}`) ?? "");

interface ConfigMap {
  readonly metadata: { readonly name: string; readonly labels: object; readonly annotations: object };
  readonly data: Readonly<Record<string, string>>;
}
const maps = parseAllDocuments(files.get("infra/kubernetes/dashboards/dashboards.yaml") ?? "").map(
  (document) => document.toJS() as ConfigMap,
);

test("the operator's schemas take the ServiceMonitor and the PrometheusRule, and refuse a wrong interval", () => {
  type MonitorData = ConstructorParameters<typeof ServiceMonitor>[0];
  type RuleData = ConstructorParameters<typeof PrometheusRule>[0];
  const monitor = read("service-monitor.yaml") as NonNullable<MonitorData>;
  new ServiceMonitor(monitor).validate();
  new PrometheusRule(read("prometheus-rule.yaml") as RuleData).validate();
  const wrong = { ...monitor, spec: { ...monitor.spec, endpoints: [{ port: "http", interval: "15 s" }] } };
  expect(() => {
    new ServiceMonitor(wrong).validate();
  }).toThrow(/interval/);
});

test("the PrometheusRule has the groups of Prometheus's rule file", () => {
  const { spec } = read("prometheus-rule.yaml") as { spec: object };
  expect(spec).toEqual(parse(files.get("infra/prometheus/kvsync.rules.yaml") ?? ""));
});

test("each dashboard is in a ConfigMap that the sidecar finds, below the API server's limit (O1)", () => {
  const inMaps = maps.flatMap(({ data }) => Object.entries(data));
  const onDisk = [...files]
    .filter(([path]) => path.startsWith("infra/grafana/dashboards/"))
    .map(([path, text]) => [path.replace("infra/grafana/dashboards/", ""), text] as const);
  expect(inMaps.map(([name, json]) => [name, JSON.parse(json) as unknown])).toEqual(
    onDisk.map(([name, json]) => [name, JSON.parse(json) as unknown]),
  );
  for (const { metadata, data } of maps) {
    expect(metadata.labels).toMatchObject({ grafana_dashboard: "1" });
    expect(metadata.annotations).toEqual({ grafana_folder: KVSYNC.title });
    expect(Buffer.byteLength(JSON.stringify(data))).toBeLessThan(CONFIG_MAP_BYTES_MAX);
  }
});

test.skipIf(!HAS_KUBECTL)("as a component it goes where the base goes (kubectl)", () => {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-operator-"));
  try {
    cpSync(KUBERNETES, folder, { recursive: true });
    const path = join(folder, "kustomization.yaml");
    const text = readFileSync(path, "utf8").replace("namespace: serving", "namespace: elsewhere");
    writeFileSync(path, `${text}components: [operator]\n`);
    const { stdout, stderr } = spawnSync("kubectl", ["kustomize", folder], {
      encoding: "utf8",
      maxBuffer: 64 * CONFIG_MAP_BYTES_MAX,
    });
    expect(stderr).toBe("");
    const placed = parseAllDocuments(stdout)
      .map((document) => document.toJS() as { kind: string; metadata: { name: string; namespace: string } })
      .filter(
        ({ kind, metadata }) =>
          /^(?:ServiceMonitor|PrometheusRule)$/.test(kind) || metadata.name.endsWith("-dashboard"),
      );
    expect(placed).toHaveLength(2 + maps.length);
    for (const { metadata } of placed) expect(metadata.namespace).toBe("elsewhere");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
