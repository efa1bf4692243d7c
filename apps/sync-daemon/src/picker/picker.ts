/**
 * Chooses an endpoint for each request, and follows the request to its end.
 *
 *     question ─▶ read ─▶ model ─▶ tokens ─┬─ in time ─▶ lookup ─▶ other shards, in time ─┐
 *                                          └─ late, none ─────────────────────────────────┴─▶ EndpointFleet.pick ─▶ answer
 *     served, first token, usage, over ─▶ books, the prediction against the engine's count, prompt checks
 *
 *  K1  Every question gets one decision, at the latest `decisionMs` after it was asked (picker.test.ts "K1").
 *  K2  A request that cannot be looked up is picked by own decisions and load. Only an empty pool and an empty subset
 *      are answered with an error (picker.test.ts "K2").
 *  K3  A prediction by the index is compared once with the engine's own count, where the answer has it
 *      (picker.test.ts "K3").
 *  K5  What fails in a decision ends its stream and no other, also when it fails while tokens are awaited
 *      (picker.test.ts "K5").
 *  K6  A pick that lacks the rows of a shard is `degraded` at best and names the shard. Its trust is at most
 *      `partial`, and its prediction is not compared (picker.test.ts "K6").
 *  K4  No text of a prompt leaves: not in answers, not to the watch (picker.test.ts "K4").
 *
 * Not here: connections (picker-server.ts), costs (packages/routing), the source of endpoints (its owner calls `update`).
 */
import { createHash } from "node:crypto";

import { assert, AssertionError } from "@kvsync/core";
import type { Trust } from "@kvsync/routing";

import { epochMs } from "../clock.ts";
import type { SpanIds } from "../telemetry/finished-span.ts";
import type { TokenizeOutcome } from "../tokenizer/tokenize-outcome.ts";
import { type TokenizeRequest, tokenizeRequest } from "../tokenizer/tokenize-request.ts";
import type { RankHeld } from "../query/match.ts";
import { RequestError } from "../request/request-error.ts";
import {
  type Endpoint,
  EndpointFleet,
  type EndpointLoad,
  type EndpointState,
  type EngineLoad,
  type NoPick,
  type PickBasis,
  type PickOutcome,
  type PickRequest,
  type PoolEngine,
  type PoolStanding,
  type PromptNames,
  SESSION_CHARACTERS_MAX,
} from "./endpoint-fleet.ts";
import type { OpenSession, SessionHost, StreamFault } from "./picker-server.ts";
import { type CheckOutcome, PromptCheck } from "./prompt-check.ts";
import type { PromptLookup, ServedModel } from "./prompt-lookup.ts";
import {
  type InferenceRequest,
  type PromptInput,
  type ReadingReason,
  readRequest,
} from "./request-reading.ts";
import { newRequestId } from "./request-id.ts";
import type { Decision, PickQuestion, SessionEnd } from "./session.ts";
import { SharedDecisions, type SharingParts } from "./shared-decisions.ts";
import type { ImmediateAnswer } from "./wire/ext-proc-codec.ts";
import type { ShardHolds, ShardLookups } from "./shard-lookups.ts";
import type { ServingStatus } from "./wire/health-codec.ts";

/** Why a pick was made without the index, or why there is none; `none` when it was made with it. */
export type PickReason =
  | "none"
  | ReadingReason
  | "model_unknown"
  | "no_tokens"
  | "late"
  | "tokens_unusable"
  | "index_unknown"
  | "shard_missing"
  | NoPick;

/** By what a pick was decided: `degraded` is by the index without the rows of a shard. */
type ReportedBasis = PickBasis | "degraded";

/** The span that a traced pick will have. */
export interface PickTrace extends SpanIds {
  /** For the engine: the pick's span is the parent of its own. */
  readonly traceparent: string;
}

