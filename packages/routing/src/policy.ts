/**
 * The interface of a routing policy. Simulation, replay and gateways run the same policies over it; a
 * new one is a class that implements it.
 *
 *     request ─▶ how much of it each worker holds ─┐
 *     requests in progress at each worker ───────────┼─▶ rank ─▶ workers, best first ─▶ book
 *     the policy's own memory ─────────────────────┘
 *
 *  P1  A policy does no I/O and reads no clock: the same calls in the same order give the same
 *      rankings (policy.test.ts "P1").
 *  P3  A ranking names every eligible worker that fits, each once, also without any match
 *      (policy.test.ts "P3").
 *  P4  `choose` is the first of `rank`, then booked (policy.test.ts "P4").
 *
 * Loads are the router's own books, and what the router was given as foreign load. The dependency rule
 * `routing-is-sans-io` keeps policies from asking an engine.
 *
 * Not here: lookups, sockets, time. The caller brings matches, loads and the clock.
 */

/** How far the index is trusted in what it says about a worker rank; closed set of the daemon's API. */
export const TRUSTS = ["exact", "partial", "stale", "unknown"] as const;

/** See TRUSTS. */
export type Trust = (typeof TRUSTS)[number];

/** Most positions of a fleet. */
export const POSITIONS_MAX = 16_384;

/**
 * One position of the fleet as a policy sees it for one request. Loads belong to the book, the match
 * to the caller: it is of the request at hand, zero where nothing is known. A policy that knows better
 * raises `matchedTokens`; what it leaves there is booked as not to be prefilled.
 */
export interface WorkerView {
  worker: string;
  /** False for an empty position and for a worker that must not be chosen now. */
  isEligible: boolean;
  /** Requests sent and not finished. */
  runningRequests: number;
  /** Of these, the ones whose first output token has not come. */
  waitingRequests: number;
  /** Prompt tokens sent whose first output token has not come, without those expected to be cached. */
  pendingPrefillTokens: number;
  /** Tokens of KV that its requests hold or will hold: their prompts. */
  contextTokens: number;
  /** Tokens of KV that it has room for. */
  capacityTokens: number;
  /** Leading prompt tokens that it holds on any tier. */
  matchedTokens: number;
  /** Of these, the ones on a slower tier than the device. */
  matchedSlowTokens: number;
  /** How far the match can be trusted. */
  trust: Trust;
  /** Cost of this worker for the request beyond all that, in tokens of prefill; the caller's to know. */
  surchargeTokens: number;
}

/** The request at hand. */
export interface RoutingRequest {
  readonly promptTokens: number;
  /** The conversation or task it belongs to; `null` when it names none. */
  readonly sessionId: number | null;
  /**
   * Names of the prompt's full blocks, `keyWords` words each: their tokens, or shorter names for them.
   * Read during the call only.
   */
  readonly keys: Uint32Array;
  readonly keyWords: number;
  /** Prompt tokens that one such block stands for. */
  readonly keyTokens: number;
  /** Leading prompt tokens that later requests will share; 0 unless the caller knows the future. */
  readonly sharedLaterTokens: number;
}

/** A source of random numbers, seeded by the caller so that runs repeat. */
export interface RandomSource {
  /** The next 32 bits, as u32. */
  nextU32(): number;
  /** An integer in 0 … `count` − 1, each as likely as the next. */
  below(count: number): number;
}

/** An order over the workers of a fleet. Memory of its own is by position, and cleared by `leave`. */
export interface RoutingPolicy {
  readonly name: string;
  /** Where `matchedTokens` comes from: nowhere (all zero), the index, or the engines themselves. */
  readonly knowledge: "none" | "index" | "everything";

  /** A worker takes an empty position. */
  join(position: number, capacityTokens: number): void;

  /**
   * The room of a worker becomes known, or another, after it joined; what is remembered of it stays.
   * Optional: a policy that does not weigh memory has no use for it.
   */
  resize?(position: number, capacityTokens: number): void;

  /** The worker of a position is gone; nothing remembered of it applies to the next one there. */
  leave(position: number): void;

  /**
   * Orders the eligible workers for a request; books nothing.
   *
   * @param request - its `keys` are read during the call only.
   * @param views - by position.
   * @param nowSeconds - on a clock that never goes back, for memories that fade.
   * @param into - receives positions, best first; its length is how many are wanted.
   * @returns how many positions it wrote; 0 when no worker is eligible. Cost: O(workers × wanted).
   */
  rank(request: RoutingRequest, views: readonly WorkerView[], nowSeconds: number, into: Uint32Array): number;

  /** Remembers that the request of the last `rank` goes to a position of its views. */
  book(position: number, nowSeconds: number): void;
}

const FIRST = new Uint32Array(1);

/**
 * Ranks, books the best, and returns its position.
 *
 * @returns a position of `views`; −1 when no worker is eligible.
 */
export function choose(
  policy: RoutingPolicy,
  request: RoutingRequest,
  views: readonly WorkerView[],
  nowSeconds: number,
): number {
  if (policy.rank(request, views, nowSeconds, FIRST) === 0) return -1;
  const [position = -1] = FIRST;
  policy.book(position, nowSeconds);
  return position;
}
