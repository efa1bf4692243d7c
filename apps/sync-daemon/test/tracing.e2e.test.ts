/**
 * Traces of real daemons, received by a collector. The tests cover names, parents and attributes of
 * spans, and the caller's context continued and passed on. They also cover the loss of spans while
 * the collector is away.
 * S1 and S2 are of tracing.ts.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { KvsyncClient } from "@kvsync/client";
import { freePort } from "@kvsync/engine-sim";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { type SpanName, spanOf, SPANS } from "@kvsync/observability/kvsync/spans";
import { attributeFaults } from "@kvsync/observability/signals/span";
import { afterAll, beforeAll, expect, test } from "vitest";

import { DaemonProcess } from "./daemon-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";
import { PickerTraffic } from "./picker-traffic.ts";
import { OtlpReceiver, type ReceivedSpan } from "./otlp-receiver.ts";
import { byByte, status, TokenizerServer } from "./tokenizer-server.ts";

const MODEL = "demo/model";
const JSON_HEADERS = { "content-type": "application/json" };

let collector: OtlpReceiver;
let tokenizer: TokenizerServer;
let engine: TestEngine;
let daemon: DaemonProcess;
let pickerPort: number;
const folder = mkdtempSync(join(tmpdir(), "kvsync-tracing-"));

beforeAll(async () => {
  collector = await OtlpReceiver.start();
  tokenizer = await TokenizerServer.start(byByte);
  engine = await TestEngine.start({ id: "engine-0", model: MODEL }, 1, { httpPort: 0 });
  pickerPort = await freePort();
  daemon = await DaemonProcess.start({
    engines: [PickerTraffic.entry(engine)],
    picker: PickerTraffic.settings(pickerPort),
    sync: { tokenizer_endpoint: tokenizer.endpoint },
    snapshot: { directory: folder, interval_seconds: 3600 },
    tracing: { endpoint: collector.endpoint, ratio: 0, batch_ratio: 1 },
    log: { level: 2 },
  });
  await engine.serve(3);
  await caughtUp(daemon, [engine]);
});

afterAll(async () => {
  await daemon.end();
  await Promise.all([engine.stop(), tokenizer.stop(), collector.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

function isDeclared(name: string): name is SpanName {
  return Object.hasOwn(SPANS, name);
}

/** A trace of a caller: its header, with the decision to trace or not. */
function caller(isSampled = true): { traceId: string; spanId: string; headers: Record<string, string> } {
  const hex = (length: number): string =>
    Array.from({ length }, () => Math.floor(Math.random() * 15 + 1).toString(16)).join("");
  const [traceId, spanId] = [hex(32), hex(16)];
  return { traceId, spanId, headers: { traceparent: `00-${traceId}-${spanId}-0${isSampled ? 1 : 0}` } };
}

async function match(body: object, headers: Record<string, string>): Promise<Response> {
  const response = await daemon.fetch("/api/v1/match", {
    method: "POST",
    headers: { ...JSON_HEADERS, ...headers },
    body: JSON.stringify({ model: MODEL, ...body }),
  });
  await response.clone().arrayBuffer();
  return response;
}

/** The spans of a trace, once its request has been received: children end before, and are sent no later. */
async function traceOf(traceId: string): Promise<Map<string, ReceivedSpan>> {
  return until(`trace ${traceId}`, () => {
    const spans = collector.spans.filter((span) => span.traceId === traceId);
    const isWhole = spans.some(({ kind }) => kind === "server");
    return Promise.resolve(isWhole ? new Map(spans.map((span) => [span.name, span])) : null);
  });
}