/** A decision, as it is counted. */
export interface PickReport {
  readonly basis: ReportedBasis | "immediate";
  readonly reason: PickReason;
  /** The first endpoint; null when there is no pick. */
  readonly endpoint: Endpoint | null;
  readonly trust: Trust;
  /** From the question to the decision. */
  readonly seconds: number;
  readonly bodyBytes: number;
  readonly promptTokens: number;
  readonly heldTokens: number;
  /** Of the endpoints that were named, in tokens of prefill; empty when there is no pick. */
  readonly costs: readonly number[];
  /** On the clock of PickerParts. */
  readonly times: {
    readonly askedMs: number;
    /** When the tokens of a text came; null for no text, and for none. */
    readonly tokensMs: number | null;
    /** When the prompt was looked up and endpoints ranked; null without a lookup. */
    readonly lookedMs: number | null;
    readonly decidedMs: number;
  };
  /** As engines serve it; null when none does. */
  readonly model: string | null;
  /** Of the request's headers, unchecked. */
  readonly requestId: string | null;
  readonly traceparent: string | null;
  /** Of the span that it gets; null for a pick that is not traced. */
  readonly trace: PickTrace | null;
}

/** A prediction, and what became of it. */
export interface PredictionReport {
  /** As engines serve it. */
  readonly model: string;
  readonly predictedTokens: number;
  /** As the engine counts them. */
  readonly cachedTokens: number;
  /** Whether the two are further apart than evictions and blocks explain. */
  readonly differs: boolean;
}

/** Who hears of it. */
export interface PickerWatch {
  decided(report: PickReport): void;
  /** An endpoint that was not the picked one answered. */
  servedElsewhere(): void;
  firstToken(seconds: number): void;
  responseChunk(): void;
  reported(report: PredictionReport): void;
  /** A prompt was looked up again; the model is as engines serve it. */
  checked(model: string, outcome: CheckOutcome): void;
  /** A stream is over; `seconds` is the time since its question, null when it asked none or got no pick. */
  ended(end: SessionEnd, seconds: number | null): void;
  fault(fault: StreamFault): void;
}

/** What a picker works with. */
export interface PickerParts {
  readonly lookup: PromptLookup;
  /** Null: no tokens but those of requests. */
  readonly tokenizer: { tokenize(request: TokenizeRequest): Promise<TokenizeOutcome> } | null;
  readonly watch: PickerWatch;
  /** Chooses which picks are traced; absent: none is. */
  readonly traces?: { begin(traceparent: string | null): PickTrace | null };
  /** Whether requests may come. */
  readonly isReady: () => boolean;
  /** Milliseconds, on a clock that never goes back. */
  readonly now: () => number;
  /** The other shards of the fleet; absent when this daemon follows all of it. */
  readonly shards?: Pick<ShardLookups, "ask"> | null;
  /** How other pickers of the fleet are told of decisions; absent when it has one picker. */
  readonly sharing?: SharingParts;
}

/** Settings of a picker. */
export interface PickerOptions {
  readonly decisionMs: number;
  /** Endpoints named after the first. */
  readonly fallbacks: number;
  readonly rankHeader: boolean;
  readonly capacityTokens: number;
  /** False: streams are left right after the pick, and loads are not known. */
  readonly followsResponses: boolean;
  /** One pick in so many is checked; 0 for none. */
  readonly checkSample: number;
  /** Request header that names a session; null or absent: none does. */
  readonly sessionHeader?: string | null;
  /** Objectives whose requests may be refused when all engines are full. */
  readonly shedObjectives?: readonly string[];
  /** This daemon's shard, and how many there are; absent: it follows the whole fleet. */
  readonly shard?: { readonly index: number; readonly count: number };
}

