/**
 * The tokenizer's client against real servers that answer, refuse, fail once, hang and hang up. The
 * claims: every failure has its reason, none takes longer than the deadline, and no known or
 * pending prompt is asked twice.
 */
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { Exposition } from "@kvsync/observability/exposition";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { TOKENIZER_OUTCOMES } from "@kvsync/observability/kvsync/tokenizer";
import { MetricSlots } from "@kvsync/observability/slots";
import { afterEach, expect, test } from "vitest";

import { LineGate } from "../src/log/line-gate.ts";
import { LogLevel } from "../src/log/log-level.ts";
import type { LogLine } from "../src/log/log-line.ts";
import { recordedLines } from "../src/log/testing/recorded-log.ts";
import { droppedCounters } from "../src/telemetry/dropped-lines.ts";
import {
  RemoteTokenizer,
  type RemoteTokenizerOptions,
  tokenCache,
} from "../src/tokenizer/remote-tokenizer.ts";
import { TOKENIZER_FAILURES } from "../src/tokenizer/tokenize-outcome.ts";
import { tokenizeRequest } from "../src/tokenizer/tokenize-request.ts";
import { TokenizerMetrics } from "../src/tokenizer/tokenizer-metrics.ts";
import { byByte, hangUp, silence, status, TokenizerServer } from "./tokenizer-server.ts";

const OPTIONS = {
  timeout_seconds: 5,
  connections: 2,
  requests: 8,
  circuit_failures: 3,
  circuit_open_seconds: 10,
  tokensMax: 1000,
};

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

async function serve(...answers: Parameters<typeof TokenizerServer.start>): Promise<TokenizerServer> {
  const server = await TokenizerServer.start(...answers);
  ends.push(() => server.stop());
  return server;
}

function client(
  endpoint: string,
  options: Partial<RemoteTokenizerOptions> & { readonly cache_bytes?: number } = {},
  now: () => number = () => performance.now(),
): { tokenizer: RemoteTokenizer; scrape: () => Promise<string>; lines: LogLine[] } {
  const { lines, write } = recordedLines();
  const exposition = new Exposition(CATALOGUE);
  const slots = new MetricSlots(CATALOGUE, "main", (announcement) => {
    exposition.accept(announcement);
  });
  const log = new LineGate({
    thread: "sync",
    level: LogLevel.create(1),
    write,
    dropped: droppedCounters(slots, "main"),
    now,
  });
  const { cache_bytes: bytes = 1 << 20, ...more } = options;
  const cache = tokenCache(bytes);
  const tokenizer = new RemoteTokenizer(
    { ...OPTIONS, engine: "vllm", label: "m", cache, ...more, endpoint },
    new TokenizerMetrics(slots, { thread: "main", tokenizer: "m" }),
    now,
    { log, tracing: null },
  );
  ends.push(() => tokenizer.close());
  return { tokenizer, scrape: () => exposition.scrape(), lines };
}

const ask = (prompt: string) => tokenizeRequest("m", { prompt });

test("a prompt's tokens come from /tokenize below the endpoint's path, over kept connections, and are remembered", async () => {
  const server = await serve(byByte);
  const { tokenizer, scrape } = client(`${server.endpoint}/proxy/`);
  expect(await tokenizer.tokenize(ask("ab"))).toEqual({ kind: "tokens", tokens: new Uint32Array([97, 98]) });
  await tokenizer.tokenize(ask("c"));
  await tokenizer.tokenize(ask("ab"));
  expect(server.urls).toEqual(["/proxy/tokenize", "/proxy/tokenize"]);
  expect(JSON.parse(server.bodies[0] ?? "")).toEqual({ model: "m", prompt: "ab" });
  const text = await scrape();
  expect(text).toContain(`${NAMESPACE}_kv_tokenizer_cache_lookups_total{result="hit"} 1`);
  expect(text).toContain(`${NAMESPACE}_kv_tokenizer_requests_total{tokenizer="m",outcome="ok"} 2`);
  for (let i = 0; i < 20; i++) await tokenizer.tokenize(ask(`${i}`));
  expect(server.connections).toBeLessThanOrEqual(OPTIONS.connections);
});

