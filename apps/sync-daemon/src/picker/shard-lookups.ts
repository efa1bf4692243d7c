/**
 * Asks the other shards of the fleet what their engines hold of a prompt, for one pick.
 *
 *     tokens ─┬─▶ shard 1: replica a ─ too late ─▶ replica b ─▶ rows ──────┐
 *             ├─▶ shard 2: replica c ─▶ rows ───────────────────────────────┼─▶ rows of all, and who is missing
 *             └─▶ shard 3: all replicas left alone (circuit) ─▶ missing ────┘
 *
 *  H1  A question is answered at its deadline at the latest. Each replica of a shard has an equal share of the
 *      time that is left: a silent one leaves some for the next (shard-lookups.test.ts "H1").
 *  H2  A shard without an answer is missing, with one reason, and is counted once for a question
 *      (shard-lookups.test.ts "H2").
 *  H3  A replica that failed FAILURES_MAX times in a row is left alone for LEFT_ALONE_MS. Then one question
 *      tries it (shard-lookups.test.ts "H3").
 *  H4  At most `requests` questions to shards are open at once, and an answer takes at most `answer_bytes`
 *      (shard-lookups.test.ts "H4").
 *  H5  A token or an authority that changes on the disk counts from the next `renew` on. No report has a token
 *      (shard-lookups.test.ts "H5").
 *
 * Tokens travel as bytes, since hashes mean the same at two shards only where they share a seed. The shard of this
 * daemon is not asked: its rows are in shared memory (prompt-lookup.ts).
 *
 * Not here: reading answers (shard-answer.ts), the merge into a pick (picker.ts).
 */
import { readFileSync } from "node:fs";

import type { Trust } from "@kvsync/core";
import { errors, Pool } from "undici";

import type { RankHeld } from "../query/match.ts";
import type { PickerShardsSettings } from "../settings/picker-shards-settings.ts";
import { CircuitBreaker } from "../tokenizer/circuit-breaker.ts";
import { readShardAnswer, type ShardAnswerFault, type ShardRows } from "./shard-answer.ts";

/** Failures in a row before a replica is left alone: one late answer is no outage. */
const FAILURES_MAX = 3;
/** How long it is left alone; a shard that is back is asked after that. */
const LEFT_ALONE_MS = 1000;
/** With less time than this a replica is not asked: no network answers so fast. */
const SHARE_MS_MIN = 2;
/** Unused connections end before load balancers drop them. */
const KEEP_ALIVE_MS = 30_000;

/** Why a shard has no rows in a pick. */
export type ShardFault =
  | ShardAnswerFault
  | "timeout"
  | "unreachable"
  | "too_large"
  | "circuit_open"
  | "busy"
  | "no_time";

/** What came of asking a shard. */
export type ShardOutcome = "ok" | ShardFault;

/** What is asked of every shard. */
export interface ShardQuestion {
  /** As engines were registered with it. */
  readonly model: string;
  readonly loraName: string | null;
  readonly cacheSalt: string | null;
  /** Unchanged until the answer. */
  readonly tokens: Uint32Array<ArrayBuffer>;
}

/** What all shards but this one hold. */
export interface ShardHolds {
  readonly rows: readonly RankHeld[];
  /** By shard: the trust of its ranks that have no row; `unknown` for one that is missing, and for this one. */
  readonly restTrusts: readonly Trust[];
  /** Shards without an answer, ascending. */
  readonly missing: readonly number[];
}

/** Files that are read again. */
export type ShardFile = "picker.shards.token_file" | "picker.shards.ca_file";

/** Who hears of it. */
interface ShardWatch {
  /** A shard was asked; `seconds` until its answer, or until it was given up. */
  asked(shard: number, outcome: ShardOutcome, seconds: number): void;
  /** A shard has no answer, after one; or after none yet. `url` is null when none was asked. */
  missing(shard: number, fault: ShardFault, url: string | null): void;
  /** A shard that was missing has answered. */
  back(shard: number): void;
  /** The file of a token or of authorities cannot be read. What was read before stays. */
  unreadable(setting: ShardFile, message: string): void;
}

/** What asking works with. */
export interface ShardParts {
  readonly watch: ShardWatch;
  /** The shard that follows a worker; null for one that has no endpoint. */
  readonly shardOf: (worker: string) => number | null;
  /** Milliseconds, on a clock that never goes back. */
  readonly now: () => number;
}

