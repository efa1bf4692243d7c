/**
 * kvsync's own policy: overlap, load and memory in one cost, in tokens of prefill.
 *
 *     cost(worker) = pendingPrefillTokens                  what must be prefilled before this prompt's turn
 *                  + fresh · (1 + pressure(worker))        what this prompt adds, and what it drives out
 *                  + contextTokens / CONTEXT_PER_TOKEN     the KV that every step of this request reads
 *                  + runningRequests · RUNNING_TOKENS      the tokens that are decoded in the same steps
 *                  + surchargeTokens                       what the caller knows against it
 *     fresh        = promptTokens − held(worker)
 *     held(worker) = the greater of: weight(trust) · what the index says it holds
 *                                    what this router sent it within OWN_SECONDS
 *
 *  - The router's own decisions count at once. The second request with a prefix finds the first
 *    one's worker before the engine has computed and reported it.
 *  - A match counts by its trust. `exact` and `partial` are held for sure (partial may only
 *    under-report), `stale` may over-report and counts half, `unknown` counts nothing. Without any
 *    match the rule becomes least load with a memory.
 *  - A new block drives an old one out of the cache (memory-pressure.ts).
 *
 * The two small terms were chosen by simulation over the conversation trace and generated chat,
 * documents and agents. Factors of two on either move no figure of the report by more than a few
 * per cent.
 */
import { DecisionHistory } from "./decision-history.ts";
import { leastBy } from "./least.ts";
import { MemoryPressure } from "./memory-pressure.ts";
import type { RoutingPolicy, RoutingRequest, Trust, WorkerView } from "./policy.ts";

/** Reading the KV of 577 tokens takes as long as prefilling one (8B model on an H100), in each of some 30 steps that count. */
const CONTEXT_PER_TOKEN = 20;
/** One running request costs each step about as much as a token of prefill does; half of a long answer's steps count. */
const RUNNING_TOKENS = 256;
/** How long own decisions count: longer than prefill and events take together, shorter than what is stored now lives in a cache. */
export const OWN_SECONDS = 10;
/** Shorter than a turn of a chat; the index knows the rest as soon as it is stored. */
const OWN_CHUNK_TOKENS = 256;

const TRUST_WEIGHTS: Readonly<Record<Trust, number>> = { exact: 1, partial: 1, stale: 0.5, unknown: 0 };

/**
 * The terms of one worker's cost, in tokens of prefill: `pending`, `prefill`, `context`, `running`
 * and `surcharge` add up to the cost. The others are what `prefill` was made of.
 */
export interface CostTerms {
  /** Tokens of the prompt that count as held: the greater of the next two. */
  readonly heldTokens: number;
  /** What the index says it holds, by the weight of its trust. */
  readonly indexTokens: number;
  /** What this router sent it lately. */
  readonly ownTokens: number;
  /** Tokens of the prompt to prefill. */
  readonly freshTokens: number;
  /** How hard its cache is used, 0 to 4; 1 is the mean. */
  readonly pressure: number;
  readonly pending: number;
  /** freshTokens × (1 + pressure): the prefill, and what it drives out. */
  readonly prefill: number;
  readonly context: number;
  readonly running: number;
  /** The view's surchargeTokens. */
  readonly surcharge: number;
}

/** What the policy remembers of a decision. */
export interface PolicyDecision {
  /** Names of the prompt's beginnings, see prompt-prefixes.ts. */
  readonly prefixes: readonly number[];
  /** Tokens of the prompt to prefill. */
  readonly freshTokens: number;
}

/** See the header. */
export class KvsyncPolicy implements RoutingPolicy {
  readonly name = "kvsync";
  readonly knowledge = "index";
  readonly #history: DecisionHistory;
  readonly #own: Float64Array;
  /** What the index says of the last ranked request, by position and weighed by trust. */
  readonly #indexed: Float64Array;
  readonly #pressure: MemoryPressure;
  /** Fresh tokens of the last ranked request, by position. */
  readonly #fresh: Float64Array;
  /** Costs of the last ranked request, by position. */
  readonly #costs: Float64Array;
  #isOwnMatch = false;

  /** @param positionCount - positions of the fleet, empty ones included. */
  constructor(positionCount: number) {
    this.#history = new DecisionHistory(positionCount, OWN_SECONDS, OWN_CHUNK_TOKENS);
    this.#own = new Float64Array(positionCount);
    this.#indexed = new Float64Array(positionCount);
    this.#fresh = new Float64Array(positionCount);
    this.#costs = new Float64Array(positionCount);
    this.#pressure = new MemoryPressure(positionCount);
  }

