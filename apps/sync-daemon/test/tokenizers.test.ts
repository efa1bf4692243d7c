/** Tokenizers of models, against real servers: each answers its own models, and all share one memory. */
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { Exposition } from "@kvsync/observability/exposition";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { MetricSlots } from "@kvsync/observability/slots";
import { afterEach, expect, test } from "vitest";

import { LineGate } from "../src/log/line-gate.ts";
import { LogLevel } from "../src/log/log-level.ts";
import { readSettings } from "../src/settings/read-settings.ts";
import type { TokenizerModel } from "../src/settings/tokenizer-settings.ts";
import { droppedCounters } from "../src/telemetry/dropped-lines.ts";
import { tokenizeRequest } from "../src/tokenizer/tokenize-request.ts";
import { Tokenizers } from "../src/tokenizer/tokenizers.ts";
import { byByte, status, TokenizerServer } from "./tokenizer-server.ts";

const SCRIPT = new URL("../dist/tokenizer/tokenizer-thread.js", import.meta.url);
const REMOTE = {
  endpoint: null,
  engine: "vllm",
  tokenizer_file: null,
  config_file: null,
  template: "remote",
} as const;

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

async function serve(...answers: Parameters<typeof TokenizerServer.start>): Promise<TokenizerServer> {
  const server = await TokenizerServer.start(...answers);
  ends.push(() => server.stop());
  return server;
}

async function open(
  endpoint: string | null,
  models: readonly (Pick<TokenizerModel, "model"> & Partial<TokenizerModel>)[],
  more: Readonly<Record<string, string>> = {},
): Promise<{ tokenizers: Tokenizers; scrape: () => Promise<string> }> {
  const exposition = new Exposition(CATALOGUE);
  const metrics = new MetricSlots(CATALOGUE, "main", (announcement) => {
    exposition.accept(announcement);
  });
  const now = (): number => performance.now();
  const dropped = droppedCounters(metrics, "main");
  const log = new LineGate({
    thread: "main",
    level: LogLevel.create(1),
    write: () => undefined,
    dropped,
    now,
  });
  const { settings } = readSettings([], more);
  const { sync, tokenizer, limits } = settings;
  const tokenizers = await Tokenizers.open(
    {
      sync: { ...sync, tokenizer_endpoint: endpoint },
      tokenizer: { ...tokenizer, models: models.map((entry) => ({ ...REMOTE, ...entry })) },
      limits,
    },
    { metrics, thread: "main", watch: { log, tracing: null }, now, threadScript: SCRIPT },
  );
  ends.push(() => tokenizers.close());
  return { tokenizers, scrape: () => exposition.scrape() };
}

const prompt = { prompt: "ab" };
const asked = ({ bodies }: TokenizerServer): unknown[] => bodies.map((body) => JSON.parse(body) as unknown);

test("each model's question goes to its own tokenizer, and any other model's to the default one (Z1)", async () => {
  const [own, others] = [await serve(byByte), await serve(byByte)];
  const { tokenizers } = await open(others.endpoint, [{ model: "a", endpoint: own.endpoint }]);
  await tokenizers.tokenize(tokenizeRequest("a", prompt));
  await tokenizers.tokenize(tokenizeRequest("b", prompt));
  expect(asked(own)).toEqual([{ model: "a", prompt: "ab" }]);
  expect(asked(others)).toEqual([{ model: "b", prompt: "ab" }]);
});

test("a model whose own tokenizer fails has no tokens: the default one is not asked for it (Z1)", async () => {
  const [own, others] = [await serve(status(500)), await serve(byByte)];
  const { tokenizers } = await open(others.endpoint, [{ model: "a", endpoint: own.endpoint }]);
  expect(await tokenizers.tokenize(tokenizeRequest("a", prompt))).toEqual({
    kind: "failed",
    reason: "tokenizer_unavailable",
  });
  expect(others.bodies).toEqual([]);
});

test("an adapter's question goes to its model's own tokenizer, for the model; the default one is asked for the adapter (Z2)", async () => {
  const [own, others] = [await serve(byByte), await serve(byByte)];
  const { tokenizers } = await open(others.endpoint, [{ model: "a", endpoint: own.endpoint }]);
  await tokenizers.tokenize(tokenizeRequest("adapter-of-a", prompt, { model: "a" }));
  await tokenizers.tokenize(tokenizeRequest("adapter-of-b", prompt, { model: "b" }));
  await tokenizers.tokenize(tokenizeRequest("other-adapter-of-a", prompt, { model: "a" }));
  // The second adapter of the same model finds the tokens of the first.
  expect(asked(own)).toEqual([{ model: "a", prompt: "ab" }]);
  expect(asked(others)).toEqual([{ model: "adapter-of-b", prompt: "ab" }]);
});

