/**
 * The daemon over HTTP, as a router uses it. Lookups go through `@kvsync/client`, as any gateway's do.
 * The pages that the audit needs are read here. Every answer is checked before it is used; every
 * request has a deadline.
 *
 * A lookup never throws: an absent daemon is an expected outcome for a router, which then routes
 * without advice.
 */
import { Agent, type IncomingMessage, request as httpRequest } from "node:http";
import { ClientError, KvsyncClient } from "@kvsync/client";
import { type Trust, TRUSTS } from "@kvsync/routing";
import { z } from "zod";

import { DaemonError } from "./daemon-error.ts";
import { type Dump, readDump } from "./dump.ts";

/** A router would rather route blindly than hold a request longer than this. */
export const LOOKUP_TIMEOUT_MS = 250;

/** Pages may have to wait for a busy machine; no one's request hangs on them. */
const PAGE_TIMEOUT_MS = 30_000;

/** Connections kept to the daemon; also the most lookups under way at once. */
export const CONNECTIONS_MAX = 64;

/** The engines page of a thousand engines is about 1 MB. */
const PAGE_BYTES_MAX = 64 * 1024 * 1024;

/** About 45 million rows. */
const DUMP_BYTES_MAX = 1024 * 1024 * 1024;

const COUNTS = z.record(z.string(), z.number());

const RANK = z.object({
  dp_rank: z.int(),
  rank_slot: z.int(),
  state: z.string(),
  trust: z.enum(TRUSTS),
  last_sequence_number: z.number().nullable(),
  history_from_sequence_number: z.number().nullable(),
  gaps: z.number(),
  missed_messages: z.number(),
  replays: z.object({ requested: z.number(), completed: z.number(), failed: z.number() }),
  restarts: z.number(),
  duplicates: z.number(),
  faults: COUNTS,
  dropped: COUNTS,
});

const ENGINES = z.object({ engines: z.array(z.object({ id: z.string(), ranks: z.array(RANK) })) });

const MATCH = z.object({
  decision: z.enum(["exact", "degraded", "fallback"]),
  matches: z.array(z.object({ worker: z.string(), matched_tokens: z.int(), trust: z.enum(TRUSTS) })),
});

/** One stream as `GET /api/v1/engines` tells it. */
export type RankStatus = z.infer<typeof RANK>;

/** One worker as `GET /api/v1/engines` tells it. */
export type EngineStatus = z.infer<typeof ENGINES>["engines"][number];

/** The daemon's answer to one lookup, as far as routing needs it. */
export interface RoutingAdvice {
  readonly decision: "exact" | "degraded" | "fallback";
  /** Worker ranks that hold at least the prompt's first block. */
  readonly matches: readonly {
    readonly worker: string;
    readonly matchedTokens: number;
    readonly trust: Trust;
  }[];
}

/** Why a lookup brought no advice. */
export type LookupFailure = "timed_out" | "unreachable" | "refused" | "malformed";

const REASONS: Readonly<Record<ClientError["code"], LookupFailure>> = {
  timeout: "timed_out",
  refused: "refused",
  unreachable: "unreachable",
  not_a_daemon: "malformed",
};

/** What became of a lookup. */
export type LookupOutcome =
  | { readonly kind: "advice"; readonly advice: RoutingAdvice; readonly latencyMs: number }
  | { readonly kind: "failed"; readonly reason: LookupFailure; readonly detail: string };

/** See the header. One per daemon address; `close` it. */
export class DaemonClient {
  readonly #url: URL;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS_MAX });
  readonly #lookups: KvsyncClient;

  /**
   * @param url - e.g. `http://127.0.0.1:7070`.
   * @param lookupTimeoutMs - after which a lookup fails.
   */
  constructor(url: string, lookupTimeoutMs: number = LOOKUP_TIMEOUT_MS) {
    this.#url = new URL(url);
    this.#lookups = new KvsyncClient({ url, timeoutMs: lookupTimeoutMs });
  }

