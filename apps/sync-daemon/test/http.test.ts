/**
 * The HTTP rim over a real daemon core (ingest thread and all), asked by injection: the inputs,
 * answers and refusals of every endpoint. Tests with real sockets are in stop.e2e.test.ts, tests
 * with engines in daemon.e2e.test.ts.
 * R in titles is of request-reading.ts.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { NestFastifyApplication } from "@nestjs/platform-fastify";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";

import { type MatchAnswer, matchAnswer } from "../src/query/match-answer.ts";
import { type DaemonInProcess, startInProcess } from "./daemon-in-process.ts";
import { TestEngine, until } from "./fleet.ts";
import { TokenizerServer } from "./tokenizer-server.ts";

const JSON_HEADERS = { "content-type": "application/json" };
const BINARY_HEADERS = { "content-type": "application/octet-stream" };

let main: DaemonInProcess;
let app: NestFastifyApplication;
let engine: TestEngine;

beforeAll(async () => {
  main = await startInProcess();
  app = main.app;
  engine = await TestEngine.start({ id: "engine-0", loraNames: ["sql"] }, 1, { httpPort: 0 });
  const created = await app.inject({
    method: "POST",
    url: "/api/v1/engines",
    headers: JSON_HEADERS,
    payload: engine.entry,
  });
  expect(created.statusCode).toBe(201);
  await engine.serve(10);
  await until("the daemon is in sync", async () => {
    const { engines } = (await app.inject("/api/v1/engines")).json<{
      engines: { ranks: { trust: string; last_sequence_number: number | null }[] }[];
    }>();
    const rank = engines[0]?.ranks[0];
    return rank?.trust === "exact" && rank.last_sequence_number === engine.engine.lastSequenceNumber;
  });
});

afterAll(async () => {
  await main.stop();
  await engine.stop();
});

/** Tokens of a prompt that the engine holds to its last full block, by having served it. */
async function servedPrompt(options: { loraName?: string; cacheSalt?: string } = {}): Promise<Uint32Array> {
  const prompt = Uint32Array.from({ length: 80 }, (_, i) => 1000 + i * 7 + (options.loraName?.length ?? 0));
  await servedTokens(prompt, app, options);
  return prompt;
}

/** Has the engine serve a prompt, and waits until a daemon has applied what that told. */
async function servedTokens(
  prompt: Uint32Array,
  on: NestFastifyApplication,
  options: { loraName?: string; cacheSalt?: string } = {},
): Promise<void> {
  engine.engine.submit(
    {
      id: 1_000_000 + engine.engine.counters.requestsFinished,
      promptTokens: prompt,
      output: { count: 1, seed: 1 },
      loraName: options.loraName ?? null,
      cacheSalt: options.cacheSalt ?? null,
    },
    Date.now() / 1000,
  );
  await engine.serve(0);
  const last = engine.engine.lastSequenceNumber;
  await until("the prompt is applied", async () => {
    const page = (await on.inject("/api/v1/engines")).json<{
      engines: { ranks: { last_sequence_number: number }[] }[];
    }>();
    return page.engines[0]?.ranks[0]?.last_sequence_number === last;
  });
}

const binary = (tokens: Uint32Array): Buffer =>
  Buffer.from(tokens.buffer, tokens.byteOffset, tokens.byteLength);

test("a lookup answers alike in JSON and in binary, with the worker, its blocks by tier, trust and decision", async () => {
  const prompt = await servedPrompt();
  const fromBinary = await app.inject({
    method: "POST",
    url: "/api/v1/match?model=test/model&block_size=16",
    headers: BINARY_HEADERS,
    payload: binary(prompt),
  });
  const fromJson = await app.inject({
    method: "POST",
    url: "/api/v1/match",
    headers: JSON_HEADERS,
    payload: { model: "test/model", token_ids: [...prompt] },
  });
  expect(fromBinary.statusCode).toBe(200);
  const answer = fromBinary.json<{ matches: { age_seconds: number }[] }>();
  expect(answer).toMatchObject({
    model: "test/model",
    lora_name: null,
    block_size: 16,
    blocks: 5,
    trust: "exact",
    decision: "exact",
    ranks: { exact: 1, partial: 0, stale: 0, unknown: 0 },
    matches: [
      {
        worker: "engine-0",
        dp_rank: 0,
        matched_blocks: 5,
        matched_tokens: 80,
        reusable_tokens: 64,
        tiers: { device: 5, host: 0, disk: 0, remote: 0 },
        trust: "exact",
      },
    ],
  });
  expect(answer.matches[0]?.age_seconds).toBeGreaterThanOrEqual(0);
  const withoutAge = (body: string): string => body.replace(/"age_seconds":[\d.e-]+/g, "");
  expect(withoutAge(fromJson.body)).toBe(withoutAge(fromBinary.body));
});

