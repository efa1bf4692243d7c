/** Threads that make tokens from files: real ones, with a real vocabulary, that are slow, full, ended and refused. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { MetricSlots } from "@kvsync/observability/slots";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import { LineGate } from "../src/log/line-gate.ts";
import { LogLevel } from "../src/log/log-level.ts";
import type { LogLine } from "../src/log/log-line.ts";
import { recordedLines } from "../src/log/testing/recorded-log.ts";
import { SettingsError } from "../src/settings/settings-error.ts";
import { droppedCounters } from "../src/telemetry/dropped-lines.ts";
import { CONFIG_FILE, qwen3, TOKENIZER_FILE } from "../src/tokenizer/testing/qwen3.ts";
import { tokenizeRequest } from "../src/tokenizer/tokenize-request.ts";
import { SegmentMetrics } from "../src/tokenizer/tokenizer-metrics.ts";
import { TokenizerThreads, type TokenizerThreadsOptions } from "../src/tokenizer/tokenizer-threads.ts";
import { Vocabulary } from "../src/tokenizer/vocabulary.ts";
import { until } from "./fleet.ts";

const SCRIPT = new URL("../dist/tokenizer/tokenizer-thread.js", import.meta.url);
const VOCABULARY = {
  model: "m",
  tokenizerFile: TOKENIZER_FILE,
  configFile: CONFIG_FILE,
  isTemplateLocal: true,
};
const OPTIONS: TokenizerThreadsOptions = {
  script: SCRIPT,
  threads: 1,
  vocabularies: [VOCABULARY],
  segmentBytes: 1 << 20,
  requests: 8,
  timeoutMs: 60_000,
  tokensMax: 100_000,
  restartMs: 10,
};
const folder = mkdtempSync(join(tmpdir(), "kvsync-threads-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

async function start(
  options: Partial<TokenizerThreadsOptions> = {},
): Promise<{ threads: TokenizerThreads; lines: LogLine[] }> {
  const { lines, write } = recordedLines();
  const slots = new MetricSlots(CATALOGUE, "main", () => undefined);
  const now = (): number => performance.now();
  const log = new LineGate({
    thread: "main",
    level: LogLevel.create(1),
    write,
    dropped: droppedCounters(slots, "main"),
    now,
  });
  const threads = await TokenizerThreads.start(
    { ...OPTIONS, ...options },
    { log, metrics: new SegmentMetrics(slots) },
  );
  ends.push(() => threads.close());
  return { threads, lines };
}

/** A thread of the test's own that answers as a script says, in place of one that reads files. */
function scripted(name: string, script: string): URL {
  const path = join(folder, `${name}.mjs`);
  writeFileSync(path, `import { parentPort } from "node:worker_threads";\n${script}`);
  return pathToFileURL(path);
}

const ask = (prompt: string) => tokenizeRequest("m", { prompt });
const NO_COUNTS = "{ hits: 0, misses: 0, bytes: 0 }";

describe("with a real vocabulary", () => {
  let shared: TokenizerThreads;
  let end: () => Promise<void>;
  beforeAll(async () => {
    ({ threads: shared } = await start({ threads: 2 }));
    end = ends.pop() ?? (() => Promise.resolve());
  }, 60_000);
  afterAll(() => end());

  test("prompts and conversations have the tokens of the files", async () => {
    const { tokenizer, config } = qwen3();
    const vocabulary = new Vocabulary(tokenizer, config, 0);
    const prompts = ["", "Hello", "naïve 東京 <|im_end|> \n"];
    const answers = await Promise.all(prompts.map((prompt) => shared.encode(ask(prompt))));
    expect(answers).toEqual(
      prompts.map((text) => ({ kind: "tokens", tokens: vocabulary.encode(text, true) })),
    );
    const chat = await shared.encode(
      tokenizeRequest("m", { messages: [{ role: "user", content: "Hello" }] }),
    );
    const text = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n";
    expect(chat).toEqual({ kind: "tokens", tokens: vocabulary.encode(text, false) });
  });

  test("a prompt of more tokens than a lookup takes is refused", async () => {
    const long = "a b ".repeat(60_000);
    expect(await shared.encode(ask(long))).toEqual({ kind: "failed", reason: "tokenizer_refused" });
  });
});

test("Y1: a thread that never answers costs its time, and what waits behind it too", async () => {
  const script = scripted(
    "silent",
    'parentPort.on("message", () => {}); parentPort.postMessage({ kind: "ready" });',
  );
  const { threads } = await start({ script, timeoutMs: 50 });
  const answers = await Promise.all(["a", "b"].map((prompt) => threads.encode(ask(prompt))));
  expect(answers).toEqual([1, 2].map(() => ({ kind: "failed", reason: "tokenizer_timeout" })));
});

