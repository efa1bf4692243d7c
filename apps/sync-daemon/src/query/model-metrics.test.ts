/** Metrics of models that come and go, through the real exposition. */
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { Exposition } from "@kvsync/observability/exposition";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { MetricSlots } from "@kvsync/observability/slots";
import { beforeEach, expect, test } from "vitest";

import { ModelMetrics } from "./model-metrics.ts";

const MODELS_MAX = 128;

let served: Set<string>;
let metrics: ModelMetrics;
let exposition: Exposition;

beforeEach(() => {
  served = new Set();
  exposition = new Exposition(CATALOGUE);
  const slots = new MetricSlots(CATALOGUE, "main", (announcement) => {
    exposition.accept(announcement);
  });
  metrics = new ModelMetrics(slots, (model) => served.has(model));
  exposition.beforeScrape(() => {
    metrics.releaseGone();
  });
});

/** A lookup of each of these models, all served. */
function ask(models: readonly string[]): void {
  for (const model of models) {
    served.add(model);
    metrics.of(model).answered(0.001, 0.001);
    metrics.of(model).hit(1);
  }
}

/** Models with a lookup counted, by name. */
async function counted(): Promise<string[]> {
  const text = await exposition.scrape();
  const found = text.matchAll(
    new RegExp(String.raw`^${NAMESPACE}_prefix_cache_hit_rate\{model="([^"]*)"\} 1$`, "gm"),
  );
  return [...found].map(([, model = ""]) => model).sort();
}

const names = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}${i}`).sort();

test("Q1: a model that no engine serves any more has no series of any family after the next scrape", async () => {
  ask(["old", "new"]);
  expect(await exposition.scrape()).toContain('model="old"');
  served.delete("old");
  const text = await exposition.scrape();
  const kept = text.split("\n").filter((line) => line.includes('model="old"'));
  expect(kept, "handles that ModelHandles.all() does not name").toEqual([]);
  expect(text).toContain('model="new"');
});

test("Q1: models that come and go without a scrape in between take no label value from those that come", async () => {
  for (let generation = 0; generation < 4; generation += 1) {
    served.clear();
    ask(names(`g${generation}-`, 100));
  }
  expect(await counted()).toEqual(names("g3-", 100));
});

test("Q2: a model beyond the label's bound counts as other until there is room, and then has its own series", async () => {
  ask(names("m", MODELS_MAX));
  ask(["late"]);
  expect(await counted()).not.toContain("late");
  expect(await counted()).toContain("other");
  served.delete("m0");
  await exposition.scrape();
  ask(["late"]);
  const models = await counted();
  expect(models).toContain("late");
  expect(models).not.toContain("other");
  expect(models).toHaveLength(MODELS_MAX);
});

test("a lookup is counted by its decision, and a fallback by its reason", async () => {
  served.add("m");
  const ranks = { exact: 0, partial: 0, stale: 0, unknown: 0 };
  const handles = metrics.of("m");
  handles.decided({ decision: "exact", reason: null, ranks: { ...ranks, exact: 1 } });
  handles.decided({ decision: "fallback", reason: null, ranks: { ...ranks, unknown: 2 } });
  handles.decided({ decision: "fallback", reason: null, ranks });
  handles.decided({ decision: "fallback", reason: "circuit_open", ranks: { ...ranks, exact: 1 } });
  const lines = (await exposition.scrape()).split("\n");
  const of = (family: string) =>
    lines.filter(
      (line) => line.startsWith(`${NAMESPACE}_prefix_cache_${family}_total{`) && !line.endsWith(" 0"),
    );
  expect(of("lookups")).toEqual([
    `${NAMESPACE}_prefix_cache_lookups_total{model="m",decision="exact"} 1`,
    `${NAMESPACE}_prefix_cache_lookups_total{model="m",decision="fallback"} 3`,
  ]);
  expect(of("fallbacks")).toEqual([
    `${NAMESPACE}_prefix_cache_fallbacks_total{model="m",reason="no_ranks"} 1`,
    `${NAMESPACE}_prefix_cache_fallbacks_total{model="m",reason="ranks_unknown"} 1`,
    `${NAMESPACE}_prefix_cache_fallbacks_total{model="m",reason="circuit_open"} 1`,
  ]);
});
