/**
 * Jaeger and the OpenTelemetry collector, with the files of infra/, behind a real daemon. `npm run stack-check` builds the programs and
 * runs this file; `npm test` does not.
 *
 *     daemon ─ spans ─▶ collector: tail sampling ─▶ Jaeger, asked by its query API
 *        └─ log ─▶ files as Docker and containerd write them ─▶ collector ─▶ a stand-in for Loki
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { freePort } from "@kvsync/engine-sim";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";

import { DaemonProcess } from "./daemon-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";
import { LokiReceiver, type ReceivedLine } from "./loki-receiver.ts";
import { PageShell, pageCommands, PAGES } from "./operator-page.ts";
import {
  DAEMON_CONTAINER,
  binaryOf,
  dockerLog,
  podLog,
  type RuntimeLog,
  type StackBinary,
  type StackFile,
  StackProgram,
  stackFile,
  stackText,
  validated,
} from "./stack-programs.ts";
import { byByte, status, TokenizerServer } from "./tokenizer-server.ts";

const MODEL = "demo/model";
const JAEGER_FILE = "jaeger/jaeger.yaml";
const COLLECTOR_FILES = ["otel/collector.compose.yaml", "otel/collector.kubernetes.yaml"];
const JAEGER = binaryOf("jaeger");
const COLLECTOR = binaryOf("collector");

/** Lookups whose traces are neither slow nor failed. */
const ORDINARY = 400;
/** Of them, how many are kept: 10 %, five standard deviations to both sides. */
const ORDINARY_KEPT = { min: 10, max: 70 };
/** Above `threshold_ms` of the sampling, which is 50. */
const SLOW_MS = 120;
const TRACE_TIMEOUT_MS = 60_000;

/** A trace as Jaeger's query API has it. */
interface JaegerTrace {
  readonly traceID: string;
  readonly spans: readonly {
    readonly spanID: string;
    readonly operationName: string;
    /** Microseconds. */
    readonly duration: number;
    readonly references: readonly { readonly spanID: string }[];
    readonly tags: readonly { readonly key: string; readonly value: unknown }[];
  }[];
  readonly processes: Readonly<Record<string, { readonly serviceName: string }>>;
}

/** A caller's sampled trace; ids are the same in each run, so that the share of ordinary ones is too. */
function caller(group: string, i = 0): { traceId: string; headers: Record<string, string> } {
  const mixed = Math.imul(i + 1, 0x9e37_79b1) >>> 0;
  const traceId = `${group}${mixed.toString(16).padStart(8, "0")}`.padStart(32, "a").slice(-32);
  return { traceId, headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01` } };
}

/** The page that describes the stack. */
function page(): string {
  return readFileSync(join(PAGES, "monitoring-stack.md"), "utf8");
}

function misspelt(text: string, key: string): string {
  expect(text).toContain(`${key}:`);
  return text.replace(`${key}:`, `${key}s:`);
}

describe.skipIf(JAEGER === null)("Jaeger", () => {
  test("accepts its file, and refuses it with a misspelt key", () => {
    const binary = JAEGER as StackBinary;
    expect(validated(binary, stackText(JAEGER_FILE))).toMatchObject({ code: 0 });
    const refused = validated(binary, misspelt(stackText(JAEGER_FILE), "max_traces"));
    expect(refused.code).toBe(1);
    expect(refused.output).toContain("max_tracess");
  });

  test("accepts its file with the store on disk that the page shows", () => {
    const [, block = ""] = /```yaml jaeger\n([^`]+)```/.exec(page()) ?? [];
    const shown = parse(block) as StackFile;
    const file = stackFile(JAEGER_FILE);
    const text = stringify({ ...file, extensions: { ...file.extensions, ...shown.extensions } });
    expect(text).toContain("badger");
    expect(validated(JAEGER as StackBinary, text)).toMatchObject({ code: 0 });
  });
});

describe.skipIf(COLLECTOR === null)("the collector", () => {
  test.each(COLLECTOR_FILES)("accepts %s, and refuses it with a misspelt key", (path) => {
    const binary = COLLECTOR as StackBinary;
    expect(validated(binary, stackText(path))).toMatchObject({ code: 0 });
    for (const key of ["decision_wait", "limit_mib", "layout_type"])
      expect([key, validated(binary, misspelt(stackText(path), key)).code]).toEqual([key, 1]);
  });
});

