/**
 * Policies that use neither prompts' places nor the index: the cost of routing without knowledge.
 *
 *     random, round-robin     ignore everything
 *     least-loaded            the fewest requests in progress; the usual default of a load balancer
 *     power-of-two            the less loaded of two random workers (M. Mitzenmacher, "The Power of
 *                             Two Choices in Randomized Load Balancing", IEEE TPDS 2001)
 *     session-sticky          one worker for all of a session, by rendezvous hashing (D. Thaler,
 *                             C. Ravishankar, 1998): a worker that joins or leaves moves only its own
 *                             sessions; without a session least-loaded
 */
import { eligibleCount, leastBy, nthEligible } from "./least.ts";
import { MemorylessPolicy } from "./memoryless-policy.ts";
import type { RandomSource, RoutingRequest, WorkerView } from "./policy.ts";

/** Any worker, uniformly. */
export class RandomPolicy extends MemorylessPolicy {
  readonly name = "random";
  readonly knowledge = "none";
  readonly #random: RandomSource;

  /** @param random - decides; shared with nothing else, so that a seed repeats the choices. */
  constructor(random: RandomSource) {
    super();
    this.#random = random;
  }

  /** See RoutingPolicy. */
  rank(_request: RoutingRequest, views: readonly WorkerView[], _now: number, into: Uint32Array): number {
    const eligible = eligibleCount(views);
    const count = Math.min(eligible, into.length);
    for (let i = 0; i < count; i++)
      into[i] = nthEligible(views, this.#random.below(eligible - i), into.subarray(0, i));
    return count;
  }
}

/** One worker after the other. */
export class RoundRobinPolicy extends MemorylessPolicy {
  readonly name = "round-robin";
  readonly knowledge = "none";
  #turn = 0;

  /** See RoutingPolicy. */
  rank(_request: RoutingRequest, views: readonly WorkerView[], _now: number, into: Uint32Array): number {
    const eligible = eligibleCount(views);
    const count = Math.min(eligible, into.length);
    for (let i = 0; i < count; i++)
      into[i] = nthEligible(views, (this.#turn + i) % eligible, new Uint32Array(0));
    return count;
  }

  /** See RoutingPolicy. */
  override book(): void {
    this.#turn += 1;
  }
}

/** The fewest requests under way; one of the least, at random. */
export class LeastLoadedPolicy extends MemorylessPolicy {
  readonly name = "least-loaded";
  readonly knowledge = "none";
  readonly #random: RandomSource;

  /** @param random - decides between equals; shared with nothing else. */
  constructor(random: RandomSource) {
    super();
    this.#random = random;
  }

  /** See RoutingPolicy. */
  rank(_request: RoutingRequest, views: readonly WorkerView[], _now: number, into: Uint32Array): number {
    return leastBy(views, ({ runningRequests }) => runningRequests, this.#random, into);
  }
}

/** The less loaded of two. */
export class PowerOfTwoPolicy extends MemorylessPolicy {
  readonly name = "power-of-two";
  readonly knowledge = "none";
  readonly #random: RandomSource;

  /** @param random - draws the two; shared with nothing else. */
  constructor(random: RandomSource) {
    super();
    this.#random = random;
  }

  /** See RoutingPolicy. */
  rank(_request: RoutingRequest, views: readonly WorkerView[], _now: number, into: Uint32Array): number {
    const eligible = eligibleCount(views);
    const count = Math.min(eligible, into.length);
    for (let i = 0; i < count; i++) {
      const placed = into.subarray(0, i);
      const one = nthEligible(views, this.#random.below(eligible - i), placed);
      const other = nthEligible(views, this.#random.below(eligible - i), placed);
      const isOtherLess = (views[other]?.runningRequests ?? 0) < (views[one]?.runningRequests ?? 0);
      into[i] = isOtherLess ? other : one;
    }
    return count;
  }
}

/** Every session at one worker. */
export class SessionStickyPolicy extends MemorylessPolicy {
  readonly name = "session-sticky";
  readonly knowledge = "none";
  readonly #random: RandomSource;

  /** @param random - decides between equals for requests without a session; shared with nothing else. */
  constructor(random: RandomSource) {
    super();
    this.#random = random;
  }

  /** See RoutingPolicy. */
  rank({ sessionId }: RoutingRequest, views: readonly WorkerView[], _now: number, into: Uint32Array): number {
    if (sessionId === null)
      return leastBy(views, ({ runningRequests }) => runningRequests, this.#random, into);
    const session = mix(sessionId);
    return leastBy(views, (_view, position) => -mix(session ^ mix(position + 0x9e37_79b9)), null, into);
  }
}

/** C. Wellons' lowbias32: every input bit changes every output bit with probability one half. */
function mix(value: number): number {
  let x = value | 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb_352d);
  x = Math.imul(x ^ (x >>> 15), 0x846c_a68b);
  return (x ^ (x >>> 16)) >>> 0;
}