test("a tokenizer that fails leaves the others' circuits closed, and the metrics name it (Z3)", async () => {
  const [own, others] = [await serve(status(500)), await serve(byByte)];
  const models = [{ model: "a", endpoint: own.endpoint }] as const;
  const { tokenizers, scrape } = await open(others.endpoint, models, {
    KVSYNC_TOKENIZER_CIRCUIT_FAILURES: "1",
  });
  await tokenizers.tokenize(tokenizeRequest("a", prompt));
  expect(await tokenizers.tokenize(tokenizeRequest("a", prompt))).toMatchObject({ reason: "circuit_open" });
  expect(await tokenizers.tokenize(tokenizeRequest("b", prompt))).toMatchObject({ kind: "tokens" });
  const text = await scrape();
  for (const line of [
    'circuit_state{thread="main",tokenizer="a"} 2',
    'circuit_state{thread="main",tokenizer="default"} 0',
    'requests_total{tokenizer="a",outcome="circuit_open"} 1',
    'requests_total{tokenizer="default",outcome="ok"} 1',
  ])
    expect(text).toContain(`${NAMESPACE}_kv_tokenizer_${line}`);
});

test("all tokenizers remember within one limit (Z3)", async () => {
  const [own, others] = [await serve(byByte), await serve(byByte)];
  const models = [{ model: "a", endpoint: own.endpoint }] as const;
  const { tokenizers } = await open(others.endpoint, models, { KVSYNC_TOKENIZER_CACHE_BYTES: "3000" });
  const long = { prompt: "x".repeat(500) };
  for (const model of ["a", "b", "a"]) await tokenizers.tokenize(tokenizeRequest(model, long));
  // Each answer takes 2,256 bytes: the second one took the place of the first.
  expect(own.bodies).toHaveLength(2);
});

test("without any tokenizer for its model a prompt has no tokens, and the reason says so", async () => {
  const own = await serve(byByte);
  const { tokenizers, scrape } = await open(null, [{ model: "a", endpoint: own.endpoint }]);
  const reason = "tokenizer_not_configured";
  expect(await tokenizers.tokenize(tokenizeRequest("b", prompt))).toEqual({ kind: "failed", reason });
  expect(await scrape()).toContain(`requests_total{tokenizer="default",outcome="${reason}"} 1`);
});

const messages = [{ role: "user", content: "hi" }];

test.each([
  [prompt, { prompt: "ab" }],
  [
    { prompt: "ab", add_special_tokens: false },
    { prompt: "ab", add_special_tokens: false },
  ],
  [{ messages }, { messages }],
  [
    { messages, add_generation_prompt: true, chat_template_kwargs: { thinking: false }, tools: [{}] },
    { messages, chat_template_kwargs: { thinking: false }, tools: [{}] },
  ],
  [
    { messages, add_generation_prompt: false, continue_final_message: true },
    { messages, continue_final_message: true },
  ],
])("SGLang is asked %j as %j", async (fields, body) => {
  const server = await serve(byByte);
  const { tokenizers } = await open(null, [{ model: "a", endpoint: server.endpoint, engine: "sglang" }]);
  await tokenizers.tokenize(tokenizeRequest("a", fields));
  expect(asked(server)).toEqual([{ model: "a", ...body }]);
});

test.each([
  [{ messages, chat_template: "{{ messages }}" }],
  [{ messages, add_generation_prompt: false }],
  [{ messages, add_special_tokens: true }],
  [{ messages, add_generation_prompt: true, continue_final_message: true }],
])("SGLang is not asked %j, which it would answer as another question", async (fields) => {
  const server = await serve(byByte);
  const { tokenizers } = await open(null, [{ model: "a", endpoint: server.endpoint, engine: "sglang" }]);
  const refused = { kind: "failed", reason: "tokenizer_refused" };
  expect(await tokenizers.tokenize(tokenizeRequest("a", fields))).toEqual(refused);
  expect(server.bodies).toEqual([]);
});