  /** See RoutingPolicy. */
  join(position: number, capacityTokens: number): void {
    this.#pressure.join(position, capacityTokens);
  }

  /** See RoutingPolicy. */
  resize(position: number, capacityTokens: number): void {
    this.#pressure.resize(position, capacityTokens);
  }

  /** See RoutingPolicy. */
  leave(position: number): void {
    this.#pressure.leave(position);
    this.#history.leave(position);
  }

  /** See RoutingPolicy. */
  rank(request: RoutingRequest, views: readonly WorkerView[], nowSeconds: number, into: Uint32Array): number {
    this.#weigh(request, views, nowSeconds);
    const { meanGiven } = this.#pressure;
    for (let position = 0; position < views.length; position++) {
      const view = views[position];
      if (view?.isEligible === true) this.#costs[position] = this.#costOf(view, position, meanGiven);
    }
    return leastBy(views, (_, position) => this.#costs[position] ?? 0, null, into);
  }

  /** See RoutingPolicy. */
  book(position: number, nowSeconds: number): void {
    this.#pressure.give(position, this.#fresh[position] ?? 0);
    this.#history.record(position, nowSeconds);
  }

  /**
   * What another router needs to know when the request of the last `rank` goes to a position.
   *
   * @returns plain data, the caller's.
   */
  decisionFor(position: number): PolicyDecision {
    return { prefixes: this.#history.prompt, freshTokens: this.#fresh[position] ?? 0 };
  }

  /** What the request of the last `rank` costs at an eligible position, in tokens of prefill. */
  costAt(position: number): number {
    return this.#costs[position] ?? 0;
  }

  /** Remembers another router's decision as its own. Its memory must name prompts as this one does. */
  learn(position: number, { prefixes, freshTokens }: PolicyDecision, nowSeconds: number): void {
    this.#pressure.give(position, freshTokens);
    this.#history.record(position, nowSeconds, prefixes);
  }

  /** Whether this router's own decisions hold some of the last ranked prompt anywhere. */
  get isOwnMatch(): boolean {
    return this.#isOwnMatch;
  }

  /**
   * The terms of every position's cost for a request, for answers that explain a ranking. As `rank`
   * does, it replaces the views' matches by what counts as held.
   *
   * @returns by position, also of workers that are not eligible; the caller's. Books nothing.
   */
  explain(request: RoutingRequest, views: readonly WorkerView[], nowSeconds: number): CostTerms[] {
    this.#weigh(request, views, nowSeconds);
    const { meanGiven } = this.#pressure;
    return views.map((view, position) => this.#terms(view, position, meanGiven));
  }

  /** Replaces matches by what counts as held, once per request. */
  #weigh(request: RoutingRequest, views: readonly WorkerView[], nowSeconds: number): void {
    this.#isOwnMatch = this.#history.match(request, this.#own, nowSeconds);
    for (let position = 0; position < views.length; position++) {
      const view = views[position];
      if (view === undefined) continue;
      const indexed = view.matchedTokens * TRUST_WEIGHTS[view.trust];
      this.#indexed[position] = indexed;
      view.matchedTokens = Math.max(indexed, this.#own[position] ?? 0);
      this.#fresh[position] = Math.max(0, request.promptTokens - view.matchedTokens);
    }
  }

  /** The sum of `#terms`, in its order, without an object for each of many workers (kvsync-cost.test.ts). */
  #costOf(view: WorkerView, position: number, meanGiven: number): number {
    const prefill = (this.#fresh[position] ?? 0) * (1 + this.#pressure.of(position, meanGiven));
    const { pendingPrefillTokens, contextTokens, runningRequests, surchargeTokens } = view;
    const context = contextTokens / CONTEXT_PER_TOKEN;
    return pendingPrefillTokens + prefill + context + runningRequests * RUNNING_TOKENS + surchargeTokens;
  }

  #terms(view: WorkerView, position: number, meanGiven: number): CostTerms {
    const freshTokens = this.#fresh[position] ?? 0;
    const pressure = this.#pressure.of(position, meanGiven);
    return {
      heldTokens: view.matchedTokens,
      indexTokens: this.#indexed[position] ?? 0,
      ownTokens: this.#own[position] ?? 0,
      freshTokens,
      pressure,
      pending: view.pendingPrefillTokens,
      prefill: freshTokens * (1 + pressure),
      context: view.contextTokens / CONTEXT_PER_TOKEN,
      running: view.runningRequests * RUNNING_TOKENS,
      surcharge: view.surchargeTokens,
    };
  }
}
