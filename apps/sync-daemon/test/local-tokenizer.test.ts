/**
 * A model's local tokenizer with real threads, a real vocabulary and a remote tokenizer on a real socket, which agrees with it
 * or not. Time is the test's.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { Exposition } from "@kvsync/observability/exposition";
import { MetricSlots } from "@kvsync/observability/slots";
import { PARITY_OUTCOMES } from "@kvsync/observability/kvsync/tokenizer";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { LineGate } from "../src/log/line-gate.ts";
import { LogLevel } from "../src/log/log-level.ts";
import type { LogLine } from "../src/log/log-line.ts";
import { droppedCounters } from "../src/telemetry/dropped-lines.ts";
import { openVocabulary, tokenizeLocally } from "../src/tokenizer/local-encoding.ts";
import { LocalTokenizer } from "../src/tokenizer/local-tokenizer.ts";
import { RemoteTokenizer, tokenCache } from "../src/tokenizer/remote-tokenizer.ts";
import { CONFIG_FILE, TOKENIZER_FILE } from "../src/tokenizer/testing/qwen3.ts";
import { tokenizeRequest, type TokenizerFields } from "../src/tokenizer/tokenize-request.ts";
import { SegmentMetrics, TokenizerMetrics } from "../src/tokenizer/tokenizer-metrics.ts";
import { TokenizerThreads } from "../src/tokenizer/tokenizer-threads.ts";
import { startInProcess } from "./daemon-in-process.ts";
import { until } from "./fleet.ts";
import { status, TokenizerServer } from "./tokenizer-server.ts";

const SCRIPT = new URL("../dist/tokenizer/tokenizer-thread.js", import.meta.url);
const FILES = { model: "m", tokenizerFile: TOKENIZER_FILE, configFile: CONFIG_FILE, isTemplateLocal: true };
const ENTRY = { model: "m", tokenizer_file: TOKENIZER_FILE, config_file: CONFIG_FILE, template: "local" };
const engine = openVocabulary(FILES, 1 << 20);
const SECRET = "a secret of a user";

type Answer = Parameters<typeof TokenizerServer.start>[0];

/** An engine with the same files. */
const alike: Answer = ({ body }, response) => {
  const outcome = tokenizeLocally(engine, body, 1e6);
  const tokens = outcome.kind === "tokens" ? [...outcome.tokens] : [];
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ tokens }));
};

/** An engine whose template opens each conversation otherwise. */
const other: Answer = ({ body }, response) => {
  const outcome = tokenizeLocally(engine, body, 1e6);
  const tokens = outcome.kind === "tokens" ? [...outcome.tokens] : [];
  tokens[3] = 0;
  response.end(JSON.stringify({ tokens }));
};

const slots = new MetricSlots(CATALOGUE, "main", (announcement) => {
  exposition.accept(announcement);
});
const exposition = new Exposition(CATALOGUE);
let threads: TokenizerThreads;
let logged: LogLine[] = [];
const write = (line: LogLine): void => {
  logged.push(line);
};
const log = new LineGate({
  thread: "main",
  level: LogLevel.create(4),
  write,
  dropped: droppedCounters(slots, "main"),
  now: () => performance.now(),
});

beforeAll(async () => {
  threads = await TokenizerThreads.start(
    {
      script: SCRIPT,
      threads: 1,
      vocabularies: [FILES],
      segmentBytes: 1 << 20,
      requests: 64,
      timeoutMs: 30_000,
      tokensMax: 1e6,
    },
    { log, metrics: new SegmentMetrics(slots) },
  );
}, 60_000);
afterAll(() => threads.close());

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  logged = [];
  for (const end of ends.splice(0)) await end();
});

interface Bench {
  readonly server: TokenizerServer;
  readonly local: LocalTokenizer;
  readonly ask: (fields: TokenizerFields) => Promise<number[] | string>;
  /** How often the remote tokenizer was asked since the last time. */
  readonly asked: () => number;
  readonly pass: (ms: number) => void;
}