/** Ends what a block of tests has started, the last one first. Its start may have failed half-way. */
async function endAll(ends: (() => Promise<unknown>)[]): Promise<void> {
  for (const end of ends.splice(0).reverse()) await end();
}

describe.skipIf(JAEGER === null || COLLECTOR === null)("traces of a daemon", () => {
  const ends: (() => Promise<unknown>)[] = [];
  let daemon: DaemonProcess;
  let collector: StackProgram;
  let query = "";
  const folder = mkdtempSync(join(tmpdir(), "kvsync-stack-traces-"));

  beforeAll(async () => {
    const queryPort = await freePort();
    query = `http://127.0.0.1:${queryPort}`;
    const jaeger = await StackProgram.start(JAEGER as StackBinary, JAEGER_FILE, ({ extensions }) => {
      Object.assign(extensions["jaeger_query"] ?? {}, {
        http: { endpoint: `127.0.0.1:${queryPort}` },
        grpc: { endpoint: "127.0.0.1:0" },
      });
    });
    ends.push(async () => jaeger.stop());
    collector = await StackProgram.start(
      COLLECTOR as StackBinary,
      "otel/collector.compose.yaml",
      (file: StackFile) => {
        sendTo(file, jaeger.ports.otlp, "http://127.0.0.1:1");
        readFrom(file, join(folder, "none"), join(folder, "offsets"));
      },
    );
    ends.push(async () => collector.stop());
    const tokenizer = await TokenizerServer.start((request, response) => {
      if (request.body.includes("refused")) status(503)(request, response);
      else
        setTimeout(() => {
          byByte(request, response);
        }, SLOW_MS);
    });
    ends.push(async () => tokenizer.stop());
    const engine = await TestEngine.start({ id: "engine-0", model: MODEL }, 1, { httpPort: 0 });
    ends.push(async () => engine.stop());
    // History from before the daemon: its first work is a replay.
    await engine.serve(5);
    daemon = await DaemonProcess.start({
      engines: [engine.entry],
      sync: { tokenizer_endpoint: tokenizer.endpoint },
      snapshot: { directory: join(folder, "snapshots"), interval_seconds: 3600 },
      tracing: { endpoint: `http://127.0.0.1:${collector.ports.otlp}`, ratio: 0, batch_ratio: 0 },
    });
    ends.push(async () => daemon.end());
    await caughtUp(daemon, [engine]);
  });

  afterAll(async () => {
    await endAll(ends);
    rmSync(folder, { recursive: true, force: true });
  });

  async function match(body: object, headers: Record<string, string>): Promise<number> {
    const response = await daemon.fetch("/api/v1/match", {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ model: MODEL, ...body }),
    });
    await response.arrayBuffer();
    return response.status;
  }

  async function find(path: string): Promise<readonly JaegerTrace[]> {
    const response = await fetch(`${query}/api/traces${path}`);
    const { data } = (await response.json()) as { data: readonly JaegerTrace[] | null };
    return response.ok ? (data ?? []) : [];
  }

  async function trace(traceId: string): Promise<JaegerTrace> {
    return until(
      `trace ${traceId}`,
      async () => (await find(`/${traceId}`)).find(({ spans }) => spans.length > 0) ?? null,
      TRACE_TIMEOUT_MS,
    );
  }

  async function withSpan(name: string): Promise<JaegerTrace> {
    const path = `?service=kvsync&operation=${encodeURIComponent(name)}&limit=20`;
    return until(`a trace with ${name}`, async () => (await find(path))[0] ?? null, TRACE_TIMEOUT_MS);
  }

  function tagsOf(found: JaegerTrace, name: string): Record<string, unknown> {
    const span = found.spans.find(({ operationName }) => operationName === name);
    return Object.fromEntries((span?.tags ?? []).map(({ key, value }) => [key, value]));
  }

  test("a failed lookup arrives by its caller's trace id, with its spans, attributes and parent", async () => {
    const { traceId, headers } = caller("e");
    expect(await match({ model: "unknown/model", token_ids: [1] }, headers)).toBe(404);
    const found = await trace(traceId);
    expect(found.spans.map(({ operationName }) => operationName).sort()).toEqual([
      "POST /api/v1/match",
      "lookup",
    ]);
    expect(tagsOf(found, "POST /api/v1/match")).toMatchObject({
      "http.route": "/api/v1/match",
      "http.response.status_code": 404,
    });
    expect(tagsOf(found, "lookup")).toMatchObject({ "error.type": "unknown_model", error: true });
    const [request, lookup] = ["POST /api/v1/match", "lookup"].map((name) =>
      found.spans.find(({ operationName }) => operationName === name),
    );
    expect(lookup?.references.map(({ spanID }) => spanID)).toEqual([request?.spanID]);
    expect(Object.values(found.processes).map(({ serviceName }) => serviceName)).toEqual(["kvsync"]);
  });

  test("a failed call of the tokenizer is kept, and so is a slow one", async () => {
    const [failed, slow] = [caller("f"), caller("5")];
    await match({ prompt: "refused" }, failed.headers);
    await match({ prompt: "answered after a while" }, slow.headers);
    expect(tagsOf(await trace(failed.traceId), "tokenize")).toMatchObject({
      "error.type": "tokenizer_unavailable",
    });
    const { spans } = await trace(slow.traceId);
    expect(Math.max(...spans.map(({ duration }) => duration / 1000))).toBeGreaterThan(SLOW_MS / 2);
  });

  test("replays and snapshots are kept, whatever the ratios", async () => {
    // One that a request asks for is traced as the request is.
    const { headers } = caller("b");
    await (await daemon.fetch("/api/v1/snapshot", { headers })).arrayBuffer();
    expect(tagsOf(await withSpan("ingest.replay"), "ingest.replay")).toMatchObject({
      "kvsync.pod": "engine-0",
      "kvsync.status": "completed",
    });
    expect(tagsOf(await withSpan("snapshot.find"), "snapshot.find")).toMatchObject({
      "kvsync.origin": "none",
    });
    expect(tagsOf(await withSpan("snapshot.write"), "snapshot.write")["kvsync.streams"]).toBe(1);
  });

  test(`of ${ORDINARY} ordinary lookups, the share of the file is kept and the rest is dropped`, async () => {
    const { processors } = stackFile("otel/collector.compose.yaml") as unknown as {
      processors: { tail_sampling: { policies: { probabilistic?: { sampling_percentage: number } }[] } };
    };
    const shares = processors.tail_sampling.policies.flatMap(({ probabilistic }) => probabilistic ?? []);
    expect(shares).toEqual([{ sampling_percentage: 10 }]);
    const callers = Array.from({ length: ORDINARY }, (_, i) => caller("0", i));
    for (const { headers } of callers) expect(await match({ token_ids: [1, 2, 3] }, headers)).toBe(200);
    // A failed lookup after them: once it is judged, all before it are.
    const last = caller("d");
    await match({ model: "unknown/model", token_ids: [1] }, last.headers);
    await trace(last.traceId);
    const countKept = async (): Promise<number> => {
      const found = (await Promise.all(callers.map(({ traceId }) => find(`/${traceId}`)))).flat();
      return found.filter(({ spans }) => spans.every(({ duration }) => duration < 50_000)).length;
    };
    await until("a share arrives", async () => (await countKept()) >= ORDINARY_KEPT.min, TRACE_TIMEOUT_MS);
    expect(await countKept()).toBeLessThanOrEqual(ORDINARY_KEPT.max);
  });

  test("the page's lists have the service and its operations", async () => {
    const services = (await (await fetch(`${query}/api/services`)).json()) as { data: string[] };
    // Jaeger itself is not among them: its own traces would push ours out of the store.
    expect(services.data).toEqual(["kvsync"]);
    const path = "/api/services/kvsync/operations";
    const { data } = (await (await fetch(`${query}${path}`)).json()) as { data: string[] };
    expect(data).toEqual(
      expect.arrayContaining(["POST /api/v1/match", "lookup", "ingest.replay", "snapshot.find"]),
    );
  });

  test("a search may ask for as many traces as the store holds, and for no more", async () => {
    const most = /max_traces: (\d+)/.exec(stackText(JAEGER_FILE))?.[1];
    const statusOf = async (limit: number): Promise<number> =>
      (await fetch(`${query}/api/traces?service=kvsync&limit=${limit}`)).status;
    expect([await statusOf(Number(most)), await statusOf(Number(most) + 1)]).toEqual([200, 500]);
  });

  test("the collector starts without a warning, and exports the metrics that the page names", async () => {
    expect(collector.output.split("\n").filter((line) => /\t(?:warn|error)\t/.test(line))).toEqual([]);
    const exported = await (await fetch(`http://127.0.0.1:${collector.ports.metrics}/metrics`)).text();
    const names = [...page().matchAll(/`(otelcol_\w+)`/g)].map(([, name = ""]) => name);
    // Names of logs have a receiver of their own below; a failure has no series before the first one.
    const ofSpans = names.filter((name) => !/log_records|send_failed/.test(name));
    expect(ofSpans.length).toBeGreaterThan(3);
    expect(
      ofSpans.filter((name) => !exported.includes(`\n${name}{`) && !exported.includes(`\n${name} `)),
    ).toEqual([]);
  });

  test("the daemon counts every span as exported, and none as lost", async () => {
    const text = await (await daemon.fetch("/metrics")).text();
    const outcomes: Record<string, number> = Object.fromEntries(
      [
        ...text.matchAll(
          new RegExp(`^${NAMESPACE}_kv_trace_spans_total\\{outcome="(\\w+)"\\} (\\d+)$`, "gm"),
        ),
      ].map(([, outcome = "", count]) => [outcome, Number(count)] as const),
    );
    expect(outcomes["exported"]).toBeGreaterThan(ORDINARY);
    for (const outcome of ["export_failed", "queue_full", "thread_budget"])
      expect([outcome, outcomes[outcome] ?? 0]).toEqual([outcome, 0]);
  });
});

