/**
 * Turns prompts and conversations into tokens by asking an engine's `/tokenize`, without ever making a lookup wait long or fail.
 *
 *     request ─▶ cache ─hit─▶ tokens
 *                 │ miss
 *                 ▼
 *                in progress already? ─yes─▶ share its answer (single flight)
 *                 │ no
 *                 ▼
 *                room? ─▶ circuit? ─▶ keep-alive pool ─▶ POST /tokenize ─▶ tokens ─▶ cache
 *                 │no      │no            │ connection failed, or 5xx: once more, within the same deadline
 *                 ▼        ▼              ▼
 *              tokenizer_overloaded  circuit_open   tokenizer_unavailable | _timeout | _refused | _malformed
 *
 * Invariants
 *  T1  `tokenize` always resolves, at the latest when its deadline has passed.
 *  T2  Memory is bounded: requests in progress, bytes of one answer, bytes of the cache, which tokenizers share.
 *  T3  Only what is the tokenizer's fault counts against its circuit: a refusal of one prompt does not.
 *  T4  No prompt and no token is logged, or kept under anything but its digest; prompts are not kept at all.
 */

import { LRUCache } from "lru-cache";
import { errors, Pool } from "undici";

import { type CircuitState, CircuitBreaker } from "./circuit-breaker.ts";
import type { TokenizeOutcome, TokenizerFailure } from "./tokenize-outcome.ts";
import { sglangBody, tokenizeAnswer, type TokenizeRequest } from "./tokenize-request.ts";
import type { TokenizerMetrics } from "./tokenizer-metrics.ts";
import type { LineGate } from "../log/line-gate.ts";
import type { TokenizerEngine, TokenizerSettings } from "../settings/tokenizer-settings.ts";
import type { NamedSpan, Tracing } from "../telemetry/tracing.ts";
import { serverOf } from "../telemetry/server-attributes.ts";

const TOKEN_MAX = 0xffff_ffff;
/** Bytes of one token in an answer, at most: ten digits, a comma and a space. */
const ANSWER_BYTES_PER_TOKEN = 12;
/** Bytes of an answer beside its tokens. */
const ANSWER_BYTES_MORE = 64 * 1024;
/** Memory of a cache entry beside its tokens: key, typed array, the map's own. */
const ENTRY_BYTES = 256;
/** An unused connection is given up after this, before load balancers drop it without a word (a minute, as a rule). */
const KEEP_ALIVE_MS = 30_000;

/** Tokens by tokenizer and digest. */
export type TokenCache = LRUCache<string, Uint32Array>;

/**
 * Makes the memory of one or several tokenizers.
 *
 * @param maxSize - its bytes.
 * @returns null for 0 bytes.
 */
export function tokenCache(maxSize: number): TokenCache | null {
  const sizeCalculation = ({ byteLength }: Uint32Array): number => byteLength + ENTRY_BYTES;
  return maxSize === 0 ? null : new LRUCache({ maxSize, sizeCalculation });
}

/** Where the tokenizer is, and how it is asked. */
export interface RemoteTokenizerOptions
  extends Pick<
    TokenizerSettings,
    "timeout_seconds" | "connections" | "requests" | "circuit_failures" | "circuit_open_seconds"
  > {
  /** Base URL. */
  readonly endpoint: string;
  /** Whose `/tokenize` it is. */
  readonly engine: TokenizerEngine;
  /** Its name in metrics and the log, which no other tokenizer of the process has. */
  readonly label: string;
  /** Null remembers nothing. */
  readonly cache: TokenCache | null;
  /** Most tokens that a lookup takes. */
  readonly tokensMax: number;
}

/** What is known of the tokenizer without asking it. */
export interface TokenizerStatus {
  readonly circuit: CircuitState;
  /** Null while the last answer was a good one, or none was asked for yet. */
  readonly lastFailure: TokenizerFailure | null;
}

/** Who hears of it, beside metrics. */
export interface TokenizerWatch {
  readonly log: LineGate;
  /** Whose context goes with each question; null when off. */
  readonly tracing: Tracing | null;
}

/** How one exchange went. */
interface Exchange {
  readonly outcome: TokenizeOutcome;
  readonly isTokenizersFault: boolean;
}