/** One daemon of a shard. */
class Replica {
  readonly url: string;
  readonly circuit: CircuitBreaker;
  #pool: Pool;
  readonly #path: string;

  constructor(url: string, settings: PickerShardsSettings, ca: string | null, now: () => number) {
    this.url = url;
    this.#path = `${new URL(url).pathname.replace(/\/+$/, "")}/api/v1/match`;
    this.#pool = poolOf(url, settings, ca);
    this.circuit = new CircuitBreaker({ failures: FAILURES_MAX, openMs: LEFT_ALONE_MS }, now);
  }

  renew(settings: PickerShardsSettings, ca: string | null): void {
    // Requests on their way end as they are.
    void this.#pool.close().catch(() => undefined);
    this.#pool = poolOf(this.url, settings, ca);
  }

  async stop(): Promise<void> {
    await this.#pool.destroy();
  }

  /** @throws what undici throws. */
  async post(
    query: string,
    body: Uint8Array,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<{ readonly status: number; readonly text: string }> {
    const path = `${this.#path}?${query}`;
    const answer = await this.#pool.request({ path, method: "POST", headers, body, signal });
    return { status: answer.statusCode, text: await answer.body.text() };
  }
}

/** See the header. */
export class ShardLookups {
  readonly #settings: PickerShardsSettings;
  readonly #own: number;
  readonly #parts: ShardParts;
  /** By shard; none for the own one. */
  readonly #shards: readonly (readonly Replica[])[];
  readonly #isMissing: boolean[];
  #token: string | null;
  #ca: string | null;
  #open = 0;
  #turn = 0;

