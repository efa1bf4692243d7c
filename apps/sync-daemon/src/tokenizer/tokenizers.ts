/**
 * The tokenizers of a process: each model's own, and the one of all other models.
 *
 *     request ─▶ its model has an entry in tokenizer.models? ─yes─▶ that tokenizer, asked for the model
 *                                                              └no─▶ sync.tokenizer_endpoint, asked for the name that the engines know
 *                                                                    └ none: tokenizer_not_configured
 *
 * Invariants
 *  Z1  A model's tokens come from its own tokenizer, or from none: another one is never asked in its place (test/tokenizers.test.ts "Z1").
 *  Z2  An adapter has the tokenizer of its model, which is asked for the model. So it need not know the adapter
 *      (test/tokenizers.test.ts "Z2").
 *  Z3  Tokenizers have circuits, connections and limits of their own, and share the memory of tokens
 *      (test/tokenizers.test.ts "Z3").
 *
 * Not here: which model a name means (query/model-name.ts).
 */

import type { MetricSlots } from "@kvsync/observability/slots";

import { RemoteTokenizer, tokenCache, type TokenizerWatch } from "./remote-tokenizer.ts";
import type { TokenizeOutcome } from "./tokenize-outcome.ts";
import { type TokenizeRequest, tokenizeRequest } from "./tokenize-request.ts";
import { TokenizerMetrics, type TokenizerName } from "./tokenizer-metrics.ts";
import type { Settings } from "../settings/settings.ts";
import { DEFAULT_TOKENIZER } from "../settings/tokenizer-settings.ts";

/** Who asks. */
export interface TokenizersOptions {
  /** Of the thread. */
  readonly metrics: MetricSlots;
  readonly thread: TokenizerName["thread"];
  readonly watch: TokenizerWatch;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

/** See the head of this file. */
export class Tokenizers {
  readonly #own: ReadonlyMap<string, RemoteTokenizer>;
  readonly #default: RemoteTokenizer | null;
  /** Of the default tokenizer, whether there is one or not. */
  readonly #metrics: TokenizerMetrics;

  /**
   * Opens the tokenizers of the settings. Nobody is asked before the first request.
   *
   * @param settings - checked.
   * @param options - who asks.
   */
  constructor(
    { sync, tokenizer, limits }: Pick<Settings, "sync" | "tokenizer" | "limits">,
    { metrics, thread, watch, now }: TokenizersOptions,
  ) {
    const { models, cache_bytes: cacheBytes, ...limitsOfEach } = tokenizer;
    const cache = tokenCache(cacheBytes);
    const metricsOf = (name: string): TokenizerMetrics =>
      new TokenizerMetrics(metrics, { thread, tokenizer: name });
    const remote = (
      label: string,
      at: Pick<ConstructorParameters<typeof RemoteTokenizer>[0], "endpoint" | "engine">,
      measured: TokenizerMetrics,
    ): RemoteTokenizer => {
      const options = { ...limitsOfEach, ...at, label, cache, tokensMax: limits.query_tokens };
      return new RemoteTokenizer(options, measured, now, watch);
    };
    this.#metrics = metricsOf(DEFAULT_TOKENIZER);
    const { tokenizer_endpoint: endpoint, tokenizer_engine: engine } = sync;
    this.#default = endpoint === null ? null : remote(DEFAULT_TOKENIZER, { endpoint, engine }, this.#metrics);
    this.#own = new Map(
      models.map(({ model, ...at }) => [model, remote(model, at, metricsOf(model))] as const),
    );
  }

  /** Those that are asked over HTTP, the default one first. */
  get remotes(): readonly RemoteTokenizer[] {
    return [...(this.#default === null ? [] : [this.#default]), ...this.#own.values()];
  }

  /**
   * Gets the tokens of a prompt or conversation.
   *
   * @param request - made by `tokenizeRequest`.
   * @returns tokens, or why there are none; never rejects.
   */
  tokenize(request: TokenizeRequest): Promise<TokenizeOutcome> {
    const { model, name, fields } = request;
    const own = this.#own.get(model);
    if (own !== undefined) return own.tokenize(name === model ? request : tokenizeRequest(model, fields));
    if (this.#default !== null) return this.#default.tokenize(request);
    const reason = "tokenizer_not_configured";
    this.#metrics.refused(reason);
    return Promise.resolve({ kind: "failed", reason });
  }

  /**
   * Gives up the connections.
   *
   * @returns resolves when they are closed.
   */
  async close(): Promise<void> {
    await Promise.all(this.remotes.map((remote) => remote.close()));
  }
}
