/**
 * The router: for each arrival one lookup at the daemon, one choice by the policy, one submission. Keeps the books that
 * policies decide by and that the report is made of.
 *
 *     arrival ─▶ lookup (bounded, with a deadline) ─▶ policy ─▶ submit ─▶ first token ─▶ completion
 *                   └ no advice: the policy chooses without, and the reason is counted
 *
 * R1: every arrival is submitted exactly once; no failure of the daemon holds one up longer than a lookup may take.
 * R2: a request that arrives again (its engine restarted) leaves its old worker's books (LoadBook) first.
 */
import {
  CONNECTIONS_MAX,
  type DaemonClient,
  type LookupFailure,
  type RoutingAdvice,
} from "../daemon/daemon-client.ts";
import type { Arrival, FleetListener, Progress } from "../fleet/fleet-client.ts";
import { choose, type FixedWorker, LoadBook, type RoutingPolicy } from "@kvsync/routing";

import { Samples } from "../report/percentiles.ts";

/** Why a request was routed without the daemon's advice. */
type MissingAdvice = LookupFailure | "too_many_lookups";

/** What a router needs. */
export interface RouterSettings {
  readonly model: string;
  readonly blockSize: number;
  readonly requestCount: number;
  /** Workers by the fleet's positions. */
  readonly workers: readonly FixedWorker[];
  /** The session of a request; null when it has none. */
  readonly sessionOf: (request: number) => number | null;
  /** Leading prompt tokens of a request that later ones will share; 0 when nobody wants to know. */
  readonly sharedLater: (request: number) => number;
}

/** Counts of one run. */
export interface RouterCounts {
  arrivals: number;
  completions: number;
  refusals: number;
  /** Arrivals of requests whose engine restarted. */
  rerouted: number;
  promptTokens: number;
  promptBlocks: number;
  cachedBlocks: number;
  /** Sum over first arrivals of the best match that any engine had. */
  oracleBlocks: number;
  readonly decisions: Record<RoutingAdvice["decision"], number>;
  readonly withoutAdvice: Record<MissingAdvice, number>;
}

/** What a router's books say. */
export interface RouterBooks {
  readonly counts: RouterCounts;
  /** Milliseconds from asking to having an answer; failures are not in it. */
  readonly lookupMs: Samples;
  /** Milliseconds from the scheduled arrival to the decision, whatever the lookup brought; of first arrivals. */
  readonly decisionMs: Samples;
  /** Modelled seconds from submission to the first output token. */
  readonly firstTokenSeconds: Samples;
  /** Refusals by the engine's error code. */
  readonly refusalsByCode: ReadonlyMap<string, number>;
  /** What the last failed lookup of each kind said. */
  readonly lastFailures: ReadonlyMap<MissingAdvice, string>;
}

/** See the header. */
export class Router implements FleetListener, RouterBooks {
  readonly #settings: RouterSettings;
  readonly #policy: RoutingPolicy;
  readonly #daemon: DaemonClient;
  readonly #submit: (request: number, engine: number) => void;
  readonly #book: LoadBook;
  readonly #sentTo: readonly Set<number>[];
  #lookupsUnderWay = 0;

  readonly lookupMs = new Samples();
  readonly decisionMs = new Samples();
  readonly firstTokenSeconds = new Samples();
  readonly counts: RouterCounts = {
    arrivals: 0,
    completions: 0,
    refusals: 0,
    rerouted: 0,
    promptTokens: 0,
    promptBlocks: 0,
    cachedBlocks: 0,
    oracleBlocks: 0,
    decisions: { exact: 0, degraded: 0, fallback: 0 },
    withoutAdvice: { timed_out: 0, unreachable: 0, refused: 0, malformed: 0, too_many_lookups: 0 },
  };
  readonly refusalsByCode = new Map<string, number>();
  readonly lastFailures = new Map<MissingAdvice, string>();

  /**
   * @param settings - see RouterSettings.
   * @param policy - makes the choices.
   * @param daemon - is asked.
   * @param submit - hands a request to an engine.
   */
  constructor(
    settings: RouterSettings,
    policy: RoutingPolicy,
    daemon: DaemonClient,
    submit: (request: number, engine: number) => void,
  ) {
    this.#settings = settings;
    this.#policy = policy;
    this.#daemon = daemon;
    this.#submit = submit;
    this.#book = new LoadBook(settings.workers);
    this.#sentTo = settings.workers.map(() => new Set<number>());
  }

