/** Makes policies by name: the one place that knows them all. */
import { Prng, unreachable } from "@kvsync/core";

import { ApproximatePolicy } from "./approximate.ts";
import {
  LeastLoadedPolicy,
  PowerOfTwoPolicy,
  RandomPolicy,
  RoundRobinPolicy,
  SessionStickyPolicy,
} from "./blind.ts";
import { KvsyncPolicy } from "./kvsync.ts";
import { OraclePolicy } from "./oracle.ts";
import { OverlapCostPolicy } from "./overlap-cost.ts";
import type { PolicyName, RoutingPolicy } from "./policy.ts";
import { PrefixThresholdPolicy } from "./prefix-threshold.ts";
import { TierScorePolicy } from "./tier-score.ts";

/**
 * Makes a policy with an empty memory.
 *
 * @param name - which.
 * @param workerCount - workers that it will choose from.
 * @param seed - of its random choices; equal seeds give equal ones.
 * @returns a policy for one run.
 */
export function makePolicy(name: PolicyName, workerCount: number, seed: number): RoutingPolicy {
  const random = new Prng(seed);
  switch (name) {
    case "random":
      return new RandomPolicy(random);
    case "round-robin":
      return new RoundRobinPolicy();
    case "least-loaded":
      return new LeastLoadedPolicy(random);
    case "power-of-two":
      return new PowerOfTwoPolicy(random);
    case "session-sticky":
      return new SessionStickyPolicy(random);
    case "prefix-threshold":
      return new PrefixThresholdPolicy(random);
    case "overlap-cost":
      return new OverlapCostPolicy(random);
    case "tier-score":
      return new TierScorePolicy(random);
    case "approximate":
      return new ApproximatePolicy(random, workerCount);
    case "oracle":
      return new OraclePolicy(workerCount);
    case "kvsync":
      return new KvsyncPolicy(workerCount);
    default:
      return unreachable(name);
  }
}
