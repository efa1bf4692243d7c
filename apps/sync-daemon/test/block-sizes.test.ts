/**
 * Engines of one model whose blocks differ in size, and the effect on lookups. Causes are a
 * rollout, a wrong flag on one replica, or a hybrid model. One daemon, five engines, each with a
 * size of its own.
 */
import { PrefixHasher, toBigInt } from "@kvsync/core";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { afterAll, beforeAll, expect, test } from "vitest";

import { type MatchAnswer, matchAnswer } from "../src/query/match-answer.ts";
import { type DaemonInProcess, startInProcess } from "./daemon-in-process.ts";
import { TestEngine, until } from "./fleet.ts";

/** Ascending. The prompt has 100 tokens: 12, 6, 4, 3 and 2 full blocks. */
const SIZES = [8, 16, 24, 32, 40];
const PROMPT = Uint32Array.from({ length: 100 }, (_, i) => 5000 + i * 3);

let running: DaemonInProcess;
const engines = new Map<string, TestEngine>();

beforeAll(async () => {
  running = await startInProcess();
});

afterAll(async () => {
  await running.stop();
  for (const engine of engines.values()) await engine.stop();
});

/** Starts and registers an engine of this size that has served the prompt. */
async function join(blockSize: number, model = "test/model", hints: object = {}): Promise<void> {
  const engine = await TestEngine.start(
    { id: `${model === "test/model" ? "" : `${model.split("/")[0]}-`}of-${blockSize}`, model, blockSize },
    blockSize,
  );
  engines.set(engine.engine.settings.id, engine);
  const created = await running.app.inject({
    method: "POST",
    url: "/api/v1/engines",
    payload: { ...engine.entry, ...hints },
  });
  expect(created.statusCode).toBe(201);
  engine.engine.submit(
    { id: 1, promptTokens: PROMPT, output: { count: 1, seed: 1 }, loraName: null, cacheSalt: null },
    Date.now() / 1000,
  );
  await engine.serve(0);
  await until("its blocks are known", async () => {
    const { payload } = await ask({ model, token_ids: [...PROMPT], block_size: blockSize });
    return (payload.matches ?? []).length > 0;
  });
}

async function ask(question: object): Promise<{ status: number; payload: Partial<MatchAnswer> }> {
  const response = await running.app.inject({
    method: "POST",
    url: "/api/v1/match",
    payload: { model: "test/model", ...question },
  });
  return { status: response.statusCode, payload: response.json() };
}

test("a lookup without a block size finds every engine, each in its own blocks, most tokens first", async () => {
  await join(16);
  await join(32);
  const { status, payload } = await ask({ token_ids: [...PROMPT] });
  expect(status).toBe(200);
  expect(matchAnswer.parse(payload)).toMatchObject({
    block_size: null,
    block_sizes: [16, 32],
    blocks: null,
    decision: "exact",
    matches: [
      { worker: "of-16", block_size: 16, matched_blocks: 6, matched_tokens: 96 },
      { worker: "of-32", block_size: 32, matched_blocks: 3, matched_tokens: 96 },
    ],
  });
  const shorter = await ask({ token_ids: [...PROMPT.subarray(0, 90)] });
  expect(shorter.payload.matches).toMatchObject([
    { worker: "of-16", matched_tokens: 80 },
    { worker: "of-32", matched_tokens: 64 },
  ]);
});

test("a prompt that is held as a whole is reused up to its last token, and less by an engine that drops its last block", async () => {
  const whole = await ask({ token_ids: [...PROMPT.subarray(0, 96)] });
  expect(whole.payload.matches).toMatchObject([
    { worker: "of-16", matched_tokens: 96, reusable_tokens: 80 },
    { worker: "of-32", matched_tokens: 96, reusable_tokens: 64 },
  ]);
  const longer = await ask({ token_ids: [...PROMPT.subarray(0, 97)] });
  expect(longer.payload.matches).toMatchObject([{ reusable_tokens: 96 }, { reusable_tokens: 96 }]);
  await join(16, "eagle/model", { type: "vLLM", drops_last_block: true });
  const eagle = await ask({ model: "eagle/model", token_ids: [...PROMPT.subarray(0, 97)] });
  expect(eagle.payload.matches).toMatchObject([{ matched_tokens: 96, reusable_tokens: 80 }]);
  const listed = await running.app.inject("/api/v1/engines");
  expect(listed.json<{ engines: object[] }>().engines.at(-1)).toMatchObject({
    type: "vllm",
    drops_last_block: true,
  });
});

