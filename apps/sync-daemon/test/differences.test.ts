/**
 * Decision 18 lists where kvsync meets a requirement in another way. Each row has a check here. It reads the data that the product is
 * made from, a generated file, or the test that holds the row.
 */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { HEALTH_CHECKS } from "@kvsync/observability/kvsync/health-checks";
import { LOG_EVENTS } from "@kvsync/observability/kvsync/log-events";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { expect, test } from "vitest";
import { parse } from "yaml";

import { ingestWorkers } from "../src/settings/ingest-workers.ts";
import { SETTING_ROWS } from "../src/settings/settings.ts";

const ROOT = new URL("../../../", import.meta.url);

function read(path: string): string {
  return readFileSync(fileURLToPath(new URL(path, ROOT)), "utf8");
}

interface Panel {
  readonly title: string;
  readonly collapsed?: boolean;
  readonly transformations?: readonly unknown[];
}

function panelsOf(board: string): readonly Panel[] {
  const file = read(`infra/grafana/dashboards/kvsync-${board}.json`);
  return (JSON.parse(file) as { panels: readonly Panel[] }).panels;
}

interface Rule {
  readonly record?: string;
  readonly alert?: string;
  readonly expr: string;
  readonly for?: string;
}

const groups = (
  parse(read("infra/prometheus/kvsync.rules.yaml")) as {
    groups: readonly { readonly name: string; readonly interval: string; readonly rules: readonly Rule[] }[];
  }
).groups;
const rules = groups.flatMap((group) => group.rules);

function alert(name: string): Rule | undefined {
  return rules.find((rule) => rule.alert === name);
}

/** A setting by one of its names in the environment. */
function initial(variable: string): unknown {
  return SETTING_ROWS.find(({ environment }) => environment.includes(variable))?.initial;
}

function labelsOf(name: string): readonly string[] {
  const family = CATALOGUE.find((one) => one.name === `${NAMESPACE}_${name}`);
  return family === undefined ? ["no such family"] : Object.keys(family.labels);
}

/** A test that holds a row elsewhere must say so in its title. */
function heldBy(path: string, title: string): void {
  expect(read(path)).toContain(title);
}