/** Points the exporters at this machine. */
function sendTo({ exporters }: StackFile, jaegerPort: number, lokiUrl: string): void {
  Object.assign(exporters["otlp_http/jaeger"] ?? {}, { endpoint: `http://127.0.0.1:${jaegerPort}` });
  Object.assign(exporters["otlp_http/loki"] ?? {}, { endpoint: `${lokiUrl}/otlp`, encoding: "json" });
}

/** Points the receiver of log files, and the store of their offsets, at this machine. */
function readFrom({ receivers, extensions }: StackFile, glob: string, offsets: string): void {
  Object.assign(receivers["file_log"] ?? {}, { include: [glob], poll_interval: "50ms" });
  Object.assign(extensions["file_storage"] ?? {}, { directory: offsets });
}

interface LogCase {
  readonly path: string;
  readonly log: (folder: string, now: () => Date) => RuntimeLog;
  /** Labels of the daemon's stream that Loki makes of the resource. */
  readonly labels: Readonly<Record<string, string>>;
  /** A container whose lines are no one's here: another project's, or a pod of another name. */
  readonly foreign: string;
}

const LOG_CASES: readonly LogCase[] = [
  {
    path: "otel/collector.compose.yaml",
    log: dockerLog,
    labels: { "service.name": "kvsync" },
    foreign: "shop/daemon",
  },
  {
    path: "otel/collector.kubernetes.yaml",
    log: podLog,
    labels: {
      "service.name": "kvsync",
      "service.instance.id": "kvsync-daemon-0",
      "k8s.namespace.name": "serving",
      "k8s.container.name": DAEMON_CONTAINER,
    },
    foreign: "serving_shop-0/web",
  },
];