test("with a block size only engines that use it match, and an unmatched one says the size that was asked for", async () => {
  const { payload } = await ask({ token_ids: [...PROMPT], block_size: 32, include_unmatched: true });
  expect(payload).toMatchObject({ block_size: 32, block_sizes: [32], blocks: 3 });
  expect(payload.matches).toMatchObject([
    { worker: "of-32", block_size: 32, matched_blocks: 3 },
    { worker: "of-16", block_size: 32, matched_blocks: 0 },
  ]);
});

test("prefix hashes of one size match only the engines of that size, and need not name it", async () => {
  const words = new Uint32Array(2 * 3);
  PrefixHasher.create().hash(PROMPT, 3, 32, null, words);
  const hashes = [0, 1, 2].map((i) => String(toBigInt(words[2 * i] ?? 0, words[2 * i + 1] ?? 0)));
  const { payload } = await ask({ prefix_hashes: hashes });
  expect(payload).toMatchObject({ block_size: null, block_sizes: [16, 32], blocks: 3 });
  expect(payload.matches).toMatchObject([{ worker: "of-32", block_size: 32, matched_blocks: 3 }]);
});

async function percentageOf(suffix: "sum" | "count", model: string): Promise<number> {
  const { body } = await running.app.inject("/metrics");
  const name = `${NAMESPACE}_sync_indexer_match_percentage_${suffix}{model="${model}"} `;
  return Number(
    body
      .split("\n")
      .find((line) => line.startsWith(name))
      ?.slice(name.length),
  );
}

test("the match percentage counts tokens, so that coarse blocks are not taken for a bad match", async () => {
  const before = {
    sum: await percentageOf("sum", "test/model"),
    count: await percentageOf("count", "test/model"),
  };
  const { payload } = await ask({ token_ids: [...PROMPT], workers: ["of-32"] });
  expect(payload.matches).toMatchObject([{ worker: "of-32", matched_blocks: 3 }]);
  expect(await percentageOf("count", "test/model")).toBe(before.count + 1);
  expect(await percentageOf("sum", "test/model")).toBeCloseTo(before.sum + 100, 6);
});

test("no match is more than the whole: of sizes that do not divide each other the one that covers most counts", async () => {
  const model = "other/model";
  await join(24, model);
  await join(40, model);
  const before = await percentageOf("sum", model);
  const { payload } = await ask({ model, token_ids: [...PROMPT.subarray(0, 80)] });
  expect(payload.matches).toMatchObject([{ matched_tokens: 80 }, { matched_tokens: 72 }]);
  expect(await percentageOf("sum", model)).toBeCloseTo(before + 100, 6);
});

test("an engine's clients by the other API are told tokens of each engine's own blocks", async () => {
  const query = { model_name: "test/model", token_ids: [...PROMPT] };
  const response = await running.app.inject({ method: "POST", url: "/query", payload: query });
  expect(response.json()).toMatchObject({ scores: { "of-16": { 0: 96 }, "of-32": { 0: 96 } } });
});

/** Has an engine store the head of a prompt in one block of each of these sizes. */
function storeIn(engine: TestEngine, sizes: readonly number[], offset = 1): void {
  engine.server.publish({
    sequenceNumber: engine.engine.lastSequenceNumber + offset,
    batch: {
      // Not before what it said of itself.
      timestampSeconds: Date.now() / 1000 + 60,
      events: sizes.map((blockSize) => ({
        type: "BlockStored",
        blockHashes: [BigInt(9000 + blockSize)],
        parentBlockHash: null,
        tokenIds: Array.from({ length: blockSize }, (_, i) => 5000 + i * 3),
        blockSize,
      })),
      dataParallelRank: 0,
    },
  });
}

function started(id: string): TestEngine {
  const engine = engines.get(id);
  if (engine === undefined) throw new Error("an earlier test starts it");
  return engine;
}

