/**
 * Perfect knowledge, used for nothing but hits: the worker that holds most of the prompt, asked of the engines at this moment, with
 * no delay and no loss. Among workers that hold equally much of it, the one whose cache was given the least so far, so that new
 * prefixes spread over the fleet's memory instead of evicting each other; then the least loaded.
 *
 * It bounds what hits are worth and ignores what they cost: its queues may grow without limit.
 */
import type { RoutingPolicy, RoutingRequest, WorkerView } from "./policy.ts";

/** See the header. */
export class OraclePolicy implements RoutingPolicy {
  readonly name = "oracle";
  readonly knowledge = "engines";
  /** Tokens given to each worker that it did not hold. */
  readonly #given: Float64Array;

  /** @param workerCount - workers that there will be to choose from. */
  constructor(workerCount: number) {
    this.#given = new Float64Array(workerCount);
  }

  /** See RoutingPolicy. */
  choose({ promptTokens }: RoutingRequest, workers: readonly WorkerView[]): number {
    let best = 0;
    let bestMatch = -1;
    let leastGiven = Number.POSITIVE_INFINITY;
    for (const [position, { matchedTokens }] of workers.entries()) {
      const given = this.#given[position] ?? 0;
      if (matchedTokens < bestMatch || (matchedTokens === bestMatch && given >= leastGiven)) continue;
      best = position;
      bestMatch = matchedTokens;
      leastGiven = given;
    }
    this.#given[best] = leastGiven + promptTokens - bestMatch;
    return best;
  }
}