test("equal requests at the same time are one request, and each gets the tokens", async () => {
  const server = await serve(byByte);
  const { tokenizer } = client(server.endpoint);
  const answers = await Promise.all(Array.from({ length: 20 }, () => tokenizer.tokenize(ask("xyz"))));
  expect(server.bodies).toHaveLength(1);
  expect(answers.every((answer) => answer.kind === "tokens" && answer.tokens.length === 3)).toBe(true);
});

test("the cache forgets the least recently used when its bytes are used up, and with 0 bytes remembers nothing", async () => {
  const server = await serve(byByte);
  const long = "x".repeat(500);
  const { tokenizer } = client(server.endpoint, { cache_bytes: 5000 });
  for (const prompt of [`a${long}`, `b${long}`, `c${long}`, `c${long}`, `a${long}`])
    await tokenizer.tokenize(ask(prompt));
  expect(server.bodies).toHaveLength(4);
  const { tokenizer: forgetful } = client(server.endpoint, { cache_bytes: 0 });
  await forgetful.tokenize(ask("a"));
  await forgetful.tokenize(ask("a"));
  expect(server.bodies).toHaveLength(6);
});

test.each([
  ["one server error", [status(503), byByte]],
  ["one dropped connection", [hangUp, byByte]],
] as const)("%s is made good by a second attempt", async (_what, answers) => {
  const server = await serve(...answers);
  expect(await client(server.endpoint).tokenizer.tokenize(ask("a"))).toMatchObject({ kind: "tokens" });
  expect(server.bodies).toHaveLength(2);
});

test.each([
  ["tokenizer_unavailable", [status(500)], 2],
  ["tokenizer_unavailable", [hangUp], 2],
  ["tokenizer_refused", [status(400)], 1],
  ["tokenizer_overloaded", [status(429)], 1],
  ["tokenizer_malformed", [(_: unknown, response) => response.end("not JSON")], 1],
  ["tokenizer_malformed", [(_: unknown, response) => response.end('{"tokens":[1,-2]}')], 1],
  ["tokenizer_malformed", [(_: unknown, response) => response.end('{"tokens":[1,2.5]}')], 1],
  ["tokenizer_malformed", [(_: unknown, response) => response.end('{"count":0}')], 1],
  ["tokenizer_malformed", [(_: unknown, response) => response.end(`{"tokens":[${"1,".repeat(1000)}1]}`)], 1],
  ["tokenizer_malformed", [(_: unknown, response) => response.end(" ".repeat(1 << 20))], 1],
] as [string, Parameters<typeof TokenizerServer.start>, number][])(
  "%s: an answer like %o is a failure with that reason after %i attempts",
  async (reason, answers, attempts) => {
    const server = await serve(...answers);
    const { tokenizer, scrape } = client(server.endpoint);
    expect(await tokenizer.tokenize(ask("a"))).toEqual({ kind: "failed", reason });
    expect(server.bodies).toHaveLength(attempts);
    expect(tokenizer.status.lastFailure).toBe(reason);
    expect(await scrape()).toContain(
      `${NAMESPACE}_kv_tokenizer_requests_total{tokenizer="m",outcome="${reason}"} 1`,
    );
  },
);

test("nobody listening is unavailable, and silence is a timeout at the deadline, not later (T1)", async () => {
  const gone = await TokenizerServer.start(silence);
  const { endpoint } = gone;
  await gone.stop();
  expect(await client(endpoint).tokenizer.tokenize(ask("a"))).toEqual({
    kind: "failed",
    reason: "tokenizer_unavailable",
  });
  const server = await serve(silence);
  const { tokenizer } = client(server.endpoint, { timeout_seconds: 0.1 });
  const startedMs = performance.now();
  expect(await tokenizer.tokenize(ask("a"))).toEqual({ kind: "failed", reason: "tokenizer_timeout" });
  expect(performance.now() - startedMs).toBeLessThan(2000);
  expect(server.bodies).toHaveLength(1);
});

