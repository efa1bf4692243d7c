/**
 * Routing without events: the index is a history of the policy's own decisions, which fade after two minutes, and the cost is
 * Dynamo's (overlap-cost.ts). What engines evict it does not learn, and what they keep longer it forgets: the difference to
 * `overlap-cost` is what events are worth.
 *
 * Source: Dynamo's router with `--no-kv-events`, ai-dynamo/dynamo lib/kv-router/src/approx.rs @ 209c9e83 (120 seconds).
 */
import type { Prng } from "@kvsync/core";

import { DecisionHistory } from "./decision-history.ts";
import { leastBy } from "./least.ts";
import { overlapCost } from "./overlap-cost.ts";
import type { RoutingPolicy, RoutingRequest, WorkerView } from "./policy.ts";

const LIFE_SECONDS = 120;
/** As finely as its original, whose blocks are the engines', would be with the larger of common block sizes. */
const CHUNK_TOKENS = 64;

/** See the header. */
export class ApproximatePolicy implements RoutingPolicy {
  readonly name = "approximate";
  readonly knowledge = "none";
  readonly #random: Prng;
  readonly #history = new DecisionHistory(LIFE_SECONDS, CHUNK_TOKENS);
  readonly #matched: Float64Array;

  /**
   * @param random - decides between equals; used by nobody else.
   * @param workerCount - workers that there will be to choose from.
   */
  constructor(random: Prng, workerCount: number) {
    this.#random = random;
    this.#matched = new Float64Array(workerCount);
  }

  /** See RoutingPolicy. */
  choose(request: RoutingRequest, workers: readonly WorkerView[], nowSeconds: number): number {
    this.#history.match(request, this.#matched, nowSeconds);
    for (const [position, view] of workers.entries()) view.matchedTokens = this.#matched[position] ?? 0;
    const chosen = leastBy(workers, (view) => overlapCost(request.promptTokens, view), this.#random);
    this.#history.record(chosen, nowSeconds);
    return chosen;
  }
}
