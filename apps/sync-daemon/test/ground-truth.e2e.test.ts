/**
 * Metrics against the events that they count. One daemon, one engine, scripted traffic: the test
 * compares every exported family with the script.
 *
 * A new metric is held by its kind, unit and labels alone. Counters are whole and never fall.
 * A ratio is within 0 and 1. Seconds are not longer than the run. Timestamps are near the clock.
 * Closed labels have declared values. Open labels have names that the script registered.
 *
 * `EXACT` lists the families whose values a script can know.
 */
import { freePort } from "@kvsync/engine-sim";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import type { MetricDefinition } from "@kvsync/observability/definition";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { PICKER_METRICS } from "@kvsync/observability/kvsync/picker";
import { afterAll, beforeAll, expect, test } from "vitest";

import { DaemonProcess } from "./daemon-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";
import { PickerTraffic } from "./picker-traffic.ts";

const MODEL = "truth/model";
const POD = "truth-engine";
const LOOKUPS = 25;
const HITS = 15;
const UNKNOWN_MODEL = 4;
const PICKS = 12;
/** Of these, answered by an endpoint of nobody's. */
const STRAYED = 2;
const EMBEDDINGS = 3;
const REFUSED = 2;
/** The engine computes the last block of a prompt again. */
const CACHED_TOKENS = 144;
const PROMPT = Uint32Array.from({ length: 160 }, (_, i) => i + 1);
const NOT_CACHED = Uint32Array.from({ length: 160 }, (_, i) => i + 90_000);

/** A clock and a scheduler of a busy machine are not exact. */
const SLACK_SECONDS = 2;
const YEAR_SECONDS = 366 * 86_400;

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

let engine: TestEngine;
let daemon: DaemonProcess;
const scrapes: Sample[][] = [];
let elapsedSeconds = 0;
let bytesAnswered = 0;
let statusCounts: Readonly<Record<string, number>> = {};

async function scrape(): Promise<void> {
  const text = await (await daemon.fetch("/metrics")).text();
  scrapes.push(
    [...text.matchAll(/^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/gm)].map(
      ([, name = "", labels = "", value = ""]) => ({
        name,
        labels: Object.fromEntries(
          [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label = "", text_ = ""]) => [
            label,
            text_,
          ]),
        ),
        value: Number(value),
      }),
    ),
  );
}

async function match(model: string, tokens: Uint32Array): Promise<number> {
  const response = await daemon.fetch(`/api/v1/match?model=${model}`, {
    method: "POST",
    headers: { "content-type": "application/octet-stream" },
    body: Buffer.from(tokens.buffer),
  });
  bytesAnswered += (await response.arrayBuffer()).byteLength;
  return response.status;
}

/** What a gateway does, up to the moment at which the picker has told of it. */
async function pick(port: number): Promise<void> {
  const traffic = new PickerTraffic(port);
  await until("the picker takes requests", () => traffic.isReady());
  const completion = { model: MODEL, prompt: [...PROMPT] };
  for (let i = 0; i < PICKS; i++)
    await traffic.request(completion, {
      cachedTokens: CACHED_TOKENS,
      ...(i < STRAYED && { servedBy: "10.9.9.9:1" }),
    });
  for (let i = 0; i < EMBEDDINGS; i++)
    await traffic.request({ model: MODEL, input: "text" }, { path: "/v1/embeddings" });
  for (let i = 0; i < REFUSED; i++) await traffic.request(completion, { subset: ["10.9.9.9:1"] });
  await until("checks and gauges are there", async () => {
    await scrape();
    const checked = last(PICKER_METRICS.promptChecks.name, { outcome: "agree" });
    return checked === PICKS - STRAYED && last(PICKER_METRICS.connections.name) === 1;
  });
  traffic.close();
}

beforeAll(async () => {
  const beganMs = performance.now();
  engine = await TestEngine.start({ id: POD, model: MODEL }, 41, { httpPort: 0 });
  const port = await freePort();
  daemon = await DaemonProcess.start({
    engines: [PickerTraffic.entry(engine)],
    picker: { ...PickerTraffic.settings(port), check_sample: 1 },
  });
  await scrape();
  await engine.serve(4);
  engine.engine.submit({ id: 1e6, promptTokens: PROMPT, output: { count: 1, seed: 1 } }, Date.now() / 1000);
  await engine.serve(4);
  await caughtUp(daemon, [engine]);
  await scrape();
  const statuses: number[] = [];
  for (let i = 0; i < LOOKUPS; i++) statuses.push(await match(MODEL, i < HITS ? PROMPT : NOT_CACHED));
  for (let i = 0; i < UNKNOWN_MODEL; i++) statuses.push(await match("nobody/serves", PROMPT));
  statusCounts = {
    200: statuses.filter((s) => s === 200).length,
    404: statuses.filter((s) => s === 404).length,
  };
  await pick(port);
  await scrape();
  await scrape();
  elapsedSeconds = (performance.now() - beganMs) / 1000;
});