test("requests beyond the bound are refused at once, while those under way go on (T2)", async () => {
  const server = await serve(silence);
  const { tokenizer } = client(server.endpoint, { requests: 2, timeout_seconds: 0.3 });
  const waiting = ["a", "b"].map((prompt) => tokenizer.tokenize(ask(prompt)));
  expect(await tokenizer.tokenize(ask("c"))).toEqual({ kind: "failed", reason: "tokenizer_overloaded" });
  const reasons = (await Promise.all(waiting)).map((answer) => answer.kind === "failed" && answer.reason);
  expect(reasons).toEqual(["tokenizer_timeout", "tokenizer_timeout"]);
});

test("a tokenizer that keeps failing is left alone, tried once after a while, and used again when it answers", async () => {
  const server = await serve(status(500));
  let now = 0;
  const { tokenizer, scrape, lines } = client(server.endpoint, {}, () => now);
  for (const prompt of ["a", "b", "c"]) await tokenizer.tokenize(ask(prompt));
  const asked = server.bodies.length;
  expect(await tokenizer.tokenize(ask("d"))).toEqual({ kind: "failed", reason: "circuit_open" });
  expect(server.bodies).toHaveLength(asked);
  expect(await scrape()).toContain(`${NAMESPACE}_kv_tokenizer_circuit_state{thread="main",tokenizer="m"} 2`);
  server.answers = [byByte];
  now = 10_000;
  expect(await tokenizer.tokenize(ask("d"))).toMatchObject({ kind: "tokens" });
  expect(tokenizer.status).toEqual({ circuit: "closed", lastFailure: null });
  expect(await scrape()).toContain(`${NAMESPACE}_kv_tokenizer_circuit_state{thread="main",tokenizer="m"} 0`);
  expect(lines).toMatchObject([
    {
      level: "warn",
      component: "tokenizer",
      event: "tokenizer_circuit_opened",
      facts: { tokenizer: "m", reason: "tokenizer_unavailable", seconds: OPTIONS.circuit_open_seconds },
    },
    { level: "info", event: "tokenizer_circuit_closed", facts: { tokenizer: "m" } },
  ]);
});

test("refusals of prompts are the callers' affair: no number of them opens the circuit (T3)", async () => {
  const server = await serve(status(400));
  const { tokenizer } = client(server.endpoint);
  for (let i = 0; i < 10; i++) await tokenizer.tokenize(ask(`${i}`));
  expect(tokenizer.status.circuit).toBe("closed");
  expect(server.bodies).toHaveLength(10);
});

test("questions that differ in any option have digests of their own, and a digest does not hold the prompt (T4)", () => {
  const fields = [
    { prompt: "a secret" },
    { prompt: "a secret", add_special_tokens: false },
    { messages: [{ role: "user", content: "a secret" }] },
    { messages: [{ role: "user", content: "a secret" }], add_generation_prompt: false },
    { messages: [{ role: "user", content: "a secret" }], chat_template_kwargs: { thinking: true } },
  ];
  const digests = [
    ...fields.map((field) => tokenizeRequest("m", field)),
    tokenizeRequest("n", { prompt: "a secret" }),
  ];
  expect(new Set(digests.map(({ digest }) => digest)).size).toBe(digests.length);
  expect(digests.every(({ digest }) => digest.length === 44)).toBe(true);
  expect(digests.map(({ digest }) => digest).join()).not.toMatch(/a secret|YSBzZWNyZXQ/);
});

test("the catalogue's outcomes are exactly ok and the reasons there are", () => {
  expect([...TOKENIZER_OUTCOMES].sort()).toEqual(["ok", ...Object.keys(TOKENIZER_FAILURES)].sort());
});
