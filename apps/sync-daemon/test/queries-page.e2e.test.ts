/**
 * The page for gateways' authors and the client's README are correct. Each command and the five
 * lines are run against a real daemon with a real engine. The client asks it in each of its forms.
 */
import { execFile, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";

import { ClientError, KvsyncClient } from "@kvsync/client";
import { PrefixHasher, toBigInt } from "@kvsync/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { CLIENT_SEES_WHAT_IS_SENT } from "./client-contract.ts";
import { matchAnswer } from "../src/query/match-answer.ts";
import { DaemonProcess } from "./daemon-process.ts";
import { caughtUp, TestEngine } from "./fleet.ts";
import { PageShell, pageCommands } from "./operator-page.ts";

const README = readFileSync(new URL("../../../packages/client/README.md", import.meta.url), "utf8");
/** Not the synchronous one: the engine lives in this process and has to answer meanwhile. Rejects when the command fails. */
const execute = promisify(execFile);
const SCRATCH = new URL("../test-results/", import.meta.url);
const TEXT = "a prompt that is long enough for several blocks of sixteen tokens, and then some more of it";

let engine: TestEngine;
let daemon: DaemonProcess;
let client: KvsyncClient;
let tokens: number[];

beforeAll(async () => {
  engine = await TestEngine.start({ id: "engine-0", model: "demo/model" }, 1, { httpPort: 0 });
  const tokenizer = engine.server.httpUrl ?? "";
  daemon = await DaemonProcess.start({ engines: [engine.entry], sync: { tokenizer_endpoint: tokenizer } });
  client = new KvsyncClient({ url: daemon.url, timeoutMs: 5000 });
  const response = await fetch(`${tokenizer}/tokenize`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt: TEXT }),
  });
  ({ tokens } = (await response.json()) as { tokens: number[] });
  const promptTokens = Uint32Array.from(tokens);
  engine.engine.submit({ id: 1, promptTokens, output: { count: 1, seed: 1 } }, Date.now() / 1000);
  await engine.serve(0);
  await caughtUp(daemon, [engine]);
});

afterAll(async () => {
  await daemon.end();
  await engine.stop();
});

const here = (text: string): string => text.replaceAll("http://127.0.0.1:7070", daemon.url);

const hasCurl = spawnSync("curl", ["--version"]).status === 0;
describe.skipIf(!hasCurl)("the page's commands (need curl)", () => {
  const shell = new PageShell();
  afterAll(() => {
    shell.close();
  });
  const commands = pageCommands("queries.md").filter(({ mode }) => mode?.run === true);

  test("there are some", () => {
    expect(commands.length).toBeGreaterThan(4);
  });

  test.each(commands)("$text", async ({ text }) => {
    const run = await shell.run(text, daemon.url);
    expect(run.stderr).toBe("");
    expect(run.stdout.length).toBeGreaterThan(1);
    if (text.includes("/api/v1/match"))
      expect(matchAnswer.parse(JSON.parse(run.stdout))).toMatchObject({ decision: "exact", reason: null });
  });
});

test("the client's five lines find the engine that holds the prompt", async () => {
  const code =
    [...README.matchAll(/```ts\n([\s\S]*?)```/g)]
      .map(([, text = ""]) => text)
      .find((text) => text.includes("choose(")) ?? "";
  expect(
    code
      .trim()
      .split("\n")
      .filter((line) => line !== ""),
  ).toHaveLength(5);
  mkdirSync(SCRATCH, { recursive: true });
  const script = new URL("client-readme.mjs", SCRATCH);
  // A process's first call loads the runtime's fetch, which a busy machine does not do in the default's 100 ms.
  const patient = here(code).replace(`url: "${daemon.url}"`, `url: "${daemon.url}", timeoutMs: 10_000`);
  writeFileSync(script, `${patient.replace("[1, 2, 3]", JSON.stringify(tokens))}\nconsole.log(engine);\n`);
  const run = await execute(process.execPath, [script.pathname], { timeout: 60_000 });
  expect(run.stderr).toBe("");
  expect(run.stdout).toBe("engine-0\n");
});

test("the client is answered alike by tokens, hashes and prompt, and what it is told is what its types say", async () => {
  expect(CLIENT_SEES_WHAT_IS_SENT).toBe(true);
  const blocks = Math.floor(tokens.length / 16);
  const words = new Uint32Array(2 * blocks);
  PrefixHasher.create().hash(Uint32Array.from(tokens), blocks, 16, null, words);
  const prefixHashes = Array.from({ length: blocks }, (_, i) =>
    toBigInt(words[2 * i] ?? 0, words[2 * i + 1] ?? 0),
  );
  const model = "demo/model";
  const options = { model, blockSize: 16, workers: ["engine-0"], topK: 3, includeUnmatched: true };
  for (const question of [
    { ...options, tokenIds: tokens },
    { ...options, prefixHashes },
    { ...options, prompt: TEXT, addSpecialTokens: true },
  ]) {
    const answer = await client.match(question);
    expect(answer).toMatchObject({
      decision: "exact",
      blocks,
      matches: [{ worker: "engine-0", matched_blocks: blocks }],
    });
    expect(matchAnswer.parse(answer)).toEqual(answer);
  }
  const messages = [{ role: "user", content: TEXT }];
  const chat = await client.match({
    ...options,
    messages,
    addGenerationPrompt: true,
    continueFinalMessage: false,
    chatTemplateKwargs: { thinking: false },
    tools: [],
  });
  expect(chat).toMatchObject({ decision: "exact", reason: null });
});

test("what the daemon refuses reaches the client with its code", async () => {
  const error: unknown = await client
    .match({ model: "nobody's", tokenIds: tokens })
    .catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ClientError);
  expect((error as ClientError).facts).toMatchObject({
    code: "refused",
    status: 404,
    problem: { code: "unknown_model" },
  });
});
