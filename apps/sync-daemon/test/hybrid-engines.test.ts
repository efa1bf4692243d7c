/**
 * Engines with several KV-cache groups behind a real daemon: events over ZeroMQ, lookups and
 * reports over HTTP. These are single cases by hand. Random work, compared with the model of an
 * engine's cache, is in hybrid-hits.test.ts.
 */
import type { KvEvent } from "@kvsync/core";
import { afterAll, beforeAll, expect, test } from "vitest";

import type { EngineList } from "../src/openapi/engine-answers.ts";
import type { SyncHealthAnswer } from "../src/openapi/health-answers.ts";
import { type MatchAnswer, matchAnswer } from "../src/query/match-answer.ts";
import { type DaemonInProcess, startInProcess } from "./daemon-in-process.ts";
import { TestEngine, until } from "./fleet.ts";

const BLOCK_SIZE = 16;
const TOKENS = Array.from({ length: 80 }, (_, i) => 9000 + i * 7);
const NAMES = [101n, 102n, 103n, 104n];
const FULL = { groupIdx: 0, kvCacheSpecKind: "full_attention" };
/** A window of 17 tokens needs the one block before the end of a prefix. */
const WINDOW = { groupIdx: 1, kvCacheSpecKind: "sliding_window", kvCacheSpecSlidingWindow: 17 };

let running: DaemonInProcess;
const engines: TestEngine[] = [];

beforeAll(async () => {
  running = await startInProcess();
});

afterAll(async () => {
  await running.stop();
  for (const engine of engines) await engine.stop();
});

function stored(group: object, blockHashes: readonly bigint[] = NAMES): KvEvent {
  const tokenIds = TOKENS.slice(0, BLOCK_SIZE * blockHashes.length);
  return {
    type: "BlockStored",
    blockHashes,
    parentBlockHash: null,
    tokenIds,
    blockSize: BLOCK_SIZE,
    ...group,
  };
}

/** Registers an engine whose first message has these events; returns once its blocks are known. */
async function join(id: string, events: readonly KvEvent[], model = `${id}/model`): Promise<void> {
  const engine = await TestEngine.start({ id, model, blockSize: BLOCK_SIZE }, BLOCK_SIZE);
  engines.push(engine);
  const payload = { ...engine.entry, report_mode: "delta", drops_last_block: false };
  const created = await running.app.inject({ method: "POST", url: "/api/v1/engines", payload });
  expect(created.statusCode).toBe(201);
  engine.server.publish({
    sequenceNumber: 0,
    batch: { timestampSeconds: Date.now() / 1000, events, dataParallelRank: 0 },
  });
  await until("its blocks are known", async () => {
    const match = (await ask(id, 80, model)).matches.find(({ worker }) => worker === id);
    return match !== undefined && match.trust !== "unknown" && match.trust !== "stale";
  });
}

async function ask(id: string, tokens: number, model = `${id}/model`): Promise<MatchAnswer> {
  const payload = { model, token_ids: TOKENS.slice(0, tokens) };
  const response = await running.app.inject({ method: "POST", url: "/api/v1/match", payload });
  return response.statusCode === 200
    ? matchAnswer.parse(response.json())
    : ({ matches: [] } as unknown as MatchAnswer);
}

async function rankOf(id: string): Promise<EngineList["engines"][number]["ranks"][number] | undefined> {
  const { engines: listed } = (await running.app.inject("/api/v1/engines")).json<EngineList>();
  return listed.find((engine) => engine.id === id)?.ranks[0];
}

async function groupsOf(id: string): Promise<readonly object[] | undefined> {
  return (await rankOf(id))?.groups;
}

async function unknownKindsOf(id: string): Promise<readonly string[] | undefined> {
  return (await rankOf(id))?.unknown_kinds;
}

/** Kinds are a message of the ingest thread, which may arrive after the first answer with its blocks. */
async function someUnknownKindsOf(id: string): Promise<readonly string[]> {
  return await until("its unknown kinds are listed", async () => {
    const kinds = await unknownKindsOf(id);
    return kinds !== undefined && kinds.length > 0 && kinds;
  });
}

async function healthOf(model: string): Promise<SyncHealthAnswer["models"][string] | undefined> {
  return (await running.app.inject("/api/v1/kv-sync/health")).json<SyncHealthAnswer>().models[model];
}

test("a match ends where the window allows, and a prompt that is held as a whole where it allows one token before", async () => {
  await join("windowed", [
    stored(FULL),
    stored(WINDOW),
    { type: "BlockRemoved", blockHashes: [103n], medium: null, groupIdx: 1 },
  ]);
  expect((await ask("windowed", 80)).matches).toMatchObject([
    { matched_tokens: 64, held_tokens: 64, reusable_tokens: 64, trust: "exact" },
  ]);
  expect((await ask("windowed", 64)).matches).toMatchObject([
    { matched_tokens: 64, held_tokens: 64, reusable_tokens: 32, trust: "exact" },
  ]);
  expect((await ask("windowed", 60)).matches).toMatchObject([
    { matched_tokens: 32, held_tokens: 48, reusable_tokens: 32, trust: "exact" },
  ]);
});

