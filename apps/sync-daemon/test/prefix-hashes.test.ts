/**
 * The setting `index.prefix_hashes`. By default the seed of the hashes is drawn, and lookups by
 * hash are refused with a named error. With the public seed they are answered.
 */
import { PrefixHasher, toBigInt } from "@kvsync/core";
import { afterEach, beforeEach, expect, test } from "vitest";

import { type DaemonInProcess, startInProcess } from "./daemon-in-process.ts";
import { TestEngine, until } from "./fleet.ts";

const PROMPT = Uint32Array.from({ length: 64 }, (_, i) => 7000 + i);
const BLOCKS = 4;
let engine: TestEngine;
let running: DaemonInProcess;

async function ask(url: string, payload: object): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await running.app.inject({
    method: "POST",
    url,
    payload: { model: "test/model", ...payload },
  });
  return { status: response.statusCode, body: response.json() };
}

async function start(prefixHashes: "public" | "secret"): Promise<void> {
  running = await startInProcess(["--index-prefix-hashes", prefixHashes]);
  await running.app.inject({ method: "POST", url: "/api/v1/engines", payload: engine.entry });
  await engine.serve(0);
  await until("its blocks are known", async () => {
    const { body } = await ask("/api/v1/match", { token_ids: [...PROMPT] });
    return (body["matches"] as object[] | undefined)?.length === 1;
  });
}

function hashes(): string[] {
  const words = new Uint32Array(2 * BLOCKS);
  PrefixHasher.create().hash(PROMPT, BLOCKS, 16, null, words);
  return Array.from({ length: BLOCKS }, (_, i) => String(toBigInt(words[2 * i] ?? 0, words[2 * i + 1] ?? 0)));
}

beforeEach(async () => {
  engine = await TestEngine.start({ id: "a" }, 1);
  engine.engine.submit(
    { id: 1, promptTokens: PROMPT, output: { count: 1, seed: 1 }, loraName: null, cacheSalt: null },
    Date.now() / 1000,
  );
});

afterEach(async () => {
  await running.stop();
  await engine.stop();
});

test("with a secret seed, questions by hash are refused and say which setting answers them", async () => {
  await start("secret");
  for (const [url, question] of [
    ["/api/v1/match", { prefix_hashes: hashes() }],
    ["/query_by_hash", { seq_hashes: hashes() }],
    ["/query_by_hash", { block_hashes: hashes() }],
  ] as const) {
    const { status, body } = await ask(url, question);
    expect(status).toBe(422);
    expect(body["code"]).toBe("prefix_hashes_secret");
    expect(body["detail"]).toContain("index.prefix_hashes");
  }
});

test("with the public seed they are answered as the tokens are", async () => {
  await start("public");
  const { status, body } = await ask("/api/v1/match", { prefix_hashes: hashes() });
  expect(status).toBe(200);
  expect(body["matches"]).toMatchObject([{ worker: "a", matched_blocks: BLOCKS }]);
});
