/** Metrics of a tokenizer's use: handles of every label value, made once. Tokenizers are not released: they are as many as the settings name. */

import {
  PARITY_OUTCOMES,
  TOKENIZER_METRICS,
  TOKENIZER_OUTCOMES,
} from "@kvsync/observability/kvsync/tokenizer";
import { openLabel } from "@kvsync/observability/definition";
import type { Counter, Gauge, Histogram, MetricSlots } from "@kvsync/observability/slots";

import { byKey } from "../handles-by-key.ts";
import { CIRCUIT_STATES, type CircuitState } from "./circuit-breaker.ts";
import type { ParityOutcome } from "./template-trust.ts";

type Outcome = (typeof TOKENIZER_OUTCOMES)[number];
type CacheResult = "hit" | "joined" | "miss";

/** Which tokenizer it is, and who asks it. */
export interface TokenizerName {
  /** Whose circuit is shown; null when it is not. */
  readonly thread: "main" | "picker" | null;
  readonly tokenizer: string;
  /** Whether it renders conversations, which are compared. */
  readonly isCompared?: boolean;
}

/** Counts and times of one tokenizer. */
export class TokenizerMetrics {
  readonly #requests: ReadonlyMap<Outcome, Counter>;
  readonly #lookups: Readonly<Record<CacheResult, Counter>>;
  readonly #duration: Histogram;
  readonly #circuit: Gauge | null;
  readonly #cacheBytes: Gauge;
  readonly #parity: Readonly<Record<ParityOutcome, Counter>> | null;

  /** @param metrics - of the thread that asks. */
  constructor(metrics: MetricSlots, { thread, tokenizer: name, isCompared = false }: TokenizerName) {
    const tokenizer = openLabel("tokenizer", name);
    const lookups = (result: CacheResult): Counter =>
      metrics.counter(TOKENIZER_METRICS.cacheLookups, { result });
    this.#requests = new Map(
      TOKENIZER_OUTCOMES.map((outcome) => [
        outcome,
        metrics.counter(TOKENIZER_METRICS.requests, { tokenizer, outcome }),
      ]),
    );
    this.#lookups = { hit: lookups("hit"), joined: lookups("joined"), miss: lookups("miss") };
    this.#duration = metrics.histogram(TOKENIZER_METRICS.requestDuration, { tokenizer });
    this.#circuit =
      thread === null ? null : metrics.gauge(TOKENIZER_METRICS.circuitState, { thread, tokenizer });
    this.#parity = isCompared
      ? byKey(PARITY_OUTCOMES, (outcome) => metrics.counter(TOKENIZER_METRICS.parity, { tokenizer, outcome }))
      : null;
    this.#cacheBytes = metrics.gauge(TOKENIZER_METRICS.cacheBytes, {});
  }

  /** A lookup in the cache. */
  looked(result: CacheResult): void {
    this.#lookups[result].inc();
  }

  /** A lookup that got no tokens without the tokenizer being asked. */
  refused(reason: Outcome): void {
    this.#requests.get(reason)?.inc();
  }

  /** A question that the tokenizer was asked, and how long it took, a second attempt included. */
  answered(outcome: Outcome, seconds: number): void {
    this.#requests.get(outcome)?.inc();
    this.#duration.observe(seconds);
  }

  /** A conversation that was rendered here was compared with the engine. */
  compared(outcome: ParityOutcome): void {
    this.#parity?.[outcome].inc();
  }

  /** Where circuit and cache stand. */
  state(circuit: CircuitState, cacheBytes: number): void {
    this.#circuit?.set(CIRCUIT_STATES.indexOf(circuit));
    this.#cacheBytes.set(cacheBytes);
  }
}

/** What segments do, in all threads that encode. */
export class SegmentMetrics {
  readonly #hits: Counter;
  readonly #misses: Counter;
  readonly #bytes: Gauge;

  /** @param metrics - of the thread that asks. */
  constructor(metrics: MetricSlots) {
    this.#hits = metrics.counter(TOKENIZER_METRICS.segmentLookups, { result: "hit" });
    this.#misses = metrics.counter(TOKENIZER_METRICS.segmentLookups, { result: "miss" });
    this.#bytes = metrics.gauge(TOKENIZER_METRICS.segmentBytes, {});
  }

  /** Since the last time: segments that were remembered and those that were not; and the memory of all. */
  segments(hits: number, misses: number, bytes: number): void {
    this.#hits.inc(hits);
    this.#misses.inc(misses);
    this.#bytes.set(bytes);
  }
}
