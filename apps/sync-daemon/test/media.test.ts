/**
 * Prompts with images, looked up by what their images are: as deep as the engine's own blocks reach, and no deeper. The events are
 * those of vLLM's rule (core's prompt-keys.test.ts holds the rule against vLLM's functions).
 */
import { afterAll, beforeAll, expect, test } from "vitest";

import type { MatchAnswer } from "../src/query/match-answer.ts";
import { type DaemonInProcess, startInProcess } from "./daemon-in-process.ts";
import { TestEngine, until } from "./fleet.ts";

const PLACEHOLDER = 151_655;
/** Text, an image of 20 placeholders over three blocks, text, an image inside one block, text. */
const PROMPT = Array.from({ length: 81 }, (_, i) =>
  (i >= 12 && i < 32) || (i >= 50 && i < 60) ? PLACEHOLDER : 100 + i,
);
const FIRST = { identifier: "hash-of-a-cat", offset: 12, length: 20 };
const SECOND = { identifier: "hash-of-a-dog", offset: 50, length: 10 };

let running: DaemonInProcess;
const engines: TestEngine[] = [];

beforeAll(async () => {
  running = await startInProcess();
  await store("plain", { dialect: "vllm-0.29" }, null);
  await store("ahead", { dialect: "vllm-0.33" }, 4);
});

afterAll(async () => {
  await running.stop();
  for (const engine of engines) await engine.stop();
});

/** An engine of its own model that has stored the prompt's five blocks, salted, with the keys that vLLM lists. */
async function store(model: string, serving: object, lookahead: number | null): Promise<void> {
  const engine = await TestEngine.start({ id: model, model, ...serving }, 1);
  engines.push(engine);
  const created = await running.app.inject({
    method: "POST",
    url: "/api/v1/engines",
    payload: engine.entry,
  });
  expect(created.statusCode).toBe(201);
  const behind = lookahead ?? 0;
  const blocks = lookahead === null ? 5 : 4;
  const extraKeys = [
    [[FIRST.identifier, 12], "salt-1"],
    [[FIRST.identifier, -4]],
    // With four tokens of lookahead the block from 32 to 48 sees up to 52.
    behind > 2 ? [[SECOND.identifier, 18]] : null,
    [[SECOND.identifier, 2]],
    null,
  ].slice(0, blocks);
  const tokenIds = PROMPT.slice(0, 16 * blocks);
  const lookaheadTokenIds = extraKeys.map((_, i) => PROMPT.slice(16 * i + 16, 16 * i + 16 + behind));
  engine.server.publish({
    sequenceNumber: 0,
    batch: {
      timestampSeconds: Date.now() / 1000,
      events: [
        {
          type: "BlockStored",
          blockHashes: extraKeys.map((_, i) => BigInt(i + 1)),
          parentBlockHash: null,
          tokenIds,
          blockSize: 16,
          extraKeys,
          ...(lookahead === null ? {} : { lookaheadTokenIds }),
        },
      ],
      dataParallelRank: 0,
    },
  });
  await until("its blocks are known", async () => (await matched({ model })) > 0);
}

async function ask(question: object): Promise<{ status: number; body: Partial<MatchAnswer> }> {
  const payload = { model: "plain", token_ids: PROMPT, cache_salt: "salt-1", ...question };
  const response = await running.app.inject({ method: "POST", url: "/api/v1/match", payload });
  return { status: response.statusCode, body: response.json() };
}

async function matched(question: object): Promise<number> {
  const { body } = await ask({ mm_features: [FIRST, SECOND], ...question });
  return body.matches?.[0]?.matched_tokens ?? 0;
}

test("a prompt with images is found as a whole, in whatever order its media are listed", async () => {
  expect(await matched({})).toBe(80);
  expect(await matched({ mm_features: [SECOND, FIRST] })).toBe(80);
});

test.each([
  ["another first image", { mm_features: [{ ...FIRST, identifier: "another" }, SECOND] }, 0],
  ["another second image", { mm_features: [FIRST, { ...SECOND, identifier: "another" }] }, 48],
  ["no media", { mm_features: [] }, 0],
  ["another salt", { cache_salt: "salt-2" }, 0],
  ["an image that is said to begin elsewhere", { mm_features: [{ ...FIRST, offset: 11 }, SECOND] }, 0],
])("with %s nothing is found that the engine would not reuse", async (_, question, expected) => {
  expect(await matched(question)).toBe(expected);
});

test("a lookahead sees the next block's image: the block before it differs with that image too", async () => {
  expect(await matched({ model: "ahead" })).toBe(64);
  const another = { ...SECOND, identifier: "another" };
  expect(await matched({ model: "ahead", mm_features: [FIRST, another] })).toBe(32);
});

test.each([
  [
    "beside hashes",
    { token_ids: undefined, prefix_hashes: ["1"], cache_salt: null },
    422,
    "contradictory_fields",
  ],
  ["beside a prompt", { token_ids: undefined, prompt: "hello" }, 422, "contradictory_fields"],
])("media %s are refused", async (_, question, status, code) => {
  expect(await ask({ mm_features: [FIRST], ...question })).toMatchObject({ status, body: { code } });
});

test.each([
  [{ mm_features: [FIRST, { ...SECOND, offset: 31 }] }, "mm_features.1.offset", /from 32 on/],
  [{ mm_features: [{ ...SECOND, offset: 75 }] }, "mm_features.0", /81 tokens, not up to 85/],
  [{ mm_features: [{ ...FIRST, length: 0 }] }, "mm_features.0.length", /from 1 to/],
  [{ mm_features: [{ ...FIRST, offset: -1 }] }, "mm_features.0.offset", /from 0 to/],
  [{ mm_features: [{ ...FIRST, identifier: "" }] }, "mm_features.0.identifier", /1-1024 characters/],
  [{ mm_features: FIRST }, "mm_features", /a list of at most 1024 media/],
  [{ mm_features: Array.from({ length: 1025 }, () => FIRST) }, "mm_features", /at most 1024/],
])("media that cannot be, %#, are refused where they are", async (question, where, expected) => {
  const { status, body } = await ask(question);
  expect({ status, ...body }).toMatchObject({ status: 400, code: "malformed_body", where });
  expect((body as { detail?: string }).detail).toMatch(expected);
});