  /**
   * Asks who holds a prompt's prefix. The latency is from the call until the answer has been parsed.
   *
   * @param model - the model's name.
   * @param blockSize - tokens per KV block.
   * @param tokens - the prompt; sent as it lies in memory (u32, little-endian), not kept.
   */
  async match(model: string, blockSize: number, tokens: Uint32Array): Promise<LookupOutcome> {
    const beganMs = performance.now();
    try {
      const answer = MATCH.safeParse(await this.#lookups.match({ model, blockSize, tokenIds: tokens }));
      if (!answer.success)
        return { kind: "failed", reason: "malformed", detail: z.prettifyError(answer.error) };
      const matches = answer.data.matches.map(({ worker, matched_tokens, trust }) => ({
        worker,
        matchedTokens: matched_tokens,
        trust,
      }));
      const latencyMs = performance.now() - beganMs;
      return { kind: "advice", advice: { decision: answer.data.decision, matches }, latencyMs };
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      return { kind: "failed", reason: REASONS[error.code], detail: `${error.code}: ${error.message}` };
    }
  }

  /**
   * Every worker that the daemon follows.
   *
   * @throws DaemonError when the page cannot be had.
   */
  async engines(): Promise<readonly EngineStatus[]> {
    return (await this.#json(ENGINES, "/api/v1/engines")).engines;
  }

  /**
   * The whole index of one model.
   *
   * @throws DaemonError when it cannot be had or read.
   */
  async dump(model: string): Promise<Dump> {
    const path = `/api/v1/dump?${new URLSearchParams({ model }).toString()}`;
    const { status, body } = await this.#send(path, PAGE_TIMEOUT_MS, DUMP_BYTES_MAX);
    if (status !== 200) throw refusal(path, status, body);
    return readDump(path, body);
  }

  /** Whether the daemon says that it is ready; false as well when it does not answer. */
  async isReady(): Promise<boolean> {
    try {
      const { status } = await this.#send("/readyz", LOOKUP_TIMEOUT_MS, PAGE_BYTES_MAX);
      return status === 200;
    } catch (error) {
      if (error instanceof DaemonError) return false;
      throw error;
    }
  }

  /** Closes the kept connections. */
  close(): void {
    this.#agent.destroy();
  }

  async #json<Shape>(schema: z.ZodType<Shape>, path: string): Promise<Shape> {
    const { status, body } = await this.#send(path, PAGE_TIMEOUT_MS, PAGE_BYTES_MAX);
    if (status !== 200) throw refusal(path, status, body);
    const parsed = schema.safeParse(parseJson(path, body));
    if (parsed.success) return parsed.data;
    throw malformed(path, z.prettifyError(parsed.error).replaceAll("\n", " "));
  }

  #send(path: string, timeoutMs: number, bytesMax: number): Promise<{ status: number; body: Buffer }> {
    return new Promise((resolve, reject) => {
      const options = {
        agent: this.#agent,
        host: this.#url.hostname,
        port: this.#url.port,
        path,
      };
      const fail = (cause: Error): void => {
        clearTimeout(deadline);
        reject(
          cause instanceof DaemonError
            ? cause
            : new DaemonError({ code: "daemon_unreachable", path }, `GET ${path}: ${cause.message}`, {
                cause,
              }),
        );
      };
      const request = httpRequest(options, (response) => {
        collect(response, path, bytesMax).then((whole) => {
          clearTimeout(deadline);
          resolve({ status: response.statusCode ?? 0, body: whole });
        }, fail);
      });
      const deadline = setTimeout(() => {
        const facts = { code: "daemon_timed_out", path, milliseconds: timeoutMs } as const;
        request.destroy(new DaemonError(facts, `GET ${path}: no answer within ${timeoutMs} ms`));
      }, timeoutMs);
      request.on("error", fail);
      request.end();
    });
  }
}

async function collect(response: IncomingMessage, path: string, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw malformed(path, `at most ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, bytes);
}

function parseJson(path: string, body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8")) as unknown;
  } catch (cause) {
    throw malformed(path, "JSON", cause);
  }
}

function malformed(path: string, expected: string, cause?: unknown): DaemonError {
  const facts = { code: "daemon_answer_malformed", path, expected } as const;
  return new DaemonError(facts, `${path}: the daemon's answer is not as expected: ${expected}`, { cause });
}

/** A problem document's code and detail, or the beginning of whatever came. */
function refusal(path: string, status: number, body: Buffer): DaemonError {
  const problem = body.subarray(0, 300).toString("utf8");
  const facts = { code: "daemon_refused", path, status, problem } as const;
  return new DaemonError(facts, `${path}: the daemon answered ${status}: ${problem}`);
}