afterAll(async () => {
  await daemon.end();
  await engine.stop();
});

/** Sum over the samples of the last scrape that have these labels. */
function last(name: string, labels: Readonly<Record<string, string>> = {}): number {
  const found = (scrapes.at(-1) ?? []).filter(
    (sample) =>
      sample.name === name &&
      Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
  );
  return found.length === 0 ? Number.NaN : found.reduce((sum, { value }) => sum + value, 0);
}

const route = "/api/v1/match";

test("the script did what it says", () => {
  expect(statusCounts).toEqual({ 200: LOOKUPS, 404: UNKNOWN_MODEL });
  expect(engine.engine.lastSequenceNumber).toBeGreaterThan(5);
});

const EXACT: readonly [what: string, shown: () => number, happened: () => number][] = [
  [
    "answered requests",
    () => last(`${NAMESPACE}_kv_http_requests_total`, { route, status: "200" }),
    () => LOOKUPS,
  ],
  [
    "rejected requests",
    () => last(`${NAMESPACE}_kv_http_requests_total`, { route, status: "404" }),
    () => UNKNOWN_MODEL,
  ],
  [
    "errors by code",
    () => last(`${NAMESPACE}_kv_http_request_errors_total`, { route, code: "unknown_model" }),
    () => UNKNOWN_MODEL,
  ],
  [
    "timed requests",
    () => last(`${NAMESPACE}_kv_http_request_duration_seconds_count`, { route }),
    () => LOOKUPS + UNKNOWN_MODEL,
  ],
  [
    "lookups by decision",
    () => last(`${NAMESPACE}_prefix_cache_lookups_total`, { decision: "exact" }),
    () => LOOKUPS,
  ],
  ["fallbacks", () => last(`${NAMESPACE}_prefix_cache_fallbacks_total`), () => 0],
  [
    "routing decisions timed",
    () => last(`${NAMESPACE}_prefix_cache_routing_latency_seconds_count`),
    () => LOOKUPS,
  ],
  ["lookups timed", () => last(`${NAMESPACE}_kv_stream_lookup_latency_seconds_count`), () => LOOKUPS],
  [
    "match operations timed",
    () => last(`${NAMESPACE}_sync_indexer_operation_duration_seconds_count`),
    () => LOOKUPS,
  ],
  [
    "match operations",
    () => last(`${NAMESPACE}_sync_indexer_operations_total`, { operation: "match", status: "ok" }),
    () => LOOKUPS,
  ],
  ["match shares", () => last(`${NAMESPACE}_sync_indexer_match_percentage_count`), () => LOOKUPS],
  ["per cents found", () => last(`${NAMESPACE}_sync_indexer_match_percentage_sum`), () => 100 * HITS],
  [
    "rolling hit rate",
    () => Number(last(`${NAMESPACE}_prefix_cache_hit_rate`).toFixed(6)),
    () => HITS / LOOKUPS,
  ],
  [
    "messages taken",
    () => last(`${NAMESPACE}_kv_stream_events_total`, { lane: "live" }),
    () => engine.engine.lastSequenceNumber + 1,
  ],
  [
    "messages applied",
    () => last(`${NAMESPACE}_kv_stream_batches_processed_total`),
    () => last(`${NAMESPACE}_kv_stream_events_total`),
  ],
  [
    "messages by size",
    () => last(`${NAMESPACE}_kv_stream_batch_size_count`),
    () => engine.engine.lastSequenceNumber + 1,
  ],
  [
    "messages timed",
    () => last(`${NAMESPACE}_kv_stream_event_latency_seconds_count`),
    () => engine.engine.lastSequenceNumber + 1,
  ],
  [
    "messages waited",
    () => last(`${NAMESPACE}_kv_stream_queue_wait_seconds_count`, { lane: "live" }),
    () => engine.engine.lastSequenceNumber + 1,
  ],
  [
    "events in messages",
    () => last(`${NAMESPACE}_kv_stream_batch_size_sum`),
    () => last(`${NAMESPACE}_kv_events_received_total`),
  ],
  [
    "events applied",
    () => last(`${NAMESPACE}_kv_events_processed_total`),
    () => last(`${NAMESPACE}_kv_events_received_total`),
  ],
  [
    "blocks held",
    () => last(`${NAMESPACE}_kv_stream_blocks`),
    () => new Set(engine.engine.contents().prefixHashes).size / 2,
  ],
  [
    "position",
    () => last(`${NAMESPACE}_kv_stream_last_sequence_number`),
    () => engine.engine.lastSequenceNumber,
  ],
  ["connections", () => last(`${NAMESPACE}_kv_zmq_connections_active`), () => 1],
  [
    "connection attempts",
    () => last(`${NAMESPACE}_kv_zmq_connections_total`, { status: "connected" }),
    () => 1,
  ],
  ["failed attempts", () => last(`${NAMESPACE}_kv_zmq_connections_total`, { status: "failed" }), () => 0],
  ["streams that are exact", () => last(`${NAMESPACE}_kv_stream_trust`, { trust: "exact" }), () => 1],
  ["streams that are live", () => last(`${NAMESPACE}_kv_stream_state`, { state: "live" }), () => 1],
  ["sessions", () => last(`${NAMESPACE}_kv_stream_active_sessions`), () => 1],
  ["gaps", () => last(`${NAMESPACE}_kv_event_sequence_gap_count`), () => 0],
  ["models in sync", () => last(`${NAMESPACE}_prefix_cache_sync_status`), () => 1],
  [
    "picks by the index",
    () => last(PICKER_METRICS.requests.name, { decision: "index", reason: "none" }),
    () => PICKS,
  ],
  [
    "picks of requests without a prompt",
    () => last(PICKER_METRICS.requests.name, { decision: "load", reason: "path" }),
    () => EMBEDDINGS,
  ],
  [
    "requests that were refused",
    () => last(PICKER_METRICS.requests.name, { decision: "immediate", reason: "subset_empty" }),
    () => REFUSED,
  ],
  ["requests in all", () => last(PICKER_METRICS.requests.name), () => PICKS + EMBEDDINGS + REFUSED],
  [
    "decisions timed",
    () => last(`${PICKER_METRICS.decisionDuration.name}_count`),
    () => PICKS + EMBEDDINGS + REFUSED,
  ],
  [
    "predictions that came true",
    () => last(PICKER_METRICS.predictions.name, { outcome: "agree" }),
    () => PICKS,
  ],
  ["predictions in all", () => last(PICKER_METRICS.predictions.name), () => PICKS],
  ["tokens predicted", () => last(PICKER_METRICS.predictedTokens.name), () => PICKS * PROMPT.length],
  ["tokens delivered", () => last(PICKER_METRICS.deliveredTokens.name), () => PICKS * CACHED_TOKENS],
  ["tokens reported", () => last(PICKER_METRICS.reportedTokens.name), () => PICKS * CACHED_TOKENS],
  ["prompts checked", () => last(PICKER_METRICS.promptChecks.name), () => PICKS - STRAYED],
  ["requests served elsewhere", () => last(PICKER_METRICS.servedElsewhere.name), () => STRAYED],
  ["first tokens", () => last(`${PICKER_METRICS.firstToken.name}_count`), () => PICKS + EMBEDDINGS],
  ["requests timed", () => last(`${PICKER_METRICS.requestDuration.name}_count`), () => PICKS + EMBEDDINGS],
  ["chunks of responses", () => last(PICKER_METRICS.responseChunks.name), () => PICKS + EMBEDDINGS],
  [
    "streams that are complete",
    () => last(PICKER_METRICS.streamEnds.name, { end: "complete" }),
    () => PICKS + EMBEDDINGS,
  ],
  ["streams that ended", () => last(PICKER_METRICS.streamEnds.name), () => PICKS + EMBEDDINGS + REFUSED],
  ["faults of the gateway", () => last(PICKER_METRICS.faults.name), () => 0],
  ["open requests", () => last(PICKER_METRICS.streams.name), () => 0],
  ["booked requests", () => last(PICKER_METRICS.bookings.name), () => 0],
  ["bytes that wait", () => last(PICKER_METRICS.buffered.name), () => 0],
  ["load of the endpoint", () => last(PICKER_METRICS.endpointLoad.name), () => 0],
  ["endpoints", () => last(PICKER_METRICS.endpoints.name, { state: "eligible" }), () => 1],
  ["pages that are no engine's", () => last(PICKER_METRICS.scrapes.name, { outcome: "no_names" }), () => 0],
  [
    "bytes of answers",
    () => last(`${NAMESPACE}_kv_http_response_size_bytes_sum`, { route }),
    () => bytesAnswered,
  ],
];