test("the salt and the adapter belong to the question: without them the same tokens match nothing of theirs", async () => {
  const ask = async (payload: object): Promise<number> => {
    const response = await app.inject({
      method: "POST",
      url: "/api/v1/match",
      headers: JSON_HEADERS,
      payload,
    });
    expect(response.statusCode).toBe(200);
    return response.json<{ matches: { matched_blocks: number }[] }>().matches[0]?.matched_blocks ?? 0;
  };
  const adapted = [...(await servedPrompt({ loraName: "sql" }))];
  expect(await ask({ model: "test/model", token_ids: adapted, lora_name: "sql" })).toBe(5);
  expect(await ask({ model: "test/model", token_ids: adapted })).toBe(0);
  expect(await ask({ model: "test/model", token_ids: adapted, lora_name: "nobody's" })).toBe(0);
  const salted = [...(await servedPrompt({ cacheSalt: "tenant-a" }))];
  expect(await ask({ model: "test/model", token_ids: salted, cache_salt: "tenant-a" })).toBe(5);
  expect(await ask({ model: "test/model", token_ids: salted, cache_salt: "tenant-b" })).toBe(0);
});

test("unmatched workers are listed on request, workers can be chosen, and one that nobody knows makes the answer degraded", async () => {
  const ask = async (payload: object) =>
    (
      await app.inject({
        method: "POST",
        url: "/api/v1/match",
        headers: JSON_HEADERS,
        payload: { model: "test/model", token_ids: Array.from({ length: 32 }, (_, i) => i), ...payload },
      })
    ).json<{ decision: string; matches: object[]; ranks: object }>();
  expect((await ask({})).matches).toEqual([]);
  expect((await ask({ include_unmatched: true })).matches).toMatchObject([
    { worker: "engine-0", matched_blocks: 0 },
  ]);
  expect(await ask({ workers: ["engine-0", "nobody"] })).toMatchObject({
    decision: "degraded",
    ranks: { exact: 1, unknown: 1 },
  });
  expect(await ask({ workers: ["nobody"] })).toMatchObject({ decision: "fallback" });
});

test.each([
  [{ model: "none", token_ids: [] }, 404, "unknown_model", "known: test/model"],
  [{ model: "test/model", token_ids: [], block_size: 32 }, 422, "wrong_block_size", "expected one of 16"],
  [
    { model: "test/model" },
    422,
    "contradictory_fields",
    "exactly one of token_ids, prefix_hashes, prompt, messages",
  ],
  [{ model: "test/model", token_ids: ["1"] }, 400, "malformed_body", "token_ids.0"],
  [{ model: "test/model", token_ids: [], prompt: "a" }, 422, "contradictory_fields", "token_ids and prompt"],
  [
    { model: "test/model", prompt: "a", tools: [] },
    422,
    "contradictory_fields",
    "tools beside messages only",
  ],
  [
    { model: "test/model", token_ids: [], add_special_tokens: true },
    422,
    "contradictory_fields",
    "with prompt",
  ],
  [{ model: "test/model", messages: [] }, 400, "malformed_body", "messages: expected a list of 1-"],
  [{ model: "test/model", messages: [{ content: "a" }] }, 400, "malformed_body", "messages.0.role"],
  [{ model: "none", prompt: "a" }, 404, "unknown_model", "known: test/model"],
  ["{", 400, "bad_request", ""],
])("the lookup %j is refused with %i %s", async (payload, status, code, detail) => {
  const response = await app.inject({ method: "POST", url: "/api/v1/match", headers: JSON_HEADERS, payload });
  expect(response.statusCode).toBe(status);
  expect(response.headers["content-type"]).toContain("application/problem+json");
  const problem = response.json<{
    code: string;
    detail: string;
    status: number;
    type: string;
    title: string;
  }>();
  expect(problem).toMatchObject({ status, code, type: `urn:kvsync:problem:${code}` });
  expect(problem.detail).toContain(detail);
});

