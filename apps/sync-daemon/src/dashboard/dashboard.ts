/**
 * The data of the web page, put together: the sampler of the last hour, the alerts, and the live stream.
 *
 *     fleet, lookups ─▶ Sampler ─────────────────────▶ history
 *                  └──▶ DeltaEncoder ─▶ LiveStream ──▶ viewers
 *     slots, upstreams ─▶ AlertSources ──┘
 *     board ──▶ RankMinutes ──▶ the last hour of one engine
 *     index ──▶ IndexScan ──▶ blocks by tier, and by the number of their holders
 *     event tail ──▶ EventStreams ──▶ viewers of one engine
 *     log ring ──▶ LogStreams ──▶ viewers of the log
 *
 * Not here: the page's files (static-files.ts), HTTP (http/dashboard.controller.ts).
 */

import type { PrefixReader } from "@kvsync/core";
import type { Exposition } from "@kvsync/observability/exposition";
import { builtInRules } from "@kvsync/observability/kvsync/built-in-rules";
import type { MetricSlots } from "@kvsync/observability/slots";

import type { Turn } from "../board/rank-history.ts";
import { type BoardReader, NOT_APPLIED_REASONS } from "../board/stream-board.ts";
import type { Discovery } from "../discovery/discovery.ts";
import type { EngineRegistry } from "../engine/engine-registry.ts";
import type { HealthChecks } from "../health/health-checks.ts";
import type { Readiness } from "../health/readiness.ts";
import type { Lookup } from "../query/lookup.ts";
import { lookupsBetween } from "../query/lookup-tally.ts";
import type { Settings } from "../settings/settings.ts";
import { decideSync } from "../settings/sync-decision.ts";
import { AlertSources } from "./alert-sources.ts";
import { BuiltInAlerts } from "./built-in-alerts.ts";
import { DeltaEncoder, type FleetLook } from "./delta-encoder.ts";
import { dropSums, type FleetSources, indexSums, ranksOf } from "./fleet-sums.ts";
import { EventStreams } from "./event-streams.ts";
import { lastHour } from "./exact-share.ts";
import { happeningsBetween } from "./happenings.ts";
import { IndexScan } from "./index-scan.ts";
import { LiveStream } from "./live-stream.ts";
import type { LogRing } from "./log-ring.ts";
import { LogStreams } from "./log-streams.ts";
import { RankMinutes } from "./rank-minutes.ts";
import { type History, Sampler, STEP_SECONDS } from "./sampler.ts";
import { PageError } from "./static-files.ts";
import type { SystemFacts } from "./system-facts.ts";

/** Views of the page that this version has routes for. */
const FEATURES = ["picker", "alerts", "engine", "index", "events", "logs", "system"] as const;

/** What the page shows. */
export interface DashboardSources {
  readonly settings: Settings;
  readonly registry: EngineRegistry;
  readonly discovery: Discovery;
  readonly board: BoardReader;
  readonly reader: PrefixReader;
  readonly lookup: Lookup;
  readonly health: HealthChecks;
  readonly readiness: Readiness;
  readonly metrics: MetricSlots;
  readonly exposition: Exposition;
  readonly version: string;
  readonly commit: string | null;
  /** Name of this daemon among its replicas. */
  readonly instance: string;
  readonly logRing: LogRing;
  readonly facts: SystemFacts;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
}

/** The last hour of a rank. */
export interface RankHourReport {
  readonly engine: string;
  readonly dpRank: number;
  readonly rankSlot: number;
  /** Those of the hour and the one that led into it, oldest first. */
  readonly turns: readonly Turn[];
  /** Of each minute, oldest first and the running one last; null where nothing is known. */
  readonly eventsPerSecond: readonly (number | null)[];
}

/** See the head of this file. */
export class Dashboard {
  readonly #sources: DashboardSources;
  readonly #fleet: FleetSources;
  readonly #sampler: Sampler;
  readonly #encoder: DeltaEncoder;
  readonly #live: LiveStream;
  readonly #builtIn: BuiltInAlerts;
  readonly #alerts: AlertSources;
  /** Walks over the index. */
  readonly scan: IndexScan;
  /** Events of single ranks. */
  readonly events: EventStreams;
  /** New lines of the log. */
  readonly logs: LogStreams;
  /** The last hour of single ranks. */
  readonly minutes: RankMinutes;
  #mark: ReturnType<Lookup["tally"]["mark"]>;
  #drops: Float64Array;

