/**
 * The endpoints that requests can be sent to, with their loads, and the choice among them.
 *
 *     engines with HTTP addresses ──update──▶ endpoints, each at a position ─┐
 *     matches of the prompt, by worker and rank ──────────────────────────────┼─▶ pick ─▶ endpoints, best first ─▶ booked
 *     endpoints that the gateway allows, penalties ───────────────────────────┘
 *     news of requests: served, first token, over ───────────────────────────▶ books
 *     what engines say of themselves: requests, room ────────────────────────▶ load of others, capacity
 *
 *     addresses of an engine      endpoint                       its match
 *     as many as ranks            rank i at address i            that rank's
 *     one, several ranks          all ranks behind it            the best rank's; half of it when the endpoint
 *                                                                cannot be told the rank (no `rankHeader`)
 *
 *  E1  An address is one endpoint's. The first engine that has it keeps it (endpoint-fleet.test.ts "E1").
 *  E2  A position is given again only after its endpoint left, with nothing of it in books and policy
 *      (endpoint-fleet.test.ts "E2").
 *  E3  A pick names eligible endpoints only, each once, best first by the policy's cost
 *      (endpoint-fleet.test.ts "E3").
 *  E4  A pick is booked once and its booking ends once; without requests every load is 0
 *      (endpoint-fleet.test.ts "E4").
 *  E5  An endpoint that did not serve three of its picks in a row rests, longer each time, unless all rest. Picks of
 *      other threads count, too (endpoint-fleet.test.ts "E5").
 *  E6  The load of others is what an engine has beyond our own requests, by the smaller of the last two looks
 *      (endpoint-fleet.test.ts "E6").
 *  E7  Each endpoint has one state (endpoint-fleet.test.ts "E7").
 *  E8  Sessions and adapters change the order of a pick, never who is eligible (endpoint-fleet.test.ts "E8").
 *  E9  A request is shed only when the engine of every eligible endpoint lately reported that it is full
 *      (endpoint-fleet.test.ts "E9").
 *  E10 An endpoint of another shard without a row has the trust that its shard gave for the ranks without one. Its
 *      ranks are those of its engine, also where the shard named only some of them (endpoint-fleet.test.ts "E10").
 *
 * An engine that publishes no events has no known model: it may be picked for every one.
 *
 * Not here: lookups and tokens, the gateway's protocol (session.ts), the costs (packages/routing), the looks at engines
 * (load-scrape.ts), where endpoints come from (pool-source.ts).
 */
import { assert, shardOf } from "@kvsync/core";
import {
  type CostTerms,
  KvsyncPolicy,
  LoadBook,
  type PolicyDecision,
  POSITIONS_MAX,
  type Trust,
  type RoutingRequest,
  type WorkerView,
} from "@kvsync/routing";
import { LRUCache } from "lru-cache";

import type { RankHeld } from "../query/match.ts";

/** Picks in a row that others served before an endpoint rests. */
const MISSES_MAX = 3;
/** First rest; each one after it is twice as long. */
const REST_SECONDS_MIN = 5;
const REST_SECONDS_MAX = 60;
/** Loading an adapter takes about as long as the prefill of so many tokens. */
const ADAPTER_TOKENS = 2048;
/** Worth of the endpoint that a session had before: half an adapter's. Chosen, not measured. */
const SESSION_TOKENS = 1024;
/** Sessions whose endpoint is remembered; the longest unused go first. */
const SESSIONS_MAX = 65_536;
/** A longer name of a session is none. */
export const SESSION_CHARACTERS_MAX = 256;
/** Picks for an adapter that count as its loading, by endpoint and adapter; the longest unused go first. */
const ADAPTER_PICKS_MAX = 4096;
/** So long after a pick an adapter counts as loaded, whatever the engine says. */
const ADAPTER_SECONDS = 60;
/** An engine with so many requests in its queue is full, */
const FULL_WAITING = 5;
/** and one with this share of its KV cache in use. */
const FULL_KV_USAGE = 0.8;

/** An engine as far as the picker needs it. */
export interface PoolEngine {
  readonly id: string;
  /** Null when only the engine itself knows. */
  readonly model: string | null;
  readonly ranks: readonly { readonly dpRank: number }[];
  /** `ip:port`, IPv6 in brackets: one, or one per rank. */
  readonly http: readonly string[];
}