/** Names what a request is for, and by that its priority. */
const OBJECTIVE_HEADER = "x-gateway-inference-objective";
/** Headers that a client could steer us or an engine with. */
const REMOVED = [
  "x-gateway-destination-endpoint-subset",
  "x-gateway-destination-endpoint-served",
  OBJECTIVE_HEADER,
  "x-gateway-inference-fairness-id",
  "x-gateway-model-name-rewrite",
  "x-llm-d-inference-objective",
  "x-llm-d-inference-fairness-id",
  "x-llm-d-model-name-rewrite",
  "x-prefiller-host-port",
  "x-encoder-hosts-ports",
  "x-data-parallel-host-port",
  "x-kv-cache-source-host-port",
] as const;
const RANK_HEADER = "x-data-parallel-rank";
/** A client does not choose the rank of an engine that picks count as chosen by us, or by the engine. */
const REMOVED_WITH_RANK: readonly string[] = [...REMOVED, RANK_HEADER];
/** What a client is told when there is no pick. */
const REFUSALS: Readonly<
  Record<
    NoPick,
    Pick<ImmediateAnswer, "status" | "headers"> & { readonly message: string; readonly type: string }
  >
> = {
  no_endpoint: {
    status: 503,
    message: "No engine can take this request now. Try again later.",
    type: "service_unavailable",
    headers: [],
  },
  subset_empty: {
    status: 503,
    message: "None of the endpoints that the gateway allows is an engine of this pool.",
    type: "service_unavailable",
    headers: [],
  },
  saturated: {
    status: 429,
    message: "All engines are full, and this request's objective may wait. Try again in a second.",
    type: "rate_limit_exceeded",
    headers: [
      ["retry-after", "1"],
      ["x-kvsync-dropped-reason", "saturated"],
    ],
  },
};
/** Services of the health check that say whether requests may come. */
const SERVICES: ReadonlySet<string> = new Set([
  "",
  "readiness",
  "envoy.service.ext_proc.v3.ExternalProcessor",
  "inference-extension",
]);
/** In the last bytes of an OpenAI answer, streamed or not. */
const CACHED_TOKENS = /"cached_tokens"\s*:\s*(\d{1,9})\b/g;

/** A prediction differs when it is off by more than this share of the prompt, */
const DIFFERENCE_SHARE = 0.1;
/** and by more than so many blocks: engines compute the last one again. */
const DIFFERENCE_BLOCKS = 2;

/** What the index promised of a prompt. */
interface Prediction {
  readonly model: string;
  readonly tokens: number;
  /** Difference that is none. */
  readonly toleranceTokens: number;
}

/** A request under way. */
interface Followed {
  readonly askedMs: number;
  /** The endpoint that was picked. */
  readonly address: string;
  /** Null for a pick that promised nothing, and once it was compared. */
  prediction: Prediction | null;
  isServed: boolean;
}

/** What is known of a request when it was looked up. */
interface LookedFor extends Known {
  /** When its tokens were there, or known to be none. */
  readonly tokensMs: number;
}

/** What is known of a request when it is decided. */
interface Known {
  readonly request: InferenceRequest;
  readonly served: ServedModel | null;
  readonly tokens: Uint32Array | readonly unknown[] | null;
  readonly reason: PickReason;
  readonly askedMs: number;
}

/** What a prompt is decided by. */
interface Looked {
  /** Null when it was not looked up. */
  readonly holds: readonly RankHeld[] | null;
  /** Null where they are not known. A view, valid until the next lookup. */
  readonly tokens: Uint32Array | null;
  readonly names: PromptNames;
  readonly promptTokens: number;
  /** False for tokens that are none. */
  readonly isUsable: boolean;
  /** What other shards said; null when none was asked. */
  readonly shards: ShardHolds | null;
}

/** What an answer tells besides its endpoints. */
interface AnswerFacts {
  readonly promptTokens: number;
  /** Shards whose rows it lacks. */
  readonly missing: readonly number[];
  readonly trace: PickTrace | null;
}

/** See the header. */
export class Picker implements SessionHost {
  readonly #parts: PickerParts;
  readonly #options: PickerOptions;
  readonly #fleet: EndpointFleet;
  readonly #followed = new Map<number, Followed>();
  readonly #check: PromptCheck;
  /** What other pickers decide; null when they are not heard. Its owner passes on messages and the time. */
  readonly shared: SharedDecisions | null;
  #isDraining = false;
  /** Whether a gateway has ever named who served. Of one that never does, an answer without a name says nothing. */
  #isToldWhoServed = false;

