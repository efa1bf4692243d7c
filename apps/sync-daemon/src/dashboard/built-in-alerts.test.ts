/** The daemon's own alerts, over real slots. The rules and the evaluator have their own proofs in packages/observability. */
import { openLabel } from "@kvsync/observability/definition";
import { Exposition } from "@kvsync/observability/exposition";
import { builtInRules } from "@kvsync/observability/kvsync/built-in-rules";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { DISCOVERY_METRICS } from "@kvsync/observability/kvsync/discovery";
import { INGEST_METRICS } from "@kvsync/observability/kvsync/ingest";
import { MetricSlots } from "@kvsync/observability/slots";
import { expect, test } from "vitest";

import { BuiltInAlerts } from "./built-in-alerts.ts";
import { cpuMs, heldBytes, median } from "./testing/cost.ts";
import { rankMetrics } from "./testing/rank-metrics.ts";

const RULES = builtInRules();
const START_MS = 1_764_371_000_000;

function board() {
  const exposition = new Exposition(CATALOGUE);
  const slots = new MetricSlots(CATALOGUE, "main", (announcement) => {
    exposition.accept(announcement);
  });
  let nowMs = START_MS;
  const alerts = new BuiltInAlerts({ rules: RULES, exposition, instance: "here:1", now: () => nowMs });
  const after = async (seconds: number): Promise<void> => {
    nowMs += seconds * 1000;
    await alerts.sample();
  };
  const stateOf = (name: string) => alerts.standings().find(({ rule }) => rule.name === name);
  return { exposition, slots, alerts, after, stateOf };
}

test("B2: without a viewer a condition of the daemon's own metrics is pending, and fires once its time is over", async () => {
  const { slots, after, stateOf } = board();
  const valid = slots.gauge(INGEST_METRICS.configurationValid, {});
  valid.set(0);
  await after(15);
  expect(stateOf("KVSyncConfigurationError")).toMatchObject({
    state: "pending",
    alerts: [{ labels: { job: "kvsync-daemon", instance: "here:1" }, value: 0 }],
  });
  for (let i = 0; i < 4; i++) await after(15);
  const fired = stateOf("KVSyncConfigurationError");
  expect(fired?.state).toBe("firing");
  expect(fired?.alerts[0]?.sinceSeconds).toBe(START_MS / 1000 + 15);
  expect(fired?.alerts[0]?.description).toContain("here:1");
  valid.set(1);
  await after(15);
  expect(stateOf("KVSyncConfigurationError")?.state).toBe("inactive");
});

test("B1: sampled values are those of a scrape, buckets, sum and count of histograms too", async () => {
  const { exposition, slots } = board();
  const gaps = slots.histogram(INGEST_METRICS.sequenceGap, {
    pod: openLabel("pod", "p"),
    model: openLabel("model", "m"),
  });
  for (const value of [1, 3, 40]) gaps.observe(value);
  slots.gauge(DISCOVERY_METRICS.age, { source: "file" }).set(7);
  const text = await exposition.scrape();
  const name = INGEST_METRICS.sequenceGap.name;
  const lines = text.split("\n").filter((line) => line.startsWith(`${name}_`));
  const seen: string[] = [];
  await exposition.sample(new Set([name, DISCOVERY_METRICS.age.name]), (series) => {
    const labels = Object.entries(series.identity.labels()).map(([label, value]) => `${label}="${value}"`);
    if (series.kind !== "histogram") {
      seen.push(`${series.name}{${labels.join(",")}} ${series.values()[0] ?? ""}`);
      return;
    }
    for (const [i, bound] of [...series.bounds, "+Inf"].entries())
      seen.push(`${name}_bucket{${[...labels, `le="${bound}"`].join(",")}} ${series.values()[i] ?? ""}`);
    seen.push(`${name}_sum{${labels.join(",")}} ${series.values().at(-1) ?? ""}`);
    seen.push(`${name}_count{${labels.join(",")}} ${series.values()[series.bounds.length] ?? ""}`);
  });
  expect(lines.length).toBeGreaterThan(5);
  expect(seen).toEqual([...lines, `${DISCOVERY_METRICS.age.name}{source="file"} 7`]);
});

test("memory and event-loop lag of the process are read without a scrape", async () => {
  const { exposition } = board();
  const seen = new Map<string, number>();
  const names = ["process_resident_memory_bytes", "nodejs_eventloop_lag_p99_seconds"];
  const look = () =>
    exposition.sample(new Set(names), ({ name, values }) => seen.set(name, values()[0] ?? Number.NaN));
  await look();
  // The first look begins the time that the quantile is of.
  await new Promise((resolve) => setImmediate(resolve));
  await look();
  expect(seen.get("process_resident_memory_bytes")).toBeGreaterThan(1e6);
  expect(seen.get("nodejs_eventloop_lag_p99_seconds")).toBeGreaterThanOrEqual(0);
});

test("B3: series that ended give their room back once their samples are gone", async () => {
  const { slots, alerts, after } = board();
  await after(15);
  const before = alerts.series;
  const handles = Array.from({ length: 20 }, (_, i) =>
    slots.histogram(INGEST_METRICS.sequenceGap, {
      pod: openLabel("pod", `p${i}`),
      model: openLabel("model", "m"),
    }),
  );
  await after(15);
  expect(alerts.series).toBeGreaterThan(before + 20 * 5);
  for (const handle of handles) slots.release(handle);
  for (let i = 0; i < 22; i++) await after(15);
  expect(alerts.series).toBe(before);
  expect(alerts.leftOut).toBe(0);
});

test("the alerts of 1,000 ranks cost less than half of a scrape of the same series, and at most 8 MB", async () => {
  const { exposition, slots, after, alerts } = board();
  const grow = rankMetrics(slots, 1000);
  const heldBefore = heldBytes();
  const scrapes: number[] = [];
  const samplings: number[] = [];
  for (let i = 0; i < 24; i++) {
    grow();
    samplings.push(await cpuMs(() => after(15)));
    if (i % 6 === 0) scrapes.push(await cpuMs(() => exposition.scrapeBytes()));
  }
  expect(alerts.series).toBeGreaterThan(20_000);
  expect(alerts.leftOut).toBe(0);
  expect(median(samplings)).toBeLessThan(median(scrapes) / 2);
  expect(heldBytes() - heldBefore).toBeLessThan(8e6);
});

test("B4: a clock that was set back neither fails nor ends an alert", async () => {
  const { slots, after, stateOf, alerts } = board();
  slots.gauge(INGEST_METRICS.configurationValid, {}).set(0);
  await after(15);
  const { atSeconds } = alerts;
  await after(-3600);
  expect(alerts.atSeconds).toBe(atSeconds);
  expect(stateOf("KVSyncConfigurationError")?.state).toBe("pending");
});

test("rules that need history, other exporters or the scrape itself are named, not left out", () => {
  const { alerts } = board();
  const standings = alerts.standings();
  expect(standings).toHaveLength(RULES.alerts.length);
  const waiting = standings.filter(({ state }) => state === "needs_prometheus").map(({ rule }) => rule.needs);
  expect(new Set(waiting)).toEqual(new Set(["history", "other_exporters", "scrape"]));
});