const CHECKS: Readonly<Record<string, () => void>> = {
  "evaluation of alerts": () => {
    const fast = groups.filter(({ name }) => !name.includes("objective"));
    expect(fast.length).toBeGreaterThan(5);
    expect(new Set(fast.map(({ interval }) => interval))).toEqual(new Set(["15s"]));
  },
  SyncIndexerNearCapacity: () => {
    expect(alert("SyncIndexerNearCapacity")?.expr).toMatch(/sync_indexer_contexts_limit.* > 0\.9$/);
  },
  "field of an applied event in the log": () => {
    const fields = Object.keys(LOG_EVENTS.event_applied.fields);
    expect(fields).toContain("blocks");
    expect(fields).not.toContain("block_count");
  },
  "health of a model": () => {
    expect(read("docs/operations/health.md")).toContain("last event is older than five minutes");
    heldBy("apps/sync-daemon/src/health/sync-health.ts", "SILENCE_MS_MAX = 300_000");
  },
  AllBlocksCleared: () => {
    heldBy(
      "packages/core/src/prefix-index/prefix-index.test.ts",
      "follow stores, removals and clears, over tiers and contexts",
    );
  },
  "`AIBRIX_KV_EVENT_SYNC_ENABLED`": () => {
    expect(initial("AIBRIX_KV_EVENT_SYNC_ENABLED")).toBeNull();
  },
  "`AIBRIX_KV_EVENT_WORKERS`": () => {
    expect(initial("AIBRIX_KV_EVENT_WORKERS")).toBeNull();
    expect([3, 4].map((cores) => ingestWorkers({ workers: null }, cores))).toEqual([1, 3]);
  },
  "`AIBRIX_SYNC_MAX_PREFIXES_PER_CONTEXT`": () => {
    expect(initial("AIBRIX_SYNC_MAX_PREFIXES_PER_CONTEXT")).toBe(134_217_728);
  },
  "queue metrics by model or space": () => {
    expect(labelsOf("kv_stream_events_total")).toEqual(["model", "lane"]);
    expect(labelsOf("kv_stream_backpressure_activations_total")).toEqual(["level"]);
    expect(labelsOf("kv_stream_backpressure_state")).toEqual([]);
  },
  "names of workers": () => {
    const labels = CATALOGUE.flatMap((family) => Object.keys(family.labels));
    expect(labels).toContain("worker");
    expect(labels).not.toContain("worker_id");
  },
  LowThroughput: () => {
    expect(alert("LowThroughput")?.expr).toMatch(/< 0\.01\b/);
  },
  "storage check": () => {
    expect(HEALTH_CHECKS.snapshot_store.critical).toBe(false);
    expect(HEALTH_CHECKS.snapshot_store.present).not.toBe("always");
  },
  "metrics settings": () => {
    expect(SETTING_ROWS.filter(({ path: [section] }) => section === "metrics")).toEqual([]);
    const { paths } = JSON.parse(read("docs/generated/openapi.json")) as { paths: object };
    expect(Object.keys(paths)).toEqual(expect.arrayContaining(["/metrics", "/api/v1/metrics"]));
  },
  "log settings": () => {
    const rows = SETTING_ROWS.filter(({ path: [section] }) => section === "log");
    expect(rows.map(({ path, initial: level }) => [path.join("."), level])).toEqual([["log.level", 1]]);
  },
  "scrape of health": () => {
    expect(labelsOf("kv_health_check")).toEqual(["check", "status"]);
    expect(read("infra/prometheus/prometheus.yaml")).not.toContain("/api/v1/health");
  },
  "kinds of metrics": () => {
    expect(new Set(CATALOGUE.map(({ kind }) => kind))).toEqual(new Set(["counter", "gauge", "histogram"]));
  },
  HighErrorRate: () => {
    expect(alert("HighErrorRate")?.for).toBe("2m");
  },
  HighMemoryUsage: () => {
    expect(alert("HighMemoryUsage")?.for).toBe("2m");
  },
  "request and event rates": () => {
    const recorded = rules.flatMap(({ record }) => record ?? []);
    expect(recorded.filter((name) => name.includes(":rate1m"))).toEqual([]);
    expect(recorded.filter((name) => name.endsWith(":rate5m")).length).toBe(2);
  },
  "refresh of dashboards": () => {
    const refreshOf = (board: string): unknown =>
      (JSON.parse(read(`infra/grafana/dashboards/kvsync-${board}.json`)) as { refresh: string }).refresh;
    expect(["ingest", "overview", "engines", "service", "picker"].map(refreshOf)).toEqual([
      "5s",
      ...Array.from({ length: 4 }, () => "10s"),
    ]);
  },
  "size of the dashboard Service": () => {
    const boards = readdirSync(fileURLToPath(new URL("infra/grafana/dashboards", ROOT)));
    expect(boards.toSorted()).toEqual(
      ["engines", "ingest", "overview", "picker", "service"].map((board) => `kvsync-${board}.json`),
    );
    const folded = panelsOf("service").filter(({ collapsed }) => collapsed === true);
    expect(folded.map(({ title }) => title)).toEqual(
      expect.arrayContaining(["Security", "Tokenizer", "Snapshots and health"]),
    );
  },
  "trust in the table of engines": () => {
    const table = panelsOf("engines").find(({ title }) => title === "Engines");
    expect(JSON.stringify(table?.transformations)).toMatch(/"Streams exact".*"Streams not exact"/);
  },
  OTLP: () => {
    const { dependencies } = JSON.parse(read("apps/sync-daemon/package.json")) as { dependencies: object };
    const exporters = Object.keys(dependencies).filter((name) => name.includes("exporter"));
    expect(exporters).toEqual(["@opentelemetry/exporter-trace-otlp-http"]);
  },
  "log agent": () => {
    expect(read("infra/kubernetes/monitoring/log-collector.yaml")).toMatch(
      /kind: DaemonSet[^]*opentelemetry-collector-contrib/,
    );
  },
  "Jaeger's receiver": () => {
    expect(read("infra/jaeger/jaeger.yaml")).toMatch(/receivers:\n {2}otlp:/);
    expect(read("infra/kubernetes/monitoring/jaeger.yaml")).not.toContain("14268");
  },
  "password of Grafana": () => {
    heldBy(
      "packages/observability/src/stack/deploy-monitoring.test.ts",
      "a drawn password is long and on no line of its own",
    );
  },
  "a test alert by hand": () => {
    expect(read("docs/operations/monitoring.md")).toContain("amtool alert add");
    for (const page of ["monitoring.md", "monitoring-stack.md", "troubleshooting.md"])
      expect(read(`docs/operations/${page}`)).not.toContain("9093/api/v1");
  },
  PagerDuty: () => {
    expect(read("infra/alertmanager/alertmanager.yaml")).not.toContain("pagerduty");
    heldBy(
      "packages/observability/src/rules/alertmanager.e2e.test.ts",
      "PagerDuty is asked for by a setting, for critical alerts alone, with its key in a file",
    );
  },
  "cause `timeout` of dropped events": () => {
    const reasons = CATALOGUE.find(({ name }) => name === `${NAMESPACE}_kv_events_dropped_total`)?.labels;
    const values = (reasons as { reason?: readonly string[] } | undefined)?.reason ?? [];
    expect(values).toEqual(expect.arrayContaining(["queue_messages", "queue_bytes"]));
    expect(values.filter((value) => value.includes("timeout"))).toEqual([]);
    expect(SETTING_ROWS.flatMap(({ environment }) => environment)).toContain("AIBRIX_KV_EVENT_WORKERS");
  },
  "allowed hosts": () => {
    expect(initial("KVSYNC_HTTP_HOST_NAMES")).toEqual([]);
    heldBy(
      "apps/sync-daemon/test/callers.test.ts",
      "on loopback without tokens the host name %s is answered",
    );
  },
};

test.each(Object.entries(CHECKS))("%s is as decision 18 says", (_, check) => {
  check();
});

test("every row of decision 18 has a check, and every check a row", () => {
  const page = read("docs/decisions/0018-requirements-that-are-met-otherwise.md");
  const [, table = ""] = /\| --- \| --- \| --- \| --- \|\n((?:\|.*\n)+)/.exec(page) ?? [];
  const rows = table
    .trimEnd()
    .split("\n")
    .map((row) => row.split(" | ")[0]?.replace(/^\| /, "") ?? "");
  expect(rows.toSorted()).toEqual(Object.keys(CHECKS).toSorted());
});
