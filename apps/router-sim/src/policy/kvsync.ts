/**
 * Ours: overlap, load and memory in one cost, in tokens of prefill.
 *
 *     cost(worker) = pendingPrefillTokens                  what must be prefilled before this prompt's turn
 *                  + fresh · (1 + pressure(worker))        what this prompt adds, and what it drives out of the cache
 *                  + contextTokens / CONTEXT_PER_TOKEN     the KV that every step of this request will read along
 *                  + runningRequests · RUNNING_TOKENS      the tokens that are decoded beside it
 *     fresh        = promptTokens − held(worker)
 *     held(worker) = the greater of: weight(trust) · what the index says it holds
 *                                    what this router sent it within OWN_SECONDS
 *
 *  - The router's own decisions count at once: of two requests with one prefix, the second knows where the first went before the
 *    engine has computed it and said so.
 *  - What the stream of a worker is not trusted in counts less: `exact` and `partial` is held for sure (partial may only
 *    *under*-report), `stale` may over-report and counts half, `unknown` nothing. With nothing known at all the rule becomes least
 *    load with a memory.
 *  - What is new drives something old out of the cache, the sooner the harder the cache is used: memory-pressure.ts.
 *
 * The two small terms were chosen by simulation over the conversation trace and generated chat, documents and agents; factors of two
 * on either move no figure of the report by more than a few per cent.
 */
import { DecisionHistory } from "./decision-history.ts";
import { MemoryPressure } from "./memory-pressure.ts";
import type { RoutingPolicy, RoutingRequest, Trust, WorkerView } from "./policy.ts";

/** Reading the KV of 577 tokens takes as long as prefilling one (8B model on an H100), in each of some 30 steps that count. */
const CONTEXT_PER_TOKEN = 20;
/** One running request costs each step about as much as a token of prefill does; half of a long answer's steps count. */
const RUNNING_TOKENS = 256;
/** Longer than prefill and events take together, shorter than what is stored now lives in a cache. */
const OWN_SECONDS = 10;
/** Shorter than a turn of a chat; the index knows the rest as soon as it is stored. */
const OWN_CHUNK_TOKENS = 256;

const TRUST_WEIGHTS: Readonly<Record<Trust, number>> = { exact: 1, partial: 1, stale: 0.5, unknown: 0 };

/** See the header. */
export class KvsyncPolicy implements RoutingPolicy {
  readonly name = "kvsync";
  readonly knowledge = "index";
  readonly #history = new DecisionHistory(OWN_SECONDS, OWN_CHUNK_TOKENS);
  readonly #own: Float64Array;
  readonly #pressure: MemoryPressure;

  /** @param workerCount - workers that there will be to choose from. */
  constructor(workerCount: number) {
    this.#own = new Float64Array(workerCount);
    this.#pressure = new MemoryPressure(workerCount);
  }

  /** See RoutingPolicy. */
  choose(request: RoutingRequest, workers: readonly WorkerView[], nowSeconds: number): number {
    this.#history.match(request, this.#own, nowSeconds);
    const { meanGiven } = this.#pressure;
    let best = 0;
    let least = Number.POSITIVE_INFINITY;
    for (const [position, view] of workers.entries()) {
      view.matchedTokens = Math.max(view.matchedTokens * TRUST_WEIGHTS[view.trust], this.#own[position] ?? 0);
      const cost =
        view.pendingPrefillTokens +
        freshTokens(request, view) * (1 + this.#pressure.of(position, meanGiven)) +
        view.contextTokens / CONTEXT_PER_TOKEN +
        view.runningRequests * RUNNING_TOKENS;
      if (cost >= least) continue;
      best = position;
      least = cost;
    }
    const chosen = workers[best];
    if (chosen !== undefined) this.#pressure.give(best, freshTokens(request, chosen), chosen.capacityTokens);
    this.#history.record(best, nowSeconds);
    return best;
  }
}

function freshTokens({ promptTokens }: RoutingRequest, { matchedTokens }: WorkerView): number {
  return Math.max(0, promptTokens - matchedTokens);
}
