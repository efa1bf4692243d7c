/** Makes policies by name. The one place that lists them all. */
import { ApproximatePolicy } from "./approximate.ts";
import {
  LeastLoadedPolicy,
  PowerOfTwoPolicy,
  RandomPolicy,
  RoundRobinPolicy,
  SessionStickyPolicy,
} from "./blind.ts";
import { KvsyncPolicy } from "./kvsync.ts";
import { OverlapCostPolicy } from "./overlap-cost.ts";
import type { RandomSource, RoutingPolicy } from "./policy.ts";
import { PrefixThresholdPolicy } from "./prefix-threshold.ts";
import { TierScorePolicy } from "./tier-score.ts";

/** Every policy's name. The last is kvsync's own. */
export const POLICY_NAMES = [
  "random",
  "round-robin",
  "least-loaded",
  "power-of-two",
  "session-sticky",
  "prefix-threshold",
  "overlap-cost",
  "tier-score",
  "approximate",
  "kvsync",
] as const;

/** Name of a policy that needs no knowledge beyond the index. */
export type PolicyName = (typeof POLICY_NAMES)[number];

const MAKERS: Readonly<Record<PolicyName, (positionCount: number, random: RandomSource) => RoutingPolicy>> = {
  random: (_, random) => new RandomPolicy(random),
  "round-robin": () => new RoundRobinPolicy(),
  "least-loaded": (_, random) => new LeastLoadedPolicy(random),
  "power-of-two": (_, random) => new PowerOfTwoPolicy(random),
  "session-sticky": (_, random) => new SessionStickyPolicy(random),
  "prefix-threshold": (_, random) => new PrefixThresholdPolicy(random),
  "overlap-cost": (_, random) => new OverlapCostPolicy(random),
  "tier-score": (_, random) => new TierScorePolicy(random),
  approximate: (positionCount, random) => new ApproximatePolicy(random, positionCount),
  kvsync: (positionCount) => new KvsyncPolicy(positionCount),
};

/**
 * Makes a policy with an empty memory.
 *
 * @param positionCount - positions of the fleet, at most POSITIONS_MAX; `join` fills them.
 * @param random - of its random choices; equal sequences give equal choices.
 */
export function makePolicy(name: PolicyName, positionCount: number, random: RandomSource): RoutingPolicy {
  return MAKERS[name](positionCount, random);
}
