/** The metrics of the picker's thread, as the main thread's scrape shows them. */
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import {
  type CHECK_OUTCOMES,
  type ENDPOINT_STATES,
  LOAD_KINDS,
  type PICK_DECISIONS,
  type PICK_REASONS,
  PICKER_METRICS,
  type SCRAPE_OUTCOMES,
  type SHARE_DROPS,
  type STREAM_ENDS,
  type STREAM_FAULTS,
} from "@kvsync/observability/kvsync/picker";
import { Exposition } from "@kvsync/observability/exposition";
import { MetricSlots } from "@kvsync/observability/slots";
import { beforeEach, describe, expect, it } from "vitest";

import type { EndpointLoad, EndpointState } from "./endpoint-fleet.ts";
import type { ScrapeOutcome } from "./load-scrape.ts";
import type { PickReason, PickReport } from "./picker.ts";
import { type CommonStanding, PickerMetrics, type PickerStanding, sumOfTotals } from "./picker-metrics.ts";
import type { StreamFault } from "./picker-server.ts";
import type { CheckOutcome } from "./prompt-check.ts";
import type { SessionEnd } from "./session.ts";
import type { ShareDrop } from "./shared-decisions.ts";

const REPORT: PickReport = {
  basis: "index",
  reason: "none",
  endpoint: null,
  trust: "exact",
  seconds: 0.003,
  bodyBytes: 1000,
  promptTokens: 250,
  heldTokens: 192,
  costs: [58],
  times: { askedMs: 0, tokensMs: null, lookedMs: 2, decidedMs: 3 },
  model: "m",
  requestId: null,
  traceparent: null,
  trace: null,
};
const IDLE: Omit<PickerStanding, "models" | "common"> & CommonStanding = {
  isReady: true,
  streams: 0,
  connections: 1,
  bookings: 0,
  bufferedBytes: 0,
  lagSeconds: 0.001,
  scrapeAgeSeconds: null,
  states: { eligible: 0, not_ready: 0, penalty: 0, stale: 0 },
  loads: [],
};

/** Of the first thread, or of another one. */
function standing(more: Partial<typeof IDLE> = {}, isFirst = true): PickerStanding {
  const all = { ...IDLE, ...more };
  const models = all.loads.map(({ endpoint }) => endpoint.model);
  return { ...all, models, common: isFirst ? all : null };
}

let exposition: Exposition;
let metrics: PickerMetrics;
beforeEach(() => {
  exposition = new Exposition(CATALOGUE);
  const slots = new MetricSlots(CATALOGUE, "picker", (announcement) => {
    exposition.accept(announcement);
  });
  metrics = new PickerMetrics(slots, null, [2]);
});

/** The picker's samples, without the names' beginning. */
async function samples(): Promise<ReadonlyMap<string, number>> {
  const prefix = `${NAMESPACE}_kv_picker_`;
  const lines = (await exposition.scrape()).split("\n").filter((line) => line.startsWith(prefix));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(" ");
      return [line.slice(prefix.length, at), Number(line.slice(at + 1))];
    }),
  );
}

function load(address: string, more: Partial<EndpointLoad> = {}): EndpointLoad {
  const endpoint = { address, worker: address, model: "m", dpRank: null, position: 0 };
  const idle = {
    running: 0,
    waiting: 0,
    pendingTokens: 0,
    contextTokens: 0,
    capacityTokens: 0,
    foreignRunning: 0,
  };
  return { endpoint, ...idle, ...more };
}

