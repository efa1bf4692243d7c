/**
 * The metrics of one thread of the picker, which the scrape adds up: counters and histograms as requests go, gauges once a second.
 *
 *     PickerWatch ─▶ handles in shared memory ─▶ the main thread's scrape
 *     standing, once a second ─▶ gauges, one set for each endpoint; those of endpoints and models that are gone end
 *     both ─▶ totals, for people who ask for the picker's status
 *
 *  W1  All counters and histograms with listed labels are there from the start, at 0 (picker-metrics.test.ts "W1").
 *  W2  Series of an endpoint or a model end with it, and leave room for others (picker-metrics.test.ts "W2").
 *
 * Not here: lines of the log and spans (pick-traces.ts).
 */
import { openLabel } from "@kvsync/observability/definition";
import {
  CHECK_OUTCOMES,
  PICK_DECISIONS,
  PICK_REASONS,
  PICKER_METRICS,
  PREDICTION_OUTCOMES,
  SCRAPE_OUTCOMES,
  SHARD_OUTCOMES,
  SHARE_DROPS,
  STREAM_ENDS,
  STREAM_FAULTS,
} from "@kvsync/observability/kvsync/picker";
import type { Counter, Histogram, MetricSlots } from "@kvsync/observability/slots";

import { byKey } from "../handles-by-key.ts";
import { GaugeSet } from "../telemetry/gauge-set.ts";
import type { EndpointLoad, EndpointState } from "./endpoint-fleet.ts";
import type { ScrapeOutcome } from "./load-scrape.ts";
import type { PickTraces } from "./pick-traces.ts";
import type { PickerWatch, PickReason, PickReport, PredictionReport } from "./picker.ts";
import type { StreamFault } from "./picker-server.ts";
import type { CheckOutcome } from "./prompt-check.ts";
import type { SessionEnd } from "./session.ts";
import type { ShardOutcome } from "./shard-lookups.ts";
import type { ShareDrop } from "./shared-decisions.ts";

/** Endpoints whose loads are gauges, as many as the catalogue's label takes. */
const LOADS_MAX = 1024;

/** How one thread of the picker stands, as its gauges show it. Those of several threads add up. */
export interface PickerStanding {
  readonly streams: number;
  readonly connections: number;
  readonly bookings: number;
  readonly bufferedBytes: number;
  /** Models that endpoints serve; null for an engine's that is not known. */
  readonly models: readonly (string | null)[];
  /** What all threads have in common, told by one of them; null at the others. */
  readonly common: CommonStanding | null;
}

/** What all threads of the picker have in common. */
export interface CommonStanding {
  readonly isReady: boolean;
  /** How late a thread was at its timer, at most, since the last standing. */
  readonly lagSeconds: number;
  /** Null without endpoints, or when nothing is looked at. */
  readonly scrapeAgeSeconds: number | null;
  readonly states: Readonly<Record<EndpointState, number>>;
  readonly loads: readonly EndpointLoad[];
}

/** Numbers since the start. */
export interface PickerTotals {
  /** By what they were made by. */
  readonly decisions: Readonly<Record<PickReport["basis"], number>>;
  /** Those without the index, by the reason. */
  readonly reasons: Readonly<Partial<Record<PickReason, number>>>;
  readonly servedElsewhere: number;
  /** Streams that ended with an error. */
  readonly faults: number;
  readonly predictions: Readonly<Record<(typeof PREDICTION_OUTCOMES)[number], number>>;
  /** Tokens of these predictions, and the engines' own counts. */
  readonly predictedTokens: number;
  readonly reportedTokens: number;
  readonly promptChecks: Readonly<Record<CheckOutcome, number>>;
}

/** Handles of one model. */
interface ModelHandles {
  readonly predictions: Readonly<Record<(typeof PREDICTION_OUTCOMES)[number], Counter>>;
  readonly checks: Readonly<Record<CheckOutcome, Counter>>;
  readonly predicted: Counter;
  readonly delivered: Counter;
  readonly reported: Counter;
}