  /**
   * @param settings - addresses of every shard, checked.
   * @param own - the shard of this daemon.
   * @param parts - clock, and who hears.
   * @throws Error of the system for a file that cannot be read.
   */
  constructor(settings: PickerShardsSettings, own: number, parts: ShardParts) {
    this.#settings = settings;
    this.#own = own;
    this.#parts = parts;
    this.#token = contentOf(settings.token_file)?.trim() ?? null;
    this.#ca = contentOf(settings.ca_file);
    this.#shards = settings.addresses.map((urls, shard) =>
      shard === own ? [] : urls.map((url) => new Replica(url, settings, this.#ca, parts.now)),
    );
    this.#isMissing = this.#shards.map(() => false);
  }

  /** Shards that the last question about them got no answer from, ascending. */
  get missing(): readonly number[] {
    return this.#isMissing.flatMap((isMissing, shard) => (isMissing ? [shard] : []));
  }

  /** Questions to single shards that are on their way. */
  get openCount(): number {
    return this.#open;
  }

  /**
   * Asks all other shards.
   *
   * @param question - see ShardQuestion.
   * @param deadlineMs - on the clock of the parts; `timeout_ms` may end it earlier.
   * @returns resolves in any case. Cost: a request for each shard.
   */
  async ask(question: ShardQuestion, deadlineMs: number): Promise<ShardHolds> {
    const query = queryOf(question);
    const { buffer, byteOffset, byteLength } = question.tokens;
    const body = new Uint8Array(buffer, byteOffset, byteLength);
    const untilMs = Math.min(deadlineMs, this.#parts.now() + this.#settings.timeout_ms);
    this.#turn += 1;
    const answers = await Promise.all(
      this.#shards.map((_, shard) => this.#askOther(shard, query, body, untilMs)),
    );
    const missing = answers.flatMap((answer, shard) => (typeof answer === "string" ? [shard] : []));
    const known = answers.map((answer) => (typeof answer === "string" ? null : answer));
    return {
      rows: known.flatMap((answer) => answer?.rows ?? []),
      restTrusts: known.map((answer) => answer?.restTrust ?? "unknown"),
      missing,
    };
  }

  /** Reads token and authorities again; to be called now and then. */
  renew(): void {
    const { token_file: tokenFile, ca_file: caFile } = this.#settings;
    this.#token = this.#read("picker.shards.token_file", tokenFile, this.#token)?.trim() ?? null;
    const ca = this.#read("picker.shards.ca_file", caFile, this.#ca);
    if (ca === this.#ca) return;
    this.#ca = ca;
    for (const replica of this.#shards.flat()) replica.renew(this.#settings, ca);
  }

  /** Ends its connections. */
  async stop(): Promise<void> {
    await Promise.all(this.#shards.flat().map((replica) => replica.stop()));
  }

  /** Null for the own shard. */
  async #askOther(
    shard: number,
    query: string,
    body: Uint8Array,
    untilMs: number,
  ): Promise<ShardRows | ShardFault | null> {
    return shard === this.#own ? null : this.#askShard(shard, query, body, untilMs);
  }

  async #askShard(
    shard: number,
    query: string,
    body: Uint8Array,
    untilMs: number,
  ): Promise<ShardRows | ShardFault> {
    const beganMs = this.#parts.now();
    const { answer, url } = await this.#askReplicas(shard, query, body, untilMs);
    const { watch } = this.#parts;
    const isMissing = typeof answer === "string";
    watch.asked(shard, isMissing ? answer : "ok", (this.#parts.now() - beganMs) / 1000);
    if (isMissing && this.#isMissing[shard] !== true) watch.missing(shard, answer, url);
    if (!isMissing && this.#isMissing[shard] === true) watch.back(shard);
    this.#isMissing[shard] = isMissing;
    return answer;
  }

  /** Asks the replicas of a shard, one after the other, until one answers (H1). */
  async #askReplicas(
    shard: number,
    query: string,
    body: Uint8Array,
    untilMs: number,
  ): Promise<{ readonly answer: ShardRows | ShardFault; readonly url: string | null }> {
    const replicas = this.#shards[shard] ?? [];
    let fault: { readonly answer: ShardFault; readonly url: string | null } = {
      answer: "circuit_open",
      url: null,
    };
    for (let i = 0; i < replicas.length; i++) {
      const replica = replicas[(this.#turn + i) % replicas.length];
      const shareMs = Math.floor((untilMs - this.#parts.now()) / (replicas.length - i));
      if (this.#open >= this.#settings.requests) return { answer: "busy", url: null };
      if (shareMs < SHARE_MS_MIN) return fault.url === null ? { answer: "no_time", url: null } : fault;
      const ticket = replica?.circuit.enter() ?? null;
      if (replica === undefined || ticket === null) continue;
      const answer = await this.#askReplica(replica, shard, query, body, shareMs);
      if (typeof answer !== "string") {
        replica.circuit.succeeded(ticket);
        return { answer, url: replica.url };
      }
      replica.circuit.failed(ticket);
      fault = { answer, url: replica.url };
    }
    return fault;
  }

  async #askReplica(
    replica: Replica,
    shard: number,
    query: string,
    body: Uint8Array,
    shareMs: number,
  ): Promise<ShardRows | ShardFault> {
    const ending = new AbortController();
    const timer = setTimeout(() => {
      ending.abort();
    }, shareMs);
    this.#open += 1;
    try {
      const { status, text } = await replica.post(query, body, this.#headers(), ending.signal);
      return readShardAnswer(status, text, shard, this.#parts.shardOf);
    } catch (error) {
      if (ending.signal.aborted) return "timeout";
      return error instanceof errors.ResponseExceededMaxSizeError ? "too_large" : "unreachable";
    } finally {
      this.#open -= 1;
      clearTimeout(timer);
    }
  }

  #headers(): Readonly<Record<string, string>> {
    const token = this.#token === null ? {} : { authorization: `Bearer ${this.#token}` };
    return { "content-type": "application/octet-stream", accept: "application/json", ...token };
  }

  #read(setting: ShardFile, path: string | null, before: string | null): string | null {
    try {
      return contentOf(path);
    } catch (error) {
      this.#parts.watch.unreadable(setting, error instanceof Error ? error.message : String(error));
      return before;
    }
  }
}

function poolOf(
  url: string,
  { connections, timeout_ms, answer_bytes }: PickerShardsSettings,
  ca: string | null,
): Pool {
  return new Pool(new URL(url).origin, {
    connections,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxResponseSize: answer_bytes,
    // Each question has a time of its own.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: { timeout: timeout_ms, ...(ca === null ? {} : { ca }) },
  });
}

function queryOf({ model, loraName, cacheSalt }: ShardQuestion): string {
  const query = new URLSearchParams({ input: "token_ids", model });
  if (loraName !== null) query.set("lora_name", loraName);
  if (cacheSalt !== null) query.set("cache_salt", cacheSalt);
  return query.toString();
}

function contentOf(path: string | null): string | null {
  return path === null ? null : readFileSync(path, "utf8");
}