describe("the picker's metrics", () => {
  it("W1: have all counters and histograms without an open label at 0, and no gauge before the first standing", async () => {
    const shown = await samples();
    expect([...shown.values()].every((value) => value === 0)).toBe(true);
    const names = [...shown.keys()].map((key) => key.replace(/(_bucket|_sum|_count)?(\{.*)?$/, ""));
    const expected = Object.values(PICKER_METRICS)
      .filter(({ kind, labels }) => kind !== "gauge" && !("model" in labels))
      .map(({ name }) => name.slice(`${NAMESPACE}_kv_picker_`.length));
    expect(new Set(names)).toEqual(new Set(expected));
    expect(shown.get('requests_total{decision="load",reason="late"}')).toBe(0);
    expect(shown.get('requests_total{decision="index",reason="none"}')).toBe(0);
    expect(shown.has('requests_total{decision="index",reason="late"}')).toBe(false);
  });

  it("are absent while there is no picker", async () => {
    exposition = new Exposition(CATALOGUE);
    expect((await samples()).size).toBe(0);
  });

  it("count what the watch hears", async () => {
    metrics.decided(REPORT);
    metrics.decided({ ...REPORT, basis: "load", reason: "late" });
    metrics.servedElsewhere();
    metrics.firstToken(0.5);
    metrics.responseChunk();
    metrics.reported({ model: "m", predictedTokens: 100, cachedTokens: 300, differs: true });
    metrics.reported({ model: "m", predictedTokens: 100, cachedTokens: 90, differs: false });
    metrics.checked("m", "differ");
    metrics.ended("complete", 2);
    metrics.ended("client", null);
    metrics.fault("truncated");
    metrics.scraped("timeout");
    metrics.shareDropped("unsent");
    const shown = await samples();
    const expected = {
      'requests_total{decision="index",reason="none"}': 1,
      'requests_total{decision="load",reason="late"}': 1,
      decision_duration_seconds_count: 2,
      request_body_bytes_sum: 2000,
      prompt_tokens_total: 500,
      served_elsewhere_total: 1,
      first_token_seconds_sum: 0.5,
      response_chunks_total: 1,
      'predictions_total{model="m",outcome="differ"}': 1,
      'predictions_total{model="m",outcome="agree"}': 1,
      'predicted_cached_tokens_total{model="m"}': 200,
      'delivered_cached_tokens_total{model="m"}': 190,
      'reported_cached_tokens_total{model="m"}': 390,
      'prompt_checks_total{model="m",outcome="differ"}': 1,
      'prompt_checks_total{model="m",outcome="agree"}': 0,
      'stream_ends_total{end="complete"}': 1,
      'stream_ends_total{end="client"}': 1,
      request_seconds_count: 1,
      'wire_errors_total{reason="truncated"}': 1,
      'scrapes_total{outcome="timeout"}': 1,
      'share_drops_total{reason="unsent"}': 1,
      'share_drops_total{reason="malformed"}': 0,
    };
    expect(Object.fromEntries(Object.keys(expected).map((key) => [key, shown.get(key)]))).toEqual(expected);
    expect(metrics.totals).toEqual({
      decisions: { index: 1, degraded: 0, own: 0, load: 1, immediate: 0 },
      reasons: { late: 1 },
      servedElsewhere: 1,
      faults: 1,
      predictions: { agree: 1, differ: 1 },
      predictedTokens: 200,
      reportedTokens: 390,
      promptChecks: { agree: 0, differ: 1, unknown: 0, skipped: 0 },
    });
  });

  it("show how the picker stands, with each load of each endpoint", async () => {
    const busy = { running: 7, waiting: 3, pendingTokens: 900, contextTokens: 5000, foreignRunning: 2 };
    await metrics.show(
      standing({
        isReady: false,
        streams: 5,
        bookings: 4,
        bufferedBytes: 77,
        scrapeAgeSeconds: 0.4,
        states: { eligible: 1, not_ready: 2, penalty: 0, stale: 0 },
        loads: [load("10.0.0.1:80", busy)],
      }),
    );
    const shown = await samples();
    expect([
      ...["ready", "streams", "connections", "bookings", "buffered_bytes"].map((name) => shown.get(name)),
      ...["scrape_age_seconds", "event_loop_lag_seconds"].map((name) => shown.get(name)),
      ...["eligible", "not_ready"].map((state) => shown.get(`endpoints{state="${state}"}`)),
    ]).toEqual([0, 5, 1, 4, 77, 0.4, 0.001, 1, 2]);
    const loads = LOAD_KINDS.map((kind) => shown.get(`endpoint_load{endpoint="10.0.0.1:80",kind="${kind}"}`));
    expect(loads).toEqual([7, 3, 900, 5000, 2]);
  });

  it("of several threads add up, and what they have in common is there once", async () => {
    const other = new PickerMetrics(
      new MetricSlots(CATALOGUE, "picker-1", (announcement) => {
        exposition.accept(announcement);
      }),
    );
    const shared = {
      states: { eligible: 1, not_ready: 0, penalty: 0, stale: 0 },
      loads: [load("10.0.0.1:80", { running: 7 })],
    };
    await metrics.show(standing({ ...shared, streams: 2, bookings: 2, bufferedBytes: 10 }));
    await other.show(standing({ ...shared, streams: 3, bookings: 5, bufferedBytes: 1 }, false));
    for (const one of [metrics, other]) {
      one.decided(REPORT);
      one.reported({ model: "m", predictedTokens: 4, cachedTokens: 4, differs: false });
    }
    const shown = await samples();
    expect([
      ...["ready", "streams", "connections", "bookings", "buffered_bytes"].map((name) => shown.get(name)),
      shown.get('endpoints{state="eligible"}'),
      shown.get('endpoint_load{endpoint="10.0.0.1:80",kind="running"}'),
      shown.get('requests_total{decision="index",reason="none"}'),
      shown.get('predictions_total{model="m",outcome="agree"}'),
    ]).toEqual([1, 5, 2, 7, 11, 1, 7, 2, 2]);
    expect(sumOfTotals([metrics.totals, other.totals])).toMatchObject({
      decisions: { index: 2, own: 0, load: 0, immediate: 0 },
      predictions: { agree: 2, differ: 0 },
      predictedTokens: 8,
    });
  });

  it("W2: end with their endpoint and model, and leave room for others", async () => {
    const fleet = (from: number): EndpointLoad[] =>
      Array.from({ length: 1024 }, (_, i) => load(`10.0.${from}.${i >> 8}:${i & 255}`, { running: 1 }));
    const endpoints = async (): Promise<string[]> =>
      [...(await samples()).keys()].filter((key) => key.startsWith("endpoint_load"));
    await metrics.show(standing({ loads: fleet(1) }));
    metrics.reported({ model: "m", predictedTokens: 1, cachedTokens: 1, differs: false });
    metrics.checked("gone", "agree");
    await metrics.show(standing({ loads: fleet(2) }));
    const shown = await endpoints();
    expect(shown).toHaveLength(1024 * LOAD_KINDS.length);
    expect(shown.every((key) => key.includes('endpoint="10.0.2.'))).toBe(true);
    const models = [...(await samples()).keys()].filter((key) => key.includes("model="));
    expect(models.every((key) => key.includes('model="m"'))).toBe(true);
    expect(models.length).toBeGreaterThan(0);
    await metrics.show(standing());
    expect(
      (await endpoints()).length +
        [...(await samples()).keys()].filter((key) => key.includes("model=")).length,
    ).toBe(0);
  });

  it("W2: give a model that had no room series of its own once there is some", async () => {
    const models = Array.from({ length: 129 }, (_, i) => `m${i}`);
    const loads = models.map((model, i) => {
      const one = load(`10.0.0.1:${i}`);
      return { ...one, endpoint: { ...one.endpoint, model } };
    });
    for (const model of models) metrics.checked(model, "agree");
    await metrics.show(standing({ loads }));
    const shownOf = async (model: string): Promise<number | undefined> =>
      (await samples()).get(`prompt_checks_total{model="${model}",outcome="agree"}`);
    expect([await shownOf("m0"), await shownOf("m128"), await shownOf("other")]).toEqual([1, undefined, 1]);
    await metrics.show(standing({ loads: loads.slice(1) }));
    metrics.checked("m128", "agree");
    expect([await shownOf("m0"), await shownOf("m128"), await shownOf("other")]).toEqual([
      undefined,
      1,
      undefined,
    ]);
  });
});

/** `true` for two unions with the same members; nothing compiles as it otherwise. */
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never;

it("every label value is one of the picker's, and there is no other", () => {
  const same: [
    Same<PickReason, (typeof PICK_REASONS)[number]>,
    Same<PickReport["basis"], (typeof PICK_DECISIONS)[number]>,
    Same<SessionEnd, (typeof STREAM_ENDS)[number]>,
    Same<StreamFault, (typeof STREAM_FAULTS)[number]>,
    Same<ShareDrop, (typeof SHARE_DROPS)[number]>,
    Same<CheckOutcome, (typeof CHECK_OUTCOMES)[number]>,
    Same<EndpointState, (typeof ENDPOINT_STATES)[number]>,
    Same<ScrapeOutcome, (typeof SCRAPE_OUTCOMES)[number]>,
  ] = [true, true, true, true, true, true, true, true];
  expect(same).not.toContain(false);
});