test("a rank that holds a prompt in blocks of two sizes is credited with the more tokens, not the more blocks", async () => {
  const hybrid = engines.get("of-16");
  if (hybrid === undefined) throw new Error("the first test starts it");
  const tokenIds = [...PROMPT.subarray(0, 72)];
  hybrid.server.publish({
    sequenceNumber: hybrid.engine.lastSequenceNumber + 1,
    batch: {
      // Not before what it said of itself.
      timestampSeconds: Date.now() / 1000 + 60,
      events: [
        { type: "BlockStored", blockHashes: [1n, 2n, 3n], parentBlockHash: null, tokenIds, blockSize: 24 },
      ],
      dataParallelRank: 0,
    },
  });
  const best = async (): Promise<object | undefined> => {
    const { payload } = await ask({ token_ids: tokenIds, workers: ["of-16"] });
    return payload.block_sizes?.includes(24) === true ? payload.matches?.[0] : undefined;
  };
  await until("the coarser blocks are known", async () => (await best()) !== undefined);
  expect(await best()).toMatchObject({ block_size: 24, matched_blocks: 3, matched_tokens: 72 });
});

test("an engine of many block sizes is set aside, says so once, and costs the others' lookups nothing", async () => {
  const model = "odd/model";
  for (const size of [16, 20]) await join(size, model);
  const odd = started("odd-of-20");
  storeIn(odd, [4, 5, 6]);
  const ofOdd = async (): Promise<object | undefined> => {
    const { payload } = await ask({ model, token_ids: [...PROMPT], include_unmatched: true });
    return payload.matches?.find(({ worker }) => worker === "odd-of-20");
  };
  await until(
    "four sizes are taken",
    async () => (await ask({ model, token_ids: [...PROMPT] })).payload.block_sizes?.length === 5,
  );
  storeIn(odd, [7, 8, 9, 10, 11, 12, 13], 2);
  await until("the engine is set aside", async () => {
    const { payload } = await ask({ model, token_ids: [...PROMPT] });
    return payload.block_sizes?.length === 1;
  });
  const { status, payload } = await ask({ model, token_ids: [...PROMPT] });
  expect({ status, ...payload }).toMatchObject({
    status: 200,
    decision: "degraded",
    block_sizes: [16],
    matches: [{ worker: "odd-of-16", matched_tokens: 96, trust: "exact" }],
  });
  expect(await ofOdd()).toMatchObject({ matched_tokens: 0, trust: "partial" });
  expect(running.log.filter(({ event }) => event === "engine_set_aside")).toHaveLength(1);
  const report = await running.app.inject("/api/v1/engines");
  const { engines: listed } = report.json<{ engines: { id: string; ranks: { dropped: object }[] }[] }>();
  expect(listed.find(({ id }) => id === "odd-of-20")?.ranks[0]?.dropped).toMatchObject({
    other_block_size: 4,
    too_many_block_sizes: 7,
  });
});

test("a fleet of more sizes than a lookup tries has them named, and one of them has to be asked for", async () => {
  for (const size of [8, 24, 40]) await join(size);
  expect((await ask({ token_ids: [...PROMPT] })).payload.block_sizes).toEqual(SIZES);
  const more = [...engines.values()].filter(({ engine }) => engine.settings.model === "test/model");
  for (const [i, engine] of more.entries()) {
    const sizes = [50, 60, 70].map((size) => size + i);
    // The first one has two sizes already: a third more would set it aside.
    if (i === 0) storeIn(engine, sizes.slice(0, 2), 2);
    else storeIn(engine, sizes);
  }
  await until("all sizes are known", async () => (await ask({ token_ids: [...PROMPT] })).status === 422);
  const { status, payload } = await ask({ token_ids: [...PROMPT] });
  expect({ status, ...payload }).toMatchObject({ status: 422, code: "block_size_required" });
  expect((payload as { detail?: string }).detail).toMatch(
    /^block_size: engines of test\/model use more than 16; expected one of 8, 16, 24, 32, 40, 50/,
  );
  expect((await ask({ token_ids: [...PROMPT], block_size: 40 })).status).toBe(200);
});

test("sizes that no engine has any more are not looked in: a rollout that is over leaves nothing to name", async () => {
  for (const size of [8, 24, 40]) {
    await running.app.inject({ method: "DELETE", url: `/api/v1/engines/of-${size}` });
  }
  await until("their blocks are gone", async () => {
    const { status, payload } = await ask({ token_ids: [...PROMPT] });
    return status === 200 && payload.block_sizes?.length === 8;
  });
  // The hybrid one still holds blocks of 24.
  expect((await ask({ token_ids: [...PROMPT] })).payload.block_sizes).toEqual([
    16, 24, 32, 50, 51, 60, 61, 71,
  ]);
});
