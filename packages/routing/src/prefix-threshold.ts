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
import { leastBy } from "./least.ts";
import { MemorylessPolicy } from "./memoryless-policy.ts";
import type { RandomSource, RoutingRequest, WorkerView } from "./policy.ts";

const DEVIATION_FACTOR = 1;
const IMBALANCE_FACTOR = 2;
const IMBALANCE_GAP_MIN = 8;

/** See the header. */
export class PrefixThresholdPolicy extends MemorylessPolicy {
  readonly name = "prefix-threshold";
  readonly knowledge = "index";
  readonly #random: RandomSource;

  /** @param random - decides between equals; shared with nothing else. */
  constructor(random: RandomSource) {
    super();
    this.#random = random;
  }

  /** See RoutingPolicy. */
  rank(
    { promptTokens }: RoutingRequest,
    views: readonly WorkerView[],
    _nowSeconds: number,
    into: Uint32Array,
  ): number {
    const { most, requestsMax } = loadGate(views);
    const isMatch = ({ matchedTokens, runningRequests }: WorkerView): boolean =>
      100 * matchedTokens >= promptTokens && runningRequests <= requestsMax;
    // Unmatched and too busy ones come after all others; among the rest a percent outweighs every number of requests.
    const matched = leastBy(
      views,
      (view) => {
        const percent = Math.floor((100 * view.matchedTokens) / promptTokens);
        if (percent === 0 || view.runningRequests > requestsMax) return Number.MAX_VALUE;
        return view.runningRequests - percent * (most + 1);
      },
      this.#random,
      into.subarray(0, Math.max(1, Math.min(into.length, views.filter(isMatch).length))),
    );
    const [first = 0] = into;
    const match = views[first];
    const isFound = matched > 0 && match !== undefined && isMatch(match);
    if (isFound && matched === into.length) return matched;
    const rest = new Uint32Array(into.length);
    const count = leastBy(views, ({ runningRequests }) => runningRequests, this.#random, rest);
    return isFound ? append(into, matched, rest.subarray(0, count)) : copyTo(into, rest, count);
  }
}

/** The greatest number of requests, and how many a matched worker may have. */
function loadGate(views: readonly WorkerView[]): { most: number; requestsMax: number } {
  let sum = 0;
  let squares = 0;
  let members = 0;
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  for (const { isEligible, runningRequests } of views) {
    if (!isEligible) continue;
    members += 1;
    sum += runningRequests;
    squares += runningRequests * runningRequests;
    least = Math.min(least, runningRequests);
    most = Math.max(most, runningRequests);
  }
  const mean = sum / members;
  const deviation = Math.sqrt(Math.max(0, squares / members - mean * mean));
  const isImbalanced = most > IMBALANCE_FACTOR * (mean + 1) && most - least >= IMBALANCE_GAP_MIN;
  return { most, requestsMax: isImbalanced ? least : mean + DEVIATION_FACTOR * deviation };
}

/** Appends the positions of `more` that are not in `into` yet. */
function append(into: Uint32Array, count: number, more: Uint32Array): number {
  let end = count;
  for (const position of more) {
    if (end === into.length) break;
    if (into.subarray(0, end).includes(position)) continue;
    into[end] = position;
    end += 1;
  }
  return end;
}

function copyTo(into: Uint32Array, from: Uint32Array, count: number): number {
  into.set(from.subarray(0, count));
  return count;
}
