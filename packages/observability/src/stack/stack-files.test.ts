/**
 * The stack's configurations against each other and against the catalogue (L1 and L2 of collector.ts). That the programs take
 * them is a matter of running them.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { parser } from "@grafana/lezer-logql";
import { expect, test } from "vitest";
import { parse } from "yaml";

import { KVSYNC } from "../kvsync/project.ts";
import { render } from "../render.ts";
import { STREAM_ATTRIBUTES } from "./loki.ts";
import { PORTS, RETENTION } from "./stack.ts";

interface Component {
  readonly endpoint?: string;
  readonly operators?: readonly { readonly type: string; readonly field?: string; readonly to?: string }[];
}
interface Collector {
  readonly extensions: Readonly<Record<string, unknown>>;
  readonly receivers: Readonly<Record<string, Component>>;
  readonly processors: Readonly<Record<string, unknown>>;
  readonly exporters: Readonly<Record<string, Component>>;
  readonly service: {
    readonly extensions: readonly string[];
    readonly pipelines: Readonly<
      Record<string, Readonly<Record<"receivers" | "processors" | "exporters", readonly string[]>>>
    >;
  };
}

const files = render(KVSYNC);
const read = (path: string): unknown => parse(files.get(path) ?? "");
const collectors = ["infra/otel/collector.compose.yaml", "infra/otel/collector.kubernetes.yaml"].map(
  (path) => [path, read(path) as Collector] as const,
);
const PAGE = new URL("../../../../docs/operations/monitoring-stack.md", import.meta.url);

test.each([
  ...collectors,
  ["infra/jaeger/jaeger.yaml", read("infra/jaeger/jaeger.yaml") as Collector] as const,
])("%s uses exactly the components that it declares", (_, { service, ...declared }) => {
  const pipelines = Object.values(service.pipelines);
  for (const kind of ["receivers", "processors", "exporters"] as const)
    expect(new Set(pipelines.flatMap((pipeline) => pipeline[kind]))).toEqual(
      new Set(Object.keys(declared[kind])),
    );
  expect(new Set(service.extensions)).toEqual(new Set(Object.keys(declared.extensions)));
  for (const { processors } of pipelines) {
    // What limits memory stands first, and what batches last.
    expect(processors.at(-1)).toBe("batch");
    if (processors.includes("memory_limiter")) expect(processors[0]).toBe("memory_limiter");
  }
});

test.each(collectors)("%s sends where Loki and Jaeger listen", (_, { exporters }) => {
  expect(exporters["otlp_http/loki"]?.endpoint).toBe(`http://loki:${PORTS.loki}/otlp`);
  expect(exporters["otlp_http/jaeger"]?.endpoint).toMatch(
    new RegExp(`^http://jaeger[a-z.-]*:${PORTS.otlpHttp}$`),
  );
});

test.each(collectors)("%s leaves the body of a line as the program wrote it (L1)", (_, { receivers }) => {
  const operators = receivers["file_log"]?.operators ?? [];
  const parsesLine = operators.findIndex(({ type, ...one }) => type === "json_parser" && "if" in one);
  expect(parsesLine).toBeGreaterThan(0);
  for (const { field, to } of operators.slice(parsesLine)) expect([field, to]).not.toContain("body");
});

test.each(collectors)("%s lets a line that is no JSON through (L2)", (_, { receivers }) => {
  const operators = receivers["file_log"]?.operators ?? [];
  const fromLine = operators.filter((one) => JSON.stringify(one).includes("attributes.line"));
  expect(fromLine.length).toBeGreaterThan(4);
  for (const one of fromLine) expect(one).toHaveProperty("if");
});

test("the stream that queries select is one that Loki labels", () => {
  const [, label = ""] = /^(\w+)=/.exec(KVSYNC.logSelector) ?? [];
  expect(STREAM_ATTRIBUTES.map((name) => name.replaceAll(".", "_"))).toContain(label);
  const { limits_config: limits } = read("infra/loki/loki.yaml") as {
    limits_config: { retention_period: string };
  };
  expect(limits.retention_period).toBe(`${RETENTION.logHours}h`);
});

test("data sources name each other, and a dollar of Grafana's own is doubled", () => {
  const text = files.get("infra/grafana/provisioning/datasources/kvsync.yaml") ?? "";
  const { datasources } = parse(text) as { datasources: readonly { uid: string; url: string }[] };
  const uids = datasources.map(({ uid }) => uid);
  expect(uids).toEqual(["prometheus", "loki", "jaeger", "alertmanager"]);
  for (const [, uid] of text.matchAll(/datasourceUid: (\S+)/g)) expect(uids).toContain(uid);
  expect(text.match(/(?<!\$)\$\{/g)).toBeNull();
  expect(text.match(/\$\$\{/g)).toHaveLength(2);
});

test("from a span Grafana reaches recorded series, by an attribute that spans have", () => {
  const { labels = {}, series = {} } = KVSYNC.stack?.spanMetrics ?? {};
  const recordings = KVSYNC.recordingGroups.flatMap(({ rules }) => rules);
  for (const name of Object.values(series)) {
    const rule = recordings.find((recording) => recording.name === name);
    expect(Object.values(labels).filter((label) => rule?.labels.includes(label) !== true)).toEqual([]);
  }
  const attributes = Object.values(KVSYNC.spans).flatMap((span) => Object.keys(span.attributes));
  expect(Object.keys(labels)).toEqual(["kvsync.model"]);
  expect(attributes).toContain("kvsync.model");
  const text = files.get("infra/grafana/provisioning/datasources/kvsync.yaml") ?? "";
  expect(text).toContain("p99_rate5m{$$__tags}");
});

test("the page's log queries parse, its figures are the stack's, and its versions too", () => {
  const page = readFileSync(PAGE, "utf8");
  const [, block = ""] = /```logql\n([^`]+)```/.exec(page) ?? [];
  const queries = block.trim().split("\n");
  expect(queries).toHaveLength(4);
  for (const query of queries) {
    const errors: string[] = [];
    parser.parse(query).iterate({
      enter: ({ type, from }) => {
        if (type.isError) errors.push(`${query} at ${from}`);
      },
    });
    expect(errors).toEqual([]);
    expect(query).toContain(KVSYNC.logSelector);
  }
  expect(page).toContain(`Loki keeps ${RETENTION.logHours / 24} days.`);
  expect(page).toContain(`Jaeger holds ${RETENTION.traces.toLocaleString("en-US")} traces`);
});

const TOOLS = [
  ["promtool", ["check", "config", "--syntax-only"], "infra/prometheus/prometheus.compose.yaml"],
  ["amtool", ["check-config"], "infra/alertmanager/alertmanager.compose.yaml"],
] as const;

test.each(TOOLS)(
  "%s (Debian package prometheus or prometheus-alertmanager) takes %s %s",
  (tool, args, path) => {
    const folder = mkdtempSync(join(tmpdir(), "kvsync-stack-"));
    try {
      const file = join(folder, "file.yaml");
      writeFileSync(file, files.get(path) ?? "");
      const { status, stdout, stderr, error } = spawnSync(tool, [...args, file], { encoding: "utf8" });
      // A machine without the tool: continuous integration installs it.
      if (error !== undefined && process.env["CI"] === undefined) return;
      expect([status, `${stdout}${stderr}`]).toEqual([0, expect.stringContaining("SUCCESS")]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);
