/**
 * Asks one daemon, over the runtime's own fetch and its kept connections.
 *
 *   question ─▶ bytes (tokens, hashes) or JSON (text) ─▶ POST /api/v1/match ─▶ answer
 *                                                          │ kept connection was reset before an answer: once more
 *                                                          └ anything else: ClientError
 *
 *   question ─▶ JSON ─▶ POST /api/v1/pick ─▶ endpoints, booked ─▶ POST /api/v1/pick/{id}/end
 *
 * Invariants
 *  L1  A call ends at its deadline, a second attempt included; an abort of the caller's signal rejects with the signal's own reason.
 *  L2  Only a reset is tried again: it is what a daemon that restarted does to a kept connection. A slow or full daemon is not asked twice,
 *      and what is booked or counted is not sent twice.
 *  L3  The prompt and the token go to the address that was given and nowhere else: a redirect is an answer of something else.
 *  L4  What is taken for an answer has what gateways read of it; no error repeats the token or a password of the URL.
 *
 * It does not route and does not hash: `@kvsync/core` has a `PrefixHasher` for gateways that would rather send hashes.
 */

import type { AlertList, SilenceList, WantedSilence } from "./alert-types.ts";
import { ClientError } from "./client-error.ts";
import type {
  EngineDetails,
  FleetHistory,
  IndexReport,
  LogLines,
  LogQuery,
  RankHours,
  SystemReport,
} from "./daemon-types.ts";
import type { ChatPrompt, MatchAnswer, Question, QuestionOptions, TextPrompt } from "./match-types.ts";
import type { Outcome, PickAnswer, PickEnd, PickQuestion } from "./pick-types.ts";