async function bench(answer: Answer, isTemplateLocal = true, sample = 1_000_000): Promise<Bench> {
  const server = await TokenizerServer.start(answer);
  ends.push(() => server.stop());
  let nowMs = 0;
  const now = (): number => nowMs;
  const metrics = new TokenizerMetrics(slots, {
    thread: "main",
    tokenizer: "m",
    isCompared: isTemplateLocal,
  });
  const remote = new RemoteTokenizer(
    {
      endpoint: server.endpoint,
      engine: "vllm",
      label: "m",
      cache: null,
      tokensMax: 1e6,
      timeout_seconds: 30,
      connections: 2,
      requests: 64,
      circuit_failures: 1000,
      circuit_open_seconds: 1,
    },
    metrics,
    now,
    { log, tracing: null },
  );
  ends.push(() => remote.close());
  const parts = { model: "m", threads, remote, cache: tokenCache(1 << 20), metrics, log, now };
  const local = new LocalTokenizer(parts, isTemplateLocal ? { sample } : null);
  let seen = 0;
  return {
    server,
    local,
    ask: async (fields) => {
      const outcome = await local.tokenize(tokenizeRequest("m", fields, { source: JSON.stringify(fields) }));
      return outcome.kind === "tokens" ? [...outcome.tokens] : outcome.reason;
    },
    asked: () => {
      const count = server.bodies.length - seen;
      seen = server.bodies.length;
      return count;
    },
    pass: (ms) => {
      nowMs += ms;
    },
  };
}

const chat = (content: string): TokenizerFields => ({ messages: [{ role: "user", content }] });
const tokensOf = (fields: TokenizerFields): number[] => {
  const outcome = tokenizeLocally(engine, tokenizeRequest("m", fields).body, 1e6);
  return outcome.kind === "tokens" ? [...outcome.tokens] : [];
};

async function parity(): Promise<Record<string, number>> {
  const text = await exposition.scrape();
  const found = text.matchAll(
    new RegExp(`^${NAMESPACE}_kv_tokenizer_parity_total\\{.*outcome="(\\w+)"\\} (\\d+)$`, "gm"),
  );
  return Object.fromEntries([...found].map(([, outcome = "", count]) => [outcome, Number(count)]));
}

test("prompts are encoded here, conversations by the remote tokenizer unless the template is local", async () => {
  const { ask, asked } = await bench(alike, false);
  expect(await ask({ prompt: "Hello" })).toEqual(tokensOf({ prompt: "Hello" }));
  expect(asked()).toBe(0);
  expect(await ask(chat("Hello"))).toEqual(tokensOf(chat("Hello")));
  expect(asked()).toBe(1);
});

test("L1: conversations are rendered here once all probes agree, and only plain ones", async () => {
  const { ask, asked, local } = await bench(alike);
  await local.prove();
  expect(local.isTemplateTrusted).toBe(true);
  asked();
  expect(await ask(chat("Hello"))).toEqual(tokensOf(chat("Hello")));
  expect(asked()).toBe(0);
  await ask({ ...chat("Hello"), continue_final_message: true });
  expect(asked()).toBe(1);
  expect(logged.filter(({ event }) => event !== "tokenizer_asked")).toMatchObject([
    { level: "info", event: "template_trusted", facts: { tokenizer: "m" } },
  ]);
});

test("L1: while the engine does not answer, it gets the conversations, and probes follow when it does", async () => {
  const { server, ask, local, pass } = await bench(status(500));
  await local.prove();
  expect(await ask(chat("Hello"))).toBe("tokenizer_unavailable");
  server.answers = [alike];
  pass(10_000);
  await ask(chat("again"));
  await until("the template is trusted", () => Promise.resolve(local.isTemplateTrusted));
});