test("a prompt and a conversation are tokenized by the engine and found there; without a tokenizer the answer is fallback, and says why", async () => {
  const text =
    "the quick brown fox jumps over the lazy dog, again and again, until it is a block or two long";
  const messages = [{ role: "user", content: text }];
  const tokenize = async (payload: object): Promise<number[]> => {
    const response = await fetch(`${engine.server.httpUrl ?? ""}/tokenize`, {
      method: "POST",
      headers: JSON_HEADERS,
      body: JSON.stringify(payload),
    });
    return ((await response.json()) as { tokens: number[] }).tokens;
  };
  const ask = async (on: NestFastifyApplication, payload: object) =>
    on.inject({
      method: "POST",
      url: "/api/v1/match",
      headers: JSON_HEADERS,
      payload: { model: "test/model", ...payload },
    });
  const withTokenizer = await startInProcess(["--sync-tokenizer-endpoint", engine.server.httpUrl ?? ""]);
  try {
    await withTokenizer.app.inject({
      method: "POST",
      url: "/api/v1/engines",
      headers: JSON_HEADERS,
      payload: engine.entry,
    });
    for (const question of [{ prompt: text }, { messages }, { messages, add_generation_prompt: false }]) {
      const tokens = await tokenize(question);
      await servedTokens(Uint32Array.from(tokens), withTokenizer.app);
      const answer = (await ask(withTokenizer.app, question)).json<MatchAnswer>();
      const blocks = Math.floor(tokens.length / 16);
      expect(blocks).toBeGreaterThan(0);
      expect(answer).toMatchObject({ blocks, reason: null, matches: [{ matched_blocks: blocks }] });
      expect(matchAnswer.parse(answer)).toEqual(answer);
    }
  } finally {
    await withTokenizer.stop();
  }
  const without = await ask(app, { prompt: text, include_unmatched: true });
  expect(without.statusCode).toBe(200);
  expect(without.json<MatchAnswer>()).toMatchObject({
    decision: "fallback",
    reason: "tokenizer_not_configured",
    trust: "exact",
    blocks: null,
    matches: [{ worker: "engine-0", matched_blocks: 0 }],
  });
});

test("a tokenizer that is up but fails at tokens is degraded in the health report, with what lookups met", async () => {
  const tokenizer = await TokenizerServer.start(({ url }, response) => {
    response.statusCode = url === "/health" ? 200 : 500;
    response.end();
  });
  const argv = ["--sync-tokenizer-endpoint", tokenizer.endpoint, "--tokenizer-circuit-failures", "1"];
  const failing = await startInProcess(argv);
  try {
    const post = (url: string, payload: object) =>
      failing.app.inject({ method: "POST", url, headers: JSON_HEADERS, payload });
    await post("/api/v1/engines", { id: "a", model: "m", endpoint: "tcp://127.0.0.1:19993" });
    const lookup = { model: "m", prompt: "a" };
    expect((await post("/api/v1/match", lookup)).json<MatchAnswer>().reason).toBe("tokenizer_unavailable");
    expect((await post("/api/v1/match", lookup)).json<MatchAnswer>().reason).toBe("circuit_open");
    await until("the check has been repeated", async () => {
      const { checks } = (await failing.app.inject("/health")).json<{
        checks: Record<string, { status: string; details: object }>;
      }>();
      const found = checks["tokenizer"];
      if (found?.status !== "degraded") return false;
      expect(found.details).toMatchObject({ circuit: "open", last_failure: "tokenizer_unavailable" });
      return true;
    });
  } finally {
    await failing.stop();
    await tokenizer.stop();
  }
});

