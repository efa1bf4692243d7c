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
import { eligibleCount, leastBy, nthEligible } from "./least.ts";
import { MemorylessPolicy } from "./memoryless-policy.ts";
import type { RandomSource, RoutingRequest, WorkerView } from "./policy.ts";

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
export class OverlapCostPolicy extends MemorylessPolicy {
  readonly name = "overlap-cost";
  readonly knowledge = "index";
  readonly #random: RandomSource;
  readonly #temperature: number;

  /**
   * @param random - decides between equals, and draws at a temperature; shared with nothing else.
   * @param temperature - ≥ 0.
   */
  constructor(random: RandomSource, temperature = 0) {
    super();
    this.#random = random;
    this.#temperature = temperature;
  }

  /** See RoutingPolicy. */
  rank(
    { promptTokens }: RoutingRequest,
    views: readonly WorkerView[],
    _nowSeconds: number,
    into: Uint32Array,
  ): number {
    if (this.#temperature === 0)
      return leastBy(views, (view) => overlapCost(promptTokens, view), this.#random, into);
    const count = Math.min(eligibleCount(views), into.length);
    const costs = views.map((view) => (view.isEligible ? overlapCost(promptTokens, view) : Infinity));
    for (let i = 0; i < count; i++) {
      const drawn = this.#draw(views, costs, into.subarray(0, i));
      into[i] = drawn;
      costs[drawn] = Infinity;
    }
    return count;
  }

  /** Draws a position by softmax; a cost of Infinity is never drawn. */
  #draw(views: readonly WorkerView[], costs: readonly number[], placed: Uint32Array): number {
    const finite = costs.filter((cost) => cost !== Infinity);
    const least = Math.min(...finite);
    const range = Math.max(...finite) - least;
    if (range === 0) return nthEligible(views, this.#random.below(finite.length), placed);
    const weights = costs.map((cost) => Math.exp((least - cost) / (range * this.#temperature)));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let left = (this.#random.nextU32() / 2 ** 32) * total;
    let last = 0;
    for (const [position, weight] of weights.entries()) {
      if (weight === 0) continue;
      left -= weight;
      last = position;
      if (left < 0) break;
    }
    return last;
  }
}