test("a lookup is a child of its request, which is a child of the caller's span (S1, S2)", async () => {
  const { traceId, spanId, headers } = caller();
  expect((await match({ token_ids: Array.from({ length: 40 }, (_, i) => i) }, headers)).status).toBe(200);
  const trace = await traceOf(traceId);
  expect([...trace.keys()].sort()).toEqual(["POST /api/v1/match", "lookup"]);
  const request = trace.get("POST /api/v1/match");
  expect(request).toMatchObject({
    kind: "server",
    parentSpanId: spanId,
    isFailed: false,
    attributes: {
      "http.request.method": "POST",
      "http.route": "/api/v1/match",
      "http.response.status_code": 200,
    },
    resource: {
      "service.name": "kvsync",
      "service.version": expect.any(String) as string,
      "service.instance.id": expect.stringContaining(`:${daemon.pid}`) as string,
    },
  });
  expect(trace.get("lookup")).toMatchObject({ kind: "internal", parentSpanId: request?.spanId });
  expect(trace.get("lookup")?.attributes).toEqual({
    "kvsync.model": MODEL,
    "kvsync.input": "token_ids",
    "kvsync.input_count": 40,
    "kvsync.blocks": 2,
    "kvsync.matched_blocks": 0,
    "kvsync.decision": "exact",
    "kvsync.trust": "exact",
  });
  expect(trace.get("lookup")?.seconds).toBeLessThanOrEqual(request?.seconds ?? 0);
});

test("a lookup by prompt has its tokenization, and the tokenizer is called within the trace", async () => {
  const { traceId, headers } = caller();
  const prompt = `a prompt that nobody has asked for before: ${traceId}`;
  expect((await match({ prompt }, headers)).status).toBe(200);
  const trace = await traceOf(traceId);
  expect([...trace.keys()].sort()).toEqual(["POST", "POST /api/v1/match", "lookup", "tokenize"]);
  const [request, tokenize, call] = ["POST /api/v1/match", "tokenize", "POST"].map((name) => trace.get(name));
  expect(tokenize).toMatchObject({ parentSpanId: request?.spanId, isFailed: false });
  expect(tokenize?.attributes).toEqual({ "kvsync.input_count": prompt.length });
  expect(call).toMatchObject({ kind: "client", parentSpanId: tokenize?.spanId });
  expect(call?.attributes).toEqual({
    "http.request.method": "POST",
    "server.address": "127.0.0.1",
    "server.port": Number(new URL(tokenizer.endpoint).port),
  });
  expect(trace.get("lookup")?.parentSpanId).toBe(request?.spanId);
  expect(tokenizer.traceparents.at(-1)).toBe(`00-${traceId}-${call?.spanId ?? ""}-01`);
});

test("a gateway's client hands its trace on", async () => {
  const { traceId, spanId, headers } = caller();
  const client = new KvsyncClient({ url: daemon.url, timeoutMs: 5000 });
  expect(await client.match({ model: MODEL, tokenIds: [1, 2, 3] }, { headers })).toMatchObject({
    model: MODEL,
  });
  expect((await traceOf(traceId)).get("POST /api/v1/match")?.parentSpanId).toBe(spanId);
});

test("a tokenizer that fails marks its spans with the reason, and each attempt is one", async () => {
  tokenizer.answers = [status(503), status(503), byByte];
  const { traceId, headers } = caller();
  expect(await (await match({ prompt: traceId }, headers)).json()).toMatchObject({ decision: "fallback" });
  const trace = await traceOf(traceId);
  expect(trace.get("tokenize")).toMatchObject({
    isFailed: true,
    attributes: { "error.type": "tokenizer_unavailable" },
  });
  const calls = collector.spans.filter((span) => span.traceId === traceId && span.name === "POST");
  expect(calls.map(({ isFailed }) => isFailed)).toEqual([true, true]);
});

test("a request that is refused says its status, and nothing of what was sent", async () => {
  const { traceId, headers } = caller();
  expect((await match({ model: "nobody's", token_ids: [1] }, headers)).status).toBe(404);
  const trace = await traceOf(traceId);
  expect(trace.get("POST /api/v1/match")?.attributes["http.response.status_code"]).toBe(404);
  expect(trace.get("lookup")).toMatchObject({ isFailed: true });
  expect(trace.get("lookup")?.attributes).toEqual({ "error.type": "unknown_model" });
});

