/**
 * Engines with several KV-cache groups behind a real daemon: events over ZeroMQ, lookups and
 * reports over HTTP. The model of the reuse of such an engine is in
 * packages/engine-sim/test/coordinator; here are single cases by hand.
 */
import type { KvEvent } from "@kvsync/core";
import { afterAll, beforeAll, expect, test } from "vitest";

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
async function join(id: string, events: readonly KvEvent[]): Promise<void> {
  const model = `${id}/model`;
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
    const [match] = (await ask(id, 80)).matches;
    return match !== undefined && match.trust !== "unknown" && match.trust !== "stale";
  });
}

async function ask(id: string, tokens: number): Promise<MatchAnswer> {
  const payload = { model: `${id}/model`, token_ids: TOKENS.slice(0, tokens) };
  const response = await running.app.inject({ method: "POST", url: "/api/v1/match", payload });
  return response.statusCode === 200
    ? matchAnswer.parse(response.json())
    : ({ matches: [] } as unknown as MatchAnswer);
}

async function groupsOf(id: string): Promise<object[] | undefined> {
  const report = await running.app.inject("/api/v1/engines");
  const { engines: listed } = report.json<{ engines: { id: string; ranks: { groups: object[] }[] }[] }>();
  return listed.find((engine) => engine.id === id)?.ranks[0]?.groups;
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
  const lines = running.log.filter(({ event }) => event === "unknown_cache_kind");
  expect(lines).toMatchObject([{ level: "warn", facts: { pod: "strange", kind: "holographic" } }]);
});
