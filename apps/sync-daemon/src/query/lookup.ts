/**
 * Lookups as the HTTP rim asks for them: read, answered, measured.
 */

import type { PrefixReader } from "@kvsync/core";
import {
  type Counter,
  type Histogram,
  type MetricSlots,
  PREFIX_INDEX_METRICS,
  STREAM_METRICS,
} from "@kvsync/observability";

import { match, type MatchAnswer, type MatchDependencies } from "./match.ts";
import { type MatchQuery, type QueryInputMemory, readBinaryQuery, readJsonQuery } from "./match-query.ts";

/** Handles of one model. */
interface ModelHandles {
  readonly latency: Histogram;
  readonly percentage: Histogram;
  readonly ok: Counter;
}

/** Answers lookups. One per process: it owns the reader's input memory while it reads and matches. */
export class Lookup {
  readonly #dependencies: MatchDependencies;
  readonly #memory: QueryInputMemory;
  readonly #metrics: MetricSlots;
  readonly #duration: Histogram;
  readonly #models = new Map<string, ModelHandles>();

  /**
   * @param dependencies - index reader, board, engines, clock.
   * @param metrics - of the main thread.
   * @param tokensMax - most token ids in one lookup.
   */
  constructor(dependencies: MatchDependencies, metrics: MetricSlots, tokensMax: number) {
    const reader: PrefixReader = dependencies.reader;
    this.#dependencies = dependencies;
    this.#metrics = metrics;
    this.#memory = { tokens: reader.tokens, hashes: reader.hashes, tokensMax };
    this.#duration = metrics.histogram(PREFIX_INDEX_METRICS.indexerOperationDuration, { operation: "match" });
  }

  /**
   * Answers a JSON lookup.
   *
   * @param body - parsed JSON.
   * @returns the answer.
   * @throws QueryError see match-query.ts and match.ts.
   */
  json(body: unknown): MatchAnswer {
    const startedMs = performance.now();
    return this.#answer(readJsonQuery(body, this.#memory), startedMs);
  }

  /**
   * Answers a binary lookup.
   *
   * @param body - the bytes.
   * @param parameters - parsed query parameters.
   * @returns the answer.
   * @throws QueryError see match-query.ts and match.ts.
   */
  binary(body: Uint8Array, parameters: unknown): MatchAnswer {
    const startedMs = performance.now();
    return this.#answer(readBinaryQuery(body, parameters, this.#memory), startedMs);
  }

  #answer(query: MatchQuery, startedMs: number): MatchAnswer {
    const readMs = performance.now();
    const answer = match(query, this.#dependencies);
    const endedMs = performance.now();
    // Only models that are served get here, so that the map is bounded with the registry.
    const handles = this.#models.get(query.model) ?? this.#open(query.model);
    handles.ok.inc();
    handles.latency.observe((endedMs - startedMs) / 1000);
    this.#duration.observe((endedMs - readMs) / 1000);
    const longest = answer.matches[0]?.matched_blocks ?? 0;
    if (answer.blocks !== null && answer.blocks > 0)
      handles.percentage.observe((100 * longest) / answer.blocks);
    return answer;
  }

  #open(model: string): ModelHandles {
    const handles: ModelHandles = {
      latency: this.#metrics.histogram(STREAM_METRICS.streamLookupLatency, { model }),
      percentage: this.#metrics.histogram(PREFIX_INDEX_METRICS.indexerMatchPercentage, { model }),
      ok: this.#metrics.counter(PREFIX_INDEX_METRICS.indexerOperations, {
        model,
        operation: "match",
        status: "ok",
      }),
    };
    this.#models.set(model, handles);
    return handles;
  }
}
