/**
 * Perfect knowledge, used for nothing but hits: what every engine holds, asked of the engines at this moment, with no delay and no
 * loss. It takes the worker to which the prompt brings the least that is new, weighed by what that drives out there:
 *
 *     cost(worker) = fresh · (1 + pressure(worker))        memory-pressure.ts
 *
 * The longest match alone would not bound hits: where all prompts share a beginning, the first worker that holds it would get
 * every request, and its one cache would forget what the fleet's could have kept (simulated: hit rates below random's).
 * It bounds what hits are worth and ignores what they cost: loads are nothing to it, and its queues may grow without limit.
 */
import { MemoryPressure } from "./memory-pressure.ts";
import type { RoutingPolicy, RoutingRequest, WorkerView } from "./policy.ts";

/** See the header. */
export class OraclePolicy implements RoutingPolicy {
  readonly name = "oracle";
  readonly knowledge = "engines";
  readonly #pressure: MemoryPressure;

  /** @param workerCount - workers that there will be to choose from. */
  constructor(workerCount: number) {
    this.#pressure = new MemoryPressure(workerCount);
  }

  /** See RoutingPolicy. */
  choose({ promptTokens }: RoutingRequest, workers: readonly WorkerView[]): number {
    const { meanGiven } = this.#pressure;
    let best = 0;
    let bestFresh = 0;
    let least = Number.POSITIVE_INFINITY;
    for (const [position, { matchedTokens }] of workers.entries()) {
      const fresh = Math.max(0, promptTokens - matchedTokens);
      const cost = fresh * (1 + this.#pressure.of(position, meanGiven));
      if (cost >= least) continue;
      [best, bestFresh, least] = [position, fresh, cost];
    }
    this.#pressure.give(best, bestFresh, workers[best]?.capacityTokens ?? Number.POSITIVE_INFINITY);
    return best;
  }
}
