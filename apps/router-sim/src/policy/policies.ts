/**
 * The policies of a simulation: those of `@kvsync/routing`, and the oracle, which has data that
 * only a simulation has.
 */
import { Prng } from "@kvsync/core";
import {
  type FixedWorker,
  makePolicy as makeRoutingPolicy,
  POLICY_NAMES as ROUTING_POLICY_NAMES,
  type PolicyName as RoutingPolicyName,
  type RandomSource,
  type RoutingPolicy,
} from "@kvsync/routing";

import { OraclePolicy } from "./oracle.ts";

/** Name of a policy that a simulation can run. */
export type PolicyName = RoutingPolicyName | "oracle";

/** A policy from outside this repository: what a module for `simulate --policy-file` exports as `policy`. */
export interface CustomPolicy {
  /** Names it in results; none of POLICY_NAMES. */
  readonly name: string;
  /** Makes one with an empty memory. The simulation then calls `join` for each position. */
  readonly make: (positionCount: number, random: RandomSource) => RoutingPolicy;
}

/** Every policy's name. The last is kvsync's own. */
export const POLICY_NAMES: readonly PolicyName[] = [
  ...ROUTING_POLICY_NAMES.filter((name) => name !== "kvsync"),
  "oracle",
  "kvsync",
];

/**
 * Makes a policy for a fleet that does not change.
 *
 * @param seed - of its random choices; equal seeds give equal choices.
 */
export function makePolicy(
  which: PolicyName | CustomPolicy,
  workers: readonly FixedWorker[],
  seed: number,
): RoutingPolicy {
  const policy = emptyPolicy(which, workers.length, seed);
  for (const [position, { capacityTokens }] of workers.entries()) policy.join(position, capacityTokens);
  return policy;
}

function emptyPolicy(which: PolicyName | CustomPolicy, positionCount: number, seed: number): RoutingPolicy {
  if (which === "oracle") return new OraclePolicy(positionCount);
  const random = new Prng(seed);
  return typeof which === "string"
    ? makeRoutingPolicy(which, positionCount, random)
    : which.make(positionCount, random);
}
