/**
 * Asks one daemon, over the runtime's own fetch and its kept connections.
 *
 *   question ─▶ bytes (tokens, hashes) or JSON (text) ─▶ POST /api/v1/match ─▶ answer
 *                                                          │ kept connection was reset before an answer: once more
 *                                                          └ anything else: ClientError
 *
 * Invariants
 *  L1  A call ends at its deadline, a second attempt included; an abort of the caller's signal rejects with the signal's own reason.
 *  L2  Only a reset is tried again: it is what a daemon that restarted does to a kept connection. A slow or full daemon is not asked twice.
 *  L3  The prompt and the token go to the address that was given and nowhere else: a redirect is an answer of something else.
 *  L4  What is taken for an answer has what gateways read of it; no error repeats the token or a password of the URL.
 *
 * It does not route and does not hash: `@kvsync/core` has a `PrefixHasher` for gateways that would rather send hashes.
 */

import { ClientError } from "./client-error.ts";
import type { MatchAnswer, Question, QuestionOptions } from "./match-types.ts";

/** A lookup that takes longer costs a request more than it can win. */
const TIMEOUT_MS = 100;
const TOKEN_MAX = 0xffff_ffff;
/** What undici and the kernel call a connection that went away under a request. */
const RESETS: ReadonlySet<unknown> = new Set(["ECONNRESET", "EPIPE", "UND_ERR_SOCKET"]);

/** How to reach a daemon. */
export interface ClientOptions {
  /** Such as http://kvsync:7070. */
  readonly url: string;
  /** Longest wait for an answer; 100 ms unless told. */
  readonly timeoutMs?: number | undefined;
  /** Bearer token, where the daemon wants one. */
  readonly token?: string | undefined;
}

/** One call's own wishes. */
export interface CallOptions {
  /** Ends the call when it aborts. */
  readonly signal?: AbortSignal | undefined;
  /** Instead of the client's. */
  readonly timeoutMs?: number | undefined;
  /** Sent with the question: `traceparent`, so that the daemon's spans belong to the gateway's trace. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** A daemon to ask. Holds no resources of its own. */
export class KvsyncClient {
  readonly #url: string;
  readonly #timeoutMs: number;
  readonly #headers: Readonly<Record<string, string>>;

  /**
   * @param options - where it is.
   * @throws TypeError when the URL is none of http or https, or has a user in it, or the token cannot be sent.
   */
  constructor(options: ClientOptions) {
    this.#url = addressOf(options.url);
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    this.#headers = options.token === undefined ? {} : { authorization: `Bearer ${sendable(options.token)}` };
  }

