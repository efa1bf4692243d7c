/**
 * What a routing policy is given and what it answers. A policy is a pure choice over values (random and round-robin
 * keep a counter): it asks nobody and knows no clock, so that the same inputs give the same choice.
 *
 * Loads are the router's own bookkeeping (what it sent and has not seen finished), as in a real gateway; a policy never
 * looks into an engine.
 */

/** How far the daemon trusts what it says about a worker rank; closed set of the daemon's API. */
export const TRUSTS = ["exact", "partial", "stale", "unknown"] as const;

/** See TRUSTS. */
export type Trust = (typeof TRUSTS)[number];

/** What the router has under way at one worker. */
export interface WorkerLoad {
  readonly worker: string;
  /** Requests sent and not finished. */
  runningRequests: number;
  /** Prompt tokens sent whose first output token has not come, cached ones not counted. */
  pendingPrefillTokens: number;
}

/** One worker's line of the daemon's answer. */
interface PrefixMatch {
  readonly worker: string;
  readonly matchedTokens: number;
  readonly trust: Trust;
}

/** The daemon's answer to one lookup, as far as routing needs it. */
export interface RoutingAdvice {
  readonly decision: "exact" | "degraded" | "fallback";
  /** Workers that hold at least the prompt's first block. */
  readonly matches: readonly PrefixMatch[];
}

/** A choice between workers. */
export interface RoutingPolicy {
  readonly name: PolicyName;
  /**
   * Picks a worker for a prompt.
   *
   * @param promptTokens - its length.
   * @param loads - every worker's load; at least one.
   * @param advice - the daemon's answer, or null when there was none.
   * @returns a position in `loads`.
   */
  choose(promptTokens: number, loads: readonly WorkerLoad[], advice: RoutingAdvice | null): number;
}

/** Every policy's name. */
export const POLICY_NAMES = ["random", "round-robin", "prefix-match"] as const;

/** See POLICY_NAMES. */
export type PolicyName = (typeof POLICY_NAMES)[number];
