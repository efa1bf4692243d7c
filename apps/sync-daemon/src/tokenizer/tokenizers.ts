/**
 * The tokenizers of a process: each model's own, and the one of all other models.
 *
 *     request ─▶ its model has an entry in tokenizer.models? ─yes─▶ that tokenizer, remote or from files, asked for the model
 *                                                              └no─▶ sync.tokenizer_endpoint, asked for the name that the engines know
 *                                                                    └ none: tokenizer_not_configured
 *
 * A model with files and without an endpoint has its conversations from sync.tokenizer_endpoint.
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

import { assert } from "@kvsync/core";
import type { MetricSlots } from "@kvsync/observability/slots";

import { vocabularyFiles } from "./local-encoding.ts";
import { LocalTokenizer } from "./local-tokenizer.ts";
import {
  RemoteTokenizer,
  type RemoteTokenizerOptions,
  tokenCache,
  type TokenizerWatch,
} from "./remote-tokenizer.ts";
import type { TokenizeOutcome } from "./tokenize-outcome.ts";
import { type TokenizeRequest, tokenizeRequest } from "./tokenize-request.ts";
import { SegmentMetrics, TokenizerMetrics, type TokenizerName } from "./tokenizer-metrics.ts";
import { TokenizerThreads } from "./tokenizer-threads.ts";
import type { Settings } from "../settings/settings.ts";
import { DEFAULT_TOKENIZER, type TokenizerModel } from "../settings/tokenizer-settings.ts";

/** Who asks. */
export interface TokenizersOptions {
  /** Of the thread. */
  readonly metrics: MetricSlots;
  readonly thread: TokenizerName["thread"];
  readonly watch: TokenizerWatch;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Compiled entry of the threads that encode (tokenizer-thread.ts). */
  readonly threadScript: URL;
}

type TokenizerSections = Pick<Settings, "sync" | "tokenizer" | "limits">;

/** See the head of this file. */
export class Tokenizers {
  readonly #own: ReadonlyMap<string, RemoteTokenizer | LocalTokenizer>;
  readonly #threads: TokenizerThreads | null;
  /** Those that are asked over HTTP, the default one first. */
  readonly remotes: readonly RemoteTokenizer[];
  readonly #default: RemoteTokenizer | null;
  /** Of the default tokenizer, whether there is one or not. */
  readonly #metrics: TokenizerMetrics;

  private constructor(
    settings: TokenizerSections,
    threads: TokenizerThreads | null,
    options: TokenizersOptions,
  ) {
    const { models, cache_bytes: cacheBytes, parity_sample: sample, ...limitsOfEach } = settings.tokenizer;
    const { metrics, thread, watch, now } = options;
    const cache = tokenCache(cacheBytes);
    const remote = (
      label: string,
      at: Pick<RemoteTokenizerOptions, "endpoint" | "engine">,
      measured: TokenizerMetrics,
    ): RemoteTokenizer => {
      const tokensMax = settings.limits.query_tokens;
      return new RemoteTokenizer({ ...limitsOfEach, ...at, label, cache, tokensMax }, measured, now, watch);
    };
    this.#threads = threads;
    this.#metrics = new TokenizerMetrics(metrics, { thread, tokenizer: DEFAULT_TOKENIZER });
    const { tokenizer_endpoint: endpoint, tokenizer_engine: engine } = settings.sync;
    this.#default = endpoint === null ? null : remote(DEFAULT_TOKENIZER, { endpoint, engine }, this.#metrics);
    const remotes = this.#default === null ? [] : [this.#default];
    const own = (entry: TokenizerModel): RemoteTokenizer | LocalTokenizer => {
      const isCompared = entry.template === "local";
      const measured = new TokenizerMetrics(metrics, { thread, tokenizer: entry.model, isCompared });
      const asked =
        entry.endpoint === null
          ? null
          : remote(entry.model, { endpoint: entry.endpoint, engine: entry.engine }, measured);
      if (asked !== null) remotes.push(asked);
      if (asked !== null && entry.tokenizer_file === null) return asked;
      assert(threads !== null, "a model without an endpoint has files");
      const parts = { model: entry.model, threads, remote: asked ?? this.#default, cache, now };
      return new LocalTokenizer(
        { ...parts, metrics: measured, log: watch.log },
        isCompared ? { sample } : null,
      );
    };
    this.#own = new Map(models.map((entry) => [entry.model, own(entry)] as const));
    this.remotes = remotes;
  }

  /**
   * Opens the tokenizers of the settings. Threads read their files; over HTTP, only the probes of templates are asked.
   *
   * @param settings - checked.
   * @param options - who asks.
   * @throws SettingsError for a file that cannot be used.
   */
  static async open(settings: TokenizerSections, options: TokenizersOptions): Promise<Tokenizers> {
    const { metrics, watch, threadScript } = options;
    const { tokenizer, limits } = settings;
    const vocabularies = vocabularyFiles(tokenizer.models);
    const segments = new SegmentMetrics(metrics);
    const threads =
      vocabularies.size === 0
        ? null
        : await TokenizerThreads.start(
            {
              script: threadScript,
              threads: tokenizer.threads,
              vocabularies: [...vocabularies.values()],
              segmentBytes: tokenizer.segment_cache_bytes,
              requests: tokenizer.requests,
              timeoutMs: tokenizer.timeout_seconds * 1000,
              tokensMax: limits.query_tokens,
            },
            { log: watch.log, metrics: segments },
          );
    const opened = new Tokenizers(settings, threads, options);
    for (const one of opened.#own.values()) if (one instanceof LocalTokenizer) void one.prove();
    return opened;
  }

  /**
   * Gets the tokens of a prompt or conversation.
   *
   * @param request - made by `tokenizeRequest`.
   * @returns tokens, or why there are none; never rejects.
   */
  tokenize(request: TokenizeRequest): Promise<TokenizeOutcome> {
    const own = this.#own.get(request.model);
    if (own !== undefined) return own.tokenize(asModel(request));
    if (this.#default !== null) return this.#default.tokenize(request);
    const reason = "tokenizer_not_configured";
    this.#metrics.refused(reason);
    return Promise.resolve({ kind: "failed", reason });
  }

  /**
   * Gives up the connections and the threads.
   *
   * @returns resolves when they are closed.
   */
  async close(): Promise<void> {
    await Promise.all([...this.remotes.map((remote) => remote.close()), this.#threads?.close()]);
  }
}

/** The same question by the model's name (Z2). */
function asModel(request: TokenizeRequest): TokenizeRequest {
  const { model, name, fields, hasOddNumbers } = request;
  return name === model ? request : { ...tokenizeRequest(model, fields), hasOddNumbers };
}
