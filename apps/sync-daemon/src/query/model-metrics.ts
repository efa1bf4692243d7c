/**
 * Metrics of lookups by model: one set of handles per served model, released when no engine serves it any more.
 *
 *     lookup ─▶ of(model) ─▶ handles          before each scrape ─▶ releaseGone ─▶ series of models that are gone end
 *
 * Invariants
 *  Q1  A model that is gone has no series after the next scrape, and takes no label value from one that comes.
 *  Q2  A served model has its own series while the label `model` has room for all served ones. One that had no room gets
 *      its own as soon as there is some.
 */

import { openLabel } from "@kvsync/observability/definition";
import { PREFIX_INDEX_METRICS } from "@kvsync/observability/kvsync/prefix-index";
import { FALLBACK_REASONS, LOOKUP_DECISIONS, ROUTING_METRICS } from "@kvsync/observability/kvsync/routing";
import { STREAM_METRICS } from "@kvsync/observability/kvsync/stream";
import type { Counter, Gauge, Histogram, MetricSlots } from "@kvsync/observability/slots";

import { byKey } from "../handles-by-key.ts";
import type { MatchAnswer } from "./match-answer.ts";

/** Lookups that the rolling hit rate remembers, roughly: long enough to be steady, short enough to show a change in minutes. */
const HIT_RATE_LOOKUPS = 256;

/** Handles of one model. Not to be kept beyond the lookup at hand. */
export class ModelHandles {
  readonly #decision: Histogram;
  readonly #latency: Histogram;
  readonly #percentage: Histogram;
  readonly #ok: Counter;
  readonly #hitRate: Gauge;
  readonly #decisions: Readonly<Record<MatchAnswer["decision"], Counter>>;
  readonly #fallbacks: Readonly<Record<(typeof FALLBACK_REASONS)[number], Counter>>;
  /** Lookups so far that asked for a block at all, and their rolling average. */
  #lookups = 0;
  #averageHit = 0;

  /**
   * @param slots - of the main thread.
   * @param name - of a served model.
   */
  constructor(slots: MetricSlots, name: string) {
    const model = openLabel("model", name);
    const operation = { model, operation: "match", status: "ok" } as const;
    this.#decision = slots.histogram(ROUTING_METRICS.routingLatency, { model });
    this.#latency = slots.histogram(STREAM_METRICS.streamLookupLatency, { model });
    this.#percentage = slots.histogram(PREFIX_INDEX_METRICS.indexerMatchPercentage, { model });
    this.#ok = slots.counter(PREFIX_INDEX_METRICS.indexerOperations, operation);
    this.#hitRate = slots.gauge(ROUTING_METRICS.hitRate, { model });
    // All of them at once: a rate needs the zero before the first increment.
    this.#decisions = byKey(LOOKUP_DECISIONS, (decision) =>
      slots.counter(ROUTING_METRICS.lookups, { model, decision }),
    );
    this.#fallbacks = byKey(FALLBACK_REASONS, (reason) =>
      slots.counter(ROUTING_METRICS.fallbacks, { model, reason }),
    );
  }

  /** All of them, for `MetricSlots.release`. */
  all(): readonly (Counter | Gauge | Histogram)[] {
    return [
      this.#decision,
      this.#latency,
      this.#percentage,
      this.#ok,
      this.#hitRate,
      ...Object.values(this.#decisions),
      ...Object.values(this.#fallbacks),
    ];
  }

  /**
   * Counts an answer by its decision, and a fallback by its reason. Without a reason of its own a fallback is about the ranks.
   *
   * @param answer - of the lookup.
   */
  decided({ decision, reason, ranks }: Pick<MatchAnswer, "decision" | "reason" | "ranks">): void {
    this.#decisions[decision].inc();
    if (decision !== "fallback") return;
    this.#fallbacks[reason ?? (ranks.unknown > 0 ? "ranks_unknown" : "no_ranks")].inc();
  }

  /**
   * A lookup was answered with "fallback" before anything was matched.
   *
   * @param seconds - that it took.
   */
  fellBack(seconds: number): void {
    this.#decision.observe(seconds);
  }

  /**
   * A lookup was answered.
   *
   * @param seconds - from its arrival.
   * @param matchSeconds - without reading the question.
   */
  answered(seconds: number, matchSeconds: number): void {
    this.#ok.inc();
    this.#decision.observe(seconds);
    this.#latency.observe(matchSeconds);
  }

  /**
   * Records what share of a question the best worker holds. The average weighs the first lookups alike and later ones against
   * `HIT_RATE_LOOKUPS`, so that it is right from the start.
   *
   * @param share - 0 … 1.
   */
  hit(share: number): void {
    this.#percentage.observe(100 * share);
    this.#lookups = Math.min(this.#lookups + 1, HIT_RATE_LOOKUPS);
    this.#averageHit += (share - this.#averageHit) / this.#lookups;
    this.#hitRate.set(this.#averageHit);
  }
}

/** See the head of this file. */
export class ModelMetrics {
  readonly #slots: MetricSlots;
  readonly #isServed: (model: string) => boolean;
  readonly #models = new Map<string, ModelHandles>();

  /**
   * @param slots - of the main thread.
   * @param isServed - whether an engine serves a model.
   */
  constructor(slots: MetricSlots, isServed: (model: string) => boolean) {
    this.#slots = slots;
    this.#isServed = isServed;
  }

  /**
   * The handles of a model: a map lookup, but for its first lookup.
   *
   * @param name - of a served model.
   * @returns its handles.
   */
  of(model: string): ModelHandles {
    const known = this.#models.get(model);
    if (known !== undefined) return known;
    // Nobody may have scraped for long: what is gone must not stand in the way of what comes (Q1).
    this.releaseGone();
    const handles = new ModelHandles(this.#slots, model);
    this.#models.set(model, handles);
    return handles;
  }

  /** Ends the series of models that are gone. Called before each scrape. */
  releaseGone(): void {
    let hasReleased = false;
    for (const [model, handles] of this.#models) {
      if (this.#isServed(model)) continue;
      this.#release(model, handles);
      hasReleased = true;
    }
    if (!hasReleased) return;
    // There is room now: who had to record under `other` begins series of its own with its next lookup (Q2).
    for (const [model, handles] of this.#models)
      if (handles.all().some((handle) => this.#slots.isOther(handle))) this.#release(model, handles);
  }

  #release(model: string, handles: ModelHandles): void {
    this.#models.delete(model);
    for (const handle of handles.all()) this.#slots.release(handle);
  }
}
