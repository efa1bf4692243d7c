/**
 * A model's tokens from files, and from its remote tokenizer where files do not do.
 *
 *     prompt ──────────────────────────────────────▶ threads ─┬─▶ tokens ─▶ cache
 *     conversation ─┬─ template local, plain, trusted ─▶ threads ─┘─▶ 1 of `parity_sample` is asked of the remote tokenizer too
 *                   └─ otherwise ─▶ remote tokenizer
 *     no tokens from the threads ─▶ remote tokenizer, where there is one
 *
 * Invariants
 *  L1  A conversation is rendered here only while the template agrees with the engine (test/local-tokenizer.test.ts "L1").
 *  L2  A comparison delays no answer, and a difference is counted and logged with its position, never with text
 *      (test/local-tokenizer.test.ts "L2").
 *
 * Not here: how long agreement lasts (template-trust.ts).
 */

import type { LineGate } from "../log/line-gate.ts";
import { isPlainChat } from "./chat-template.ts";
import { CHAT_PROBES, type ParityProbe } from "./parity-probes.ts";
import type { RemoteTokenizer, TokenCache } from "./remote-tokenizer.ts";
import { type ParityOutcome, TemplateTrust } from "./template-trust.ts";
import type { TokenizeOutcome } from "./tokenize-outcome.ts";
import { type TokenizeRequest, tokenizeRequest } from "./tokenize-request.ts";
import type { TokenizerMetrics } from "./tokenizer-metrics.ts";
import type { TokenizerThreads } from "./tokenizer-threads.ts";

/** Seconds without belief in a template after a difference. */
const DISTRUST_SECONDS = 600;

/** What a model's local tokenizer works with. */
export interface LocalTokenizerParts {
  readonly model: string;
  readonly threads: Pick<TokenizerThreads, "encode">;
  /** Null: conversations have no tokens. Never null with a template. */
  readonly remote: Pick<RemoteTokenizer, "tokenize"> | null;
  readonly cache: TokenCache | null;
  readonly metrics: TokenizerMetrics;
  readonly log: LineGate;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

/** See the head of this file. */
export class LocalTokenizer {
  readonly #parts: LocalTokenizerParts;
  readonly #trust: TemplateTrust | null;

  /**
   * @param template - whether conversations are rendered here; `sample`: one of so many is compared.
   */
  constructor(parts: LocalTokenizerParts, template: { readonly sample: number } | null) {
    this.#parts = parts;
    const offMs = DISTRUST_SECONDS * 1000;
    this.#trust = template === null ? null : new TemplateTrust({ ...template, offMs }, parts.now);
  }

  /** Whether conversations are rendered here now. */
  get isTemplateTrusted(): boolean {
    return this.#trust?.isTrusted ?? false;
  }

  /**
   * Gets the tokens of a prompt or conversation.
   *
   * @param request - of this model.
   * @returns tokens, or why there are none; never rejects.
   */
  async tokenize(request: TokenizeRequest): Promise<TokenizeOutcome> {
    if (!this.#isLocal(request)) return this.#remote(request);
    const { cache, metrics, threads, model } = this.#parts;
    const key = `local ${model} ${request.digest}`;
    const known = cache?.get(key);
    metrics.looked(known === undefined ? "miss" : "hit");
    if (known !== undefined) return { kind: "tokens", tokens: known };
    const startedMs = performance.now();
    const outcome = await threads.encode(request);
    if (outcome.kind === "tokens") {
      metrics.answered("ok", (performance.now() - startedMs) / 1000);
      cache?.set(key, outcome.tokens);
      if (request.fields.messages !== undefined) this.#sample(request, outcome.tokens);
      return outcome;
    }
    if (this.#parts.remote !== null && outcome.reason !== "tokenizer_timeout") return this.#remote(request);
    metrics.refused(outcome.reason);
    return outcome;
  }

  /**
   * Compares the template with the engine, when that is due (L1). At the start, and with each conversation while it is not trusted.
   *
   * @returns resolves when that is done.
   */
  async prove(): Promise<void> {
    const trust = this.#trust;
    const era = trust?.beginProbes() ?? null;
    if (trust === null || era === null) return;
    let outcome: ParityOutcome = "agree";
    for (const probe of CHAT_PROBES) {
      outcome = await this.#compare(probe);
      if (outcome !== "agree") break;
    }
    trust.probed(era, outcome);
    if (outcome === "agree") this.#parts.log.write("template_trusted", { tokenizer: this.#parts.model });
  }

  #isLocal(request: TokenizeRequest): boolean {
    if (request.fields.messages === undefined) return true;
    if (this.#trust === null || !isPlainChat(request)) return false;
    if (this.#trust.isTrusted) return true;
    void this.prove();
    return false;
  }

  #remote(request: TokenizeRequest): Promise<TokenizeOutcome> {
    const { remote, metrics } = this.#parts;
    if (remote !== null) return remote.tokenize(request);
    metrics.refused("tokenizer_not_configured");
    return Promise.resolve({ kind: "failed", reason: "tokenizer_not_configured" });
  }

  /** One of so many requests is asked of the engine too (L2). */
  #sample(request: TokenizeRequest, tokens: Uint32Array): void {
    const trust = this.#trust;
    const era = trust?.beginSample() ?? null;
    if (trust === null || era === null) return;
    void this.#remote(request).then((expected) => {
      trust.compared(era, this.#judge(tokens, expected, "request"));
    });
  }

  async #compare({ name, fields }: ParityProbe): Promise<ParityOutcome> {
    // The numbers of the probes are written as both languages write them.
    const request = { ...tokenizeRequest(this.#parts.model, fields), hasOddNumbers: false };
    const [own, expected] = await Promise.all([this.#parts.threads.encode(request), this.#remote(request)]);
    if (own.kind !== "tokens" && own.reason !== "tokenizer_refused") return "unanswered";
    return this.#judge(own.kind === "tokens" ? own.tokens : new Uint32Array(), expected, name);
  }

  #judge(own: Uint32Array, expected: TokenizeOutcome, what: string): ParityOutcome {
    const { metrics, log, model: tokenizer } = this.#parts;
    const at = expected.kind === "tokens" ? firstDifference(own, expected.tokens) : null;
    const outcome = expected.kind !== "tokens" ? "unanswered" : at === null ? "agree" : "differ";
    metrics.compared(outcome);
    if (outcome === "differ")
      log.write("template_differs", {
        tokenizer,
        what,
        position: at ?? 0,
        tokens: own.length,
        expected: expected.kind === "tokens" ? expected.tokens.length : 0,
        seconds: DISTRUST_SECONDS,
      });
    return outcome;
  }
}

/**
 * Compares tokens.
 *
 * @returns the first position at which they differ; null when they do not.
 */
function firstDifference(one: Uint32Array, other: Uint32Array): number | null {
  const length = Math.max(one.length, other.length);
  for (let i = 0; i < length; i += 1) if (one[i] !== other[i]) return i;
  return null;
}
