/**
 * Exemplars from a request to Prometheus. A real daemon answers traced lookups and picks. Its scrape as OpenMetrics
 * names their traces, and Debian's Prometheus keeps them.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { freePort } from "@kvsync/engine-sim";
import { PICKER_METRICS } from "@kvsync/observability/kvsync/picker";
import { ROUTING_METRICS } from "@kvsync/observability/kvsync/routing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { stringify } from "yaml";

import { DaemonProcess } from "./daemon-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";
import { OtlpReceiver } from "./otlp-receiver.ts";
import { PickerTraffic } from "./picker-traffic.ts";

const MODEL = "demo/model";
const OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC = "text/plain; version=0.0.4; charset=utf-8";
const TRACED = "11111111111111111111111111111111";
const PICKED = "22222222222222222222222222222222";
const UNSAMPLED = "33333333333333333333333333333333";
const HAS_PROMETHEUS = spawnSync("prometheus", ["--version"]).status === 0;
const TIMEOUT_MS = 60_000;

let collector: OtlpReceiver;
let engine: TestEngine;
let daemon: DaemonProcess;
let prometheus: ChildProcess | null = null;
const folder = mkdtempSync(join(tmpdir(), "kvsync-exemplars-"));

function traceparent(traceId: string, isSampled = true): { traceparent: string } {
  return { traceparent: `00-${traceId}-aaaaaaaaaaaaaaaa-0${isSampled ? 1 : 0}` };
}

async function scrape(accept: string): Promise<{ text: string; type: string | null }> {
  const response = await daemon.fetch("/metrics", { headers: { accept } });
  return { text: await response.text(), type: response.headers.get("content-type") };
}

async function lookUp(headers: Record<string, string>): Promise<void> {
  const response = await daemon.fetch("/api/v1/match", {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ model: MODEL, token_ids: Array.from({ length: 40 }, (_, i) => i) }),
  });
  expect(response.status).toBe(200);
  await response.arrayBuffer();
}

beforeAll(async () => {
  collector = await OtlpReceiver.start();
  engine = await TestEngine.start({ id: "engine-0", model: MODEL }, 1, { httpPort: 0 });
  const port = await freePort();
  daemon = await DaemonProcess.start({
    engines: [PickerTraffic.entry(engine)],
    picker: PickerTraffic.settings(port),
    tracing: { endpoint: collector.endpoint, ratio: 0, batch_ratio: 0 },
  });
  await engine.serve(3);
  await caughtUp(daemon, [engine]);
  await lookUp(traceparent(TRACED));
  await lookUp(traceparent(UNSAMPLED, false));
  await lookUp({});
  const traffic = new PickerTraffic(port);
  await until("the picker takes requests", () => traffic.isReady());
  const body = { model: MODEL, prompt: Array.from({ length: 40 }, (_, i) => i) };
  await traffic.request(body, { headers: traceparent(PICKED) });
  await traffic.request(body, { headers: traceparent(UNSAMPLED, false) });
  await until("the pick's trace is kept", async () =>
    (await scrape(OPEN)).text.includes(PICKED) ? true : null,
  );
}, TIMEOUT_MS);

afterAll(async () => {
  if (prometheus !== null && prometheus.exitCode === null) {
    prometheus.kill();
    await once(prometheus, "exit");
  }
  await daemon.end();
  await Promise.all([engine.stop(), collector.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

test("a scrape as OpenMetrics names the traces of sampled lookups and picks, and no other", async () => {
  const { text, type } = await scrape(OPEN);
  expect(type).toBe(OPEN);
  const lines = text.split("\n").filter((line) => line.includes(" # {"));
  const named = lines.map((line) => /^(\w+)_bucket\{.*\} \d+ # \{trace_id="(\w+)"\}/.exec(line)?.slice(1));
  expect(named).toEqual(
    expect.arrayContaining([
      [ROUTING_METRICS.routingLatency.name, TRACED],
      [PICKER_METRICS.decisionDuration.name, PICKED],
    ]),
  );
  expect(text).not.toContain(UNSAMPLED);
  for (const line of lines) {
    const [, bound = "", value = ""] = /le="([^"]+)"\} \d+ # \{[^}]*\} (\S+) \d/.exec(line) ?? [];
    expect(Number(value)).toBeLessThanOrEqual(bound === "+Inf" ? Infinity : Number(bound));
    expect(Number(value)).toBeGreaterThan(0);
  }
});

test("a scrape without that wish is the classic text", async () => {
  for (const accept of ["*/*", "text/plain"]) {
    const { text, type } = await scrape(accept);
    expect(type).toBe(CLASSIC);
    expect(text).not.toContain("trace_id");
    expect(text).not.toContain("# EOF");
  }
});

test.skipIf(!HAS_PROMETHEUS)(
  "Prometheus with the storage of exemplars keeps them, as Grafana asks for them",
  async () => {
    const port = await freePort();
    const config = {
      global: { scrape_interval: "1s", scrape_timeout: "1s" },
      scrape_configs: [
        { job_name: "kvsync-daemon", static_configs: [{ targets: [new URL(daemon.url).host] }] },
      ],
    };
    writeFileSync(join(folder, "prometheus.yaml"), stringify(config));
    const flags = ["--storage.tsdb.path=data", "--enable-feature=exemplar-storage"];
    const address = `127.0.0.1:${port}`;
    prometheus = spawn(
      "prometheus",
      ["--config.file=prometheus.yaml", `--web.listen-address=${address}`, ...flags],
      { stdio: "ignore", cwd: folder },
    );
    const kept = async (family: string): Promise<string[]> => {
      const query = `histogram_quantile(0.99, sum by (le) (rate(${family}_bucket[5m])))`;
      const range = { start: String(Date.now() / 1000 - 600), end: String(Date.now() / 1000 + 60) };
      const parameters = new URLSearchParams({ query, ...range });
      const response = await fetch(`http://${address}/api/v1/query_exemplars?${parameters.toString()}`).catch(
        () => null,
      );
      if (response?.ok !== true) return [];
      const { data } = (await response.json()) as {
        data: { exemplars: { labels: { trace_id: string } }[] }[];
      };
      return data.flatMap(({ exemplars }) => exemplars.map(({ labels }) => labels.trace_id));
    };
    for (const [family, traceId] of [
      [ROUTING_METRICS.routingLatency.name, TRACED],
      [PICKER_METRICS.decisionDuration.name, PICKED],
    ] as const)
      await until(
        `${traceId} in Prometheus`,
        async () => ((await kept(family)).includes(traceId) ? true : null),
        TIMEOUT_MS / 2,
      );
  },
  TIMEOUT_MS,
);
