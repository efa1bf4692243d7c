/**
 * Perfect knowledge, used for nothing but hits: what every engine holds at this moment, with no delay and no loss, what is on its way
 * there, and how much of this prompt later requests will share. It bounds what knowledge is worth, and ignores load: its queues may
 * grow without limit, so that only its hit rate means anything.
 *
 *     some of the fresh tokens will be asked for again   the worker with the least of fresh · (1 + pressure): hits now, and room for
 *                                                        hits later (memory-pressure.ts)
 *     none will, and little of the prompt is held        the last worker, whose cache is set aside for what nobody wants again, once
 *                                                        that is well more than a fair share of all fresh tokens
 *
 * Not a proof of optimality (that would be a search over all assignments), but no policy that does not know the future has beaten it
 * by more than a handful of blocks (theory.test.ts).
 */
import { DecisionHistory } from "./decision-history.ts";
import { MemoryPressure } from "./memory-pressure.ts";
import type { RoutingPolicy, RoutingRequest, WorkerView } from "./policy.ts";

/** Of the tokens that fresh ones drive out of a cache, the share that somebody would have come back for. */
const USEFUL_SHARE = 0.3;
/** A worker is set aside when what is unwanted would fill its share of the fleet this many times over. */
const SET_ASIDE = 1.5;
/** Since it ignores load, its own prompts wait long before an engine holds them. */
const OWN_SECONDS = 20;
const OWN_CHUNK_TOKENS = 256;

/** See the header. */
export class OraclePolicy implements RoutingPolicy {
  readonly name = "oracle";
  readonly knowledge = "everything";
  readonly #history = new DecisionHistory(OWN_SECONDS, OWN_CHUNK_TOKENS);
  readonly #own: Float64Array;
  /** What is set aside does not count: it drives nothing useful out. */
  readonly #pressure: MemoryPressure;
  /** Fresh tokens so far, and those of them that might as well be set aside. */
  #total = 0;
  #unwanted = 0;

  /** @param workerCount - workers that there will be to choose from. */
  constructor(workerCount: number) {
    this.#own = new Float64Array(workerCount);
    this.#pressure = new MemoryPressure(workerCount);
  }

  /** See RoutingPolicy. */
  choose(request: RoutingRequest, workers: readonly WorkerView[], nowSeconds: number): number {
    const { promptTokens, sharedLaterTokens } = request;
    this.#history.match(request, this.#own, nowSeconds);
    for (const [position, view] of workers.entries())
      view.matchedTokens = Math.max(view.matchedTokens, this.#own[position] ?? 0);
    const last = workers.length - 1;
    const setsAside = last > 0 && this.#unwanted * workers.length > SET_ASIDE * this.#total;
    const best = this.#cheapest(promptTokens, workers, setsAside ? last : workers.length);
    const held = workers[best]?.matchedTokens ?? 0;
    const fresh = promptTokens - held;
    const isUnwanted =
      sharedLaterTokens <= held && held - USEFUL_SHARE * fresh <= (workers[last]?.matchedTokens ?? 0);
    this.#total += fresh;
    if (isUnwanted) this.#unwanted += fresh;
    const chosen = isUnwanted && setsAside ? last : best;
    if (chosen === best) this.#pressure.give(best, fresh, workers[best]?.capacityTokens ?? 1);
    this.#history.record(chosen, nowSeconds);
    return chosen;
  }

  /** Of the first `count` workers. */
  #cheapest(promptTokens: number, workers: readonly WorkerView[], count: number): number {
    const { meanGiven } = this.#pressure;
    let best = 0;
    let least = Number.POSITIVE_INFINITY;
    for (let position = 0; position < count; position++) {
      const fresh = promptTokens - (workers[position]?.matchedTokens ?? 0);
      const cost = fresh * (1 + this.#pressure.of(position, meanGiven));
      if (cost >= least) continue;
      best = position;
      least = cost;
    }
    return best;
  }
}
