/**
 * Longest match weighed against load: the worker that would show the first token soonest.
 *
 *     cost(worker) = pendingPrefillTokens                      what must be prefilled before this prompt's turn
 *                  + promptTokens − weight(trust) · matched    what this prompt adds
 *                  + runningRequests · RUNNING_REQUEST_TOKENS  decoding slows every step a little
 *
 * The least cost wins; equal costs go to the worker with fewer requests, then to the one least recently chosen, so that
 * an idle fleet is filled evenly. One unit, a token of prefill, for everything: no weight to tune but the last.
 *
 * weight(trust): what the daemon calls `exact` or `partial` is held for sure (partial may only *under*-report), `stale` may
 * over-report and counts half, `unknown` nothing. Without advice the rule becomes least load.
 *
 * The shape follows Dynamo's cost (`lib/kv-router`: overlap-weighted prefill blocks plus active blocks), in tokens.
 */
import type { RoutingAdvice, RoutingPolicy, Trust, WorkerLoad } from "./policy.ts";

/** One running request costs each step about as much as this many tokens of prefill do, spread over its life. */
const RUNNING_REQUEST_TOKENS = 64;

const TRUST_WEIGHTS: Readonly<Record<Trust, number>> = { exact: 1, partial: 1, stale: 0.5, unknown: 0 };

/** See the header. */
export class PrefixMatchPolicy implements RoutingPolicy {
  readonly name = "prefix-match";
  /** When each worker was last chosen, in choices. */
  readonly #chosenAt = new Map<string, number>();
  #choices = 0;

  /** See RoutingPolicy. */
  choose(promptTokens: number, loads: readonly WorkerLoad[], advice: RoutingAdvice | null): number {
    const held = heldTokens(advice);
    let best = 0;
    let bestRank: readonly number[] = [];
    loads.forEach((load, position) => {
      const newTokens = promptTokens - (held.get(load.worker) ?? 0);
      const cost = load.pendingPrefillTokens + newTokens + load.runningRequests * RUNNING_REQUEST_TOKENS;
      const rank = [cost, load.runningRequests, this.#chosenAt.get(load.worker) ?? -1];
      if (position === 0 || isLess(rank, bestRank)) [best, bestRank] = [position, rank];
    });
    const worker = loads[best]?.worker;
    if (worker !== undefined) this.#chosenAt.set(worker, this.#choices);
    this.#choices += 1;
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

/** Whether `a` comes before `b`, compared number by number. */
function isLess(a: readonly number[], b: readonly number[]): boolean {
  for (const [position, value] of a.entries()) {
    const other = b[position] ?? 0;
    if (value !== other) return value < other;
  }
  return false;
}
