/**
 * The HTTP server of a simulated worker: the routes that vLLM, SGLang and trtllm-serve offer, and a few
 * routes that drive the simulation. It serves one data-parallel rank or several.
 *
 *     GET  /health               200, empty, as vLLM; 503 while the process ends
 *     GET  /v1/models            OpenAI's list: the model and its adapters
 *     POST /v1/completions       OpenAI's        ┐ completion-routes.ts; only when a driver runs the ranks
 *     POST /v1/chat/completions  OpenAI's        ┘
 *     POST /tokenize             vLLM's: {prompt} or {messages} ─▶ {tokens, count, max_model_len}
 *     GET  /metrics              engine-metrics.ts; also /prometheus/metrics, as trtllm-serve
 *     GET  /version              {"version"}, as vLLM
 *     GET  /server_info          SGLang's kv_events block, with the actual ports      ┐ ?dp_rank=N names
 *     GET  /contents             what the engine holds, one row per copy              │ the rank; the
 *     GET  /counters             engine and publisher                                 │ port's first one
 *     POST /faults               a `Fault` as JSON                                    ┘ by default
 *     POST /reset_prefix_cache   vLLM's, on every rank; 409 while requests run
 *
 * Errors are OpenAI's objects (http-error.ts). No route is authenticated, as with the engines: bind it to loopback.
 */
import { toHex, TIERS } from "@kvsync/core";
import { fastify, type FastifyInstance, type FastifyRequest } from "fastify";

import type { EngineContents } from "../engine-contract.ts";
import type { EngineDriver } from "../engine-driver.ts";
import { EngineError } from "../engine-error.ts";
import { type Fault, parseFault } from "../fault.ts";
import type { PublisherCounts } from "../publisher.ts";
import type { SimulatedEngine } from "../simulated-engine.ts";
import { CompletionRoutes, type DrivenRank } from "./completion-routes.ts";
import { engineMetrics } from "./engine-metrics.ts";
import { EXPOSITION_TYPE } from "./exposition.ts";
import { answerParserError, httpError, unknownRoute } from "./http-error.ts";
import { tokenizeTokens } from "./prompt-reading.ts";
import { RankChoice } from "./rank-choice.ts";

/** Largest body: a prompt of a million tokens at four letters each, and room for JSON's escapes. */
const BODY_BYTES_MAX = 8 * 1024 * 1024;
/** Four times Node's default: gateways add metadata. */
const HEADER_BYTES_MAX = 64 * 1024;
/** Together with the body's limit, what bodies on their way may occupy. */
const CONNECTIONS_MAX = 1024;
/** Longer than a proxy keeps an idle upstream connection (Envoy: an hour), so that the proxy closes first. */
const KEEP_ALIVE_MS = 65 * 60 * 1000;
/** A request must have arrived by then. */
const REQUEST_MS = 5 * 60 * 1000;

/** For the rest of an answer to arrive. A client that does not read, or still sends, is cut off then. */
const CLOSE_MS = 1000;

/** One rank, as the routes act on it. */
export interface HttpRank {
  readonly engine: SimulatedEngine;
  /** Runs it; `null` when its owner steps it: then there are no completions. */
  readonly driver: EngineDriver | null;
  readonly endpoint: string;
  readonly replayEndpoint: string | null;
  readonly topic: string;
  readonly bufferSteps: number;
  readonly counters: () => Readonly<PublisherCounts>;
  readonly applyFault: (fault: Fault) => Promise<readonly number[]>;
  readonly reset: () => boolean;
}

/** How a port is served. */
export interface EngineHttpOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Tokens after which an answer ends by itself. */
  readonly answerTokens: number;
}

/** One listening port. */
export class EngineHttp {
  readonly #http: FastifyInstance;
  readonly #completions: CompletionRoutes | null;
  readonly #url: string;

  private constructor(http: FastifyInstance, completions: CompletionRoutes | null, url: string) {
    this.#http = http;
    this.#completions = completions;
    this.#url = url;
  }

  /**
   * Listens.
   *
   * @param ranks - at least one, of one model and dialect.
   * @throws EngineError `bind_failed`.
   */
  static async listen(
    ranks: readonly [HttpRank, ...HttpRank[]],
    { host, port, answerTokens }: EngineHttpOptions,
  ): Promise<EngineHttp> {
    const [{ engine }] = ranks;
    const driven = ranks.flatMap((rank): DrivenRank[] =>
      rank.driver === null ? [] : [{ engine: rank.engine, driver: rank.driver }],
    );
    const completions =
      driven.length === 0
        ? null
        : new CompletionRoutes({
            ranks: new RankChoice(driven),
            engine,
            answerTokens,
            bodyBytesMax: BODY_BYTES_MAX,
          });
    const http = newServer();
    addEngineRoutes(http, ranks, completions);
    addDrivingRoutes(http, ranks);
    completions?.register(http);
    try {
      return new EngineHttp(http, completions, await http.listen({ host, port }));
    } catch (error) {
      const endpoint = `http://${host}:${port}`;
      const reason = error instanceof Error ? error.message : String(error);
      throw new EngineError({ code: "bind_failed", endpoint }, `cannot bind ${endpoint}: ${reason}`, {
        cause: error,
      });
    }
  }

  /** E.g. `http://127.0.0.1:8000`. */
  get url(): string {
    return this.#url;
  }

  /** Answers /health and new completions with 503 from now on; resolves when no completion is under way. */
  async drain(): Promise<void> {
    await this.#completions?.drain();
  }