/** Where a request can be sent. */
export interface Endpoint {
  readonly address: string;
  readonly worker: string;
  readonly model: string | null;
  /** Null: all ranks of the engine are behind it. */
  readonly dpRank: number | null;
  readonly position: number;
}

/** Names of a prompt's parts, by which the policy remembers its own decisions. Read during a pick only. */
export type PromptNames = Pick<RoutingRequest, "keys" | "keyWords" | "keyTokens">;

/** What a pick is made by. */
export interface PickRequest {
  /** Null: any. */
  readonly workers: Pick<ReadonlySet<string>, "has"> | null;
  /** Endpoints that the gateway allows; null: all. */
  readonly subset: readonly string[] | null;
  readonly promptTokens: number;
  readonly names: PromptNames;
  readonly holds: readonly RankHeld[];
  /** By shard: the trust of ranks that `holds` does not have. Absent: it has all ranks there are. */
  readonly restTrusts?: readonly Trust[] | undefined;
  /** Requests of one session prefer the endpoint that the last one had. Absent: none. */
  readonly session?: string | undefined;
  /** LoRA adapter that the engine needs for it; null or absent: none. */
  readonly adapter?: string | null | undefined;
  /** Whether it may be refused when all are full. Absent: no. */
  readonly isSheddable?: boolean;
}

/** How the source of endpoints does. */
export interface PoolStanding {
  /** Endpoints that are known and take no requests yet. */
  readonly notReady: number;
  /** Whether the endpoints are the last that were known, and may be others by now. */
  readonly isStale: boolean;
}

/** The state of an endpoint. One that did not serve is in penalty. All but `not_ready` can be picked. */
export type EndpointState = "eligible" | "not_ready" | "penalty" | "stale";

/** What an engine says of itself. */
export interface EngineLoad {
  readonly running: number;
  readonly waiting: number;
  /** Tokens of KV that it has room for on the device; null when it does not say. */
  readonly capacityTokens: number | null;
  /** Share of its KV cache in use, 0 to 1. Absent when it does not say. */
  readonly kvUsage?: number;
  /** LoRA adapters that it has loaded. Absent when it does not say. */
  readonly adapters?: readonly string[];
}

/** What is known of an endpoint's load. */
export interface EndpointLoad {
  readonly endpoint: Endpoint;
  /** Requests sent and not over, with those of others. */
  readonly running: number;
  /** Of these, the ones without a first token. */
  readonly waiting: number;
  /** Prompt tokens of requests without a first token, that are expected to be computed. */
  readonly pendingTokens: number;
  /** Prompt tokens of our own requests. */
  readonly contextTokens: number;
  readonly capacityTokens: number;
  /** Requests that others sent there. */
  readonly foreignRunning: number;
}

/** An endpoint for a request, and what it would cost there. */
export interface EndpointRanking {
  readonly endpoint: Endpoint;
  readonly trust: Trust;
  /** In tokens of prefill. */
  readonly cost: number;
  readonly terms: CostTerms;
}

/** How a request would be picked for. */
export interface Explanation {
  readonly promptTokens: number;
  /** Why it is ranked without the index; `none` when it is ranked with it. */
  readonly reason: string;
  /** Shards whose rows it lacks, ascending. */
  readonly missingShards: readonly number[];
  /** Best first. */
  readonly ranking: readonly EndpointRanking[];
}

/** By what a pick was decided. */
export type PickBasis = "index" | "own" | "load";

/** Why there is no pick. */
export type NoPick = "no_endpoint" | "subset_empty" | "saturated";

/** A pick, or why there is none. */
export type PickOutcome =
  | {
      readonly kind: "pick";
      /** Best first. */
      readonly endpoints: readonly [Endpoint, ...Endpoint[]];
      readonly basis: PickBasis;
      /** Their costs, in tokens of prefill. */
      readonly costs: readonly number[];
      /** Tokens that count as held at the first endpoint. */
      readonly heldTokens: number;
      /** Several ranks are behind the endpoint, and the engine chooses: `heldTokens` is what it holds on average. */
      readonly isMean: boolean;
      readonly trust: Trust;
      /** What another picker needs to remember of it. */
      readonly decision: PolicyDecision;
      /** The rank that holds most, where the engine can be told; null otherwise. */
      readonly rankToTell: number | null;
    }
  | { readonly kind: NoPick };

/** What is known of another picker's pick. */
export interface LearnedDecision extends PolicyDecision {
  readonly session?: string | undefined;
  readonly adapter?: string | undefined;
}

