/**
 * The two policies that look at nothing: what routing costs when nobody knows who holds what. They are the baseline that
 * prefix matching is compared with. Both ignore load and the daemon's advice.
 */
import type { Prng } from "@kvsync/core";

import type { RoutingPolicy, WorkerLoad } from "./policy.ts";

/** Any worker, uniformly. */
export class RandomPolicy implements RoutingPolicy {
  readonly name = "random";
  readonly #random: Prng;

  /** @param random - the sequence that decides; used by nobody else, so that a seed repeats the choices. */
  constructor(random: Prng) {
    this.#random = random;
  }

  /** See RoutingPolicy. */
  choose(_promptTokens: number, loads: readonly WorkerLoad[]): number {
    return this.#random.below(loads.length);
  }
}

/** One worker after the other. */
export class RoundRobinPolicy implements RoutingPolicy {
  readonly name = "round-robin";
  #turn = 0;

  /** See RoutingPolicy. */
  choose(_promptTokens: number, loads: readonly WorkerLoad[]): number {
    const chosen = this.#turn % loads.length;
    this.#turn += 1;
    return chosen;
  }
}
