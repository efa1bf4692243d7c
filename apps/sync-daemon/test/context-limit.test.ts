/**
 * Engines with more adapters than the index may have contexts. A lookup that misses evicted blocks
 * gives the limit as the reason in the same moment. The log has one line for a burst of evictions.
 *
 * One daemon with one context, which the engine that loses blocks and the engine that takes its context
 * have in one part of the index.
 */
import { afterAll, beforeAll, expect, test } from "vitest";

import { type MatchAnswer, matchAnswer } from "../src/query/match-answer.ts";
import { type DaemonInProcess, startInProcess } from "./daemon-in-process.ts";
import { TestEngine, until } from "./fleet.ts";

const MODEL = "test/model";
const LOST = { trust: "partial", trust_reason: "context_evicted", matched_tokens: 0 };
const ADAPTERS = Array.from({ length: 8 }, (_, i) => `adapter-${i}`);
/** Longest time until a worker has applied a message; milliseconds at rest. */
const SPIN_MS_MAX = 20_000;

let running: DaemonInProcess;
const engines: TestEngine[] = [];
let plain: TestEngine;
let adapted: TestEngine;

beforeAll(async () => {
  running = await startInProcess(["--limits-contexts", "1", "--ingest-workers", "1"]);
});

afterAll(async () => {
  await running.stop();
  for (const engine of engines) await engine.stop();
});

async function join(id: string): Promise<TestEngine> {
  const engine = await TestEngine.start({ id, model: MODEL, loraNames: ADAPTERS }, engines.length + 1);
  engines.push(engine);
  const payload = { ...engine.entry, report_mode: "delta", drops_last_block: false };
  const created = await running.app.inject({ method: "POST", url: "/api/v1/engines", payload });
  expect(created.statusCode).toBe(201);
  await isExact(engine);
  return engine;
}

async function ask(engine: TestEngine, loraName: string | null): Promise<MatchAnswer["matches"][number]> {
  const payload = {
    model: MODEL,
    token_ids: [...engine.firstPrompt],
    lora_name: loraName,
    workers: [engine.engine.settings.id],
    include_unmatched: true,
  };
  const response = await running.app.inject({ method: "POST", url: "/api/v1/match", payload });
  const [match] = matchAnswer.parse(response.json()).matches;
  if (match === undefined) throw new Error("an answer with include_unmatched has every rank");
  return match;
}

function slotOf({ engine }: TestEngine): number {
  return running.daemon.registry.engine(engine.settings.id)?.ranks[0]?.rankSlot ?? -1;
}

/** Waits until the daemon has applied the engine's last message and its rank is exact. */
async function isExact(engine: TestEngine): Promise<void> {
  await until("the rank is exact", () => {
    const { trust, lastSequenceNumber } = running.daemon.board.status(slotOf(engine));
    return Promise.resolve(
      trust === "exact" && (lastSequenceNumber ?? -1) === engine.engine.lastSequenceNumber,
    );
  });
}

/** Keeps this thread busy until the index has evicted blocks of the rank: the next lookup may come before the board says so. */
function spinUntilEvicted(engine: TestEngine): void {
  const endMs = performance.now() + SPIN_MS_MAX;
  while (running.daemon.reader.rankLostTo(slotOf(engine)) === null)
    if (performance.now() > endMs) throw new Error("the index evicted nothing");
}

function linesOf({ engine }: TestEngine, wanted: string, reason?: string): number {
  return running.log.filter(
    ({ event, facts }) =>
      event === wanted &&
      facts["pod"] === engine.settings.id &&
      (reason === undefined || facts["reason"] === reason),
  ).length;
}

function evictionLines(engine: TestEngine): number {
  return linesOf(engine, "trust_changed", "context_evicted");
}

/** A burst of evictions, ended by a restart; its line comes after all lines of the burst. */
async function burst(restarts: number): Promise<void> {
  await evictInTurn(ADAPTERS);
  await adapted.server.restart(Date.now() / 1000);
  await until("the restart is logged", () =>
    Promise.resolve(linesOf(adapted, "engine_restarted") === restarts),
  );
}

/** Serves one fresh prompt for each adapter; returns once each has cost the context before it. */
async function evictInTurn(adapters: readonly string[]): Promise<void> {
  for (const loraName of adapters) {
    const before = await evictedBlocks();
    await adapted.serve(1, { loraName, isFresh: true });
    await until("the context before is evicted", async () => (await evictedBlocks()) > before);
  }
}

async function evictedBlocks(): Promise<number> {
  const { payload } = await running.app.inject("/metrics");
  const [, count] = /sync_indexer_evictions_total\{reason="context_limit"[^}]*\} (\d+)/.exec(payload) ?? [];
  return Number(count);
}

test("a rank that loses its context to another engine's adapter says so in the lookup that misses its blocks", async () => {
  plain = await join("plain");
  adapted = await join("adapted");
  await plain.serve(1);
  await isExact(plain);
  const held = await ask(plain, null);
  expect(held).toMatchObject({ trust: "exact", trust_reason: null });
  expect(held.matched_tokens).toBeGreaterThan(0);
  await adapted.serve(1, { loraName: "adapter-0" });
  spinUntilEvicted(plain);
  expect(await ask(plain, null)).toMatchObject(LOST);
  await until("the rank's own worker lowers its trust", () =>
    Promise.resolve(running.daemon.board.status(slotOf(plain)).trustReason === "context_evicted"),
  );
  expect(await ask(plain, null)).toMatchObject(LOST);
  expect(await ask(adapted, "adapter-0")).toMatchObject({ trust: "exact", trust_reason: null });
});

test("a rank that loses its context to an adapter of its own says so in the same moment", async () => {
  const held = await ask(adapted, "adapter-0");
  expect(held.matched_tokens).toBeGreaterThan(0);
  await adapted.serve(1, { loraName: "adapter-1", isFresh: true });
  spinUntilEvicted(adapted);
  expect(await ask(adapted, "adapter-0")).toMatchObject(LOST);
});

test("a burst of evictions is one line of the log for each rank that loses blocks, and the next burst is one more", async () => {
  await burst(1);
  const { indexEvictions } = running.daemon.board.report(slotOf(adapted)).counters;
  expect(indexEvictions.context_limit).toBeGreaterThan(ADAPTERS.length);
  expect([plain, adapted].map(evictionLines)).toEqual([1, 1]);
  await isExact(adapted);
  await adapted.serve(1, { loraName: ADAPTERS.at(-1)!, isFresh: true });
  await isExact(adapted);
  await burst(2);
  expect([plain, adapted].map(evictionLines)).toEqual([1, 2]);
});