interface Health {
  misses: number;
  restSeconds: number;
  restsUntil: number;
}

/** See the header. */
export class EndpointFleet {
  readonly #capacityTokens: number;
  readonly #rankHeader: boolean;
  readonly #book = new LoadBook();
  readonly #policy = new KvsyncPolicy(POSITIONS_MAX);
  readonly #endpoints: (Endpoint | null)[] = [];
  readonly #health: Health[] = [];
  readonly #byAddress = new Map<string, Endpoint>();
  readonly #positionsOf = new Map<string, number[]>();
  /** Of the last request: ranks that are behind each position, */
  readonly #ranksBehind = new Uint32Array(POSITIONS_MAX);
  /** Ranks of the engine behind each position, named in the last request or not, */
  readonly #rankCounts = new Uint32Array(POSITIONS_MAX);
  /** and the shard that follows it. */
  readonly #shards = new Uint32Array(POSITIONS_MAX);
  readonly #shardCount: number;
  /** and the one of them that holds most; null where none holds anything. */
  readonly #bestRanks: (number | null)[] = [];
  /** What engines said last, by position; null when that is too long ago. */
  readonly #said: (EngineLoad | null)[] = [];
  /** Addresses of endpoints, by session. */
  readonly #sessions = new LRUCache<string, string>({ max: SESSIONS_MAX });
  /** Until when an adapter counts as loaded, in seconds, by address and adapter. */
  readonly #adapterPicks = new LRUCache<string, number>({ max: ADAPTER_PICKS_MAX });
  #standing: PoolStanding = { notReady: 0, isStale: false };
  /** Requests that other pickers sent, of those under way. */
  readonly #learned = new Set<number>();
  /** Endpoints that were picked and have not answered, by request. */
  readonly #picked = new Map<number, Endpoint>();

  /**
   * @param options - tokens of KV that an engine has room for; whether endpoints with several ranks take the
   * header that names one; shards of the fleet, 1 unless given.
   */
  constructor(options: {
    readonly capacityTokens: number;
    readonly rankHeader: boolean;
    readonly shardCount?: number;
  }) {
    this.#capacityTokens = options.capacityTokens;
    this.#rankHeader = options.rankHeader;
    this.#shardCount = options.shardCount ?? 1;
  }

  /** The endpoints there are, by position. */
  get endpoints(): readonly Endpoint[] {
    return this.#endpoints.filter((endpoint) => endpoint !== null);
  }

  /** Requests that were picked for and are not over. */
  get bookingCount(): number {
    return this.#book.requestCount - this.#learned.size;
  }

  /** The endpoint of an address; null for another's. */
  endpointAt(address: string): Endpoint | null {
    return this.#byAddress.get(address) ?? null;
  }