/** A lookup that takes longer costs a request more than it can win. */
const TIMEOUT_MS = 100;
const JSON_TYPE = "application/json";
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
    const encoded = encode(new URL("api/v1/match", this.#url).href, question);
    return (await this.#call({ ...encoded, isRepeatable: true }, isAnswer, call)) as unknown as MatchAnswer;
  }

  /**
   * Asks where to send a request. The daemon books it; tell its end with `endPick`.
   *
   * @param question - the model, and the prompt as tokens or text.
   * @param call - signal, deadline and headers of this call.
   * @returns the endpoints, best first.
   * @throws as `match`; `refused` too when the picker is off, or no engine can take the request.
   */
  async pick(question: PickQuestion, call: CallOptions = {}): Promise<PickAnswer> {
    const url = new URL("api/v1/pick", this.#url).href;
    const { model, cacheSalt, endpoints } = question;
    const body = JSON.stringify({ model, cache_salt: cacheSalt, endpoints, ...promptOf(question) });
    const encoded = { url, contentType: JSON_TYPE, body, isRepeatable: false };
    return (await this.#call(encoded, isPick, call)) as unknown as PickAnswer;
  }

  /**
   * Tells that a picked request is over.
   *
   * @param id - of the pick.
   * @param end - what is known of it.
   * @throws as `match`; `refused` with `unknown_pick` when it has expired.
   */
  async endPick(id: string, end: PickEnd = {}, call: CallOptions = {}): Promise<void> {
    const url = new URL(`api/v1/pick/${encodeURIComponent(id)}/end`, this.#url).href;
    const body = JSON.stringify({ served: end.served, cached_tokens: end.cachedTokens });
    await this.#call({ url, contentType: JSON_TYPE, body, isRepeatable: false }, isNothing, call);
  }

  /**
   * Reports what was predicted of requests, and what their engines counted: for gateways that choose by `match`.
   *
   * @param outcomes - at most 1,000.
   * @throws as `match`.
   */
  async reportOutcomes(outcomes: readonly Outcome[], call: CallOptions = {}): Promise<void> {
    const url = new URL("api/v1/outcomes", this.#url).href;
    const body = JSON.stringify({ outcomes });
    await this.#call({ url, contentType: JSON_TYPE, body, isRepeatable: false }, isTaken, call);
  }

  /**
   * One engine with its history, and its blocks by tier.
   *
   * @param id - of the engine.
   * @throws as `match`; `refused` with `unknown_engine` when it is not followed.
   */
  async engine(id: string, call: CallOptions = {}): Promise<EngineDetails> {
    return (await this.#get(`engines/${encodeURIComponent(id)}`, "ranks", call)) as unknown as EngineDetails;
  }

  /** What the index holds, and what it costs. Throws as `match`. */
  async index(call: CallOptions = {}): Promise<IndexReport> {
    return (await this.#get("index", "contexts", call)) as unknown as IndexReport;
  }

  /** What runs there, and with which settings. Throws as `match`. */
  async system(call: CallOptions = {}): Promise<SystemReport> {
    return (await this.#get("system", "settings", call)) as unknown as SystemReport;
  }

  /**
   * The latest lines of the log.
   *
   * @param query - which of them.
   * @throws as `match`.
   */
  async logs(query: LogQuery = {}, call: CallOptions = {}): Promise<LogLines> {
    const given = new URLSearchParams();
    for (const [name, value] of Object.entries(query) as [string, string | number | undefined][])
      if (value !== undefined) given.set(name, String(value));
    return (await this.#get(`logs?${given.toString()}`, "lines", call)) as unknown as LogLines;
  }

  /**
   * Figures of the fleet over time.
   *
   * @param seconds - how far back; an hour unless given.
   * @throws as `match`.
   */
  async history(seconds = 3600, call: CallOptions = {}): Promise<FleetHistory> {
    const url = new URL(`api/v1/dashboard/history?seconds=${seconds}`, this.#url).href;
    const isExpected = (body: Body): boolean => typeof body["series"] === "object" && body["series"] !== null;
    return (await this.#call({ url, isRepeatable: true }, isExpected, call)) as unknown as FleetHistory;
  }

  /**
   * States and rates of some ranks over the last hour.
   *
   * @param slots - `rank_slot` of at most 64 ranks.
   * @throws as `match`.
   */
  async rankHours(slots: readonly number[], call: CallOptions = {}): Promise<RankHours> {
    const path = `dashboard/ranks?slots=${slots.join(",")}`;
    return (await this.#get(path, "ranks", call)) as unknown as RankHours;
  }

  /** Alerts, rules and silences, with their source. Throws as `match`. */
  async alerts(call: CallOptions = {}): Promise<AlertList> {
    return (await this.#get("alerts", "rules", call)) as unknown as AlertList;
  }

  /** Silences that have not ended. Throws as `silence`. */
  async silences(call: CallOptions = {}): Promise<SilenceList> {
    const url = new URL("api/v1/alerts/silences", this.#url).href;
    const isExpected = (body: Body): boolean => "silences" in body;
    return (await this.#call({ url, isRepeatable: true }, isExpected, call)) as unknown as SilenceList;
  }

  /**
   * Makes a silence in the daemon's Alertmanager. The author is the name of the token.
   *
   * @param wanted - which alerts, until when, and why.
   * @returns the silence's id; null when Alertmanager names none.
   * @throws as `match`; `refused` with `alertmanager_not_configured`, `upstream_unreachable`, or `upstream_refused` with
   *   Alertmanager's own answer.
   */
  async silence(wanted: WantedSilence, call: CallOptions = {}): Promise<string | null> {
    const url = new URL("api/v1/alerts/silences", this.#url).href;
    const encoded = { url, contentType: JSON_TYPE, body: JSON.stringify(wanted), isRepeatable: false };
    const made = await this.#call(encoded, (body) => "silence_id" in body, call);
    return made["silence_id"] as string | null;
  }

  /**
   * Ends a silence.
   *
   * @param id - of the silence.
   * @throws as `silence`.
   */
  async endSilence(id: string, call: CallOptions = {}): Promise<void> {
    const url = new URL(`api/v1/alerts/silences/${encodeURIComponent(id)}`, this.#url).href;
    await this.#call({ url, method: "DELETE", isRepeatable: true }, isNothing, call);
  }

  /** Asks for an answer that has a list under a name. */
  #get(path: string, list: string, call: CallOptions): Promise<Body> {
    const url = new URL(`api/v1/${path}`, this.#url).href;
    return this.#call({ url, isRepeatable: true }, (body) => Array.isArray(body[list]), call);
  }

  async #call(encoded: Encoded, isExpected: (body: Body) => boolean, call: CallOptions): Promise<Body> {
    const { contentType, body, url } = encoded;
    const sent = body === undefined ? {} : { body };
    const type = contentType === undefined ? {} : { "content-type": contentType };
    const timeoutMs = call.timeoutMs ?? this.#timeoutMs;
    const deadline = AbortSignal.timeout(timeoutMs);
    const signal = call.signal === undefined ? deadline : AbortSignal.any([call.signal, deadline]);
    const request = {
      method: encoded.method ?? (body === undefined ? "GET" : "POST"),
      headers: { ...call.headers, ...this.#headers, ...type, accept: JSON_TYPE },
      ...sent,
      signal,
      redirect: "manual",
    } as const;
    try {
      const response = await ask(url, request, encoded.isRepeatable);
      return answerOf(response.status, await response.text(), isExpected, url);
    } catch (error) {
      if (call.signal?.aborted === true) throw call.signal.reason;
      if (error instanceof ClientError) throw error;
      if (deadline.aborted) {
        const message = `${url}: no answer within ${timeoutMs} ms`;
        throw new ClientError({ code: "timeout", timeoutMs }, message, { cause: error });
      }
      const cause = codeOf(error);
      throw new ClientError({ code: "unreachable", cause }, `${url}: ${cause}`, { cause: error });
    }
  }
}

/** Asks; once more after a reset where that does no harm. */
async function ask(url: string, request: RequestInit, isRepeatable: boolean): Promise<Response> {
  try {
    return await fetch(url, request);
  } catch (error) {
    if (!isRepeatable || !RESETS.has(codeOf(error))) throw error;
    return await fetch(url, request);
  }
}

/** @throws ClientError `refused`, `not_a_daemon`. */
function answerOf(status: number, text: string, isExpected: (body: Body) => boolean, url: string): Body {
  const parsed = status === 204 ? {} : parse(text);
  if (status >= 200 && status < 300 && parsed !== null && isExpected(parsed)) return parsed;
  if (parsed !== null && typeof parsed["code"] === "string") {
    const problem = parsed as Body & { readonly code: string; readonly detail?: unknown };
    const { detail } = problem;
    throw new ClientError(
      { code: "refused", status, problem },
      typeof detail === "string" ? detail : problem.code,
    );
  }
  throw new ClientError({ code: "not_a_daemon", status }, `${url}: answered ${status} with something else`);
}

/** What its routes are below. */
function addressOf(daemon: string): string {
  const url = new URL(daemon.replace(/\/*$/, "/"));
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
function isAnswer(body: Body): boolean {
  return typeof body["decision"] === "string" && Array.isArray(body["matches"]);
}

function isPick(body: Body): boolean {
  return typeof body["id"] === "string" && Array.isArray(body["endpoints"]) && body["endpoints"].length > 0;
}

function isTaken(body: Body): boolean {
  return typeof body["taken"] === "number";
}

function isNothing(): boolean {
  return true;
}

/** An answer's JSON. */
type Body = Readonly<Record<string, unknown>>;

/** A request's parts. */
interface Encoded {
  readonly url: string;
  /** GET without a body and POST with one, unless given. */
  readonly method?: "DELETE";
  readonly contentType?: string;
  readonly body?: string | Uint8Array<ArrayBuffer>;
  /** Whether asking twice does no more than asking once. */
  readonly isRepeatable: boolean;
}

function encode(url: string, question: Question): Omit<Encoded, "isRepeatable"> {
  if ("tokenIds" in question) {
    const { tokenIds, mmFeatures = [] } = question;
    const bytes = tokenBytes(tokenIds);
    return mmFeatures.length === 0
      ? binary(url, question, "token_ids", bytes)
      : json(url, question, { token_ids: [...tokenIds], mm_features: mmFeatures });
  }
  if ("prefixHashes" in question)
    return binary(url, question, "prefix_hashes", hashBytes(question.prefixHashes));
  return json(url, question, textOf(question));
}

/** The prompt of a pick, in JSON. */
function promptOf(question: PickQuestion): object {
  if (!("tokenIds" in question)) return textOf(question);
  for (const [i, id] of question.tokenIds.entries()) checkToken(id, i);
  return { token_ids: [...question.tokenIds] };
}

function textOf(question: TextPrompt | ChatPrompt): object {
  if ("prompt" in question) return { prompt: question.prompt, add_special_tokens: question.addSpecialTokens };
  return {
    messages: question.messages,
    add_generation_prompt: question.addGenerationPrompt,
    continue_final_message: question.continueFinalMessage,
    chat_template_kwargs: question.chatTemplateKwargs,
    tools: question.tools,
  };
}

function json(url: string, question: QuestionOptions, input: object): Omit<Encoded, "isRepeatable"> {
  const body = JSON.stringify({ ...fieldsOf(question), workers: question.workers, ...input });
  return { url, contentType: "application/json", body };
}

function binary(
  url: string,
  question: QuestionOptions,
  input: string,
  body: Uint8Array<ArrayBuffer>,
): Omit<Encoded, "isRepeatable"> {
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
    checkToken(id, i);
    view.setUint32(4 * i, id, true);
  }
  return bytes;
}

function checkToken(id: number, i: number): void {
  if (!Number.isInteger(id) || id < 0 || id > TOKEN_MAX)
    throw new RangeError(`tokenIds[${i}] is ${id}, expected an integer from 0 to ${TOKEN_MAX}`);
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
