/**
 * Lookups as the HTTP rim asks for them: read, tokenized where needed, answered, measured.
 *
 *   bytes ─▶ read ─┬─ tokens or hashes ─────────────────▶ match ─▶ answer
 *                  └─ prompt or messages ─▶ tokenizer ─┬─▶ match ─▶ answer
 *                                                      └─ no tokens ─▶ "fallback" with the reason
 *     answer of another thread (lookup-threads) ─▶ measured
 */

import type { PrefixReader } from "@kvsync/core";
import { openLabel } from "@kvsync/observability/definition";
import type { Exposition } from "@kvsync/observability/exposition";
import { PREFIX_INDEX_METRICS } from "@kvsync/observability/kvsync/prefix-index";
import { ROUTING_METRICS } from "@kvsync/observability/kvsync/routing";
import type { SPANS } from "@kvsync/observability/kvsync/spans";
import type { Attributes } from "@kvsync/observability/signals/span";
import type { Histogram, MetricSlots } from "@kvsync/observability/slots";

import type { LineGate } from "../log/line-gate.ts";
import type { TokenizeOutcome } from "../tokenizer/tokenize-outcome.ts";
import { type TokenizeRequest, tokenizeRequest } from "../tokenizer/tokenize-request.ts";
import type { Tokenizers } from "../tokenizer/tokenizers.ts";
import type { NamedSpan, Tracing } from "../telemetry/tracing.ts";
import { RequestError } from "../request/request-error.ts";
import type { AnsweredBody } from "./body-lookup.ts";
import { fallback, match, type MatchDependencies } from "./match.ts";
import type { MatchAnswer } from "./match-answer.ts";
import {
  type MatchQuery,
  type QueryInputMemory,
  type QuestionFields,
  type ReadQuery,
  readBinaryQuery,
  readJsonQuery,
  refuseParameters,
  withInput,
  withTokens,
} from "./match-query.ts";
import { LookupTally } from "./lookup-tally.ts";
import { ModelMetrics } from "./model-metrics.ts";
import { namedModel } from "./model-name.ts";

/** Answers lookups. One per process: it owns the reader's input memory while it reads and matches. */
export class Lookup {
  /** Counts of its answers, for the web page. */
  readonly tally: LookupTally;
  readonly #dependencies: MatchDependencies;
  readonly #memory: QueryInputMemory;
  readonly #tokenizers: Pick<Tokenizers, "tokenize">;
  readonly #hasSecretHashes: boolean;
  readonly #log: LineGate;
  readonly #tracing: Tracing | null;
  readonly #exemplars: Pick<Exposition, "exemplar">;
  readonly #duration: Histogram;
  readonly #models: ModelMetrics;

  /**
   * @param dependencies - index reader, board, engines, clock.
   * @param metrics - of the main thread.
   * @param options - most token ids in one lookup; the tokenizers; the log, and traces, null when off.
   */
  constructor(
    dependencies: MatchDependencies,
    metrics: MetricSlots,
    options: {
      readonly tokensMax: number;
      /** Setting `index.prefix_hashes`. */
      readonly prefixHashes: "public" | "secret";
      readonly tokenizers: Pick<Tokenizers, "tokenize">;
      readonly log: LineGate;
      readonly tracing: Tracing | null;
      /** Takes traces of lookups; they are taken from `tracing`. */
      readonly exemplars: Pick<Exposition, "exemplar">;
    },
  ) {
    const reader: PrefixReader = dependencies.reader;
    this.#dependencies = dependencies;
    this.tally = new LookupTally((model) => dependencies.registry.enginesOf(model) !== null);
    this.#models = new ModelMetrics(metrics, (model) => dependencies.registry.enginesOf(model) !== null);
    this.#memory = { tokens: reader.tokens, hashes: reader.hashes, tokensMax: options.tokensMax };
    this.#hasSecretHashes = options.prefixHashes === "secret";
    this.#tokenizers = options.tokenizers;
    this.#log = options.log;
    this.#tracing = options.tracing;
    this.#exemplars = options.exemplars;
    this.#duration = metrics.histogram(PREFIX_INDEX_METRICS.indexerOperationDuration, { operation: "match" });
  }

