/**
 * The cost of a metric's update, next to prom-client's own. The cost of a scrape of many series,
 * and how long it blocks the event loop.
 *
 *     npx pnpm@12.21.0 --filter @kvsync/observability bench
 *
 * 64 label sets of 3 labels are updated in an order drawn once from a seeded generator. So neither
 * side profits from a single hot series.
 * Histogram values are log-uniform over the buckets. Prints the smallest and the median of the rounds; results go to docs/benchmarks.md.
 */
import { cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

import { SCRAPE_LINES_MEASURED } from "@kvsync/observability/kvsync/series-bound";
import { doubling } from "@kvsync/observability/definition";
import { Exposition } from "@kvsync/observability/exposition";
import { counter, gauge, histogram } from "@kvsync/observability/kvsync/namespace";
import type { ScrapeFormat } from "@kvsync/observability/scrape-format";
import { MetricSlots } from "@kvsync/observability/slots";
import { Counter, Gauge, Histogram, Registry } from "prom-client";

const SEED = 20_261_121;
const SETS = 64;
const ORDER = 1024;
const OPERATIONS = 1_000_000;
const ROUNDS = 15;
const WARM_UP_ROUNDS = 3;
const SCRAPED_SERIES = 10_000;
const SCRAPES = 20;

const LABELS = { pod: { maxValues: 4096 }, model: { maxValues: 128 }, event_type: { maxValues: 8 } } as const;
const BUCKETS = doubling(0.00005, 16);

/** Mulberry32: small, seeded, good enough to shuffle a benchmark. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const random = randomNumbers(SEED);
const order = Uint16Array.from({ length: ORDER }, () => Math.floor(random() * SETS));
const values = Float64Array.from({ length: 65_536 }, () => 0.00005 * 2 ** (random() * 16));

function labelsOf(i: number) {
  return { pod: `engine-${i >> 3}`, model: `model-${i & 7}`, event_type: "BlockStored" };
}

interface Row {
  readonly name: string;
  readonly min: number;
  readonly median: number;
}

/** Nanoseconds per call of `body`, which makes `OPERATIONS` of them. */
function measure(name: string, body: () => void): Row {
  const rounds: number[] = [];
  for (let round = 0; round < WARM_UP_ROUNDS + ROUNDS; round++) {
    const from = performance.now();
    body();
    if (round >= WARM_UP_ROUNDS) rounds.push(((performance.now() - from) * 1e6) / OPERATIONS);
  }
  rounds.sort((a, b) => a - b);
  return { name, min: rounds[0]!, median: rounds[ROUNDS >> 1]! };
}

function ours(): Row[] {
  const spec = {
    help: "A benchmark.",
    why: "A benchmark.",
    labels: LABELS,
    preset: "absent until known",
  } as const;
  const counted = counter({ ...spec, name: "bench_events_total", unit: "none" });
  const set = gauge({ ...spec, name: "bench_depth", unit: "none" });
  const observed = histogram({ ...spec, name: "bench_wait_seconds", unit: "seconds", buckets: BUCKETS });
  const slots = new MetricSlots([counted, set, observed], "bench", () => undefined);
  const each = <T>(make: (labels: ReturnType<typeof labelsOf>) => T) =>
    Array.from({ length: SETS }, (_, i) => make(labelsOf(i)));
  const counters = each((labels) => slots.counter(counted, labels));
  const gauges = each((labels) => slots.gauge(set, labels));
  const histograms = each((labels) => slots.histogram(observed, labels));
  return [
    measure("counter, handle", () => {
      for (let i = 0; i < OPERATIONS; i++) counters[order[i & 1023]!]!.inc();
    }),
    measure("gauge, handle", () => {
      for (let i = 0; i < OPERATIONS; i++) gauges[order[i & 1023]!]!.set(i);
    }),
    measure("histogram, handle", () => {
      for (let i = 0; i < OPERATIONS; i++) histograms[order[i & 1023]!]!.observe(values[i & 65_535]!);
    }),
  ];
}

function promClient(): Row[] {
  const registers = [new Registry()];
  const labelNames = Object.keys(LABELS);
  const spec = { help: "A benchmark.", labelNames, registers };
  const counted = new Counter({ ...spec, name: "bench_events_total" });
  const set = new Gauge({ ...spec, name: "bench_depth" });
  const observed = new Histogram({ ...spec, name: "bench_wait_seconds", buckets: [...BUCKETS] });
  const counters = Array.from({ length: SETS }, (_, i) => counted.labels(labelsOf(i)));
  const gauges = Array.from({ length: SETS }, (_, i) => set.labels(labelsOf(i)));
  const histograms = Array.from({ length: SETS }, (_, i) => observed.labels(labelsOf(i)));
  return [
    measure("counter, prom-client's cached child", () => {
      for (let i = 0; i < OPERATIONS; i++) counters[order[i & 1023]!]!.inc();
    }),
    measure("gauge, prom-client's cached child", () => {
      for (let i = 0; i < OPERATIONS; i++) gauges[order[i & 1023]!]!.set(i);
    }),
    measure("histogram, prom-client's cached child", () => {
      for (let i = 0; i < OPERATIONS; i++) histograms[order[i & 1023]!]!.observe(values[i & 65_535]!);
    }),
  ];
}

/** Longest time between two turns of the event loop while something runs. */
async function longestTurn(work: () => Promise<unknown>): Promise<{ totalMs: number; longestMs: number }> {
  let longestMs = 0;
  let last = performance.now();
  let running = true;
  const watch = (): void => {
    const now = performance.now();
    longestMs = Math.max(longestMs, now - last);
    last = now;
    if (running) setImmediate(watch);
  };
  setImmediate(watch);
  await sleep(5);
  longestMs = 0;
  const from = performance.now();
  await work();
  const totalMs = performance.now() - from;
  running = false;
  longestMs = Math.max(longestMs, performance.now() - last);
  return { totalMs, longestMs };
}

function scrapeOpen(series: number): () => Promise<string> {
  return scrapeOurs(series, "openmetrics");
}

function scrapeOurs(series: number, format: ScrapeFormat = "text"): () => Promise<string> {
  const definition = counter({
    name: "bench_series_total",
    unit: "none",
    labels: { ...LABELS, pod: { maxValues: series } },
    preset: "absent until known",
    help: "A benchmark.",
    why: "A benchmark.",
  });
  const exposition = new Exposition([definition]);
  const slots = new MetricSlots([definition], "bench", (announcement) => {
    exposition.accept(announcement);
  });
  for (let i = 0; i < series; i++) slots.counter(definition, { ...labelsOf(i), pod: `engine-${i}` }).inc(i);
  return () => exposition.scrape(format);
}

function scrapePromClient(series: number): () => Promise<string> {
  const registry = new Registry();
  const counted = new Counter({
    name: "bench_series_total",
    help: "A benchmark.",
    labelNames: Object.keys(LABELS),
    registers: [registry],
  });
  for (let i = 0; i < series; i++) counted.labels({ ...labelsOf(i), pod: `engine-${i}` }).inc(i);
  return () => registry.metrics();
}

console.log(
  `machine: ${cpus().length} × ${cpus()[0]?.model ?? "unknown"}; Node ${process.version}; seed ${SEED}`,
);
console.log("command: npx pnpm@12.21.0 --filter @kvsync/observability bench\n");
console.log("| update | min ns | median ns |\n| --- | ---: | ---: |");
for (const { name, min, median } of [...ours(), ...promClient()])
  console.log(`| ${name} | ${min.toFixed(1)} | ${median.toFixed(1)} |`);

console.log("\n| scrape | series | scrapes | median ms | longest turn of the event loop, ms |");
console.log("| --- | ---: | ---: | ---: | ---: |");
for (const [name, prepare, series, scrapes] of [
  ["ours", scrapeOurs, SCRAPED_SERIES, SCRAPES],
  ["ours, as OpenMetrics", scrapeOpen, SCRAPED_SERIES, SCRAPES],
  ["prom-client", scrapePromClient, SCRAPED_SERIES, SCRAPES],
  ["ours, as many as the labels allow", scrapeOurs, SCRAPE_LINES_MEASURED, 3],
] as const) {
  const scrape = prepare(series);
  const lines = (await scrape()).split("\n").filter((line) => line.includes("bench_series_total{")).length;
  if (lines !== series) throw new Error(`${name} rendered ${lines} series`);
  for (let i = 0; i < Math.min(5, scrapes); i++) await scrape();
  const runs = [];
  for (let i = 0; i < scrapes; i++) runs.push(await longestTurn(scrape));
  const totals = runs.map(({ totalMs }) => totalMs).sort((a, b) => a - b);
  const worst = Math.max(...runs.map(({ longestMs }) => longestMs));
  console.log(
    `| ${name} | ${series} | ${scrapes} | ${totals[scrapes >> 1]!.toFixed(1)} | ${worst.toFixed(1)} |`,
  );
}