test("bodies that are too large, of a foreign type, or for no route are refused as problems with their own codes (R2)", async () => {
  const small = await startInProcess(["--http-body-bytes", "2048", "--limits-query-tokens", "100"]);
  try {
    const post = (headers: Record<string, string>, payload: Buffer) =>
      small.app.inject({ method: "POST", url: "/api/v1/match?model=m", headers, payload });
    expect((await post(BINARY_HEADERS, Buffer.alloc(4096))).json()).toMatchObject({
      status: 413,
      code: "body_too_large",
    });
    expect((await post(BINARY_HEADERS, Buffer.alloc(404))).json()).toMatchObject({
      status: 413,
      code: "too_many_tokens",
      count: 101,
      maximum: 100,
    });
    expect((await post({ "content-type": "text/plain" }, Buffer.alloc(4))).json()).toMatchObject({
      status: 415,
      code: "unsupported_media_type",
    });
    // A page in somebody's browser may send a form anywhere, without asking first.
    const form = { "content-type": "application/x-www-form-urlencoded" };
    const url = "/api/v1/engines";
    const registration = Buffer.from("id=a&model=m&endpoint=tcp://127.0.0.1:19998");
    expect(
      (await small.app.inject({ method: "POST", url, headers: form, payload: registration })).json(),
    ).toMatchObject({ status: 415, code: "unsupported_media_type" });
    expect((await small.app.inject("/nothing/here")).json()).toMatchObject({
      status: 404,
      code: "unknown_route",
    });
  } finally {
    await small.stop();
  }
});

test("a method that a route does not take is told apart from a route that there is not, with what it takes", async () => {
  for (const [method, url, allow] of [
    ["GET", "/api/v1/match?model=m", "POST"],
    ["PATCH", "/api/v1/engines", "GET, HEAD, POST"],
    ["POST", "/api/v1/engines/a", "GET, HEAD, DELETE"],
    ["POST", "/metrics", "GET, HEAD"],
    ["OPTIONS", "/livez", "GET, HEAD"],
    // Fastify asks for a content type of its body before it looks for a route.
    ["QUERY", "/livez", "GET, HEAD"],
  ] as const) {
    // The injector knows QUERY, its types do not.
    const answer = await app.inject({ method: method as "GET", url });
    expect(answer.headers["allow"], url).toBe(allow);
    expect(answer.json(), url).toMatchObject({ status: 405, code: "method_not_allowed", expected: allow });
  }
  const nowhere = await app.inject({ method: "GET", url: "/openapi-json" });
  expect(nowhere.json()).toMatchObject({ status: 404, code: "unknown_route" });
  expect(nowhere.headers["allow"]).toBeUndefined();
});

test("query parameters beside a JSON lookup are refused, not ignored", async () => {
  const ask = (query: string) =>
    app.inject({
      method: "POST",
      url: `/api/v1/match?${query}`,
      payload: { model: "test/model", token_ids: [1] },
    });
  expect((await ask("top_k=2&trace=a")).json()).toMatchObject({
    status: 422,
    code: "contradictory_fields",
    fields: ["top_k"],
  });
  expect((await ask("%0asecret=2")).body).not.toContain("secret");
});

test("a compressed body is refused, not taken for what it would be uncompressed (R1)", async () => {
  const send = (encoding: string) =>
    app.inject({
      method: "POST",
      url: "/api/v1/match?model=test/model",
      headers: { ...BINARY_HEADERS, "content-encoding": encoding },
      payload: Buffer.alloc(64),
    });
  for (const encoding of ["gzip", "br", "zstd", "gzip, identity"]) {
    expect((await send(encoding)).json()).toMatchObject({
      status: 415,
      code: "unsupported_media_type",
      expected: expect.stringContaining("Content-Encoding") as string,
    });
  }
  expect((await send("identity")).statusCode).toBe(200);
});

test("messages that are nested deeper than bodies may be are the caller's mistake", async () => {
  const payload = `{"model":"test/model","messages":[{"role":"user","content":${"[".repeat(50_000)}${"]".repeat(50_000)}}]}`;
  const response = await app.inject({ method: "POST", url: "/api/v1/match", headers: JSON_HEADERS, payload });
  expect(response.json()).toMatchObject({ status: 400, code: "malformed_body", where: "body" });
});