test.each(EXACT)("%s are counted as they happened", (_, shown, happened) => {
  expect(shown()).toBe(happened());
});

/** The samples of a family over all scrapes. */
function samplesOf({ name, kind }: MetricDefinition): Sample[] {
  const names = kind === "histogram" ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name];
  return scrapes.flat().filter((sample) => names.includes(sample.name));
}

const FAMILIES = CATALOGUE.map((definition) => [definition.name, definition] as const);

test.each(FAMILIES)("%s has values that its kind and unit allow", (_, definition) => {
  const { name, kind, unit } = definition;
  for (const sample of samplesOf(definition)) {
    const where = `${sample.name} ${JSON.stringify(sample.labels)}`;
    const isSum = sample.name === `${name}_sum`;
    expect(Number.isFinite(sample.value), where).toBe(true);
    if (unit !== "timestamp") expect(sample.value, where).toBeGreaterThanOrEqual(0);
    const counts = kind !== "gauge" && !isSum;
    if (counts && (unit === "none" || kind === "histogram"))
      expect(Number.isInteger(sample.value), where).toBe(true);
    if (unit === "ratio" && kind === "gauge") expect(sample.value, where).toBeLessThanOrEqual(1);
    if (unit === "bytes" && kind === "gauge") expect(Number.isInteger(sample.value), where).toBe(true);
    if (unit === "seconds" && kind === "gauge" && !/_limit_/.test(name))
      expect(sample.value, where).toBeLessThanOrEqual(elapsedSeconds + SLACK_SECONDS);
    if (unit === "timestamp") {
      const distance = sample.value - Date.now() / 1000;
      expect(distance, where).toBeGreaterThan(-elapsedSeconds - 60);
      expect(distance, where).toBeLessThan(YEAR_SECONDS);
    }
    if (isSum) expectSum(definition, sample, where);
  }
});