  /** @param sources - of the daemon. */
  constructor(sources: DashboardSources) {
    const { registry, board, reader, lookup, discovery, settings, now } = sources;
    this.#sources = sources;
    this.#fleet = { registry, board, reader };
    this.#sampler = new Sampler(this.#fleet, lookup.tally, settings.dashboard.history_seconds);
    this.scan = new IndexScan({ reader, registry, now });
    this.events = new EventStreams({ board, registry, now });
    this.logs = new LogStreams({ ring: sources.logRing, now, viewersMax: settings.dashboard.viewers });
    this.minutes = new RankMinutes(this.#fleet);
    this.#encoder = new DeltaEncoder(
      {
        ...this.#fleet,
        tiersOf: (owner, rankSlot) => this.scan.latest?.tiersOf(owner, rankSlot) ?? null,
        rateOf: (owner, rankSlot) => this.minutes.rate(owner, rankSlot),
      },
      (engine) => discovery.sources.sourceOf(engine),
      now,
    );
    this.#mark = lookup.tally.mark();
    this.#drops = dropSums(this.#fleet);
    const rules = builtInRules();
    const { exposition, instance } = sources;
    this.#builtIn = new BuiltInAlerts({ rules, exposition, instance, now });
    this.#alerts = new AlertSources(settings.dashboard, rules, this.#builtIn, now);
    this.#live = new LiveStream({
      encoder: this.#encoder,
      hello: () => this.#hello(),
      totals: (look, seconds) => this.#totals(look, seconds),
      health: () => this.#health(),
      alerts: this.#alerts,
      happenings: (afterMs, untilMs) =>
        happeningsBetween({ registry, history: board.history }, afterMs, untilMs),
      now,
      metrics: sources.metrics,
      viewersMax: settings.dashboard.viewers,
    });
  }

  /**
   * The live stream.
   *
   * @throws PageError dashboard_off.
   */
  get live(): LiveStream {
    this.#refuseWhenOff();
    return this.#live;
  }

  /**
   * The alerts.
   *
   * @throws PageError dashboard_off.
   */
  get alerts(): AlertSources {
    this.#refuseWhenOff();
    return this.#alerts;
  }

  /** Latest lines of the log. */
  get logRing(): LogRing {
    return this.#sources.logRing;
  }

  /** The process. */
  get facts(): SystemFacts {
    return this.#sources.facts;
  }

  /** Samples from now on, unless the page is off. */
  start(): void {
    if (!this.#isOn) return;
    this.#sampler.start(this.#sources.now);
    this.minutes.start(this.#sources.now);
    this.#builtIn.start();
  }

  /** Ends all streams, and the sampling. */
  stop(): void {
    this.#sampler.stop();
    this.minutes.stop();
    this.#builtIn.stop();
    this.#live.stop();
    void this.#alerts.stop();
    this.events.stop();
    this.logs.stop();
  }

  /**
   * The last hour.
   *
   * @param seconds - at most.
   * @throws PageError dashboard_off.
   */
  history(seconds: number): History {
    this.#refuseWhenOff();
    return this.#sampler.history(seconds);
  }

  /**
   * The last hour of some ranks, for the rows that a viewer sees.
   *
   * @param slots - of the ranks; one that no engine has is left out.
   * @throws PageError dashboard_off.
   */
  hours(slots: readonly number[]): RankHourReport[] {
    this.#refuseWhenOff();
    const { registry, board, now } = this.#sources;
    const nowMs = now();
    const wanted = new Set(slots);
    return [...ranksOf(registry)]
      .filter(([, { rankSlot }]) => wanted.has(rankSlot))
      .map(([owner, { rankSlot, dpRank }]) => ({
        engine: owner.engine.id,
        dpRank,
        rankSlot,
        turns: lastHour(board.history.turns(rankSlot), nowMs),
        eventsPerSecond: this.minutes.rates(owner, rankSlot, nowMs) ?? [],
      }));
  }

  get #isOn(): boolean {
    return this.#sources.settings.dashboard.enabled === true;
  }

  #refuseWhenOff(): void {
    if (!this.#isOn)
      throw new PageError({ code: "dashboard_off" }, "the web page is off: set dashboard.enabled");
  }

  #hello(): object {
    const { version, commit, instance, now, settings } = this.#sources;
    return {
      version,
      commit,
      instance,
      now: Math.round(now()),
      step: STEP_SECONDS,
      limits: { viewers: settings.dashboard.viewers },
      features: FEATURES,
    };
  }

  /** Figures of the time since the last look; rates are per second. */
  #totals({ events, trusts }: FleetLook, seconds: number): object {
    const { board, reader, lookup, settings } = this.#sources;
    const rate = (count: number): number => (seconds > 0 ? Math.round((count / seconds) * 10) / 10 : 0);
    const mark = lookup.tally.mark();
    const { decisions, p50, p99, hits } = lookupsBetween(this.#mark, mark);
    this.#mark = mark;
    const { used, mappings } = indexSums(reader);
    const workers = board.workers();
    const drops = dropSums(this.#fleet);
    const before = this.#drops;
    this.#drops = drops;
    return {
      events: {
        stored: rate(events.stored),
        removed: rate(events.removed),
        cleared: rate(events.cleared),
      },
      lookups: {
        exact: rate(decisions.exact),
        degraded: rate(decisions.degraded),
        fallback: rate(decisions.fallback),
      },
      p50,
      p99,
      hit: Object.fromEntries([...hits].map(([model, share]) => [this.#encoder.modelNumber(model), share])),
      memory: { used, limit: settings.limits.index_bytes },
      mappings,
      queue: {
        level: Math.max(0, ...workers.map(({ backpressure }) => backpressure)),
        messages: workers.reduce((sum, { depthLive, depthReplay }) => sum + depthLive + depthReplay, 0),
      },
      trusts,
      not_applied: Object.fromEntries(
        NOT_APPLIED_REASONS.map((reason, i): [string, number] => [
          reason,
          rate(Math.max(0, (drops[i] ?? 0) - (before[i] ?? 0))),
        ]).filter(([, dropped]) => dropped > 0),
      ),
    };
  }

  /** Without times: what is the same is not sent again. */
  #health(): object {
    const { health, readiness, settings, discovery } = this.#sources;
    const checks = health.results().map(({ name, status, message, critical }) => ({
      name,
      status,
      message,
      critical,
    }));
    const isUnhealthy = checks.some(({ critical, status }) => critical && status === "unhealthy");
    const isHealthy = checks.every(({ status }) => status === "healthy");
    const { ready, reason } = readiness.report();
    const sync = decideSync(settings.sync);
    return {
      status: isUnhealthy ? "unhealthy" : isHealthy ? "healthy" : "degraded",
      checks,
      ready,
      reason,
      configuration: sync.on || !sync.asked ? null : { message: sync.reason },
      sources: discovery.status.inUse().map(({ source: name, state }) => ({
        name,
        state,
        engines: discovery.sources.wantedCount(name),
      })),
    };
  }
}