/** Asks one remote tokenizer. */
export class RemoteTokenizer {
  readonly #pool: Pool;
  readonly #path: string;
  readonly #options: RemoteTokenizerOptions;
  readonly #watch: TokenizerWatch;
  readonly #metrics: TokenizerMetrics;
  readonly #circuit: CircuitBreaker;
  readonly #cache: TokenCache | null;
  readonly #underWay = new Map<string, Promise<TokenizeOutcome>>();
  #lastFailure: TokenizerFailure | null = null;

  /**
   * @param options - checked settings.
   * @param metrics - of the tokenizer.
   * @param now - monotonic milliseconds, for the circuit.
   * @param watch - who hears of it.
   */
  constructor(
    options: RemoteTokenizerOptions,
    metrics: TokenizerMetrics,
    now: () => number,
    watch: TokenizerWatch,
  ) {
    const { origin, pathname } = new URL(options.endpoint);
    const timeoutMs = options.timeout_seconds * 1000;
    this.#options = options;
    this.#watch = watch;
    this.#metrics = metrics;
    this.#path = `${pathname.replace(/\/+$/, "")}/tokenize`;
    this.#pool = new Pool(origin, {
      connections: options.connections,
      connect: { timeout: timeoutMs },
      keepAliveTimeout: KEEP_ALIVE_MS,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      maxResponseSize: options.tokensMax * ANSWER_BYTES_PER_TOKEN + ANSWER_BYTES_MORE,
    });
    const { circuit_failures: failures, circuit_open_seconds, cache } = options;
    this.#circuit = new CircuitBreaker({ failures, openMs: circuit_open_seconds * 1000 }, now);
    this.#cache = cache;
  }

  /** Its name in metrics and the log. */
  get label(): string {
    return this.#options.label;
  }

  /** Base URL. */
  get endpoint(): string {
    return this.#options.endpoint;
  }

  /** What is known of it. */
  get status(): TokenizerStatus {
    return { circuit: this.#circuit.state, lastFailure: this.#lastFailure };
  }

  /**
   * Gets the tokens of a prompt or conversation.
   *
   * @param request - made by `tokenizeRequest`.
   * @returns tokens, or why there are none; never rejects (T1).
   */
  tokenize(request: TokenizeRequest): Promise<TokenizeOutcome> {
    const known = this.#cache?.get(this.#key(request));
    if (known !== undefined) {
      this.#metrics.looked("hit");
      return Promise.resolve({ kind: "tokens", tokens: known });
    }
    const shared = this.#underWay.get(request.digest);
    if (shared !== undefined) {
      this.#metrics.looked("joined");
      return shared;
    }
    this.#metrics.looked("miss");
    const body = this.#options.engine === "sglang" ? sglangBody(request) : request.body;
    if (body === null) return Promise.resolve(this.#refuse("tokenizer_refused"));
    if (this.#underWay.size >= this.#options.requests)
      return Promise.resolve(this.#refuse("tokenizer_overloaded"));
    const ticket = this.#circuit.enter();
    if (ticket === null) return Promise.resolve(this.#refuse("circuit_open"));
    const asked = this.#ask(request, body, ticket).finally(() => this.#underWay.delete(request.digest));
    this.#underWay.set(request.digest, asked);
    return asked;
  }

  /**
   * Gives up the connections.
   *
   * @returns resolves when they are closed; requests under way end as unavailable.
   */
  close(): Promise<void> {
    return this.#pool.destroy();
  }

  #key({ digest }: TokenizeRequest): string {
    return `${this.#options.label} ${digest}`;
  }

  async #ask(request: TokenizeRequest, body: string, ticket: number): Promise<TokenizeOutcome> {
    const startedMs = performance.now();
    this.#metrics.state(this.#circuit.state, this.#cache?.calculatedSize ?? 0);
    const { outcome, isTokenizersFault } = await this.#exchange(body);
    const circuitBefore = this.#circuit.state;
    if (isTokenizersFault) this.#circuit.failed(ticket);
    else this.#circuit.succeeded(ticket);
    this.#tell(outcome, circuitBefore, performance.now() - startedMs);
    this.#lastFailure = outcome.kind === "tokens" ? null : outcome.reason;
    if (outcome.kind === "tokens") this.#cache?.set(this.#key(request), outcome.tokens);
    this.#metrics.answered(
      outcome.kind === "tokens" ? "ok" : outcome.reason,
      (performance.now() - startedMs) / 1000,
    );
    this.#metrics.state(this.#circuit.state, this.#cache?.calculatedSize ?? 0);
    return outcome;
  }

  #tell(outcome: TokenizeOutcome, before: CircuitState, durationMs: number): void {
    const { log } = this.#watch;
    const { label: tokenizer, circuit_open_seconds: seconds } = this.#options;
    const circuit = this.#circuit.state;
    const result = outcome.kind === "tokens" ? "ok" : outcome.reason;
    if (log.isOn("detail"))
      log.write("tokenizer_asked", {
        tokenizer,
        outcome: result,
        duration_ms: Math.round(durationMs * 1000) / 1000,
        circuit,
      });
    if (circuit === "open" && before === "closed")
      log.write("tokenizer_circuit_opened", { tokenizer, reason: result, seconds });
    if (circuit === "closed" && before !== "closed") log.write("tokenizer_circuit_closed", { tokenizer });
  }

  #refuse(reason: TokenizerFailure): TokenizeOutcome {
    this.#metrics.refused(reason);
    return { kind: "failed", reason };
  }

  /** One question, asked twice at most: a kept connection that the other side has dropped, or a server that stumbles, is worth a second try. */
  async #exchange(body: string): Promise<Exchange> {
    const signal = AbortSignal.timeout(this.#options.timeout_seconds * 1000);
    const first = await this.#attempt(body, signal);
    if (!isUnavailable(first) || signal.aborted) return first;
    return this.#attempt(body, signal);
  }

  #attempt(question: string, signal: AbortSignal): Promise<Exchange> {
    const { tracing } = this.#watch;
    if (tracing === null) return this.#post(question, signal);
    const work = async (span: NamedSpan<"POST">): Promise<Exchange> => {
      span.set({ "http.request.method": "POST", ...serverOf(this.#options.endpoint) });
      const exchange = await this.#post(question, signal, tracing.headers());
      if (exchange.outcome.kind === "failed") span.fail(exchange.outcome.reason);
      return exchange;
    };
    return tracing.within("POST", work);
  }

  async #post(
    question: string,
    signal: AbortSignal,
    more: Readonly<Record<string, string>> = {},
  ): Promise<Exchange> {
    try {
      const { statusCode, body } = await this.#pool.request({
        path: this.#path,
        method: "POST",
        headers: { "content-type": "application/json", accept: "application/json", ...more },
        body: question,
        signal,
      });
      if (statusCode !== 200) {
        await body.dump();
        return failed(failureOfStatus(statusCode));
      }
      const tokens = readTokens(await body.json(), this.#options.tokensMax);
      return tokens === null
        ? failed("tokenizer_malformed")
        : { outcome: { kind: "tokens", tokens }, isTokenizersFault: false };
    } catch (error) {
      return failed(failureOfError(error, signal));
    }
  }
}

