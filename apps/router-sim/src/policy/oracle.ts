/**
 * Perfect knowledge, used for hits alone. It has the contents of every engine at this moment, with
 * no delay and no loss, and the tokens that wait for prefill. It also has the part of this prompt
 * that later requests will share. It bounds what knowledge is worth. Its queues may grow without
 * limit,
 * so that only its hit rate means anything.
 *
 *     cost(worker)     = fresh · (1 + USEFUL_SHARE · crowding · pressure)    hits lost now, and hits lost later to what is driven out
 *                      + pendingPrefillTokens · LATENESS                     …and to answers that come after the next turn has
 *     cost(set aside)  = fresh + wanted tokens that it does not hold         they would be driven out before they are asked for
 *     crowding         = (what was stored ÷ memory)³, of the fleet or of the worker, whichever is more, at most 1
 *
 *  - The last worker is set aside, once the tokens that are cheaper there are more than a fair
 *    share of all fresh tokens. It takes blocks that no later request shares, so that they drive
 *    nothing useful out of the others' caches.
 *  - While memory is empty, nothing is driven out, and the most hits are had by computing every beginning once. Toward the day when it
 *    is full, crowding spreads what is new (memory-pressure.ts).
 *
 * Not a proof of optimality, which would be a search over all assignments: a rule of thumb with
 * perfect knowledge. In 23 of 1,000 random small fleets some policy hit more by over a tenth of a
 * percentage point, by 3.3 points at most. Eleven of them had agents, seven conversations, five
 * documents; oracle-sweep.simulation.test.ts runs a sample. The oracle does not foresee that sessions grow
 * where they are put. Which of the cases that explains was not measured.
 */
import { MemoryPressure, type RoutingPolicy, type RoutingRequest, type WorkerView } from "@kvsync/routing";

import { WaitingPrompts } from "./waiting-prompts.ts";

/** Of the tokens that fresh ones drive out of a full cache, the share that somebody would have come back for. */
const USEFUL_SHARE = 0.4;
/** Empty memory is as good as endless until it is nearly full. */
const CROWDING_EXPONENT = 3;
/** A second of prefill ahead delays an answer by a second, and of some hundred answers one is waited for then. */
const LATENESS = 0.005;
/** How finely waiting prompts are compared; shorter than a turn of a chat. */
const CHUNK_TOKENS = 256;

/** What a ranking decided. */
interface Ranked {
  readonly chosen: number;
  /** Tokens that the chosen worker would have to compute, and the best one that is not set aside. */
  readonly fresh: number;
  readonly bestFresh: number;
  readonly isUnwanted: boolean;
  readonly isSetAside: boolean;
}

/** See the header. */
export class OraclePolicy implements RoutingPolicy {
  readonly name = "oracle";
  readonly knowledge = "everything";
  readonly #waiting: WaitingPrompts;
  readonly #matched: Float64Array;
  /** What is set aside does not count: it drives nothing useful out. */
  readonly #pressure: MemoryPressure;
  /** Tokens stored at each worker since the begin. */
  readonly #stored: Float64Array;
  #storedByAll = 0;
  /** Fresh tokens so far, and those of them that are cheaper where something is set aside. */
  #fresh = 0;
  #unwanted = 0;

  /** The decision of the last `rank`, for `book`. */
  #ranked: Ranked = { chosen: 0, fresh: 0, bestFresh: 0, isUnwanted: false, isSetAside: false };

  /** @param workerCount - of the fleet, which does not change. */
  constructor(workerCount: number) {
    this.#waiting = new WaitingPrompts(workerCount, CHUNK_TOKENS);
    this.#matched = new Float64Array(workerCount);
    this.#pressure = new MemoryPressure(workerCount);
    this.#stored = new Float64Array(workerCount);
  }

  /** See RoutingPolicy. */
  join(position: number, capacityTokens: number): void {
    this.#pressure.join(position, capacityTokens);
  }

  /** Simulated fleets do not change. */
  leave(position: number): never {
    throw new Error(`worker ${position} left: the oracle supports only fleets that do not change`);
  }

  /** See RoutingPolicy. Ranks one worker: a simulation asks for no more. */
  rank(
    request: RoutingRequest,
    workers: readonly WorkerView[],
    _nowSeconds: number,
    into: Uint32Array,
  ): number {
    this.#waiting.match(request, workers, this.#matched);
    for (const [position, view] of workers.entries())
      view.matchedTokens = Math.max(view.matchedTokens, this.#matched[position] ?? 0);
    const last = workers.length - 1;
    const setsAside = last > 0 && this.#unwanted * workers.length > this.#fresh;
    const best = this.#cheapest(request, workers, setsAside ? last : workers.length);
    const isUnwanted = this.#isUnwanted(request, workers[best], workers[last]);
    const isSetAside = isUnwanted && setsAside;
    const chosen = isSetAside ? last : best;
    const bestFresh = freshTokens(request, workers[best]);
    const fresh = freshTokens(request, workers[chosen]);
    this.#ranked = { chosen, fresh, bestFresh, isUnwanted, isSetAside };
    into[0] = chosen;
    return 1;
  }

  /** See RoutingPolicy. */
  book(): void {
    const { chosen, fresh, bestFresh, isUnwanted, isSetAside } = this.#ranked;
    this.#fresh += bestFresh;
    if (isUnwanted) this.#unwanted += bestFresh;
    if (!isSetAside) this.#pressure.give(chosen, fresh);
    this.#stored[chosen] = (this.#stored[chosen] ?? 0) + fresh;
    this.#storedByAll += fresh;
    this.#waiting.record(chosen);
  }

  /** Whether a worker that is set aside is the cheaper one, in a fleet that is full and evenly so. */
  #isUnwanted(request: RoutingRequest, best: WorkerView | undefined, aside: WorkerView | undefined): boolean {
    const wanted = Math.max(0, request.sharedLaterTokens - (aside?.matchedTokens ?? 0));
    return freshTokens(request, aside) + wanted <= freshTokens(request, best) * (1 + USEFUL_SHARE);
  }

  /** Of the first `count` workers. */
  #cheapest(request: RoutingRequest, workers: readonly WorkerView[], count: number): number {
    const { meanGiven } = this.#pressure;
    let best = 0;
    let least = Number.POSITIVE_INFINITY;
    for (let position = 0; position < count; position++) {
      const view = workers[position];
      if (view === undefined) continue;
      const fresh = freshTokens(request, view);
      const pressure = this.#crowding(position, fresh, workers) * this.#pressure.of(position, meanGiven);
      const cost = fresh * (1 + USEFUL_SHARE * pressure) + view.pendingPrefillTokens * LATENESS;
      if (cost >= least) continue;
      best = position;
      least = cost;
    }
    return best;
  }

  /** @returns 0 … 1, see the header. */
  #crowding(position: number, fresh: number, workers: readonly WorkerView[]): number {
    const capacityTokens = workers[position]?.capacityTokens ?? 1;
    const own = ((this.#stored[position] ?? 0) + fresh) / capacityTokens;
    const all = this.#storedByAll / (capacityTokens * workers.length);
    return Math.min(1, Math.max(own, all)) ** CROWDING_EXPONENT;
  }
}

/** What of a prompt a worker would have to compute. */
function freshTokens({ promptTokens }: RoutingRequest, view: WorkerView | undefined): number {
  return promptTokens - (view?.matchedTokens ?? 0);
}