describe.skipIf(COLLECTOR === null).each(LOG_CASES)(
  "logs through $path",
  ({ path, log, labels, foreign }) => {
    /** When the runtime read the lines: not when the daemon wrote them. */
    const READ_AT = new Date("2026-01-02T03:04:05.678Z");
    const NOT_JSON = "Segmentation fault (core dumped)";
    const LONG = JSON.stringify({
      time: "2026-02-03T04:05:06.789Z",
      level: "warn",
      text: "é".repeat(40_000),
    });
    const folder = mkdtempSync(join(tmpdir(), "kvsync-stack-logs-"));
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
    let loki: LokiReceiver;
    const ends: (() => Promise<unknown>)[] = [];
    let collector: StackProgram;
    let runtime: RuntimeLog;
    /** Lines of the daemon, as it wrote them. */
    const written: string[] = [];

    async function startCollector(): Promise<StackProgram> {
      return StackProgram.start(COLLECTOR as StackBinary, path, (file) => {
        sendTo(file, 1, loki.url);
        readFrom(file, runtime.glob, join(folder, "offsets"));
      });
    }

    async function received(count: number): Promise<readonly ReceivedLine[]> {
      await until(`${count} lines arrive`, () => Promise.resolve(loki.lines.length >= count));
      return loki.lines;
    }

    beforeAll(async () => {
      loki = await LokiReceiver.start();
      ends.push(async () => loki.stop());
      runtime = log(join(folder, "logs"), () => READ_AT);
      // Lines of requests have their trace where there is tracing. The stand-in takes no spans, and the daemon warns of that.
      const daemon = await DaemonProcess.start({ log: { level: 2 }, tracing: { endpoint: loki.url } });
      const headers = { traceparent: `00-${traceId}-00f067aa0ba902b7-01` };
      await (await daemon.fetch("/api/v1/engines", { headers })).arrayBuffer();
      await until("the request is in the log", () =>
        Promise.resolve(daemon.log.some((line) => line["trace_id"] === traceId)),
      );
      await daemon.end();
      written.push(...daemon.log.map((line) => JSON.stringify(line)));
      for (const line of written) runtime.write(line);
      collector = await startCollector();
      ends.push(async () => collector.stop());
    });

    afterAll(async () => {
      await endAll(ends);
      rmSync(folder, { recursive: true, force: true });
    });

    test("each line arrives once, with the body as the daemon wrote it, and its own time, severity and trace", async () => {
      expect(written.length).toBeGreaterThan(5);
      const lines = await received(written.length);
      expect(lines.map(({ body }) => body)).toEqual(written);
      for (const line of lines) {
        const own = JSON.parse(line.body) as Record<string, string>;
        expect(line).toMatchObject({
          time: own["time"],
          severity: own["level"],
          traceId: own["trace_id"] ?? "",
          spanId: own["span_id"] ?? "",
        });
      }
      expect(lines.filter((line) => line.traceId === traceId)).toHaveLength(1);
      expect(new Set(lines.map(({ severityNumber }) => severityNumber))).toContain(9);
    });

    test("the resource has the labels that Loki indexes, and the line has no attribute for each of its fields", () => {
      for (const { resource, attributes } of loki.lines) {
        expect(resource).toMatchObject(labels);
        for (const name of ["line", "frame", "log.file.path"]) expect(attributes).not.toHaveProperty([name]);
      }
    });

    test("a line that is not JSON arrives with the time at which the runtime read it", async () => {
      const before = loki.lines.length;
      runtime.write(NOT_JSON);
      const line = (await received(before + 1))[before];
      expect(line).toMatchObject({ body: NOT_JSON, time: READ_AT.toISOString(), severity: "" });
    });

    test("a line that the runtime splits arrives as one, and others' lines do not arrive", async () => {
      const before = loki.lines.length;
      runtime.write(NOT_JSON, foreign);
      runtime.write(LONG);
      const line = (await received(before + 1))[before];
      expect(line?.body).toBe(LONG);
      expect(line).toMatchObject({ time: "2026-02-03T04:05:06.789Z", severity: "warn", resource: labels });
      expect(loki.lines).toHaveLength(before + 1);
    });

    test("after the collector's restart, no line is repeated and none is skipped", async () => {
      const before = loki.lines.length;
      await collector.stop();
      runtime.write("written while it was away");
      collector = await startCollector();
      runtime.write("written after it came back");
      const lines = await received(before + 2);
      expect(lines.slice(before).map(({ body }) => body)).toEqual([
        "written while it was away",
        "written after it came back",
      ]);
    });

    test("the page's commands for missing logs work, and its own metrics have the names of the page", async () => {
      const commands = pageCommands("monitoring-stack.md").filter(
        ({ mode }) => mode?.run === false && mode.why.includes("stack-check"),
      );
      expect(commands).toHaveLength(1);
      const shell = new PageShell();
      for (const { text } of commands) {
        const here = text
          .replace("localhost:13133", `127.0.0.1:${collector.ports.health}`)
          .replace("localhost:8888", `127.0.0.1:${collector.ports.metrics}`);
        const { stdout } = await shell.run(here, "http://127.0.0.1:1");
        expect(stdout).toMatch(/otelcol_receiver_accepted_log_records\{.*\} 2\n/);
        expect(stdout).toMatch(/otelcol_exporter_sent_log_records\{.*\} 2\n/);
      }
      shell.close();
    });

    test("its own metrics count the lines, and none that was refused or failed", async () => {
      expect(await collector.counted("otelcol_receiver_accepted_log_records")).toBe(2);
      for (const name of ["receiver_refused", "exporter_send_failed"])
        expect(await collector.counted(`otelcol_${name}_log_records`)).toBe(0);
    });
  },
);
