/**
 * The status of each source of engines: whether its list is up to date, since when it is not, and
 * why.
 *
 *   starting ──succeeded──▶ current ──failed──▶ stale ──succeeded──▶ current
 *
 * Invariants
 *  D1  A source that fails takes nothing back: the engines that it last named are followed on.
 *  D2  Every failure is counted; in the log stands the first of a row of failures with one reason, and the end of the row.
 */

import {
  type DISCOVERY_FAILURES,
  DISCOVERY_METRICS,
  DISCOVERY_STATES,
} from "@kvsync/observability/kvsync/discovery";
import type { MetricSlots } from "@kvsync/observability/slots";

import type { WriteEvent } from "../log/log-line.ts";
import { GaugeSet } from "../telemetry/gauge-set.ts";
import {
  ENGINE_SOURCES,
  type EngineSource,
  type EngineSources,
  REFUSAL_REASONS,
  type Refusal,
} from "./engine-sources.ts";

/** What can go wrong. Metric label values. */
export type DiscoveryFailure = (typeof DISCOVERY_FAILURES)[number];

/** What a source adds to source and reason in the log. */
interface Facts {
  readonly path?: string;
  readonly faults?: number;
  readonly code?: string;
  readonly server?: string;
}

/** A failure, as it is shown. */
export interface ShownFailure {
  readonly reason: DiscoveryFailure;
  readonly message: string;
  readonly atMs: number;
}

/** What a status works with. */
export interface StatusDependencies {
  readonly metrics: MetricSlots;
  readonly log: WriteEvent;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
}

/** How one source does. */
export class SourceStatus {
  readonly source: EngineSource;
  readonly #dependencies: StatusDependencies;
  #state: (typeof DISCOVERY_STATES)[number] = "starting";
  #lastSuccessMs: number | null = null;
  #failure: ShownFailure | null = null;

  /**
   * @param source - which.
   * @param dependencies - who hears.
   */
  constructor(source: EngineSource, dependencies: StatusDependencies) {
    this.source = source;
    this.#dependencies = dependencies;
  }

  /** Whether its engines are up to date. */
  get state(): (typeof DISCOVERY_STATES)[number] {
    return this.#state;
  }

  /** Milliseconds since the epoch; null when it never was up to date. */
  get lastSuccessMs(): number | null {
    return this.#lastSuccessMs;
  }

  /** Of a source that is not current; null of one that is. */
  get failure(): ShownFailure | null {
    return this.#failure;
  }

  /** It is up to date. */
  succeeded(): void {
    const { log, now } = this.#dependencies;
    if (this.#failure !== null) {
      log("discovery_recovered", { source: this.source, reason: this.#failure.reason });
    }
    this.#state = "current";
    this.#failure = null;
    this.#lastSuccessMs = now();
  }

  /**
   * Something went wrong.
   *
   * @param reason - what.
   * @param message - where, and what was expected.
   * @param facts - beside source and reason, for the log.
   * @param counted - what is counted, where the reason shown is that of an earlier failure which still lasts.
   */
  failed(
    reason: DiscoveryFailure,
    message: string,
    facts: Facts = {},
    counted: DiscoveryFailure = reason,
  ): void {
    const { log, now } = this.#dependencies;
    this.count(counted);
    const isNew = this.#failure?.reason !== reason || this.#failure.message !== message;
    this.#failure = { reason, message, atMs: now() };
    this.#state = "stale";
    if (!isNew) return;
    log("discovery_failed", { source: this.source, reason, ...facts }, { text: message });
  }

  /**
   * Counts something that went wrong and was put right at once.
   *
   * @param reason - what.
   */
  count(reason: DiscoveryFailure): void {
    this.#dependencies.metrics.counter(DISCOVERY_METRICS.failures, { source: this.source, reason }).inc();
  }
}

/** How all sources do. */
export class DiscoveryStatus {
  readonly #dependencies: StatusDependencies;
  readonly #sources = new Map<EngineSource, SourceStatus>();

  /** @param dependencies - who hears. */
  constructor(dependencies: StatusDependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Begins to speak of a source.
   *
   * @param source - one that is in use.
   * @returns its status; the same at each call.
   */
  of(source: EngineSource): SourceStatus {
    const known = this.#sources.get(source);
    if (known !== undefined) return known;
    const status = new SourceStatus(source, this.#dependencies);
    this.#sources.set(source, status);
    return status;
  }

  /** Those in use, in their order of precedence. */
  inUse(): readonly SourceStatus[] {
    return ENGINE_SOURCES.flatMap((source) => this.#sources.get(source) ?? []);
  }

  /** Whether every source has named its engines once: what is missing then is missing for another reason. */
  get isComplete(): boolean {
    return this.inUse().every(({ lastSuccessMs }) => lastSuccessMs !== null);
  }

  /**
   * Counts a refusal.
   *
   * @param refusal - that began.
   */
  refused({ source, reason }: Refusal): void {
    this.#dependencies.metrics.counter(DISCOVERY_METRICS.refusals, { source, reason }).inc();
  }

  /**
   * Makes the collector of discovery's gauges, to run before each scrape.
   *
   * @param sources - what they want.
   * @returns the collector.
   */
  gauges(sources: EngineSources): () => Promise<void> {
    const { metrics, now } = this.#dependencies;
    const gauges = new GaugeSet(metrics);
    return () =>
      gauges.collect((add) => {
        for (const { source, state: present, lastSuccessMs } of this.inUse()) {
          for (const state of DISCOVERY_STATES)
            add(DISCOVERY_METRICS.state, { source, state }, state === present ? 1 : 0);
          // Registrations over HTTP are not looked for: they are as old as they are.
          if (lastSuccessMs !== null && source !== "http")
            add(DISCOVERY_METRICS.age, { source }, Math.max(0, (now() - lastSuccessMs) / 1000));
          add(DISCOVERY_METRICS.engines, { source }, sources.wantedCount(source));
          for (const reason of REFUSAL_REASONS) add(DISCOVERY_METRICS.refused, { source, reason }, 0);
        }
        for (const [shard, engines] of [
          ["own", sources.ownCount],
          ["elsewhere", sources.elsewhereCount],
        ] as const)
          add(DISCOVERY_METRICS.shardEngines, { shard }, engines);
        for (const { source, reason } of sources.refusals())
          add(DISCOVERY_METRICS.refused, { source, reason }, 1);
      });
  }
}
