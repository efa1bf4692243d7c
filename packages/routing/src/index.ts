/** The public surface of the policies: named, so that it is a page one reviews. */
export { DecisionHistory } from "./decision-history.ts";
export { type CostTerms, KvsyncPolicy, OWN_SECONDS, type PolicyDecision } from "./kvsync.ts";
export { leastBy } from "./least.ts";
export { type FixedWorker, LoadBook } from "./load-book.ts";
export { MemoryPressure } from "./memory-pressure.ts";
export { MemorylessPolicy } from "./memoryless-policy.ts";
export { OverlapCostPolicy } from "./overlap-cost.ts";
export { makePolicy, POLICY_NAMES, type PolicyName } from "./policies.ts";
export {
  choose,
  POSITIONS_MAX,
  type RandomSource,
  type RoutingPolicy,
  type RoutingRequest,
  TRUSTS,
  type Trust,
  type WorkerView,
} from "./policy.ts";
export { type NamedPrefixes, namePrefixes } from "./prompt-prefixes.ts";