/** Handles of one other shard. */
interface ShardHandles {
  readonly lookups: Readonly<Record<ShardOutcome, Counter>>;
  readonly duration: Histogram;
}

/** See the header. */
export class PickerMetrics implements PickerWatch {
  readonly #slots: MetricSlots;
  readonly #traces: PickTraces | null;
  readonly #requests = new Map<string, Counter>();
  readonly #decisionDuration: Histogram;
  readonly #requestBody: Histogram;
  readonly #promptTokens: Counter;
  readonly #firstToken: Histogram;
  readonly #requestDuration: Histogram;
  readonly #servedElsewhere: Counter;
  readonly #responseChunks: Counter;
  readonly #streamEnds: Readonly<Record<SessionEnd, Counter>>;
  readonly #faults: Readonly<Record<StreamFault, Counter>>;
  readonly #scrapes: Readonly<Record<ScrapeOutcome, Counter>>;
  readonly #shareDrops: Readonly<Record<ShareDrop, Counter>>;
  /** By shard. */
  readonly #shards: ReadonlyMap<number, ShardHandles>;
  readonly #gauges: GaugeSet;
  #isShowing = false;
  readonly #models = new Map<string, ModelHandles>();
  readonly #totals = {
    decisions: byKey(PICK_DECISIONS, () => 0),
    reasons: {} as Partial<Record<PickReason, number>>,
    servedElsewhere: 0,
    faults: 0,
    predictions: byKey(PREDICTION_OUTCOMES, () => 0),
    predictedTokens: 0,
    reportedTokens: 0,
    promptChecks: byKey(CHECK_OUTCOMES, () => 0),
  };

  /**
   * @param slots - of the picker's thread.
   * @param traces - hears of decisions too; null for nobody.
   * @param shards - the other shards, which picks ask.
   */
  constructor(slots: MetricSlots, traces: PickTraces | null = null, shards: readonly number[] = []) {
    this.#slots = slots;
    this.#traces = traces;
    this.#gauges = new GaugeSet(slots);
    for (const [decision, reason] of possibleDecisions()) this.#decision(decision, reason);
    this.#decisionDuration = slots.histogram(PICKER_METRICS.decisionDuration, {});
    this.#requestBody = slots.histogram(PICKER_METRICS.requestBody, {});
    this.#promptTokens = slots.counter(PICKER_METRICS.promptTokens, {});
    this.#firstToken = slots.histogram(PICKER_METRICS.firstToken, {});
    this.#requestDuration = slots.histogram(PICKER_METRICS.requestDuration, {});
    this.#servedElsewhere = slots.counter(PICKER_METRICS.servedElsewhere, {});
    this.#responseChunks = slots.counter(PICKER_METRICS.responseChunks, {});
    this.#streamEnds = byKey(STREAM_ENDS, (end) => slots.counter(PICKER_METRICS.streamEnds, { end }));
    this.#faults = byKey(STREAM_FAULTS, (reason) => slots.counter(PICKER_METRICS.faults, { reason }));
    this.#scrapes = byKey(SCRAPE_OUTCOMES, (outcome) => slots.counter(PICKER_METRICS.scrapes, { outcome }));
    this.#shards = new Map(shards.map((shard) => [shard, shardHandles(slots, String(shard))]));
    this.#shareDrops = byKey(SHARE_DROPS, (reason) => slots.counter(PICKER_METRICS.shareDrops, { reason }));
  }

  /** A copy of the numbers. */
  get totals(): PickerTotals {
    return structuredClone(this.#totals);
  }

  /** See PickerWatch. */
  decided(report: PickReport): void {
    const { basis, reason, seconds, bodyBytes, promptTokens } = report;
    this.#traces?.decided(report);
    this.#decision(basis, reason).inc();
    this.#decisionDuration.observe(seconds);
    this.#requestBody.observe(bodyBytes);
    this.#promptTokens.inc(promptTokens);
    this.#totals.decisions[basis] += 1;
    if (reason !== "none") this.#totals.reasons[reason] = (this.#totals.reasons[reason] ?? 0) + 1;
  }

  /** See PickerWatch. */
  servedElsewhere(): void {
    this.#servedElsewhere.inc();
    this.#totals.servedElsewhere += 1;
  }

  /** See PickerWatch. */
  firstToken(seconds: number): void {
    this.#firstToken.observe(seconds);
  }

  /** See PickerWatch. */
  responseChunk(): void {
    this.#responseChunks.inc();
  }

  /** See PickerWatch. */
  reported({ model, predictedTokens, cachedTokens, differs }: PredictionReport): void {
    const handles = this.#of(model);
    const outcome = differs ? "differ" : "agree";
    handles.predictions[outcome].inc();
    handles.predicted.inc(predictedTokens);
    handles.delivered.inc(Math.min(predictedTokens, cachedTokens));
    handles.reported.inc(cachedTokens);
    this.#totals.predictions[outcome] += 1;
    this.#totals.predictedTokens += predictedTokens;
    this.#totals.reportedTokens += cachedTokens;
  }

  /** See PickerWatch. */
  checked(model: string, outcome: CheckOutcome): void {
    this.#of(model).checks[outcome].inc();
    this.#totals.promptChecks[outcome] += 1;
  }

  /** See PickerWatch. */
  ended(end: SessionEnd, seconds: number | null): void {
    this.#streamEnds[end].inc();
    if (seconds !== null) this.#requestDuration.observe(seconds);
  }

  /** See PickerWatch. */
  fault(fault: StreamFault): void {
    this.#faults[fault].inc();
    this.#totals.faults += 1;
  }

  /** An endpoint's metrics were looked at. */
  scraped(outcome: ScrapeOutcome): void {
    this.#scrapes[outcome].inc();
  }

  /** Another shard was asked for a pick. */
  shardAsked(shard: number, outcome: ShardOutcome, seconds: number): void {
    const handles = this.#shards.get(shard);
    handles?.lookups[outcome].inc();
    handles?.duration.observe(seconds);
  }

  /** A message between pickers was not used. */
  shareDropped(reason: ShareDrop): void {
    this.#shareDrops[reason].inc();
  }

  /** Shows how the picker stands; to be called once a second. It does nothing while the last call is not done. */
  async show(standing: PickerStanding): Promise<void> {
    if (this.#isShowing) return;
    this.#isShowing = true;
    const { streams, connections, bookings, bufferedBytes, models, common } = standing;
    await this.#gauges.collect(async (add, rest) => {
      add(PICKER_METRICS.streams, {}, streams);
      add(PICKER_METRICS.connections, {}, connections);
      add(PICKER_METRICS.bookings, {}, bookings);
      add(PICKER_METRICS.buffered, {}, bufferedBytes);
      if (common !== null) await addCommon(common, add, rest);
    });
    this.#releaseModels(new Set(models.map((model) => model ?? "unknown")));
    this.#isShowing = false;
  }

  #decision(decision: PickReport["basis"], reason: PickReason): Counter {
    const key = `${decision} ${reason}`;
    const counter =
      this.#requests.get(key) ?? this.#slots.counter(PICKER_METRICS.requests, { decision, reason });
    this.#requests.set(key, counter);
    return counter;
  }

  #of(name: string): ModelHandles {
    const known = this.#models.get(name);
    if (known !== undefined) return known;
    const slots = this.#slots;
    const model = openLabel("model", name);
    const handles: ModelHandles = {
      predictions: byKey(PREDICTION_OUTCOMES, (outcome) =>
        slots.counter(PICKER_METRICS.predictions, { model, outcome }),
      ),
      checks: byKey(CHECK_OUTCOMES, (outcome) =>
        slots.counter(PICKER_METRICS.promptChecks, { model, outcome }),
      ),
      predicted: slots.counter(PICKER_METRICS.predictedTokens, { model }),
      delivered: slots.counter(PICKER_METRICS.deliveredTokens, { model }),
      reported: slots.counter(PICKER_METRICS.reportedTokens, { model }),
    };
    this.#models.set(name, handles);
    return handles;
  }

  /** Ends the series of models that no endpoint serves. Models without room begin series of their own when there is some. */
  #releaseModels(served: ReadonlySet<string>): void {
    const gone = [...this.#models].filter(([model]) => !served.has(model));
    for (const [model, handles] of gone) this.#release(model, handles);
    if (gone.length === 0) return;
    for (const [model, handles] of this.#models)
      if (this.#slots.isOther(handles.predicted)) this.#release(model, handles);
  }

  #release(model: string, { predictions, checks, predicted, delivered, reported }: ModelHandles): void {
    this.#models.delete(model);
    const all = [...Object.values(predictions), ...Object.values(checks), predicted, delivered, reported];
    for (const handle of all) this.#slots.release(handle);
  }
}