test.each(FAMILIES)("%s never falls if it counts, and has labels that exist", (_, definition) => {
  const seen = new Map<string, number>();
  for (const { name, labels, value } of samplesOf(definition)) {
    const series = `${name} ${JSON.stringify(labels)}`;
    if (definition.kind !== "gauge") expect(value, series).toBeGreaterThanOrEqual(seen.get(series) ?? 0);
    seen.set(series, value);
    for (const [label, domain] of Object.entries(definition.labels))
      expectLabel(label, domain, labels[label] ?? "");
  }
});

/** A sum of seconds is at most the run for each series' observers; one of per cents is within 0 … 100 for each. */
function expectSum({ name, unit }: MetricDefinition, { labels, value }: Sample, where: string): void {
  const count = last(`${name}_count`, labels);
  if (unit === "percent") expect(value, where).toBeLessThanOrEqual(100 * count);
  // Propagation and waits of messages overlap: each alone is shorter than the run.
  if (unit === "seconds")
    expect(value, where).toBeLessThanOrEqual((elapsedSeconds + SLACK_SECONDS) * Math.max(1, count));
  if (unit === "seconds" && count > 0 && !/propagation|wait|latency/.test(name))
    expect(value, where).toBeLessThanOrEqual(elapsedSeconds + SLACK_SECONDS);
}

/** Open labels have the names that the script registered, or those of a part of the daemon. */
const OPEN: Readonly<Record<string, RegExp>> = {
  pod: new RegExp(`^${POD}$`),
  model: new RegExp(`^${MODEL}$`),
  worker: /^(?:ingest-)?\d+$/,
  endpoint: /^127\.0\.0\.1:\d+$/,
  tokenizer: /^default$/,
  thread: /^(?:main|picker|(?:ingest-)?\d+)$/,
  dp_rank: /^\d+$/,
  lora_id: /^$/,
  route: /^(?:\/[\w:/{}*-]*|unmatched|other)$/,
  status: /^\d{3}$/,
  code: /^[a-z_]+$/,
  check: /^[a-z0-9_]+$/,
  version: /^\d/,
  node_version: /^v\d/,
  hash: /^[0-9a-f]{12}$/,
};

function expectLabel(label: string, domain: MetricDefinition["labels"][string], value: string): void {
  if (!("maxValues" in domain)) {
    expect(domain).toContain(value);
    return;
  }
  expect(OPEN, `a pattern for the open label ${label}`).toHaveProperty(label);
  expect(value, label).toMatch(OPEN[label] ?? /^$/);
}

test("every exported name is a family of the catalogue or of the metrics library", () => {
  const known = new Set(
    CATALOGUE.flatMap(({ name, kind }) =>
      kind === "histogram" ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
    ),
  );
  const exported = new Set(scrapes.flat().map(({ name }) => name));
  expect([...exported].filter((name) => !known.has(name) && !/^(?:process|nodejs)_/.test(name))).toEqual([]);
});
