/**
 * What a routing policy is given and what it answers. Policies are plug-ins over this one interface: `simulate` and `replay` run
 * the same ones, and a new one is a file, a name here and a line in policies.ts.
 *
 *     request ─▶ who holds how much of it ─┐
 *     what was sent and has not ended ─────┼─▶ choose ─▶ worker ─▶ (booked at once)
 *     the policy's own memory ─────────────┘
 *
 *  P1  A policy asks nobody and reads no clock: the same calls in the same order give the same choices.
 *  P2  Loads are the router's own books (what it sent and has not seen end), as in a gateway; a policy never looks into an
 *      engine, the oracle excepted, whose matches are asked of the engines.
 *  P3  A policy answers for every request, also when nothing is known.
 */

/** How far the index is trusted in what it says about a worker rank; closed set of the daemon's API. */
export const TRUSTS = ["exact", "partial", "stale", "unknown"] as const;

/** See TRUSTS. */
export type Trust = (typeof TRUSTS)[number];

/** What the router has under way at one worker. */
interface WorkerLoad {
  readonly worker: string;
  /** Requests sent and not finished. */
  runningRequests: number;
  /** Of these, the ones whose first output token has not come. */
  waitingRequests: number;
  /** Prompt tokens sent whose first output token has not come, those expected to be cached not counted. */
  pendingPrefillTokens: number;
  /** Tokens of KV that its requests hold or will hold: their prompts. */
  contextTokens: number;
  /** Tokens of KV that it has room for. */
  readonly capacityTokens: number;
}

/**
 * A worker as a policy sees it at one choice. The match is of the request at hand, zero where nothing is known. A policy that knows
 * better may replace matches: what it leaves at the chosen worker is what the router books as not to be prefilled.
 */
export interface WorkerView extends WorkerLoad {
  /** Leading prompt tokens that it holds on any tier. */
  matchedTokens: number;
  /** Of these, the ones on a slower tier than the device. */
  matchedSlowTokens: number;
  /** How far the match can be trusted. */
  trust: Trust;
}

/** The request at hand. */
export interface RoutingRequest {
  readonly promptTokens: number;
  /** The conversation or task it belongs to; null when it says none. */
  readonly sessionId: number | null;
  /**
   * What names the prompt's full blocks, `keyWords` words each: their tokens, or shorter names for them. Valid during the call.
   */
  readonly keys: Uint32Array;
  readonly keyWords: number;
  /** Prompt tokens that one such block stands for. */
  readonly keyTokens: number;
  /** Leading prompt tokens that later requests of the workload will share; 0 unless the policy knows the future. */
  readonly sharedLaterTokens: number;
}

/** A choice between workers. */
export interface RoutingPolicy {
  readonly name: PolicyName;
  /**
   * Where `matchedTokens` comes from: nowhere (all zero), the index, or the engines themselves; who asks the engines knows the future,
   * too.
   */
  readonly knowledge: "none" | "index" | "everything";
  /**
   * Picks a worker for a prompt.
   *
   * @param request - see RoutingRequest.
   * @param workers - every worker; at least one. Reused between calls.
   * @param nowSeconds - on a clock that never goes back, for memories that fade.
   * @returns a position in `workers`.
   */
  choose(request: RoutingRequest, workers: readonly WorkerView[], nowSeconds: number): number;
}

/** Every policy's name. The last is ours. */
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
  "oracle",
  "kvsync",
] as const;

/** See POLICY_NAMES. */
export type PolicyName = (typeof POLICY_NAMES)[number];