  /**
   * Asks who holds how much of a prompt.
   *
   * @param question - the model, and the prompt in one of four forms.
   * @param call - signal, deadline and headers of this call.
   * @returns the answer; see `decision` first.
   * @throws ClientError refused, not_a_daemon, unreachable, timeout; RangeError for token ids or hashes out of range; whatever the
   *   caller's signal was aborted with.
   */
  async match(question: Question, call: CallOptions = {}): Promise<MatchAnswer> {
    const { url, contentType, body } = encode(this.#url, question);
    const timeoutMs = call.timeoutMs ?? this.#timeoutMs;
    const deadline = AbortSignal.timeout(timeoutMs);
    const signal = call.signal === undefined ? deadline : AbortSignal.any([call.signal, deadline]);
    const request = {
      method: "POST",
      headers: { ...call.headers, ...this.#headers, "content-type": contentType, accept: "application/json" },
      body,
      signal,
      redirect: "manual",
    } as const;
    try {
      return await this.#ask(url, request);
    } catch (error) {
      if (call.signal?.aborted === true) throw call.signal.reason;
      if (error instanceof ClientError) throw error;
      if (deadline.aborted) {
        const message = `${this.#url}: no answer within ${timeoutMs} ms`;
        throw new ClientError({ code: "timeout", timeoutMs }, message, { cause: error });
      }
      const cause = codeOf(error);
      throw new ClientError({ code: "unreachable", cause }, `${this.#url}: ${cause}`, { cause: error });
    }
  }

  async #ask(url: string, request: RequestInit): Promise<MatchAnswer> {
    let response: Response;
    try {
      response = await fetch(url, request);
    } catch (error) {
      if (!RESETS.has(codeOf(error))) throw error;
      response = await fetch(url, request);
    }
    const text = await response.text();
    const parsed = parse(text);
    if (response.status === 200 && parsed !== null && isAnswer(parsed))
      return parsed as unknown as MatchAnswer;
    const { status } = response;
    if (parsed !== null && typeof parsed["code"] === "string") {
      const problem = parsed as Readonly<Record<string, unknown>> & {
        readonly code: string;
        readonly detail?: unknown;
      };
      const { detail } = problem;
      throw new ClientError(
        { code: "refused", status, problem },
        typeof detail === "string" ? detail : problem.code,
      );
    }
    throw new ClientError(
      { code: "not_a_daemon", status },
      `${this.#url}: answered ${status} with something else`,
    );
  }
}

/** Where lookups are answered. */
function addressOf(daemon: string): string {
  const url = new URL("api/v1/match", daemon.replace(/\/*$/, "/"));
  if (!/^https?:$/.test(url.protocol))
    throw new TypeError(`url: expected http or https, not ${url.protocol}`);
  if (url.username !== "" || url.password !== "")
    throw new TypeError("url: expected none with a user or password; the daemon takes a token");
  return url.href;
}

/** A token as it can stand in a header: files of secrets end in a newline, and fetch would quote what it cannot send. */
function sendable(token: string): string {
  const trimmed = token.trim();
  if (!/^[\x21-\x7e]+$/.test(trimmed)) throw new TypeError("token: expected visible ASCII without spaces");
  return trimmed;
}

/** Whether a body has what gateways read first. What else it has is the daemon's contract. */
function isAnswer(body: Readonly<Record<string, unknown>>): boolean {
  return typeof body["decision"] === "string" && Array.isArray(body["matches"]);
}

/** A request's parts. */
interface Encoded {
  readonly url: string;
  readonly contentType: string;
  readonly body: string | Uint8Array<ArrayBuffer>;
}

function encode(url: string, question: Question): Encoded {
  if ("tokenIds" in question) {
    const { tokenIds, mmFeatures = [] } = question;
    const bytes = tokenBytes(tokenIds);
    return mmFeatures.length === 0
      ? binary(url, question, "token_ids", bytes)
      : json(url, question, { token_ids: [...tokenIds], mm_features: mmFeatures });
  }
  if ("prefixHashes" in question)
    return binary(url, question, "prefix_hashes", hashBytes(question.prefixHashes));
  const text =
    "prompt" in question
      ? { prompt: question.prompt, add_special_tokens: question.addSpecialTokens }
      : {
          messages: question.messages,
          add_generation_prompt: question.addGenerationPrompt,
          continue_final_message: question.continueFinalMessage,
          chat_template_kwargs: question.chatTemplateKwargs,
          tools: question.tools,
        };
  return json(url, question, text);
}

function json(url: string, question: QuestionOptions, input: object): Encoded {
  const body = JSON.stringify({ ...fieldsOf(question), workers: question.workers, ...input });
  return { url, contentType: "application/json", body };
}

function binary(
  url: string,
  question: QuestionOptions,
  input: string,
  body: Uint8Array<ArrayBuffer>,
): Encoded {
  const query = new URLSearchParams({ input });
  if (question.workers !== undefined) query.set("workers", question.workers.join(","));
  for (const [name, value] of Object.entries(fieldsOf(question)))
    if (value !== undefined) query.set(name, String(value));
  return { url: `${url}?${query.toString()}`, contentType: "application/octet-stream", body };
}

function fieldsOf(
  question: QuestionOptions,
): Readonly<Record<string, string | number | boolean | undefined>> {
  return {
    model: question.model,
    lora_name: question.loraName,
    block_size: question.blockSize,
    cache_salt: question.cacheSalt,
    top_k: question.topK,
    include_unmatched: question.includeUnmatched,
  };
}

function tokenBytes(tokenIds: Uint32Array | readonly number[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4 * tokenIds.length);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < tokenIds.length; i++) {
    const id = tokenIds[i] ?? -1;
    if (!Number.isInteger(id) || id < 0 || id > TOKEN_MAX)
      throw new RangeError(`tokenIds[${i}] is ${id}, expected an integer from 0 to ${TOKEN_MAX}`);
    view.setUint32(4 * i, id, true);
  }
  return bytes;
}

function hashBytes(hashes: BigUint64Array | readonly bigint[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(8 * hashes.length);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < hashes.length; i++) {
    const hash = hashes[i] ?? -1n;
    if (hash < 0n || hash >> 64n !== 0n)
      throw new RangeError(`prefixHashes[${i}] is ${hash}, expected a u64`);
    view.setBigUint64(8 * i, hash, true);
  }
  return bytes;
}

/** What a fetch failed of: its own message says only "fetch failed". */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  if (cause instanceof Error) return "code" in cause ? String(cause.code) : cause.message;
  return error.message;
}

function parse(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : null;
  } catch {
    // A proxy's page is no JSON; the caller says so with the status.
    return null;
  }
}