test("a Mamba state is needed at the end of a match, and nowhere else", async () => {
  const state = { groupIdx: 1, kvCacheSpecKind: "mamba" };
  await join("stateful", [
    stored(FULL),
    stored(state),
    { type: "BlockRemoved", blockHashes: [101n, 103n, 104n], medium: null, groupIdx: 1 },
  ]);
  expect((await ask("stateful", 80)).matches).toMatchObject([
    { matched_tokens: 32, held_tokens: 64, reusable_tokens: 32, trust: "exact" },
  ]);
});

test("the list of engines names the groups of each rank, the main one first", async () => {
  expect(await groupsOf("windowed")).toEqual([
    {
      holder_slot: expect.any(Number) as number,
      index: 0,
      is_main: true,
      kind: "full_attention",
      rule: "run",
      window_tokens: null,
      block_size: BLOCK_SIZE,
    },
    {
      holder_slot: expect.any(Number) as number,
      index: 1,
      is_main: false,
      kind: "sliding_window",
      rule: "window",
      window_tokens: 17,
      block_size: BLOCK_SIZE,
    },
  ]);
});

test("a group of an unknown kind needs all of a prefix, makes its rank partial, and is logged once", async () => {
  const strange = { groupIdx: 1, kvCacheSpecKind: "holographic" };
  await join("strange", [stored(FULL), stored(strange), stored(strange, [101n, 102n])]);
  expect((await ask("strange", 80)).matches).toMatchObject([
    { matched_tokens: 64, trust: "partial", trust_reason: "unknown_kind" },
  ]);
  expect(await groupsOf("strange")).toMatchObject([{ is_main: true }, { kind: "unknown", rule: "run" }]);
  expect(await someUnknownKindsOf("strange")).toEqual(["holographic"]);
  expect(await unknownKindsOf("windowed")).toEqual([]);
  const lines = running.log.filter(({ event }) => event === "unknown_cache_kind");
  expect(lines).toMatchObject([{ level: "warn", facts: { pod: "strange", kind: "holographic" } }]);
});

test("the health of a model counts the ranks with each shape of group and each unknown kind", async () => {
  const model = "fleet/model";
  const strange = { groupIdx: 2, kvCacheSpecKind: "holographic" };
  await join("fleet-0", [stored(FULL), stored(WINDOW)], model);
  await join("fleet-1", [stored(FULL), stored(WINDOW), stored({ ...WINDOW, groupIdx: 3 })], model);
  await join("fleet-2", [stored(FULL), stored(strange)], model);
  await someUnknownKindsOf("fleet-2");
  const shape = { window_tokens: null, block_size: BLOCK_SIZE };
  expect(await healthOf(model)).toMatchObject({
    status: "degraded",
    streams: {
      expected: 3,
      connected: 3,
      exact: 2,
      not_exact: [{ trust: "partial", reason: "unknown_kind", streams: 1 }],
    },
    groups: [
      { ...shape, is_main: true, kind: "full_attention", rule: "run", ranks: 3 },
      { ...shape, is_main: false, kind: "sliding_window", rule: "window", window_tokens: 17, ranks: 2 },
      { ...shape, is_main: false, kind: "unknown", rule: "run", ranks: 1 },
    ],
    groups_total: 3,
    unknown_kinds: [{ kind: "holographic", ranks: 1 }],
    unknown_kinds_total: 1,
  });
});

test("the health of a model lists the 64 most frequent shapes and kinds, and counts those that it leaves out", async () => {
  const model = "wide/model";
  const numbers = Array.from({ length: 15 }, (_, i) => i + 1);
  for (let engine = 0; engine < 5; engine++) {
    const names = NAMES.slice(0, 1);
    const strange = numbers.map((groupIdx) =>
      stored({ groupIdx, kvCacheSpecKind: `kind-${engine}-${groupIdx}` }, names),
    );
    await join(`strange-${engine}`, [stored(FULL, names), ...strange], model);
    const windows = numbers.map((groupIdx) =>
      stored({ ...WINDOW, groupIdx, kvCacheSpecSlidingWindow: 100 * (engine + 1) + groupIdx }, names),
    );
    await join(`windows-${engine}`, [stored(FULL, names), ...windows], model);
  }
  const health = await until("all kinds are counted", async () => {
    const now = await healthOf(model);
    return now?.unknown_kinds_total === 75 && now;
  });
  expect(health.unknown_kinds).toHaveLength(64);
  // The main one, the one of all unknown kinds, and the windows.
  expect(health.groups_total).toBe(77);
  expect(health.groups).toHaveLength(64);
  expect(health.groups.slice(0, 2)).toMatchObject([
    { is_main: true, ranks: 10 },
    { kind: "unknown", ranks: 5 },
  ]);
});

test("an engine that takes a removed engine's slot shows none of its unknown kinds", async () => {
  const strange = { groupIdx: 1, kvCacheSpecKind: "k".repeat(100) };
  await join("leaving", [stored(FULL), stored(strange)]);
  expect(await someUnknownKindsOf("leaving")).toEqual(["k".repeat(64)]);
  const slot = (await rankOf("leaving"))?.rank_slot;
  await running.app.inject({ method: "DELETE", url: "/api/v1/engines/leaving" });
  // The slot is free only when the index is clear of the engine.
  let newcomer = 0;
  await until("the slot is in use again", async () => {
    newcomer += 1;
    await join(`newcomer-${newcomer}`, [stored(FULL)]);
    return (await rankOf(`newcomer-${newcomer}`))?.rank_slot === slot;
  });
  expect(await unknownKindsOf(`newcomer-${newcomer}`)).toEqual([]);
});
