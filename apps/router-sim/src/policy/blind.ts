/**
 * The policies that look at neither prompts' places nor the index: what routing costs when nobody knows who holds what.
 *
 *     random, round-robin     look at nothing
 *     least-loaded            the fewest requests under way; the usual default of a load balancer
 *     power-of-two            the less loaded of two random workers (M. Mitzenmacher, "The Power of Two Choices in Randomized
 *                             Load Balancing", IEEE TPDS 2001)
 *     session-sticky          one worker for all of a session, by rendezvous hashing (D. Thaler, C. Ravishankar, 1998), so
 *                             that a worker more or less moves only its own sessions; without a session least-loaded
 */
import type { Prng } from "@kvsync/core";

import { leastBy } from "./least.ts";
import type { RoutingPolicy, RoutingRequest, WorkerView } from "./policy.ts";

/** Any worker, uniformly. */
export class RandomPolicy implements RoutingPolicy {
  readonly name = "random";
  readonly knowledge = "none";
  readonly #random: Prng;

  /** @param random - the sequence that decides; used by nobody else, so that a seed repeats the choices. */
  constructor(random: Prng) {
    this.#random = random;
  }

  /** See RoutingPolicy. */
  choose(_request: RoutingRequest, workers: readonly WorkerView[]): number {
    return this.#random.below(workers.length);
  }
}

/** One worker after the other. */
export class RoundRobinPolicy implements RoutingPolicy {
  readonly name = "round-robin";
  readonly knowledge = "none";
  #turn = 0;

  /** See RoutingPolicy. */
  choose(_request: RoutingRequest, workers: readonly WorkerView[]): number {
    const chosen = this.#turn % workers.length;
    this.#turn += 1;
    return chosen;
  }
}

/** The fewest requests under way; one of the least, at random. */
export class LeastLoadedPolicy implements RoutingPolicy {
  readonly name = "least-loaded";
  readonly knowledge = "none";
  readonly #random: Prng;

  /** @param random - decides between equals; used by nobody else. */
  constructor(random: Prng) {
    this.#random = random;
  }

  /** See RoutingPolicy. */
  choose(_request: RoutingRequest, workers: readonly WorkerView[]): number {
    return leastBy(workers, ({ runningRequests }) => runningRequests, this.#random);
  }
}

/** The less loaded of two. */
export class PowerOfTwoPolicy implements RoutingPolicy {
  readonly name = "power-of-two";
  readonly knowledge = "none";
  readonly #random: Prng;

  /** @param random - draws the two; used by nobody else. */
  constructor(random: Prng) {
    this.#random = random;
  }

  /** See RoutingPolicy. */
  choose(_request: RoutingRequest, workers: readonly WorkerView[]): number {
    const one = this.#random.below(workers.length);
    const other = this.#random.below(workers.length);
    return (workers[other]?.runningRequests ?? 0) < (workers[one]?.runningRequests ?? 0) ? other : one;
  }
}

/** Every session at one worker. */
export class SessionStickyPolicy implements RoutingPolicy {
  readonly name = "session-sticky";
  readonly knowledge = "none";
  readonly #random: Prng;

  /** @param random - decides between equals for requests without a session; used by nobody else. */
  constructor(random: Prng) {
    this.#random = random;
  }

  /** See RoutingPolicy. */
  choose({ sessionId }: RoutingRequest, workers: readonly WorkerView[]): number {
    if (sessionId === null) return leastBy(workers, ({ runningRequests }) => runningRequests, this.#random);
    let best = 0;
    let highest = -1;
    for (let position = 0; position < workers.length; position++) {
      const weight = mix(mix(sessionId) ^ mix(position + 0x9e37_79b9));
      if (weight <= highest) continue;
      best = position;
      highest = weight;
    }
    return best;
  }
}

/** C. Wellons' lowbias32, as in trace/prompt.ts: every input bit sways every output bit. */
function mix(value: number): number {
  let x = value | 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb_352d);
  x = Math.imul(x ^ (x >>> 15), 0x846c_a68b);
  return (x ^ (x >>> 16)) >>> 0;
}