test("L1: a probe that differs keeps conversations with the remote tokenizer for ten minutes, and is logged with its position", async () => {
  const before = await parity();
  const { server, ask, asked, local, pass } = await bench(other);
  await local.prove();
  expect(local.isTemplateTrusted).toBe(false);
  expect((await parity())["differ"]).toBe((before["differ"] ?? 0) + 1);
  expect(logged.filter(({ event }) => event === "template_differs")).toMatchObject([
    { level: "warn", facts: { tokenizer: "m", what: "a conversation", position: 3, seconds: 600 } },
  ]);
  server.answers = [alike];
  pass(599_999);
  await ask(chat("a"));
  asked();
  await ask(chat("b"));
  expect(asked()).toBe(1);
  pass(1);
  await ask(chat("c"));
  await until("the template is trusted", () => Promise.resolve(local.isTemplateTrusted));
});

test("L2: one of so many requests is compared after its answer, and the first difference ends the trust", async () => {
  const { server, ask, asked, local } = await bench(alike, true, 3);
  await local.prove();
  asked();
  const before = await parity();
  for (const i of [1, 2, 3]) await ask(chat(`${SECRET} ${i}`));
  await until("the third is compared", async () => (await parity())["agree"] === (before["agree"] ?? 0) + 1);
  expect(asked()).toBe(1);
  server.answers = [other];
  for (const i of [4, 5, 6])
    expect(await ask(chat(`${SECRET} ${i}`))).toEqual(tokensOf(chat(`${SECRET} ${i}`)));
  await until("the template is not trusted", () => Promise.resolve(!local.isTemplateTrusted));
  expect(logged.at(-1)).toMatchObject({ event: "template_differs", facts: { what: "request", position: 3 } });
  expect(JSON.stringify(logged)).not.toContain(SECRET);
  expect(await exposition.scrape()).not.toContain(SECRET);
});

test("a conversation that is asked for again is remembered whole", async () => {
  const { ask, asked, local } = await bench(alike);
  await local.prove();
  asked();
  const misses = async (): Promise<string | undefined> =>
    /segment_cache_lookups_total\{result="miss"\} (\d+)/.exec(await exposition.scrape())?.[1];
  await ask(chat("once"));
  const before = await misses();
  await ask(chat("once"));
  expect(await misses()).toBe(before);
  expect(asked()).toBe(0);
});

test("lookups over HTTP: tools with a number that Python writes otherwise go to the remote tokenizer", async () => {
  const server = await TokenizerServer.start(alike);
  const folder = mkdtempSync(join(tmpdir(), "kvsync-local-"));
  const models = [{ ...ENTRY, endpoint: server.endpoint }];
  writeFileSync(join(folder, "kvsync.yaml"), JSON.stringify({ tokenizer: { models, timeout_seconds: 30 } }));
  const daemon = await startInProcess(["--config", join(folder, "kvsync.yaml")]);
  ends.push(async () => {
    await daemon.stop();
    await server.stop();
    rmSync(folder, { recursive: true });
  });
  const post = (url: string, payload: string) =>
    daemon.app.inject({ method: "POST", url, headers: { "content-type": "application/json" }, payload });
  await post("/api/v1/engines", '{"id":"a","model":"m","endpoint":"tcp://127.0.0.1:19993"}');
  await until("the template is trusted", () =>
    Promise.resolve(daemon.log.some(({ event }) => event === "template_trusted")),
  );
  const asked = async (number: string): Promise<number> => {
    const before = server.bodies.length;
    const parameters = `{"type":"object","properties":{"n":{"type":"number","default":${number}}}}`;
    const tools = `[{"type":"function","function":{"name":"f","description":"d","parameters":${parameters}}}]`;
    const body = `{"model":"m","messages":[{"role":"user","content":"${number}"}],"tools":${tools}}`;
    const answer = (await post("/api/v1/match", body)).json<{ reason: string | null }>();
    expect(answer.reason).toBeNull();
    return server.bodies.length - before;
  };
  expect([await asked("1"), await asked("0.5"), await asked("1.0"), await asked("1e3")]).toEqual([
    0, 0, 1, 1,
  ]);
}, 60_000);

test("the catalogue's outcomes are those of a comparison", () => {
  expect([...PARITY_OUTCOMES].sort()).toEqual(["agree", "differ", "unanswered"]);
});