test("who is not traced by its caller is not traced here, and hands that on (S1)", async () => {
  const { traceId, headers } = caller(false);
  await match({ prompt: `not traced: ${traceId}` }, headers);
  expect(tokenizer.traceparents.at(-1)).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`));
  // A later trace that has arrived shows that this one would have.
  const later = caller();
  await match({ token_ids: [1] }, later.headers);
  await traceOf(later.traceId);
  expect(collector.spans.filter((span) => span.traceId === traceId)).toEqual([]);
});

test("probes and scrapes are not traced, whatever their caller says", async () => {
  const { traceId, headers } = caller();
  for (const path of ["/livez", "/readyz", "/metrics", "/health"]) {
    await (await daemon.fetch(path, { headers })).arrayBuffer();
  }
  const later = caller();
  await match({ token_ids: [1] }, later.headers);
  await traceOf(later.traceId);
  expect(collector.spans.filter((span) => span.traceId === traceId)).toEqual([]);
});

test("lines of the log about a request have its trace", async () => {
  const { traceId, headers } = caller();
  await match({ token_ids: [1] }, headers);
  const trace = await traceOf(traceId);
  const line = await until("the line", () =>
    Promise.resolve(daemon.log.find((entry) => entry["trace_id"] === traceId) ?? null),
  );
  expect(line).toMatchObject({ event: "request", span_id: trace.get("POST /api/v1/match")?.spanId });
});

test("messages are traced where they are applied, and replays from asking to their end, whatever the ratio (S1, S2)", async () => {
  await engine.server.applyFault({ kind: "drop", percent: 60 }, 0);
  await engine.serve(20);
  await engine.server.applyFault({ kind: "drop", percent: 0 }, 0);
  await engine.serve(5);
  await caughtUp(daemon, [engine]);
  const replay = await until("a replay's span", () =>
    Promise.resolve(
      collector.named("ingest.replay").find(({ attributes }) => Number(attributes["kvsync.messages"]) > 1) ??
        null,
    ),
  );
  const names = { "kvsync.pod": "engine-0", "kvsync.model": MODEL, "kvsync.dp_rank": 0 };
  expect(replay).toMatchObject({ kind: "internal", parentSpanId: null, isFailed: false });
  expect(replay.attributes).toEqual({
    ...names,
    "kvsync.from_sequence_number": expect.any(Number) as number,
    "kvsync.messages": expect.any(Number) as number,
    "kvsync.status": "completed",
  });
  expect(replay.seconds).toBeGreaterThan(0);
  const applied = collector.named("ingest.apply");
  expect(new Set(applied.map(({ attributes }) => attributes["kvsync.lane"]))).toEqual(
    new Set(["live", "replay"]),
  );
  for (const { parentSpanId, attributes } of applied) {
    expect(parentSpanId).toBeNull();
    expect(attributes).toEqual({
      ...names,
      "kvsync.lane": expect.any(String) as string,
      "kvsync.queue_wait_seconds": expect.any(Number) as number,
      "kvsync.sequence_number": expect.any(Number) as number,
      "kvsync.events": expect.any(Number) as number,
    });
  }
});

test("a pick is a child of the gateway's span, with its tokenization and its lookup (S1)", async () => {
  const { traceId, spanId, headers } = caller();
  const traffic = new PickerTraffic(pickerPort);
  await until("the picker takes requests", () => traffic.isReady());
  const prompt = "a prompt that no span may have";
  const told = await PickerTraffic.told(
    traffic.open(JSON.stringify({ model: MODEL, prompt }), { headers }),
    "traceparent",
  );
  const untraced = traffic.open(JSON.stringify({ model: MODEL, prompt }), { headers: caller(false).headers });
  expect(await PickerTraffic.told(untraced, "traceparent")).toBe("");
  traffic.close();
  const spans = await until("the pick's span", () => {
    const found = collector.spans.filter((span) => span.traceId === traceId);
    return Promise.resolve(found.some(({ name }) => name === "pick") ? found : null);
  });
  const [pick] = spans.filter(({ name }) => name === "pick");
  expect(pick).toMatchObject({ parentSpanId: spanId, kind: "internal", isFailed: false });
  // The engine's span becomes a child of the pick.
  expect(told).toBe(`00-${traceId}-${pick?.spanId ?? ""}-01`);
  expect(pick?.attributes).toMatchObject({
    "kvsync.pod": "engine-0",
    "kvsync.model": MODEL,
    "kvsync.decision": "index",
    "kvsync.reason": "none",
    "kvsync.input_count": prompt.length,
    "kvsync.matched_tokens": 0,
  });
  const children = spans.filter(({ parentSpanId }) => parentSpanId === pick?.spanId);
  expect(new Set(children.map(({ name }) => name))).toEqual(new Set(["tokenize", "pick.lookup"]));
  expect(JSON.stringify(spans)).not.toContain(prompt);
  expect(collector.named("pick")).toHaveLength(1);
});

test("a snapshot given to a sibling is one trace through both daemons, whatever the ratio (S1)", async () => {
  const sibling = await DaemonProcess.start({
    engines: [engine.entry],
    snapshot: { warm_from: daemon.url },
    tracing: { endpoint: collector.endpoint, ratio: 0 },
  });
  try {
    const found = await until("the sibling's span", () =>
      Promise.resolve(
        collector
          .named("snapshot.find")
          .find(({ attributes }) => attributes["kvsync.origin"] === "sibling") ?? null,
      ),
    );
    const trace = await traceOf(found.traceId);
    await until("the snapshot's span", () =>
      Promise.resolve(collector.named("snapshot.write").some(({ traceId }) => traceId === found.traceId)),
    );
    const [call, request] = [trace.get("GET"), trace.get("GET /api/v1/snapshot")];
    const written = collector.named("snapshot.write").find(({ traceId }) => traceId === found.traceId);
    expect(call).toMatchObject({ kind: "client", parentSpanId: found.spanId });
    expect(request).toMatchObject({ kind: "server", parentSpanId: call?.spanId });
    expect(written).toMatchObject({ parentSpanId: request?.spanId, isFailed: false });
    expect(written?.attributes["kvsync.streams"]).toBe(1);
    expect(request?.resource["service.instance.id"]).not.toBe(found.resource["service.instance.id"]);
  } finally {
    await sibling.end();
  }
});

test("every span that was received is declared, with its kind and exactly its attributes, and every declared span was received", () => {
  const declaredName = ({ kind, name }: ReceivedSpan): string => (kind === "server" ? "request" : name);
  const faults = collector.spans.flatMap((span) => {
    const name = declaredName(span);
    if (!isDeclared(name)) return [`${name} is not declared`];
    const definition = spanOf(name);
    const kindFault = definition.kind === span.kind ? [] : [`${name} is of the kind ${span.kind}`];
    return [
      ...kindFault,
      ...attributeFaults(definition, span.attributes).map((fault) => `${name}: ${fault}`),
    ];
  });
  expect(faults).toEqual([]);
  expect(new Set(collector.spans.map(declaredName))).toEqual(new Set(Object.keys(SPANS)));
});

test("a collector that refuses costs spans, which are counted, and one line; and is used again when it takes them", async () => {
  const outcome = async (name: string): Promise<number> => {
    const text = await (await daemon.fetch("/metrics")).text();
    return Number(
      new RegExp(`${NAMESPACE}_kv_trace_spans_total\\{outcome="${name}"\\} (\\d+)`).exec(text)?.[1],
    );
  };
  const told = (event: string): number => daemon.log.filter((line) => line["event"] === event).length;
  expect(await outcome("exported")).toBeGreaterThan(0);
  collector.status = 400;
  const lost = caller();
  await match({ token_ids: [1] }, lost.headers);
  await until("the loss is counted", async () => (await outcome("export_failed")) > 0);
  await match({ token_ids: [1] }, caller().headers);
  await until("it is counted again", async () => (await outcome("export_failed")) > 2);
  collector.status = 200;
  const later = caller();
  await match({ token_ids: [1] }, later.headers);
  await traceOf(later.traceId);
  await until("it is told", () => Promise.resolve(told("traces_delivered") === 1));
  expect(told("traces_not_delivered")).toBe(1);
  expect(daemon.log.find(({ event }) => event === "traces_not_delivered")).toMatchObject({
    collector: collector.endpoint,
    reason: "400",
  });
  expect(collector.spans.some(({ traceId }) => traceId === lost.traceId)).toBe(false);
});

test("what waits is sent before the process ends", async () => {
  const short = await DaemonProcess.start({ tracing: { endpoint: collector.endpoint } });
  const { traceId, headers } = caller();
  await (await short.fetch("/api/v1/engines", { headers })).arrayBuffer();
  expect((await short.end()).code).toBe(0);
  expect(collector.spans.filter((span) => span.traceId === traceId).map(({ name }) => name)).toEqual([
    "GET /api/v1/engines",
  ]);
});