test("whoever asks for metrics while they are rendered gets the same ones, and the next one anew", async () => {
  const scrape = async (): Promise<string> => {
    const { statusCode, headers, body } = await app.inject("/metrics");
    expect([statusCode, headers["content-type"]]).toEqual([200, "text/plain; version=0.0.4; charset=utf-8"]);
    return body;
  };
  const together = await Promise.all(Array.from({ length: 20 }, scrape));
  expect(new Set(together).size).toBe(1);
  expect(await scrape()).not.toBe(together[0]);
});

test("registering is idempotent, conflicts name the field, and removing what is not there is 404", async () => {
  const entry = { id: "later", model: "other", endpoint: "tcp://127.0.0.1:19999", dp_size: 2 };
  const post = (payload: object) =>
    app.inject({ method: "POST", url: "/api/v1/engines", headers: JSON_HEADERS, payload });
  const created = await post(entry);
  expect(created.statusCode).toBe(201);
  expect(created.json()).toMatchObject({
    engine: {
      id: "later",
      model: "other",
      ranks: [
        { dp_rank: 0, trust: "unknown" },
        { dp_rank: 1, trust: "unknown" },
      ],
    },
  });
  expect((await post(entry)).statusCode).toBe(200);
  expect((await post({ ...entry, model: "another" })).json()).toMatchObject({
    status: 409,
    code: "engine_conflict",
    field: "model",
  });
  expect((await post({ ...entry, id: "no spaces" })).json()).toMatchObject({ status: 400, where: "id" });
  expect((await post({ ...entry, colour: "red" })).json()).toMatchObject({ status: 400, where: "colour" });
  const query = { method: "POST", url: "/api/v1/match", headers: JSON_HEADERS } as const;
  const beforeAnyBlock = await app.inject({ ...query, payload: { model: "other", token_ids: [1, 2] } });
  expect(beforeAnyBlock.json()).toMatchObject({
    block_size: null,
    blocks: null,
    matches: [],
    decision: "fallback",
  });
  const remove = () => app.inject({ method: "DELETE", url: "/api/v1/engines/later" });
  expect((await remove()).statusCode).toBe(204);
  expect((await remove()).json()).toMatchObject({ status: 404, code: "unknown_engine", id: "later" });
});

test("an id with slashes and colons is removed by its encoded form", async () => {
  const payload = { id: "ns/pod-0:9000", model: "other", endpoint: "tcp://127.0.0.1:19994" };
  const created = await app.inject({
    method: "POST",
    url: "/api/v1/engines",
    headers: JSON_HEADERS,
    payload,
  });
  expect(created.statusCode).toBe(201);
  const url = `/api/v1/engines/${encodeURIComponent(payload.id)}`;
  expect((await app.inject({ method: "DELETE", url })).statusCode).toBe(204);
});

test("probes: alive always, ready with its reason and, on request, with every condition's", async () => {
  expect((await app.inject("/livez")).json()).toEqual({ status: "alive" });
  expect((await app.inject("/readyz")).json()).toEqual({ status: "ready", reason: "in_sync" });
  expect((await app.inject("/readyz?verbose")).json()).toMatchObject({
    conditions: [
      { name: "running", ok: true, reason: "not stopping" },
      { name: "ingest_workers", ok: true, reason: "alive" },
      { name: "discovery/http", ok: true, reason: "has named its engines, is current" },
      { name: "index", ok: true, reason: "began without a snapshot" },
    ],
    engines: [],
    process: {
      version: "0.0.0-test",
      commit: null,
      node: process.version,
      config_file: null,
      settings_from: [],
    },
  });
});