  constructor(options: PickerOptions, parts: PickerParts) {
    this.#options = options;
    this.#parts = parts;
    this.#fleet = new EndpointFleet({ ...options, shardCount: options.shard?.count ?? 1 });
    const { lookup, watch, now, sharing } = parts;
    this.shared = sharing === undefined ? null : new SharedDecisions(this.#fleet, sharing);
    this.#check = new PromptCheck(options.checkSample, {
      holds: (served, tokens) => lookup.holds(served, tokens),
      checked: (model, outcome) => {
        watch.checked(model, outcome);
      },
      now,
    });
  }

  /** The shard that follows a worker; null for one without an endpoint. */
  shardOf(worker: string): number | null {
    return this.#fleet.shardOf(worker);
  }

  /** Requests that were picked for and are not over. */
  get bookingCount(): number {
    return this.#fleet.bookingCount;
  }

  /** An engine has said how busy and how large it is; see EndpointFleet. */
  seen(address: string, load: EngineLoad): void {
    this.#fleet.seen(address, load);
  }

  /** An engine has not said anything for too long. */
  unseen(address: string): void {
    this.#fleet.unseen(address);
  }

  /** The endpoints there are. */
  get endpoints(): readonly Endpoint[] {
    return this.#fleet.endpoints;
  }

  /** Replaces the endpoints; see EndpointFleet. */
  update(engines: readonly PoolEngine[], standing?: PoolStanding): readonly string[] {
    return this.#fleet.update(engines, standing);
  }

  /** The load of each endpoint. */
  get loads(): readonly EndpointLoad[] {
    return this.#fleet.loads();
  }

  /** How many endpoints are in each state. */
  get states(): Readonly<Record<EndpointState, number>> {
    return this.#fleet.states(this.#parts.now() / 1000);
  }

  /**
   * A router over HTTP says what became of a prediction.
   *
   * @returns whether there is such a worker; nothing is compared otherwise.
   */
  outcome(worker: string, predictedTokens: number, cachedTokens: number): boolean {
    const endpoint = this.endpoints.find((one) => one.worker === worker);
    if (endpoint === undefined) return false;
    const tolerance = DIFFERENCE_SHARE * Math.max(predictedTokens, cachedTokens);
    const differs = Math.abs(predictedTokens - cachedTokens) > tolerance;
    const model = endpoint.model ?? "unknown";
    this.#parts.watch.reported({ model, predictedTokens, cachedTokens, differs });
    return true;
  }

  /** From now on health checks say that no request is to come. */
  drain(): void {
    this.#isDraining = true;
  }

  /** See SessionHost. */
  ask(session: OpenSession, question: PickQuestion): void {
    const askedMs = this.#parts.now();
    const request = readRequest(question, this.#parts.tokenizer !== null);
    const served = request.model === null ? null : this.#parts.lookup.model(request.model, request.cacheSalt);
    const decide = (tokens: Uint32Array | readonly unknown[] | null, reason: PickReason): void => {
      this.#decide(session, question, { request, served, tokens, reason, askedMs });
    };
    if (request.reason !== null) decide(null, request.reason);
    else if (served === null) decide(null, "model_unknown");
    else if (request.prompt?.kind === "token_ids") decide(request.prompt.tokens, "none");
    else if (request.prompt?.kind === "unread") decide(null, "no_tokens");
    else this.#decideByText(session, request, served, decide);
  }

  /** Waits for the tokens of a text, as long as there is time. */
  #decideByText(
    session: OpenSession,
    { prompt }: InferenceRequest,
    served: ServedModel,
    decide: (tokens: Uint32Array | null, reason: PickReason) => void,
  ): void {
    const { tokenizer } = this.#parts;
    // No question is made that nobody is asked: it costs as much as reading the body.
    const question = tokenizer !== null && prompt?.kind === "text" ? questionOf(served, prompt) : null;
    if (tokenizer === null || question === null) {
      decide(null, "no_tokens");
      return;
    }
    let isDecided = false;
    const once = (tokens: Uint32Array | null, reason: PickReason): void => {
      if (isDecided) return;
      isDecided = true;
      clearTimeout(timer);
      decide(tokens, reason);
    };
    const late = (): void => {
      try {
        once(null, "late");
      } catch (error) {
        failOrThrow(session, error);
      }
    };
    const timer = setTimeout(late, this.#options.decisionMs);
    const answered = tokenizer.tokenize(question).then((outcome) => {
      if (outcome.kind === "tokens") once(outcome.tokens, "none");
      else once(null, "no_tokens");
    });
    answered.catch((error: unknown) => {
      clearTimeout(timer);
      failOrThrow(session, error);
    });
  }

  #decide(session: OpenSession, question: PickQuestion, known: Known): void {
    // A client that left while tokens were awaited must not stay behind in the policy's memory.
    if (!session.isWaiting) return;
    const { request, served, tokens } = known;
    const lookedFor = { ...known, tokensMs: this.#parts.now() };
    const looked = this.#look(request, served, tokens);
    const { shards } = this.#parts;
    if (shards === undefined || shards === null || served === null || looked.tokens === null) {
      this.#finish(session, question, lookedFor, looked);
      return;
    }
    // The lookup's memory is another prompt's by the time that the shards answer.
    const kept = { ...looked, tokens: looked.tokens.slice(), names: keptNames(looked.names) };
    const { model, loraName, cacheSalt } = served.question;
    const deadlineMs = known.askedMs + this.#options.decisionMs;
    shards
      .ask({ model, loraName, cacheSalt, tokens: kept.tokens }, deadlineMs)
      .then((held) => {
        this.#finish(session, question, lookedFor, withShards(kept, held));
      })
      .catch((error: unknown) => {
        failOrThrow(session, error);
      });
  }

  /** Picks by what is known by now. */
  #finish(session: OpenSession, question: PickQuestion, known: LookedFor, looked: Looked): void {
    // It may have left while the shards were awaited.
    if (!session.isWaiting) return;
    const { served, askedMs, tokensMs } = known;
    const { holds, promptTokens, isUsable } = looked;
    const nowMs = this.#parts.now();
    const missing = looked.shards?.missing ?? [];
    const asked = this.#asked(question, served, looked);
    if (this.#isExplained(session, asked, known.reason, { promptTokens, missing, nowMs })) return;
    const outcome = this.#fleet.pick(session.id, asked, 1 + this.#options.fallbacks, nowMs / 1000);
    const lookedMs = this.#parts.now();
    const caller = callerOf(question);
    const trace = this.#parts.traces?.begin(caller.traceparent) ?? null;
    const told = session.decide(this.#answer(question, outcome, { promptTokens, missing, trace }));
    assert(told, "a session that waits takes its decision");
    const isPick = outcome.kind === "pick";
    if (isPick) {
      this.#follow(session.id, known, outcome, looked);
      this.shared?.sent(session.id, outcome.endpoints[0].address, promptTokens, outcome.decision, asked);
    }
    const decidedMs = this.#parts.now();
    this.#parts.watch.decided({
      ...pickOf(outcome, missing),
      reason: reasonOf(isUsable ? known.reason : "tokens_unusable", looked, outcome),
      seconds: (decidedMs - askedMs) / 1000,
      times: {
        askedMs,
        tokensMs: isTokenized(known) ? tokensMs : null,
        lookedMs: holds === null ? null : lookedMs,
        decidedMs,
      },
      model: served?.question.model ?? null,
      ...caller,
      trace,
      bodyBytes: question.bodyBytes,
      promptTokens,
    });
  }

  /** Whether a question for the ranking was answered with it, and asks for no pick. */
  #isExplained(
    session: OpenSession,
    asked: PickRequest,
    reason: PickReason,
    {
      promptTokens,
      missing,
      nowMs,
    }: Pick<AnswerFacts, "promptTokens" | "missing"> & { readonly nowMs: number },
  ): boolean {
    if (session.explain === undefined) return false;
    const ranking = this.#fleet.explain(asked, nowMs / 1000);
    const told = reason === "none" && missing.length > 0 ? "shard_missing" : reason;
    return session.explain({ promptTokens, reason: told, missingShards: missing, ranking }) === "leave";
  }

  /** What the fleet is asked. */
  #asked(
    question: PickQuestion,
    served: ServedModel | null,
    { holds, names, promptTokens, shards }: Looked,
  ): PickRequest {
    return {
      workers: served?.workers ?? null,
      subset: question.subset,
      promptTokens,
      names,
      holds: holds ?? [],
      restTrusts: shards?.restTrusts,
      session: this.#sessionOf(question),
      adapter: served?.question.loraName ?? null,
      isSheddable: this.#isSheddable(question),
    };
  }

  /** A digest: other pickers hear of sessions, and a client's own text is not for them (K4). */
  #sessionOf({ headers }: PickQuestion): string | undefined {
    const { sessionHeader = null } = this.#options;
    const name = sessionHeader === null ? undefined : headers.get(sessionHeader);
    if (name === undefined || name.length > SESSION_CHARACTERS_MAX) return undefined;
    return createHash("sha256").update(name).digest("base64url");
  }

  #isSheddable({ headers }: PickQuestion): boolean {
    return this.#options.shedObjectives?.includes(headers.get(OBJECTIVE_HEADER) ?? "") === true;
  }

  /** Keeps what the request's news are compared with. */
  #follow(
    id: number,
    { served, askedMs, request }: Known,
    {
      endpoints: [{ address, worker, dpRank }],
      basis,
      heldTokens,
      isMean,
    }: PickOutcome & { readonly kind: "pick" },
    { holds, tokens, promptTokens, shards }: Looked,
  ): void {
    const followed: Followed = { askedMs, address, prediction: null, isServed: false };
    this.#followed.set(id, followed);
    if (served === null || tokens === null || holds === null) return;
    const blockSize = holds.find((hold) => hold.worker === worker)?.blockSize ?? null;
    // Of several prompts the engine reports one sum, and of ranks that it chooses among we know a mean.
    const isComplete = shards === null || shards.missing.length === 0;
    if (basis === "index" && isComplete && request.otherTokens === 0 && !isMean)
      followed.prediction = {
        model: served.question.model,
        tokens: heldTokens,
        toleranceTokens: Math.max(DIFFERENCE_SHARE * promptTokens, DIFFERENCE_BLOCKS * (blockSize ?? 0)),
      };
    // A prompt is looked up again in memory, where the rows of this daemon's engines are.
    if (this.#isOwn(worker))
      this.#check.picked(id, { served, tokens, blockSize, server: { worker, dpRank } });
  }

  #isOwn(worker: string): boolean {
    const { shard } = this.#options;
    return shard === undefined || this.#fleet.shardOf(worker) === shard.index;
  }

  /** What is known of the prompt here: by its tokens, or by the bytes of its body. */
  #look(
    { bytes, estimatedTokens, otherTokens }: InferenceRequest,
    served: ServedModel | null,
    tokens: Uint32Array | readonly unknown[] | null,
  ): Looked {
    const holds = served === null || tokens === null ? null : this.#parts.lookup.holds(served, tokens);
    if (tokens === null || holds === null) {
      const isUsable = tokens === null || served === null;
      const names = bodyNames(bytes);
      return { holds, tokens: null, names, promptTokens: estimatedTokens, isUsable, shards: null };
    }
    // No copy: nothing else is looked up before the pick is made.
    const { lookup } = this.#parts;
    const { length } = tokens;
    return {
      holds,
      tokens: lookup.lookedUp(length),
      names: lookup.namesOf(length),
      promptTokens: length + otherTokens,
      isUsable: true,
      shards: null,
    };
  }

  #answer(
    question: PickQuestion,
    outcome: PickOutcome,
    { promptTokens, missing, trace }: AnswerFacts,
  ): Decision {
    if (outcome.kind !== "pick") return { kind: "immediate", answer: unavailable(outcome.kind) };
    const { endpoints, heldTokens, rankToTell } = outcome;
    const { basis, trust } = pickOf(outcome, missing);
    const setHeaders: [string, string][] = [];
    if (!question.headers.has("x-request-id"))
      setHeaders.push(["x-request-id", newRequestId(Math.floor(epochMs()))]);
    if (trace !== null) setHeaders.push(["traceparent", trace.traceparent]);
    if (rankToTell !== null) setHeaders.push([RANK_HEADER, String(rankToTell)]);
    const facts = {
      worker: endpoints[0].worker,
      matched_tokens: Math.round(heldTokens),
      prompt_tokens: promptTokens,
      trust,
      decision: basis,
      ...(missing.length > 0 && { missing_shards: missing.join(",") }),
    };
    const destination = endpoints.map(({ address }) => address).join(",");
    const leaves = !this.#options.followsResponses;
    const removeHeaders = removedOf(question, rankToTell === null);
    return { kind: "pick", answer: { destination, setHeaders, removeHeaders, facts }, leaves };
  }

  /** See SessionHost. */
  served({ id }: OpenSession, endpoint: string | null): void {
    const followed = this.#followed.get(id);
    this.#isToldWhoServed ||= endpoint !== null;
    if (followed === undefined || followed.isServed || !this.#isToldWhoServed) return;
    followed.isServed = true;
    this.#check.served(id, endpoint === null ? null : this.#fleet.endpointAt(endpoint));
    const wasDoubted = this.#fleet.isDoubted(followed.address);
    const isPicked = this.#fleet.served(id, endpoint, this.#parts.now() / 1000);
    if (!isPicked && endpoint !== null) this.#parts.watch.servedElsewhere();
    if (!isPicked || wasDoubted) this.shared?.served(followed.address, isPicked);
  }

  /** See SessionHost. */
  firstToken({ id }: OpenSession): void {
    const followed = this.#followed.get(id);
    if (followed === undefined) return;
    this.#fleet.firstToken(id);
    this.shared?.firstToken(id);
    this.#check.firstToken(id);
    this.#parts.watch.firstToken((this.#parts.now() - followed.askedMs) / 1000);
  }

  /** See SessionHost. */
  responseTail({ id }: OpenSession, tail: Buffer): void {
    const cached = [...tail.toString("latin1").matchAll(CACHED_TOKENS)].at(-1)?.[1];
    if (cached !== undefined) this.cachedTokens(id, Number(cached));
  }

  /** The engine's own count of cached tokens for a request that was picked for. */
  cachedTokens(id: number, cachedTokens: number): void {
    const followed = this.#followed.get(id);
    const prediction = followed?.prediction ?? null;
    if (followed === undefined || prediction === null) return;
    followed.prediction = null;
    const { model, tokens: predictedTokens, toleranceTokens } = prediction;
    const differs = Math.abs(predictedTokens - cachedTokens) > toleranceTokens;
    this.#parts.watch.reported({ model, predictedTokens, cachedTokens, differs });
  }

  /** See SessionHost. */
  responseChunk(): void {
    this.#parts.watch.responseChunk();
  }

  /** See SessionHost. */
  over({ id }: OpenSession, end: SessionEnd): void {
    const followed = this.#followed.get(id);
    this.#followed.delete(id);
    this.#fleet.end(id);
    this.shared?.over(id);
    this.#check.over(id, end);
    const seconds = followed === undefined ? null : (this.#parts.now() - followed.askedMs) / 1000;
    this.#parts.watch.ended(end, seconds);
  }

  /** See SessionHost. */
  fault(fault: StreamFault): void {
    this.#parts.watch.fault(fault);
  }

  /** See SessionHost. */
  health(service: string): ServingStatus {
    if (service === "liveness") return "serving";
    if (!SERVICES.has(service)) return "service_unknown";
    return !this.#isDraining && this.#parts.isReady() ? "serving" : "not_serving";
  }
}

/** A fault of one decision ends its stream; a failed assertion ends the process. */
function failOrThrow(session: OpenSession, error: unknown): void {
  if (error instanceof AssertionError) throw error;
  session.fail();
}

/** Null for messages that are nested too deep to be passed on. */
function questionOf(
  { tokenizerModel, question }: ServedModel,
  { fields, source }: Extract<PromptInput, { kind: "text" }>,
): TokenizeRequest | null {
  try {
    return tokenizeRequest(tokenizerModel, fields, { model: question.model, source });
  } catch (error) {
    if (error instanceof RequestError || error instanceof RangeError) return null;
    throw error;
  }
}

/** The rows of all shards: each has its own workers' (A2 of shard-answer.ts). */
function withShards(looked: Looked, shards: ShardHolds): Looked {
  return { ...looked, holds: [...(looked.holds ?? []), ...shards.rows], shards };
}

/** Whether a tokenizer gave the tokens. */
function isTokenized({ tokens, request }: Known): boolean {
  return tokens !== null && request.prompt?.kind === "text";
}

/** What a report has of a pick, or of none. */
function pickOf(
  outcome: PickOutcome,
  missing: readonly number[],
): Pick<PickReport, "basis" | "endpoint" | "trust" | "heldTokens" | "costs"> {
  if (outcome.kind !== "pick")
    return { basis: "immediate", endpoint: null, trust: "unknown", heldTokens: 0, costs: [] };
  const { endpoints, heldTokens, costs } = outcome;
  const isIncomplete = missing.length > 0;
  const basis = isIncomplete && outcome.basis === "index" ? "degraded" : outcome.basis;
  const trust = isIncomplete && outcome.trust === "exact" ? "partial" : outcome.trust;
  return { basis, endpoint: endpoints[0], trust, heldTokens, costs };
}

/** Headers that do not reach the engine. A gateway may remove after it sets, so a rank that is told is none of them. */
function removedOf({ steering = [] }: PickQuestion, isRankRemoved: boolean): readonly string[] {
  const fixed = isRankRemoved ? REMOVED_WITH_RANK : REMOVED;
  return steering.length === 0 ? fixed : [...new Set([...fixed, ...steering])];
}

/** What a report has of the request's headers. */
function callerOf({ headers }: PickQuestion): Pick<PickReport, "requestId" | "traceparent"> {
  return {
    requestId: headers.get("x-request-id") ?? null,
    traceparent: headers.get("traceparent") ?? null,
  };
}

function reasonOf(reason: PickReason, { holds, shards }: Looked, outcome: PickOutcome): PickReason {
  if (outcome.kind !== "pick") return outcome.kind;
  if (reason === "none" && shards !== null && shards.missing.length > 0) return "shard_missing";
  return reason === "none" && holds !== null && outcome.basis !== "index" ? "index_unknown" : reason;
}

/** A body as words of four bytes, which stand for its tokens; the rest is left out. A view of it, where its place allows. */
function bodyNames(body: Buffer): PromptNames {
  const count = body.length >>> 2;
  const { buffer, byteOffset } = body;
  const isAligned = byteOffset % Uint32Array.BYTES_PER_ELEMENT === 0;
  const keys = isAligned ? new Uint32Array(buffer, byteOffset, count) : new Uint32Array(count);
  if (!isAligned) new Uint8Array(keys.buffer).set(body.subarray(0, 4 * count));
  return { keys, keyWords: 1, keyTokens: 1 };
}

/** Names that stay when the next prompt is looked up. */
function keptNames(names: PromptNames): PromptNames {
  return { ...names, keys: names.keys.slice() };
}

/** OpenAI's error object. */
function unavailable(kind: NoPick): ImmediateAnswer {
  const { status, message, type, headers } = REFUSALS[kind];
  return {
    status,
    headers: [["content-type", "application/json"], ...headers],
    body: JSON.stringify({ error: { message, type, code: kind } }),
    details: `kvsync_${kind}`,
  };
}