function shardHandles(slots: MetricSlots, shard: string): ShardHandles {
  return {
    lookups: byKey(SHARD_OUTCOMES, (outcome) =>
      slots.counter(PICKER_METRICS.shardLookups, { shard_index: shard, outcome }),
    ),
    duration: slots.histogram(PICKER_METRICS.shardDuration, { shard_index: shard }),
  };
}

/** The totals of several threads. */
export function sumOfTotals(parts: readonly PickerTotals[]): PickerTotals {
  return parts.reduce((sum, part) => added(sum, part) as PickerTotals, {} as PickerTotals);
}

/** Adds the numbers of two records of one shape, in which each may lack some. */
function added(one: object, other: object): object {
  const sum: Record<string, unknown> = { ...one };
  for (const [key, value] of Object.entries(other) as [string, number | object][]) {
    const before = sum[key];
    sum[key] =
      typeof value === "number" ? ((before as number | undefined) ?? 0) + value : added(before ?? {}, value);
  }
  return sum;
}

async function addCommon(
  { isReady, lagSeconds, scrapeAgeSeconds, states, loads }: CommonStanding,
  add: GaugeSet["add"],
  rest: () => Promise<void>,
): Promise<void> {
  add(PICKER_METRICS.ready, {}, isReady ? 1 : 0);
  add(PICKER_METRICS.eventLoopLag, {}, lagSeconds);
  if (scrapeAgeSeconds !== null) add(PICKER_METRICS.scrapeAge, {}, scrapeAgeSeconds);
  for (const [state, count] of Object.entries(states) as [EndpointState, number][])
    add(PICKER_METRICS.endpoints, { state }, count);
  for (const load of loads.slice(0, LOADS_MAX)) {
    const { address } = load.endpoint;
    add(PICKER_METRICS.endpointLoad, { endpoint: address, kind: "running" }, load.running);
    add(PICKER_METRICS.endpointLoad, { endpoint: address, kind: "waiting" }, load.waiting);
    add(PICKER_METRICS.endpointLoad, { endpoint: address, kind: "pending_tokens" }, load.pendingTokens);
    add(PICKER_METRICS.endpointLoad, { endpoint: address, kind: "context_tokens" }, load.contextTokens);
    add(PICKER_METRICS.endpointLoad, { endpoint: address, kind: "foreign_running" }, load.foreignRunning);
    await rest();
  }
}

/** The pairs of decision and reason that occur: a pick by the index has none, and each other one has. */
function possibleDecisions(): readonly (readonly [PickReport["basis"], PickReason])[] {
  const others = PICK_REASONS.filter((reason) => reason !== "none");
  const immediate = ["no_endpoint", "subset_empty"] as const;
  const picks = others.filter((reason) => !immediate.some((one) => one === reason));
  return [
    ["index", "none"],
    ["degraded", "shard_missing"],
    ...picks.map((reason) => ["load", reason] as const),
    ...picks.map((reason) => ["own", reason] as const),
    ...immediate.map((reason) => ["immediate", reason] as const),
  ];
}
