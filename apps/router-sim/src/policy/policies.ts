/** The policies of a simulation: those of `@kvsync/routing`, and the oracle, which knows what only a simulation can. */
import { Prng } from "@kvsync/core";
import {
  type FixedWorker,
  makePolicy as makeRoutingPolicy,
  POLICY_NAMES as ROUTING_POLICY_NAMES,
  type PolicyName as RoutingPolicyName,
  type RoutingPolicy,
} from "@kvsync/routing";

import { OraclePolicy } from "./oracle.ts";

/** Name of a policy that a simulation can run. */
export type PolicyName = RoutingPolicyName | "oracle";

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
export function makePolicy(name: PolicyName, workers: readonly FixedWorker[], seed: number): RoutingPolicy {
  const policy =
    name === "oracle"
      ? new OraclePolicy(workers.length)
      : makeRoutingPolicy(name, workers.length, new Prng(seed));
  for (const [position, { capacityTokens }] of workers.entries()) policy.join(position, capacityTokens);
  return policy;
}
