/**
 * A weighted sum of scores from 0 to 1, the greatest wins: llm-d's endpoint picker with the precise prefix-cache scorer.
 *
 *     3 × prefix   matched blocks, weighted by tier (device 1, host 0.8), stretched from the least to the greatest of all workers
 *     2 × memory   1 − share of the KV capacity in use
 *     2 × queue    waiting requests, stretched from the greatest (0) to the least (1)
 *
 * Stretching gives every worker 1 when all are equal. There, memory and queue are scraped from the engines some tens of
 * milliseconds late; here they are the router's books, which are fresher.
 *
 * Sources: llm-d/llm-d-kv-cache pkg/kvcache/kvblock_scorer.go @ 05c77d51 (LongestPrefixScorer) and
 * its DefaultKVCacheBackendConfig (gpu 1.0, cpu 0.8). Normalized scores:
 * llm-d/llm-d-inference-scheduler pkg/plugins/scorer/precise_prefix_cache.go @ 057d2c76. Weights 3
 * : 2 : 2 as in llm-d's guide to precise prefix-cache-aware routing.
 */
import { leastBy } from "./least.ts";
import { MemorylessPolicy } from "./memoryless-policy.ts";
import type { RandomSource, RoutingRequest, WorkerView } from "./policy.ts";

const HOST_WEIGHT = 0.8;
const PREFIX_WEIGHT = 3;
const MEMORY_WEIGHT = 2;
const QUEUE_WEIGHT = 2;

/** See the header. */
export class TierScorePolicy extends MemorylessPolicy {
  readonly name = "tier-score";
  readonly knowledge = "index";
  readonly #random: RandomSource;

  /** @param random - decides between equals; shared with nothing else. */
  constructor(random: RandomSource) {
    super();
    this.#random = random;
  }

  /** See RoutingPolicy. */
  rank(
    _request: RoutingRequest,
    views: readonly WorkerView[],
    _nowSeconds: number,
    into: Uint32Array,
  ): number {
    const prefix = stretched(
      views,
      (view) => view.matchedTokens - (1 - HOST_WEIGHT) * view.matchedSlowTokens,
    );
    const queue = stretched(views, (view) => -view.waitingRequests);
    return leastBy(
      views,
      ({ contextTokens, capacityTokens }, position) => {
        const memory = Math.max(0, 1 - contextTokens / capacityTokens);
        return -(
          PREFIX_WEIGHT * (prefix[position] ?? 0) +
          MEMORY_WEIGHT * memory +
          QUEUE_WEIGHT * (queue[position] ?? 0)
        );
      },
      this.#random,
      into,
    );
  }
}

/** Maps the least value of the eligible workers to 0 and the greatest to 1; all to 1 when they are equal. */
function stretched(views: readonly WorkerView[], valueOf: (view: WorkerView) => number): readonly number[] {
  const values = views.map(valueOf);
  const counted = values.filter((_, position) => views[position]?.isEligible === true);
  const least = Math.min(...counted);
  const range = Math.max(...counted) - least;
  return values.map((value) => (range === 0 ? 1 : (value - least) / range));
}