  /** The shard that follows a worker; null for one without an endpoint. */
  shardOf(worker: string): number | null {
    const [position] = this.#positionsOf.get(worker) ?? [];
    return position === undefined ? null : (this.#shards[position] ?? null);
  }

  /** The load of each endpoint, in order of their positions. */
  loads(): readonly EndpointLoad[] {
    return this.endpoints.flatMap((endpoint) => {
      const view = this.#book.views[endpoint.position];
      if (view === undefined) return [];
      return {
        endpoint,
        running: view.runningRequests,
        waiting: view.waitingRequests,
        pendingTokens: view.pendingPrefillTokens,
        contextTokens: view.contextTokens,
        capacityTokens: view.capacityTokens,
        foreignRunning: this.#book.foreignOf(endpoint.position).requests,
      };
    });
  }

  /**
   * How many endpoints are in each state.
   *
   * @param nowSeconds - on the clock of `pick`.
   */
  states(nowSeconds: number): Readonly<Record<EndpointState, number>> {
    const { endpoints } = this;
    const penalty = endpoints.filter(({ position }) => !this.#isAwake(position, nowSeconds)).length;
    const others = endpoints.length - penalty;
    const { notReady, isStale } = this.#standing;
    return { eligible: isStale ? 0 : others, not_ready: notReady, penalty, stale: isStale ? others : 0 };
  }

  /**
   * Replaces the endpoints. Those that stay keep their loads.
   *
   * @param engines - all there are.
   * @param standing - of their source.
   * @returns addresses without an endpoint: of an engine whose number of addresses fits no rule, taken by an
   * engine before it, or beyond the limit.
   */
  update(
    engines: readonly PoolEngine[],
    standing: PoolStanding = { notReady: 0, isStale: false },
  ): readonly string[] {
    this.#standing = standing;
    const wanted = new Map<string, Omit<Endpoint, "position">>();
    const refused: string[] = [];
    for (const engine of engines)
      for (const endpoint of endpointsOf(engine) ?? []) {
        if (wanted.has(endpoint.address)) refused.push(endpoint.address);
        else wanted.set(endpoint.address, endpoint);
      }
    for (const engine of engines) if (endpointsOf(engine) === null) refused.push(...engine.http);
    for (const endpoint of [...this.#byAddress.values()])
      if (!isSame(endpoint, wanted.get(endpoint.address))) this.#leave(endpoint);
    for (const [address, endpoint] of wanted) {
      const known = this.#byAddress.get(address);
      if (known !== undefined) this.#put({ ...endpoint, position: known.position });
      else if (!this.#join(endpoint)) refused.push(address);
    }
    this.#countRanks(engines);
    return refused;
  }

  /**
   * Chooses endpoints for a request, and books the first.
   *
   * @param id - unlike those of all requests under way.
   * @param request - what it is chosen by.
   * @param count - endpoints wanted.
   * @param nowSeconds - on a clock that never goes back.
   * @returns them, or why there are none; then nothing is booked.
   */
  pick(id: number, request: PickRequest, count: number, nowSeconds: number): PickOutcome {
    const eligible = this.#markEligible(request, nowSeconds);
    if (eligible === "none") return { kind: request.subset === null ? "no_endpoint" : "subset_empty" };
    if (this.#isShed(request)) return { kind: "saturated" };
    this.#writeMatches(request);
    this.#writeSurcharges(request, nowSeconds);
    const into = new Uint32Array(Math.max(1, count));
    const routing = routingOf(request);
    const { views } = this.#book;
    const isIndexed = views.some((view) => view.isEligible && view.trust !== "unknown");
    const found = this.#policy.rank(routing, views, nowSeconds, into);
    const [first, ...others] = Array.from(into.subarray(0, found), (position) => this.#at(position));
    assert(first !== undefined, "a fleet with an eligible endpoint has a best one");
    this.#policy.book(first.position, nowSeconds);
    this.#book.send(id, first.position, request.promptTokens);
    this.#picked.set(id, first);
    this.#remember(first, request, nowSeconds);
    const view = views[first.position];
    return {
      kind: "pick",
      endpoints: [first, ...others],
      costs: [first, ...others].map(({ position }) => this.#policy.costAt(position)),
      basis: isIndexed ? "index" : this.#policy.isOwnMatch ? "own" : "load",
      heldTokens: view?.matchedTokens ?? 0,
      isMean: first.dpRank === null && !this.#rankHeader && this.#hasSeveralRanks(first.position),
      trust: view?.trust ?? "unknown",
      decision: this.#policy.decisionFor(first.position),
      rankToTell: this.#rankHeader && first.dpRank === null ? this.#bestRankAt(first.position) : null,
    };
  }

  /**
   * Ranks all endpoints that may be picked for a request, with the terms of their costs. Books nothing.
   *
   * @param request - what it is ranked by.
   * @param nowSeconds - on the clock of `pick`.
   * @returns best first; empty when there is none.
   */
  explain(request: PickRequest, nowSeconds: number): readonly EndpointRanking[] {
    if (this.#markEligible(request, nowSeconds) === "none") return [];
    this.#writeMatches(request);
    this.#writeSurcharges(request, nowSeconds);
    const { views } = this.#book;
    return this.#policy
      .explain(routingOf(request), views, nowSeconds)
      .flatMap((terms, position) => {
        const view = views[position];
        if (view?.isEligible !== true) return [];
        const { pending, prefill, context, running, surcharge } = terms;
        const cost = pending + prefill + context + running + surcharge;
        return { endpoint: this.#at(position), trust: view.trust, cost, terms };
      })
      .sort((a, b) => a.cost - b.cost || a.endpoint.position - b.endpoint.position);
  }

  /**
   * A request was answered by an endpoint.
   *
   * @param id - the request's.
   * @param address - who answered; null when no endpoint did.
   * @param nowSeconds - on the clock of `pick`.
   * @returns whether it was the one that was picked. False also ends a booking that belongs to no endpoint.
   */
  served(id: number, address: string | null, nowSeconds: number): boolean {
    const picked = this.#picked.get(id);
    if (picked === undefined) return false;
    this.#picked.delete(id);
    if (picked.address === address) {
      this.#health[picked.position] = healthy();
      return true;
    }
    this.#missed(picked, nowSeconds);
    const endpoint = address === null ? undefined : this.#byAddress.get(address);
    if (endpoint === undefined) this.#book.end(id);
    else this.#book.move(id, endpoint.position);
    return false;
  }

  /** Whether the endpoint lately failed to serve a pick of its own. */
  isDoubted(address: string): boolean {
    const endpoint = this.#byAddress.get(address);
    const { misses, restSeconds } = (endpoint && this.#health[endpoint.position]) ?? healthy();
    return misses > 0 || restSeconds > REST_SECONDS_MIN;
  }

  /**
   * A pick of another thread was served, by the endpoint that was picked or not. E5.
   *
   * @param address - that was picked.
   * @param isPicked - false: another one served.
   * @param nowSeconds - on the clock of `pick`.
   */
  note(address: string, isPicked: boolean, nowSeconds: number): void {
    const endpoint = this.#byAddress.get(address);
    if (endpoint === undefined) return;
    if (isPicked) this.#health[endpoint.position] = healthy();
    else this.#missed(endpoint, nowSeconds);
  }

  /**
   * Books a request that another picker sent, as if it were our own.
   *
   * @param id - unlike those of all requests under way.
   * @param address - the endpoint that it was sent to.
   * @param promptTokens - its whole length.
   * @param decision - what that picker remembers of it.
   * @param nowSeconds - on the clock of `pick`.
   * @returns whether there is such an endpoint. Nothing is booked otherwise.
   */
  learn(
    id: number,
    address: string,
    promptTokens: number,
    decision: LearnedDecision,
    nowSeconds: number,
  ): boolean {
    const endpoint = this.#byAddress.get(address);
    if (endpoint === undefined) return false;
    this.#remember(endpoint, decision, nowSeconds);
    this.#policy.learn(endpoint.position, decision, nowSeconds);
    this.#book.send(id, endpoint.position, promptTokens, decision.freshTokens);
    this.#learned.add(id);
    return true;
  }

  /** The first token of a request's answer has come. */
  firstToken(id: number): void {
    this.#book.firstToken(id);
  }

  /** A request is over. */
  end(id: number): void {
    this.#picked.delete(id);
    this.#learned.delete(id);
    this.#book.end(id);
  }

  /** An engine has said how busy it is, and how large. E6. */
  seen(address: string, load: EngineLoad): void {
    const endpoint = this.#byAddress.get(address);
    if (endpoint === undefined) return;
    const { position } = endpoint;
    const { running, waiting, capacityTokens } = load;
    this.#said[position] = load;
    const view = this.#book.views[position];
    if (capacityTokens !== null && view?.capacityTokens !== capacityTokens) {
      this.#book.resize(position, capacityTokens);
      this.#policy.resize(position, capacityTokens);
    }
    this.#book.seen(position, running, waiting);
  }

  /** An engine has not said anything for too long: only our own requests count there. */
  unseen(address: string): void {
    const endpoint = this.#byAddress.get(address);
    if (endpoint === undefined) return;
    this.#said[endpoint.position] = null;
    this.#book.unseen(endpoint.position);
  }

  #isAwake(position: number, nowSeconds: number): boolean {
    return (this.#health[position]?.restsUntil ?? 0) <= nowSeconds;
  }

  #at(position: number): Endpoint {
    const endpoint = this.#endpoints[position];
    assert(endpoint !== undefined && endpoint !== null, "a position that is ranked has an endpoint");
    return endpoint;
  }

  #countRanks(engines: readonly PoolEngine[]): void {
    for (const { id, ranks } of engines)
      for (const position of this.#positionsOf.get(id) ?? []) this.#rankCounts[position] = ranks.length;
  }

  #join(endpoint: Omit<Endpoint, "position">): boolean {
    const free = this.#endpoints.indexOf(null);
    const position = free < 0 ? this.#endpoints.length : free;
    if (position >= POSITIONS_MAX) return false;
    this.#put({ ...endpoint, position });
    this.#health[position] = healthy();
    this.#shards[position] = shardOf(endpoint.worker, this.#shardCount);
    this.#book.join(position, endpoint.address, this.#capacityTokens);
    this.#policy.join(position, this.#capacityTokens);
    return true;
  }

  #put(endpoint: Endpoint): void {
    const { position, address, worker } = endpoint;
    if ((this.#endpoints[position] ?? null) === null)
      this.#positionsOf.set(worker, [...(this.#positionsOf.get(worker) ?? []), position]);
    this.#endpoints[position] = endpoint;
    this.#byAddress.set(address, endpoint);
  }

  #leave({ address, position, worker }: Endpoint): void {
    const others = (this.#positionsOf.get(worker) ?? []).filter((one) => one !== position);
    if (others.length > 0) this.#positionsOf.set(worker, others);
    else this.#positionsOf.delete(worker);
    this.#endpoints[position] = null;
    this.#said[position] = null;
    this.#byAddress.delete(address);
    this.#book.leave(position);
    this.#policy.leave(position);
    for (const id of this.#learned) if (!this.#book.has(id)) this.#learned.delete(id);
    for (const [id, endpoint] of this.#picked) if (endpoint.position === position) this.#picked.delete(id);
  }

  /** Marks the views of endpoints that may be picked now. Endpoints that rest are passed over, unless all do. */
  #markEligible({ workers, subset }: PickRequest, nowSeconds: number): "some" | "none" {
    const allowed = subset === null ? null : new Set(subset);
    const isAllowed = (endpoint: Endpoint | null | undefined): boolean =>
      endpoint !== null &&
      endpoint !== undefined &&
      (allowed === null || allowed.has(endpoint.address)) &&
      (workers === null || endpoint.model === null || workers.has(endpoint.worker));
    const { views } = this.#book;
    let awake = 0;
    let all = 0;
    for (let position = 0; position < views.length; position++) {
      const view = viewAt(views, position);
      view.isEligible = isAllowed(this.#endpoints[position]);
      if (!view.isEligible) continue;
      all += 1;
      if (this.#isAwake(position, nowSeconds)) awake += 1;
    }
    if (awake > 0 && awake < all)
      for (let position = 0; position < views.length; position++)
        viewAt(views, position).isEligible &&= this.#isAwake(position, nowSeconds);
    return all === 0 ? "none" : "some";
  }

  /** Writes what each endpoint holds into its view: what the best of its ranks holds. */
  #writeMatches({ holds, restTrusts }: PickRequest): void {
    this.#book.clearMatches();
    const { views } = this.#book;
    this.#ranksBehind.fill(0, 0, views.length);
    for (const hold of holds)
      for (const position of this.#positionsOf.get(hold.worker) ?? []) this.#writeHold(hold, position);
    if (restTrusts !== undefined) this.#writeRestTrusts(restTrusts);
    if (this.#rankHeader) return;
    // The engine itself chooses among its ranks, when it cannot be told.
    for (let position = 0; position < views.length; position++) {
      if (!this.#hasSeveralRanks(position)) continue;
      const view = viewAt(views, position);
      view.matchedTokens *= 0.5;
      view.matchedSlowTokens *= 0.5;
    }
  }

  /** E10. An engine that publishes no events belongs to no shard. */
  #writeRestTrusts(restTrusts: readonly Trust[]): void {
    const { views } = this.#book;
    for (let position = 0; position < views.length; position++) {
      const isFollowed = (this.#endpoints[position]?.model ?? null) !== null;
      if (!isFollowed || (this.#ranksBehind[position] ?? 0) > 0) continue;
      viewAt(views, position).trust = restTrusts[this.#shards[position] ?? 0] ?? "unknown";
    }
  }

  /** Whether the engine behind an endpoint has several ranks, of which the last request's holds have at least one. */
  #hasSeveralRanks(position: number): boolean {
    const isOne = (this.#endpoints[position]?.dpRank ?? null) !== null;
    return !isOne && (this.#ranksBehind[position] ?? 0) > 0 && (this.#rankCounts[position] ?? 0) > 1;
  }

  /** Writes a rank's hold into the view of an endpoint of its worker, when it is the first or the greatest there. */
  #writeHold({ dpRank, matchedTokens, slowTokens, trust }: RankHeld, position: number): void {
    const endpoint = this.#at(position);
    if (endpoint.dpRank !== null && endpoint.dpRank !== dpRank) return;
    const view = viewAt(this.#book.views, position);
    const before = this.#ranksBehind[position] ?? 0;
    this.#ranksBehind[position] = before + 1;
    if (before > 0 && matchedTokens <= view.matchedTokens) return;
    view.matchedTokens = matchedTokens;
    view.matchedSlowTokens = slowTokens;
    view.trust = trust;
    this.#bestRanks[position] = matchedTokens > 0 ? dpRank : null;
  }

  /** The rank that holds most of the last request's prompt; null when none holds any. */
  #bestRankAt(position: number): number | null {
    return this.#ranksBehind[position] === 0 ? null : (this.#bestRanks[position] ?? null);
  }

  /** Whether a request may be refused, and every eligible endpoint is full. */
  #isShed({ isSheddable = false }: PickRequest): boolean {
    if (!isSheddable) return false;
    return this.#book.views.every((view, position) => {
      if (!view.isEligible) return true;
      const said = this.#said[position] ?? null;
      return said !== null && (said.waiting >= FULL_WAITING || (said.kvUsage ?? 0) >= FULL_KV_USAGE);
    });
  }

  /** Writes what speaks against an endpoint: an adapter to be loaded there, and that the session had another. */
  #writeSurcharges({ session, adapter }: PickRequest, nowSeconds: number): void {
    const before = session === undefined ? undefined : this.#byAddress.get(this.#sessions.get(session) ?? "");
    if (before === undefined && (adapter ?? null) === null) return;
    for (const [position, view] of this.#book.views.entries()) {
      if (before !== undefined && position !== before.position) view.surchargeTokens += SESSION_TOKENS;
      if (
        typeof adapter === "string" &&
        view.matchedTokens === 0 &&
        !this.#isLoaded(position, adapter, nowSeconds)
      )
        view.surchargeTokens += ADAPTER_TOKENS;
    }
  }

  /** What is held of a prompt is held for its adapter, so that it must have been loaded; the caller sees that. */
  #isLoaded(position: number, adapter: string, nowSeconds: number): boolean {
    if (this.#said[position]?.adapters?.includes(adapter) === true) return true;
    const address = this.#endpoints[position]?.address ?? "";
    return (this.#adapterPicks.get(adapterAt(address, adapter)) ?? 0) > nowSeconds;
  }

  #remember(
    { address }: Endpoint,
    { session, adapter }: Pick<PickRequest, "session" | "adapter">,
    nowSeconds: number,
  ): void {
    if (session !== undefined && session.length <= SESSION_CHARACTERS_MAX)
      this.#sessions.set(session, address);
    if (typeof adapter === "string")
      this.#adapterPicks.set(adapterAt(address, adapter), nowSeconds + ADAPTER_SECONDS);
  }

  #missed({ position }: Endpoint, nowSeconds: number): void {
    const health = this.#health[position] ?? healthy();
    health.misses += 1;
    this.#health[position] = health;
    if (health.misses < MISSES_MAX) return;
    health.misses = 0;
    health.restsUntil = nowSeconds + health.restSeconds;
    health.restSeconds = Math.min(REST_SECONDS_MAX, 2 * health.restSeconds);
  }
}

function viewAt(views: readonly WorkerView[], position: number): WorkerView {
  const view = views[position];
  assert(view !== undefined, "every position below the number of views has one");
  return view;
}

/** A request as the policy sees it. */
function routingOf({ promptTokens, names }: PickRequest): RoutingRequest {
  return {
    promptTokens,
    sessionId: null,
    ...names,
    sharedLaterTokens: 0,
  };
}

/** No address has a space. */
function adapterAt(address: string, adapter: string): string {
  return `${address} ${adapter}`;
}

/** An endpoint about which nothing bad is known. */
function healthy(): Health {
  return { misses: 0, restSeconds: REST_SECONDS_MIN, restsUntil: 0 };
}

/** Null when the number of addresses fits neither rule. */
function endpointsOf({ id, model, ranks, http }: PoolEngine): Omit<Endpoint, "position">[] | null {
  const common = { worker: id, model };
  if (http.length === ranks.length)
    return http.map((address, i) => ({ ...common, address, dpRank: ranks[i]?.dpRank ?? 0 }));
  return http.length <= 1 ? http.map((address) => ({ ...common, address, dpRank: null })) : null;
}

/** Whether it is the same process; the model of one that publishes events late becomes known late. */
function isSame(a: Endpoint, b: Omit<Endpoint, "position"> | undefined): boolean {
  return b !== undefined && a.worker === b.worker && a.dpRank === b.dpRank;
}
