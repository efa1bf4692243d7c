/**
 * Overlap and load in blocks: Dynamo's default worker selector.
 *
 *     logit = prefill blocks (all that is pending at the worker, this prompt included) − overlap blocks (device 1, host 0.75)
 *           + decode blocks (the KV of the worker's requests, this one included)
 *     temperature 0 takes the least; above 0 a worker is drawn by softmax of −logit, scaled to the logits' range
 *
 * Source: ai-dynamo/dynamo lib/kv-router/src/scheduling/selector/default.rs @ 07a6c9ce (worker_logit, softmax_sample_index) and the
 * defaults of scheduling/config.rs: overlap credit 1, prefill scale 1, host weight 0.75, temperature 0.
 */
import type { Prng } from "@kvsync/core";

import { leastBy } from "./least.ts";
import type { RoutingPolicy, RoutingRequest, WorkerView } from "./policy.ts";

const HOST_WEIGHT = 0.75;

/**
 * Dynamo's logit, in tokens rather than blocks, which changes no order.
 *
 * @param promptTokens - the request's.
 * @param view - the worker's loads and match.
 * @returns the cost.
 */
export function overlapCost(promptTokens: number, view: WorkerView): number {
  const overlap = view.matchedTokens - (1 - HOST_WEIGHT) * view.matchedSlowTokens;
  const prefill = Math.max(0, view.pendingPrefillTokens + promptTokens - overlap);
  return prefill + view.contextTokens + promptTokens;
}

/** See the header. */
export class OverlapCostPolicy implements RoutingPolicy {
  readonly name = "overlap-cost";
  readonly knowledge = "index";
  readonly #random: Prng;
  readonly #temperature: number;

  /**
   * @param random - decides between equals, and draws at a temperature; used by nobody else.
   * @param temperature - ≥ 0.
   */
  constructor(random: Prng, temperature = 0) {
    this.#random = random;
    this.#temperature = temperature;
  }

  /** See RoutingPolicy. */
  choose({ promptTokens }: RoutingRequest, workers: readonly WorkerView[]): number {
    if (this.#temperature === 0)
      return leastBy(workers, (view) => overlapCost(promptTokens, view), this.#random);
    const costs = workers.map((view) => overlapCost(promptTokens, view));
    const least = Math.min(...costs);
    const range = Math.max(...costs) - least;
    if (range === 0) return this.#random.below(workers.length);
    const weights = costs.map((cost) => Math.exp((least - cost) / (range * this.#temperature)));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let left = (this.#random.nextU32() / 2 ** 32) * total;
    for (const [position, weight] of weights.entries()) {
      left -= weight;
      if (left < 0) return position;
    }
    return workers.length - 1;
  }
}
