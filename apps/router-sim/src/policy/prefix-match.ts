/**
 * Longest match weighed against load: the worker that would show the first token soonest, and among those that are
 * about as soon, the one whose cache was given the least.
 *
 *     cost(worker) = pendingPrefillTokens                      what must be prefilled before this prompt's turn
 *                  + promptTokens − weight(trust) · matched    what this prompt adds
 *                  + runningRequests · RUNNING_REQUEST_TOKENS  decoding slows every step a little
 *
 * One unit, a token of prefill, for everything. Costs within NEAR_TOKENS of the least count as equal; of those workers the one
 * wins that has been given the fewest new tokens so far. Without that rule a system prompt that all requests share would
 * draw every new conversation to the few workers that happen to hold it, and the caches of the others would stay empty.
 *
 * weight(trust): what the daemon calls `exact` or `partial` is held for sure (partial may only *under*-report), `stale` may
 * over-report and counts half, `unknown` nothing. Without advice the rule becomes least load.
 *
 * The shape follows Dynamo's cost (`lib/kv-router`: overlap-weighted prefill blocks plus active blocks), in tokens.
 */
import type { RoutingAdvice, RoutingPolicy, Trust, WorkerLoad } from "./policy.ts";

/** One running request costs each step about as much as this many tokens of prefill do, spread over its life. */
const RUNNING_REQUEST_TOKENS = 64;

/** Two of the trace's blocks: some 30 ms of prefill, more than a system prompt, less than a conversation. */
const NEAR_TOKENS = 1_024;

const TRUST_WEIGHTS: Readonly<Record<Trust, number>> = { exact: 1, partial: 1, stale: 0.5, unknown: 0 };

/** See the header. */
export class PrefixMatchPolicy implements RoutingPolicy {
  readonly name = "prefix-match";
  /** Tokens given to each worker that it did not hold. */
  readonly #newTokens = new Map<string, number>();

  /** See RoutingPolicy. */
  choose(promptTokens: number, loads: readonly WorkerLoad[], advice: RoutingAdvice | null): number {
    const held = heldTokens(advice);
    const costs = loads.map(
      ({ worker, pendingPrefillTokens, runningRequests }) =>
        pendingPrefillTokens +
        (promptTokens - (held.get(worker) ?? 0)) +
        runningRequests * RUNNING_REQUEST_TOKENS,
    );
    const nearMax = Math.min(...costs) + NEAR_TOKENS;
    let best = 0;
    let leastGiven = Number.POSITIVE_INFINITY;
    loads.forEach(({ worker }, position) => {
      const given = this.#newTokens.get(worker) ?? 0;
      if ((costs[position] ?? 0) > nearMax || given >= leastGiven) return;
      best = position;
      leastGiven = given;
    });
    const chosen = loads[best]?.worker;
    if (chosen !== undefined) {
      this.#newTokens.set(chosen, leastGiven + promptTokens - (held.get(chosen) ?? 0));
    }
    return best;
  }
}

/** Tokens that each worker can be counted on to hold; the best of its ranks. */
function heldTokens(advice: RoutingAdvice | null): ReadonlyMap<string, number> {
  const held = new Map<string, number>();
  if (advice === null || advice.decision === "fallback") return held;
  for (const { worker, matchedTokens, trust } of advice.matches) {
    held.set(worker, Math.max(held.get(worker) ?? 0, matchedTokens * TRUST_WEIGHTS[trust]));
  }
  return held;
}