test("a daemon with an engine that does not answer becomes ready when its deadline has passed, not before", async () => {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-waiting-"));
  onTestFinished(() => {
    rmSync(folder, { recursive: true });
  });
  const file = join(folder, "config.yaml");
  writeFileSync(file, "engines: [{ id: a, model: m, endpoint: 'tcp://127.0.0.1:19998' }]\n");
  const waiting = await startInProcess(["--config", file, "--readiness-deadline-seconds", "1"]);
  try {
    const first = await waiting.app.inject("/readyz?verbose");
    expect(first.statusCode).toBe(503);
    expect(first.json()).toMatchObject({
      status: "not_ready",
      reason: "waiting_for_engines",
      conditions: [
        { name: "running", ok: true, reason: "not stopping" },
        { name: "ingest_workers", ok: true, reason: "alive" },
        { name: "discovery/http", ok: true, reason: "has named its engines, is current" },
        { name: "index", ok: true, reason: "began without a snapshot, and 1 of 1 ranks are not exact" },
        {
          name: "engine/a/0",
          ok: false,
          reason: "trust is unknown (not_connected), the stream is connecting",
        },
      ],
      engines: [
        {
          worker: "a",
          dp_rank: 0,
          state: "connecting",
          trust: "unknown",
          trust_reason: "not_connected",
          trust_since: expect.any(String) as string,
          in_sync: false,
        },
      ],
    });
    const lines = await waiting.app.inject({ url: "/readyz?verbose", headers: { accept: "text/plain" } });
    expect(lines.headers["content-type"]).toContain("text/plain");
    expect(lines.payload.split("\n")).toEqual([
      "[+]running ok: not stopping",
      "[+]ingest_workers ok: alive",
      "[+]discovery/http ok: has named its engines, is current",
      "[+]index ok: began without a snapshot, and 1 of 1 ranks are not exact",
      "[-]engine/a/0 failed: trust is unknown (not_connected), the stream is connecting",
      "readyz check failed: waiting_for_engines",
      "",
    ]);
    const ready = await until("the deadline passes", async () => {
      const response = await waiting.app.inject("/readyz");
      return response.statusCode === 200 && response.json<{ reason: string }>();
    });
    expect(ready.reason).toBe("deadline_passed");
    waiting.daemon.readiness.stop();
    expect((await waiting.app.inject("/readyz?verbose")).json()).toMatchObject({
      reason: "stopping",
      conditions: expect.arrayContaining([{ name: "running", ok: false, reason: "stopping" }]) as unknown[],
    });
  } finally {
    await waiting.stop();
  }
});

test("a dump without a model, or of one that nobody serves, is a problem and not an empty file", async () => {
  expect((await app.inject("/api/v1/dump")).json()).toMatchObject({ status: 400, where: "model" });
  expect((await app.inject("/api/v1/dump?model=none")).json()).toMatchObject({
    status: 404,
    code: "unknown_model",
  });
});

test("a dump says in its header how many messages were applied before it", async () => {
  const response = await app.inject("/api/v1/dump?model=test/model");
  expect(response.headers["content-type"]).toBe("application/octet-stream");
  expect(Number(response.headers["x-kvsync-applied-before"])).toBeGreaterThan(0);
  const header = JSON.parse(response.body.slice(0, response.body.indexOf("\n"))) as { contexts: object[] };
  expect(header.contexts[0]).toMatchObject({ block_size: 16, lookahead: 0 });
});

test("with sync off engines are known and not followed, and every lookup says fall back", async () => {
  const off = await startInProcess(["--sync-enabled", "false"]);
  try {
    const payload = { id: "a", model: "m", endpoint: "tcp://127.0.0.1:19995" };
    await off.app.inject({ method: "POST", url: "/api/v1/engines", headers: JSON_HEADERS, payload });
    const lookup = { model: "m", token_ids: [1, 2, 3] };
    const answer = await off.app.inject({
      method: "POST",
      url: "/api/v1/match",
      headers: JSON_HEADERS,
      payload: lookup,
    });
    expect(answer.json()).toMatchObject({ decision: "fallback", trust: "unknown", matches: [] });
    expect((await off.app.inject("/metrics")).body).toContain(`${NAMESPACE}_kv_sync_configuration_valid 1\n`);
  } finally {
    await off.stop();
  }
});

test("sync asked for without its tokenizer is off and says so in a metric; the service keeps running", async () => {
  const invalid = await startInProcess(["--sync-aibrix-enabled", "true"]);
  try {
    expect((await invalid.app.inject("/livez")).statusCode).toBe(200);
    expect((await invalid.app.inject("/metrics")).body).toContain(
      `${NAMESPACE}_kv_sync_configuration_valid 0\n`,
    );
  } finally {
    await invalid.stop();
  }
});