  /** Closes the port, and its connections once their answers are written, or after a second. */
  async close(): Promise<void> {
    const timer = setTimeout(() => {
      this.#http.server.closeAllConnections();
    }, CLOSE_MS);
    await this.#http.close();
    clearTimeout(timer);
  }
}

function newServer(): FastifyInstance {
  const http = fastify({
    bodyLimit: BODY_BYTES_MAX,
    logger: false,
    http: { maxHeaderSize: HEADER_BYTES_MAX },
    keepAliveTimeout: KEEP_ALIVE_MS,
    requestTimeout: REQUEST_MS,
    // Idle connections are closed at the end; those with an answer under way finish it.
    forceCloseConnections: "idle",
    // Requests on open connections get our own answers to the end.
    return503OnClosing: false,
    clientErrorHandler: answerParserError,
  });
  http.server.maxConnections = CONNECTIONS_MAX;
  http.removeContentTypeParser("text/plain");
  http.setErrorHandler((error, _request, reply) => {
    const { status, body } = httpError(error, BODY_BYTES_MAX);
    return reply.code(status).send(body);
  });
  http.setNotFoundHandler((request, reply) => {
    const { status, body } = unknownRoute(request.method, request.url);
    return reply.code(status).send(body);
  });
  return http;
}

function addEngineRoutes(
  http: FastifyInstance,
  ranks: readonly [HttpRank, ...HttpRank[]],
  completions: CompletionRoutes | null,
): void {
  const { model, loraNames, blockSize, blockCount, dialect } = ranks[0].engine.settings;
  const roomTokens = blockSize * blockCount;
  const startedAt = Math.floor(Date.now() / 1000);
  http.get("/health", (_request, reply) => reply.code(completions?.isDraining === true ? 503 : 200).send());
  http.get("/version", () => ({ version: `simulated ${dialect}` }));
  http.get("/v1/models", () => ({
    object: "list",
    data: [model, ...loraNames].map((id, position) => ({
      id,
      object: "model",
      created: startedAt,
      owned_by: "kvsync",
      root: id,
      parent: position === 0 ? null : model,
      max_model_len: position === 0 ? roomTokens : null,
    })),
  }));
  http.post("/tokenize", (request) => {
    const tokens = tokenizeTokens(request.body);
    return { count: tokens.length, max_model_len: roomTokens, tokens, token_strs: null };
  });
  const measured = ranks.map(({ engine, driver }) => ({ engine, tally: driver?.tally ?? null }));
  for (const path of ["/metrics", "/prometheus/metrics"])
    http.get(path, (_request, reply) =>
      reply.type(EXPOSITION_TYPE).send(engineMetrics(measured, Date.now() / 1000)),
    );
}

function addDrivingRoutes(http: FastifyInstance, ranks: readonly [HttpRank, ...HttpRank[]]): void {
  const choice = new RankChoice(ranks);
  const rankOf = ({ query }: FastifyRequest): HttpRank => {
    const { dp_rank: named } = query as Readonly<Record<string, string | undefined>>;
    return named === undefined ? ranks[0] : choice.named(named);
  };
  http.get("/server_info", (request) => serverInfo(rankOf(request), ranks.length));
  http.get("/contents", (request) => describeContents(rankOf(request).engine.contents()));
  http.get("/counters", (request) => {
    const { engine, counters } = rankOf(request);
    return { engine: engine.counters, publisher: counters() };
  });
  http.post("/faults", async (request) => {
    const abortedRequests = await rankOf(request).applyFault(parseFault(request.body));
    return { applied: true, aborted_requests: abortedRequests.length };
  });
  http.post("/reset_prefix_cache", () => {
    const running = ranks.reduce((sum, { engine }) => sum + engine.pressure().running, 0);
    if (running > 0)
      throw new EngineError(
        { code: "engine_busy", running },
        `${running} requests run; the cache is reset only when none does`,
      );
    for (const { reset } of ranks) reset();
    return {};
  });
}

function serverInfo(rank: HttpRank, rankCount: number): object {
  const { engine, endpoint, replayEndpoint, topic, bufferSteps } = rank;
  const { id, model, dialect, blockSize, blockCount, dpRank, loraNames } = engine.settings;
  const url = new URL(endpoint);
  return {
    id,
    model_path: model,
    dialect,
    block_size: blockSize,
    block_count: blockCount,
    lora_names: loraNames,
    dp_size: rankCount,
    kv_events: {
      publisher: "zmq",
      endpoint,
      endpoint_host: url.hostname,
      endpoint_port_base: Number(url.port) - dpRank,
      replay_endpoint: replayEndpoint,
      topic,
      block_size: blockSize,
      buffer_steps: bufferSteps,
      dp_rank: dpRank,
    },
  };
}

function describeContents(contents: EngineContents): object {
  const rows: (string | number | null)[][] = [];
  for (let row = 0; row < contents.rowCount; row++)
    rows.push([
      hexAt(contents.prefixHashes, row),
      hexAt(contents.engineHashes, row),
      contents.contexts[contents.contextOf[row] ?? 0]?.loraName ?? null,
      TIERS[contents.tierOf[row] ?? 0] ?? null,
      contents.announcedIn[row] ?? -1,
    ]);
  return {
    last_sequence_number: contents.lastSequenceNumber,
    columns: ["prefix_hash", "engine_hash", "lora_name", "tier", "announced_in"],
    rows,
  };
}

function hexAt(words: Uint32Array, row: number): string {
  return `0x${toHex(words[row * 2] ?? 0, words[row * 2 + 1] ?? 0)}`;
}
