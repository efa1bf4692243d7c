/**
 * The HTTP server of a simulated engine: the routes that vLLM and SGLang offer to a listener, and a
 * few routes that drive it.
 *
 *     GET  /health               200, empty, as vLLM
 *     POST /tokenize             vLLM's: {prompt} or {messages} ─▶ {tokens, count, max_model_len}
 *     POST /v1/completions       OpenAI's, not streamed, without text; an adapter is asked for as the model
 *     GET  /server_info          SGLang's kv_events block, with the actual ports
 *     GET  /contents             what the engine holds, one row per copy
 *     GET  /counters             engine and publisher
 *     POST /faults               a `Fault` as JSON
 *     POST /reset_prefix_cache   vLLM's; 409 while requests run
 *
 * Errors are {"error": {"code", "message"}}. No route is authenticated, as with the engines: bind it to loopback.
 */
import { toHex, TIERS } from "@kvsync/core";
import { fastify, type FastifyError, type FastifyInstance, type FastifyReply } from "fastify";
import { z } from "zod";
import type { EngineContents, EngineRequest, FinishedRequest } from "./engine-contract.ts";
import { EngineError, type EngineErrorFacts } from "./engine-error.ts";
import { type Fault, malformedBody, parseFault } from "./fault.ts";
import type { PublisherCounts } from "./publisher.ts";
import type { SimulatedEngine } from "./simulated-engine.ts";
import { tokenizeMessages, tokenizeText } from "./toy-tokenizer.ts";

/** Largest body: a prompt of a million tokens at four letters each, and room for JSON's escapes. */
const BODY_BYTES_MAX = 8 * 1024 * 1024;

/** What the routes act on. */
export interface HttpDependencies {
  readonly engine: SimulatedEngine;
  readonly endpoint: string;
  readonly replayEndpoint: string | null;
  readonly topic: string;
  readonly bufferSteps: number;
  readonly counters: () => Readonly<PublisherCounts>;
  readonly applyFault: (fault: Fault) => Promise<readonly number[]>;
  readonly complete?: ((request: Omit<EngineRequest, "id">) => Promise<FinishedRequest>) | undefined;
  readonly reset: () => boolean;
}

const TOKENIZE = z.union([
  z.object({
    model: z.string().optional(),
    messages: z.array(z.object({ role: z.string(), content: z.string() })),
    add_generation_prompt: z.boolean().default(true),
  }),
  z.object({
    model: z.string().optional(),
    prompt: z.string(),
    add_special_tokens: z.boolean().default(true),
  }),
]);

const token = z.int().min(0).max(0xffff_ffff);
const COMPLETION = z.object({
  model: z.string().optional(),
  prompt: z.union([z.string(), z.array(token)], { error: "is neither a text nor a list of token ids" }),
  max_tokens: z.int().min(1).default(16),
  cache_salt: z.string().optional(),
  seed: z.int().default(0),
});

/**
 * Makes the HTTP server, not listening yet.
 *
 * @param dependencies - what the routes act on.
 * @returns the caller listens and closes.
 */
export function buildEngineHttp(dependencies: HttpDependencies): FastifyInstance {
  const { engine } = dependencies;
  const { blockSize, blockCount } = engine.settings;
  const http = fastify({ bodyLimit: BODY_BYTES_MAX, logger: false });
  http.setErrorHandler(answerError);
  http.setNotFoundHandler((request, reply) =>
    reply
      .code(404)
      .send({ error: { code: "unknown_route", message: `no route ${request.method} ${request.url}` } }),
  );
  http.get("/health", (_request, reply) => reply.code(200).send());
  http.get("/server_info", () => serverInfo(dependencies));
  http.get("/contents", () => describeContents(engine.contents()));
  http.get("/counters", () => ({ engine: engine.counters, publisher: dependencies.counters() }));
  http.post("/tokenize", (request) => {
    const parsed = TOKENIZE.safeParse(request.body);
    if (!parsed.success) throw malformedTokenize(request.body, parsed.error);
    const body = parsed.data;
    const tokens =
      "messages" in body
        ? tokenizeMessages(body.messages, body.add_generation_prompt)
        : tokenizeText(body.prompt, body.add_special_tokens);
    return { tokens, count: tokens.length, max_model_len: blockSize * blockCount };
  });
  if (dependencies.complete !== undefined) {
    const { complete } = dependencies;
    http.post("/v1/completions", (request) => answerCompletion(request.body, engine, complete));
  }
  http.post("/faults", async (request) => {
    const abortedRequests = await dependencies.applyFault(parseFault(request.body));
    return { applied: true, aborted_requests: abortedRequests.length };
  });
  http.post("/reset_prefix_cache", () => {
    if (dependencies.reset()) return {};
    const { running } = engine.pressure();
    throw new EngineError(
      { code: "engine_busy", running },
      `${running} requests run; the cache is reset only when none does`,
    );
  });
  return http;
}

async function answerCompletion(
  body: unknown,
  engine: SimulatedEngine,
  complete: NonNullable<HttpDependencies["complete"]>,
): Promise<object> {
  const parsed = COMPLETION.safeParse(body);
  if (!parsed.success) throw malformedBody(parsed.error);
  const {
    model = engine.settings.model,
    prompt,
    max_tokens: count,
    seed,
    cache_salt: cacheSalt,
  } = parsed.data;
  const finished = await complete({
    promptTokens: Uint32Array.from(typeof prompt === "string" ? tokenizeText(prompt, true) : prompt),
    output: { count, seed },
    loraName: model === engine.settings.model ? null : model,
    cacheSalt,
  });
  return {
    id: `cmpl-${finished.id}`,
    object: "text_completion",
    created: Math.floor(finished.submittedAtSeconds),
    model,
    choices: [{ index: 0, text: "", finish_reason: "length" }],
    usage: {
      prompt_tokens: finished.promptTokens,
      completion_tokens: finished.outputTokens,
      total_tokens: finished.promptTokens + finished.outputTokens,
      prompt_tokens_details: { cached_tokens: finished.cachedBlocks * engine.settings.blockSize },
    },
  };
}

// A union's own message names neither form, so say which field is missing.
function malformedTokenize(body: unknown, error: z.ZodError): EngineError {
  if (typeof body === "object" && body !== null && ("prompt" in body || "messages" in body)) {
    const where = "messages" in body ? "messages" : "prompt";
    const expected = where === "messages" ? "a list of {role, content}, both text" : "a text";
    return new EngineError({ code: "malformed_body", where }, `${where} is not ${expected}`);
  }
  return error.issues.length === 0
    ? malformedBody(error)
    : new EngineError(
        { code: "malformed_body", where: "the body" },
        'the body is an object with "prompt" or "messages"',
      );
}

const STATUS: Partial<Record<EngineErrorFacts["code"], number>> = {
  engine_busy: 409,
  request_aborted: 503,
  too_many_waiting: 503,
  stopped: 503,
  unknown_lora: 404,
};

function answerError(error: FastifyError, _request: unknown, reply: FastifyReply): FastifyReply {
  const status = error instanceof EngineError ? (STATUS[error.code] ?? 400) : (error.statusCode ?? 500);
  return reply.code(status).send({ error: { code: error.code || "internal", message: error.message } });
}

function serverInfo(dependencies: HttpDependencies): object {
  const { engine, endpoint, replayEndpoint, topic, bufferSteps } = dependencies;
  const { id, model, dialect, blockSize, blockCount, dpRank, loraNames } = engine.settings;
  const url = new URL(endpoint);
  return {
    id,
    model_path: model,
    dialect,
    block_size: blockSize,
    block_count: blockCount,
    lora_names: loraNames,
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