  /**
   * Answers a JSON lookup.
   *
   * @param body - parsed JSON.
   * @param parameters - parsed query parameters; none belong here.
   * @returns the answer; a promise of it when a tokenizer has to be asked.
   * @throws RequestError see match-query.ts and match.ts.
   */
  json(body: unknown, parameters: unknown): MatchAnswer | Promise<MatchAnswer> {
    const startedMs = performance.now();
    refuseParameters(parameters);
    const read = readJsonQuery(body, this.#memory);
    return read.kind === "ready" ? this.#answer(read.query, startedMs) : this.#answerPrompt(read, startedMs);
  }

  /**
   * Takes a JSON lookup that another thread answered: it is counted, logged and traced as any other.
   *
   * @param answered - by that thread.
   * @param startedMs - when the body was there, by `performance.now()`.
   * @returns JSON of the answer.
   */
  answered({ text, query, answer, matchMs }: AnsweredBody, startedMs: number): string {
    const setFacts = (span: NamedSpan<"lookup">): void => {
      span.set(spanFacts(query, answer));
    };
    this.#tracing?.within("lookup", setFacts, performance.timeOrigin + startedMs);
    this.#measure(query, answer, performance.now() - startedMs, matchMs);
    return text;
  }

  /**
   * Answers a binary lookup.
   *
   * @param body - the bytes.
   * @param parameters - parsed query parameters.
   * @returns the answer.
   * @throws RequestError see match-query.ts and match.ts.
   */
  binary(body: Uint8Array, parameters: unknown): MatchAnswer {
    const startedMs = performance.now();
    return this.#answer(readBinaryQuery(body, parameters, this.#memory), startedMs);
  }

  /**
   * Answers a lookup by tokens from elsewhere than `json`.
   *
   * @param question - what is asked.
   * @param tokens - its tokens, unchecked.
   * @returns the answer.
   * @throws RequestError see match-query.ts and match.ts.
   */
  tokens(question: QuestionFields, tokens: readonly unknown[]): MatchAnswer {
    const startedMs = performance.now();
    return this.#answer(withInput(question, "token_ids", tokens, this.#memory), startedMs);
  }

  /**
   * Answers a lookup by hashes from elsewhere than `json`.
   *
   * @param question - what is asked.
   * @param hashes - u64 texts, unchecked.
   * @param form - rolling: of prefixes, as in `json`; local: of each block's tokens alone, chained here.
   * @returns the answer.
   * @throws RequestError see match-query.ts and match.ts.
   */
  hashes(question: QuestionFields, hashes: readonly unknown[], form: "rolling" | "local"): MatchAnswer {
    const startedMs = performance.now();
    const query = withInput(question, "prefix_hashes", hashes, this.#memory);
    if (form === "local") this.#chain(query.count);
    return this.#answer(query, startedMs);
  }

  /** Ends the series of models that no engine serves any more; before each scrape. */
  releaseGone(): void {
    this.#models.releaseGone();
  }

  /** Local hashes in the input memory become prefix hashes: prefix[i] = XXH3(prefix[i-1] ‖ local[i]), prefix[0] = local[0]. */
  #chain(count: number): void {
    const { hashes } = this.#memory;
    const pair = new Uint32Array(4);
    const bytes = new Uint8Array(pair.buffer);
    for (let i = 1; i < count; i++) {
      pair.set(hashes.subarray(2 * i - 2, 2 * i + 2));
      this.#dependencies.reader.digestBytes(bytes, hashes, 2 * i);
    }
  }

  async #answerPrompt(
    { question, fields, source }: Extract<ReadQuery, { kind: "prompt" }>,
    startedMs: number,
  ): Promise<MatchAnswer> {
    // A model that nobody serves is refused before anybody is asked for its tokens.
    const { model } = namedModel(question, this.#dependencies);
    const request = tokenizeRequest(question.loraName ?? question.model, fields, { model, source });
    const outcome = await (this.#tracing === null
      ? this.#tokenizers.tokenize(request)
      : this.#tracedTokens(this.#tracing, request));
    if (outcome.kind === "tokens") {
      return this.#answer(withTokens(question, outcome.tokens, this.#memory), startedMs);
    }
    const answer = fallback(question, outcome.reason, this.#dependencies);
    const handles = this.#models.of(answer.model);
    const seconds = (performance.now() - startedMs) / 1000;
    handles.fellBack(seconds);
    this.#keepTrace(answer.model, seconds);
    handles.decided(answer);
    this.tally.answered(answer.decision, seconds);
    if (this.#log.isOn("detail")) this.#tell(answer);
    return answer;
  }

  #answer(query: MatchQuery, startedMs: number): MatchAnswer {
    if (query.input === "prefix_hashes" && this.#hasSecretHashes) throw prefixHashesSecret();
    const readMs = performance.now();
    const answer =
      this.#tracing === null ? match(query, this.#dependencies) : this.#tracedMatch(this.#tracing, query);
    const endedMs = performance.now();
    this.#measure(query, answer, endedMs - startedMs, endedMs - readMs);
    return answer;
  }

  /** Counts an answer. Only models that are served get here. */
  #measure(
    query: Pick<MatchQuery, "input" | "count">,
    answer: MatchAnswer,
    ms: number,
    matchMs: number,
  ): void {
    const handles = this.#models.of(answer.model);
    const seconds = ms / 1000;
    handles.answered(seconds, matchMs / 1000);
    this.#keepTrace(answer.model, seconds);
    handles.decided(answer);
    this.tally.answered(answer.decision, seconds);
    this.#duration.observe(matchMs / 1000);
    const asked = askedTokens(query, answer);
    if (asked > 0) {
      const share = (answer.matches[0]?.matched_tokens ?? 0) / asked;
      handles.hit(share);
      this.tally.held(answer.model, share);
    }
    if (this.#log.isOn("detail")) this.#tell(answer);
  }

  /** The lookup's trace, when it is sampled, becomes an example of its time. */
  #keepTrace(model: string, seconds: number): void {
    const traceId = this.#tracing?.sampledTrace() ?? null;
    if (traceId === null) return;
    const labels = { model: openLabel("model", model) };
    this.#exemplars.exemplar(ROUTING_METRICS.routingLatency, labels, seconds, traceId);
  }

  #tracedMatch(tracing: Tracing, query: MatchQuery): MatchAnswer {
    return tracing.within("lookup", (span) => {
      const answer = match(query, this.#dependencies);
      span.set(spanFacts(query, answer));
      return answer;
    });
  }

  #tracedTokens(tracing: Tracing, request: TokenizeRequest): Promise<TokenizeOutcome> {
    return tracing.within("tokenize", async (span) => {
      const outcome = await this.#tokenizers.tokenize(request);
      if (outcome.kind === "tokens") span.set({ "kvsync.input_count": outcome.tokens.length });
      else span.fail(outcome.reason);
      return outcome;
    });
  }

  #tell({ model, blocks, decision, trust, reason, matches }: MatchAnswer): void {
    const best = matches[0];
    const facts = {
      model,
      blocks,
      decision,
      trust,
      reason,
      pod: best?.worker ?? null,
      matched_blocks: best?.matched_blocks ?? 0,
    };
    this.#log.write("lookup_answered", facts);
  }
}

/** Not before the answer: a model that is not known is text that a caller sent. */
function spanFacts(
  { input, count }: Pick<MatchQuery, "input" | "count">,
  answer: MatchAnswer,
): Attributes<(typeof SPANS)["lookup"]> {
  return {
    "kvsync.model": answer.model,
    "kvsync.input": input,
    "kvsync.input_count": count,
    "kvsync.blocks": answer.blocks ?? 0,
    "kvsync.matched_blocks": answer.matches[0]?.matched_blocks ?? 0,
    "kvsync.decision": answer.decision,
    "kvsync.trust": answer.trust,
  };
}

function prefixHashesSecret(): RequestError {
  const setting = "index.prefix_hashes";
  return new RequestError(
    { code: "prefix_hashes_secret", setting },
    `prefix_hashes: the hash seed of this daemon is secret; ask by token_ids, or set ${setting} to public`,
  );
}

/** Tokens that the best answer there could be would have matched: in full blocks of the size in use that covers most. */
function askedTokens(
  { input, count }: Pick<MatchQuery, "input" | "count">,
  { block_sizes: sizes, matches }: MatchAnswer,
): number {
  if (input === "prefix_hashes") return count * (matches[0]?.block_size ?? sizes[0] ?? 0);
  return Math.max(0, ...sizes.map((size) => count - (count % size)));
}
