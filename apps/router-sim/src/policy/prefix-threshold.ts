/**
 * Longest match first, unless the worker is busier than the rest: AIBrix's `prefix-cache` algorithm.
 *
 *     1  load gate: the busiest has more than 2 × (mean + 1) requests, and at least 8 more than the idlest
 *        → only the idlest workers' matches count
 *     2  matched workers by falling match, equals by rising requests: the first with at most mean + 1 × deviation requests
 *     3  none: the fewest requests
 *
 * Matches are compared as whole percents of the prompt, as there.
 *
 * Source: vllm-project/aibrix pkg/plugins/gateway/algorithms/prefix_cache.go @ 01de8a51 (getTargetPodFromMatchedPodsFromCounts,
 * getTargetPodListOnLoadImbalance); the constants are its defaults.
 */
import type { Prng } from "@kvsync/core";

import { leastBy } from "./least.ts";
import type { RoutingPolicy, RoutingRequest, WorkerView } from "./policy.ts";

const DEVIATION_FACTOR = 1;
const IMBALANCE_FACTOR = 2;
const IMBALANCE_GAP_MIN = 8;

/** See the header. */
export class PrefixThresholdPolicy implements RoutingPolicy {
  readonly name = "prefix-threshold";
  readonly knowledge = "index";
  readonly #random: Prng;

  /** @param random - decides between equals; used by nobody else. */
  constructor(random: Prng) {
    this.#random = random;
  }

  /** See RoutingPolicy. */
  choose({ promptTokens }: RoutingRequest, workers: readonly WorkerView[]): number {
    let sum = 0;
    let squares = 0;
    let least = Number.POSITIVE_INFINITY;
    let most = 0;
    for (const { runningRequests } of workers) {
      sum += runningRequests;
      squares += runningRequests * runningRequests;
      least = Math.min(least, runningRequests);
      most = Math.max(most, runningRequests);
    }
    const mean = sum / workers.length;
    const deviation = Math.sqrt(Math.max(0, squares / workers.length - mean * mean));
    const isImbalanced = most > IMBALANCE_FACTOR * (mean + 1) && most - least >= IMBALANCE_GAP_MIN;
    const requestsMax = isImbalanced ? least : mean + DEVIATION_FACTOR * deviation;
    // Unmatched and too busy ones come after all others; among the rest a percent outweighs every number of requests.
    const chosen = leastBy(
      workers,
      ({ matchedTokens, runningRequests }) => {
        const percent = Math.floor((100 * matchedTokens) / promptTokens);
        if (percent === 0 || runningRequests > requestsMax) return Number.MAX_VALUE;
        return runningRequests - percent * (most + 1);
      },
      this.#random,
    );
    const match = workers[chosen];
    if (
      match !== undefined &&
      match.runningRequests <= requestsMax &&
      100 * match.matchedTokens >= promptTokens
    )
      return chosen;
    return leastBy(workers, ({ runningRequests }) => runningRequests, this.#random);
  }
}