test("Y2: requests beyond the number and beyond the length are refused at once", async () => {
  const script = scripted(
    "full",
    'parentPort.on("message", () => {}); parentPort.postMessage({ kind: "ready" });',
  );
  const { threads } = await start({ script, requests: 2, timeoutMs: 200 });
  const waiting = ["a", "b"].map((prompt) => threads.encode(ask(prompt)));
  const overloaded = { kind: "failed", reason: "tokenizer_overloaded" };
  expect(await threads.encode(ask("c"))).toEqual(overloaded);
  await Promise.all(waiting);
  expect(await threads.encode(ask("x".repeat(64 * 1024 * 1024)))).toEqual(overloaded);
});

test("Y3: a thread that ends fails its job, is logged by name, and is replaced", async () => {
  const script = scripted(
    "mortal",
    `parentPort.on("message", ({ id, body }) => {
       if (body.includes("die")) throw new TypeError("of this");
       const outcome = { kind: "tokens", tokens: new Uint32Array([7]) };
       parentPort.postMessage({ kind: "done", id, outcome, counts: ${NO_COUNTS} });
     });
     parentPort.postMessage({ kind: "ready" });`,
  );
  const { threads, lines } = await start({ script });
  expect(await threads.encode(ask("die"))).toEqual({ kind: "failed", reason: "tokenizer_unavailable" });
  const answer = await until("another thread answers", async () => {
    const outcome = await threads.encode(ask("a"));
    return outcome.kind === "tokens" ? outcome : null;
  });
  expect(answer.tokens).toEqual(new Uint32Array([7]));
  expect(lines).toMatchObject([
    {
      level: "error",
      event: "tokenizer_thread_died",
      facts: { thread: "tokenizer-0", error_type: "TypeError" },
    },
  ]);
});

test("Y3: a thread that works on one job for too long is ended and replaced", async () => {
  const script = scripted(
    "stuck",
    'parentPort.on("message", () => {}); parentPort.postMessage({ kind: "ready" });',
  );
  const { threads, lines } = await start({ script, timeoutMs: 50, stuckMs: 10 });
  expect(await threads.encode(ask("a"))).toEqual({ kind: "failed", reason: "tokenizer_timeout" });
  await until("its end is logged", () => Promise.resolve(lines.length > 0));
  expect(lines[0]).toMatchObject({ event: "tokenizer_thread_died", facts: { thread: "tokenizer-0" } });
  await until("another thread takes jobs", async () => {
    const outcome = await threads.encode(ask("b"));
    return outcome.kind === "failed" && outcome.reason === "tokenizer_timeout";
  });
});

test("an idle thread takes a beginning that it had before, and another one takes it while that one is busy", async () => {
  const script = scripted(
    "named",
    `const own = Math.random() * 2 ** 31 >>> 0;
     parentPort.on("message", ({ id, body }) => {
       const outcome = { kind: "tokens", tokens: new Uint32Array([own]) };
       setTimeout(() => parentPort.postMessage({ kind: "done", id, outcome, counts: ${NO_COUNTS} }), 20);
     });
     parentPort.postMessage({ kind: "ready" });`,
  );
  const { threads } = await start({ script, threads: 2 });
  const by = async (prompt: string): Promise<number> => {
    const outcome = await threads.encode(ask(prompt));
    return outcome.kind === "tokens" ? (outcome.tokens[0] ?? -1) : -1;
  };
  const beginning = "system ".repeat(400);
  const first = await by(`${beginning}one`);
  for (const turn of ["two", "three", "four"]) expect(await by(beginning + turn)).toBe(first);
  expect(new Set(await Promise.all([by(`${beginning}five`), by(`${beginning}six`)])).size).toBe(2);
});

test.each([
  ["tokenizerFile", "there is no such file", join(folder, "missing.json")],
  ["tokenizerFile", "is no tokenizer.json of Hugging Face", CONFIG_FILE],
  ["configFile", "is a folder", folder],
] as const)(
  "a %s of which it is said that %s ends the start with the setting and the path",
  async (field, says, path) => {
    const failed = start({ vocabularies: [{ ...VOCABULARY, [field]: path }] });
    await expect(failed).rejects.toThrow(SettingsError);
    await expect(failed).rejects.toThrow(
      new RegExp(`^tokenizer\\.models \\(m\\): \\w+_file: \\S+: ${says}.*; expected `),
    );
  },
);