function failed(reason: TokenizerFailure): Exchange {
  return { outcome: { kind: "failed", reason }, isTokenizersFault: reason !== "tokenizer_refused" };
}

function isUnavailable({ outcome }: Exchange): boolean {
  return outcome.kind === "failed" && outcome.reason === "tokenizer_unavailable";
}

function failureOfStatus(status: number): TokenizerFailure {
  if (status === 429) return "tokenizer_overloaded";
  return status >= 400 && status < 500 ? "tokenizer_refused" : "tokenizer_unavailable";
}

function failureOfError(error: unknown, signal: AbortSignal): TokenizerFailure {
  if (signal.aborted) return "tokenizer_timeout";
  if (error instanceof errors.HeadersTimeoutError || error instanceof errors.BodyTimeoutError)
    return "tokenizer_timeout";
  if (error instanceof errors.ConnectTimeoutError) return "tokenizer_timeout";
  if (error instanceof SyntaxError || error instanceof errors.ResponseExceededMaxSizeError)
    return "tokenizer_malformed";
  return "tokenizer_unavailable";
}

/** The tokens of an answer; null when it has none, too many, or ids that are none. */
function readTokens(answer: unknown, tokensMax: number): Uint32Array | null {
  const parsed = tokenizeAnswer.safeParse(answer);
  if (!parsed.success || parsed.data.tokens.length > tokensMax) return null;
  const ids = parsed.data.tokens;
  const tokens = new Uint32Array(ids.length);
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i];
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id > TOKEN_MAX) return null;
    tokens[i] = id;
  }
  return tokens;
}
