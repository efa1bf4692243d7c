/**
 * The catalogue against a running daemon, both ways: whatever is declared is emitted by a run that has seen a bit of
 * everything, and whatever is emitted under our namespace is declared, with the labels declared.
 */
import { spawnSync } from "node:child_process";

import { CATALOGUE, type MetricDefinition } from "@kvsync/observability";
import { afterAll, beforeAll, expect, test } from "vitest";

import { DaemonProcess } from "./daemon-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";

let daemon: DaemonProcess;
let engine: TestEngine;
let text: string;

beforeAll(async () => {
  engine = await TestEngine.start({ id: "engine-0" }, 1);
  const ghost = { id: "ghost", model: "test/model", endpoint: "tcp://127.0.0.1:19996" };
  daemon = await DaemonProcess.start({ engines: [engine.entry, ghost] });
  await until("the ghost is missed", () =>
    Promise.resolve(daemon.log.some(({ event }) => event === "engine_unreachable")),
  );
  await engine.serve(10);
  await caughtUp(daemon, [engine]);
  await engine.server.applyFault({ kind: "drop", percent: 50 }, 0);
  await engine.serve(20);
  await engine.server.applyFault({ kind: "drop", percent: 0 }, 0);
  await engine.server.applyFault({ kind: "poison", form: "unknown_event_type" }, 0);
  await engine.serve(5);
  await caughtUp(daemon, [engine], ["exact", "partial", "stale"]);
  const body = Buffer.from(new Uint32Array(64).buffer);
  const headers = { "content-type": "application/octet-stream" };
  expect(
    (await daemon.fetch("/api/v1/match?model=test/model", { method: "POST", headers, body })).status,
  ).toBe(200);
  expect((await daemon.fetch("/api/v1/match?model=none", { method: "POST", headers, body })).status).toBe(
    404,
  );
  text = await (await daemon.fetch("/metrics")).text();
});

afterAll(async () => {
  await daemon.end();
  await engine.stop();
});

/** Samples of a scrape by family: label names of each. */
function samples(): Map<string, Set<string>> {
  const families = new Map<string, Set<string>>();
  for (const line of text.split("\n")) {
    const parsed = /^(aibrix_[a-z0-9_]+?)(_bucket|_sum|_count)?(?:\{(.*)\})? \S+$/.exec(line);
    if (parsed === null) continue;
    const [, base = "", suffix = "", labels = ""] = parsed;
    const isHistogram = CATALOGUE.some(({ kind, name }) => kind === "histogram" && name === base);
    const family = isHistogram ? base : base + suffix;
    const names = [...labels.matchAll(/([a-z_]+)="/g)]
      .map(([, name]) => name ?? "")
      .filter((name) => name !== "le");
    families.set(family, (families.get(family) ?? new Set()).add(names.join(",")));
  }
  return families;
}

test.each(CATALOGUE.map((definition: MetricDefinition) => [definition.name, definition] as const))(
  "%s is emitted, with exactly the labels declared",
  (name, definition) => {
    expect([...(samples().get(name) ?? [])]).toEqual([Object.keys(definition.labels).join(",")]);
    expect(text).toContain(`# TYPE ${name} ${definition.kind}`);
  },
);

test("nothing is emitted under the namespace that the catalogue does not declare", () => {
  const declared = new Set(CATALOGUE.map(({ name }) => name));
  expect([...samples().keys()].filter((name) => !declared.has(name as never))).toEqual([]);
});

test("what a run did can be read off the counters", () => {
  const value = (pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? Number.NaN);
  expect(value(/aibrix_kv_zmq_connections_active\{model="test\/model"\} (\d+)/)).toBe(1);
  expect(
    value(
      /aibrix_kv_events_processed_total\{pod="engine-0",model="test\/model",event_type="BlockStored"\} (\d+)/,
    ),
  ).toBeGreaterThan(10);
  expect(
    value(/aibrix_kv_event_sequence_gap_count\{pod="engine-0",model="test\/model"\} (\d+)/),
  ).toBeGreaterThan(0);
  expect(value(/aibrix_kv_stream_state\{pod="engine-0",model="test\/model",state="live"\} (\d+)/)).toBe(1);
  expect(
    value(/aibrix_kv_zmq_connections_total\{pod="ghost",model="test\/model",status="failed"\} (\d+)/),
  ).toBeGreaterThan(0);
  expect(value(/aibrix_sync_indexer_prefixes\{model="test\/model",lora_id=""\} (\d+)/)).toBeGreaterThan(10);
  expect(
    value(/aibrix_kv_http_requests_total\{method="POST",route="\/api\/v1\/match",status="200"\} (\d+)/),
  ).toBe(1);
  expect(
    value(/aibrix_kv_http_request_errors_total\{route="\/api\/v1\/match",code="unknown_model"\} (\d+)/),
  ).toBe(1);
  expect(value(/process_resident_memory_bytes (\d+)/)).toBeGreaterThan(1e6);
});

const promtool = spawnSync("promtool", ["--version"]).status === 0;

test.skipIf(!promtool)(
  "promtool has nothing to say about our families (skipped where it is not installed)",
  () => {
    const ours = text.slice(0, text.indexOf("# HELP process_"));
    const { status, stdout, stderr } = spawnSync("promtool", ["check", "metrics"], {
      input: ours,
      encoding: "utf8",
    });
    expect(`${stdout}${stderr}`).toBe("");
    expect(status).toBe(0);
  },
);