  /** Whether every request of the workload has ended. */
  get done(): boolean {
    return this.counts.completions + this.counts.refusals >= this.#settings.requestCount;
  }

  /** Share of the workload that has arrived, 0 … 1. */
  get arrivedShare(): number {
    return this.counts.arrivals / this.#settings.requestCount;
  }

  /** Positions of the requests that a worker was ever sent. */
  requestsSentTo(worker: string): ReadonlySet<number> {
    return this.#sentTo[this.#positionOf(worker)] ?? new Set();
  }

  /** See FleetListener. */
  arrival({ request, tokens, dueAtMs, oracleBlocks, heldBlocks }: Arrival): void {
    if (oracleBlocks === null) {
      this.counts.rerouted += 1;
      this.#book.end(request);
    } else {
      this.counts.arrivals += 1;
      this.counts.oracleBlocks += oracleBlocks;
    }
    void this.#route(request, tokens, dueAtMs, heldBlocks);
  }

  /** See FleetListener. */
  progress({ firstTokens, completions, refusals }: Progress): void {
    for (const { request } of firstTokens) this.#book.firstToken(request);
    for (const completion of completions) {
      this.#book.end(completion.request);
      this.counts.completions += 1;
      this.counts.promptTokens += completion.promptTokens;
      this.counts.promptBlocks += completion.promptBlocks;
      this.counts.cachedBlocks += completion.cachedBlocks;
      this.firstTokenSeconds.add(completion.firstTokenSeconds);
    }
    for (const { request, code } of refusals) {
      this.#book.end(request);
      this.counts.refusals += 1;
      this.refusalsByCode.set(code, (this.refusalsByCode.get(code) ?? 0) + 1);
    }
  }

  /** −1 for a worker that is not of the fleet. */
  #positionOf(worker: string): number {
    return this.#settings.workers.findIndex((member) => member.worker === worker);
  }

  async #route(
    request: number,
    tokens: Uint32Array,
    dueAtMs: number | null,
    heldBlocks: readonly number[] | null,
  ): Promise<void> {
    const advice = await this.#askDaemon(tokens);
    if (dueAtMs !== null) this.decisionMs.add(performance.timeOrigin + performance.now() - dueAtMs);
    const { knowledge, name } = this.#policy;
    const { blockSize } = this.#settings;
    this.#book.clearMatches();
    if (knowledge === "index" && advice !== null) this.#heed(advice);
    if (knowledge === "everything" && heldBlocks !== null) {
      for (const [position, view] of this.#book.views.entries())
        view.matchedTokens = (heldBlocks[position] ?? 0) * blockSize;
    }
    const keys = tokens.subarray(0, tokens.length - (tokens.length % blockSize));
    const { length: promptTokens } = tokens;
    const asked = {
      promptTokens,
      sessionId: this.#settings.sessionOf(request),
      keys,
      keyWords: blockSize,
      keyTokens: blockSize,
      sharedLaterTokens: this.#settings.sharedLater(request),
    };
    const engine = choose(this.#policy, asked, this.#book.views, performance.now() / 1000);
    if (this.#book.views[engine] === undefined) throw new RangeError(`policy ${name} chose worker ${engine}`);
    this.#book.send(request, engine, promptTokens);
    this.#sentTo[engine]?.add(request);
    this.#submit(request, engine);
  }

  /** Takes over what the daemon says; the best of a worker's ranks counts. */
  #heed({ decision, matches }: RoutingAdvice): void {
    if (decision === "fallback") return;
    for (const { worker, matchedTokens, trust } of matches) {
      const view = this.#book.views[this.#positionOf(worker)];
      if (view === undefined || view.matchedTokens >= matchedTokens) continue;
      view.matchedTokens = matchedTokens;
      view.trust = trust;
    }
  }

  async #askDaemon(tokens: Uint32Array): Promise<RoutingAdvice | null> {
    if (this.#lookupsUnderWay >= CONNECTIONS_MAX) {
      this.counts.withoutAdvice.too_many_lookups += 1;
      return null;
    }
    this.#lookupsUnderWay += 1;
    const outcome = await this.#daemon.match(this.#settings.model, this.#settings.blockSize, tokens);
    this.#lookupsUnderWay -= 1;
    if (outcome.kind === "failed") {
      this.counts.withoutAdvice[outcome.reason] += 1;
      this.lastFailures.set(outcome.reason, outcome.detail);
      return null;
    }
    this.lookupMs.add(outcome.latencyMs);
    this.counts.decisions[outcome.advice.decision] += 1;
    return outcome.advice;
  }
}
