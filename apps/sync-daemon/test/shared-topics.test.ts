/**
 * Two engines behind one endpoint whose topics begin alike: a subscription to `kv@a` brings the messages of `kv@ab` too, and each
 * engine gets its own.
 */
import { encodeEventBatch } from "@kvsync/core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Publisher } from "zeromq";

import type { MatchAnswer } from "../src/query/match-answer.ts";
import type { EngineReport } from "./daemon-process.ts";
import { type DaemonInProcess, startInProcess } from "./daemon-in-process.ts";
import { until } from "./fleet.ts";

let running: DaemonInProcess;
const relay = new Publisher({ linger: 0 });
const TOPICS = ["kv@a", "kv@ab"] as const;

beforeAll(async () => {
  await relay.bind("tcp://127.0.0.1:*");
  running = await startInProcess();
});

afterAll(async () => {
  await running.stop();
  relay.close();
});

/** One block of one engine, as its n-th message. */
async function publish(engine: number, number: number): Promise<void> {
  const sequence = Buffer.alloc(8);
  sequence.writeBigUInt64BE(BigInt(number));
  const store = {
    type: "BlockStored",
    blockHashes: [BigInt(1000 * engine + number + 1)],
    parentBlockHash: number === 0 ? null : BigInt(1000 * engine + number),
    tokenIds: tokensOf(engine).slice(16 * number, 16 * (number + 1)),
    blockSize: 16,
    medium: "GPU",
  } as const;
  const batch = { timestampSeconds: Date.now() / 1000, events: [store], dataParallelRank: 0 };
  await relay.send([TOPICS[engine] ?? "", sequence, encodeEventBatch(batch, "vllm-0.29")]);
}

const tokensOf = (engine: number): number[] => Array.from({ length: 64 }, (_, i) => 1000 * (engine + 1) + i);

async function register(id: string, topic: string): Promise<void> {
  const payload = { id, model: "m", endpoint: relay.lastEndpoint, topic };
  const created = await running.app.inject({ method: "POST", url: "/api/v1/engines", payload });
  expect(created.statusCode).toBe(201);
}

async function reports(): Promise<EngineReport[]> {
  return (await running.app.inject("/api/v1/engines")).json<{ engines: EngineReport[] }>().engines;
}

async function connected(count: number): Promise<void> {
  await until("all engines are connected", async () => {
    const ranks = (await reports()).flatMap((engine) => engine.ranks);
    return ranks.length === count && ranks.every((rank) => (rank as { connected?: boolean }).connected);
  });
}

async function matchedBy(engine: number): Promise<(readonly [string, number])[]> {
  const payload = { model: "m", token_ids: tokensOf(engine) };
  const response = await running.app.inject({ method: "POST", url: "/api/v1/match", payload });
  return response.json<MatchAnswer>().matches.map((row) => [row.worker, row.matched_tokens] as const);
}

test("both are followed, each by its own topic, and neither is taken for restarts of the other", async () => {
  await register("a", "kv@a");
  await register("ab", "kv@ab");
  await connected(2);
  const found = await until("both engines have their blocks", async () => {
    for (let number = 0; number < 4; number++) for (const engine of [0, 1]) await publish(engine, number);
    const rows = [...(await matchedBy(0)), ...(await matchedBy(1))];
    return rows.length >= 2 && rows.every(([, tokens]) => tokens === 64) ? rows : null;
  });
  expect(found).toEqual([
    ["a", 64],
    ["ab", 64],
  ]);
  for (const id of ["a", "ab"]) await running.app.inject({ method: "DELETE", url: `/api/v1/engines/${id}` });
});

test("an entry with half a topic gets nothing: each message is counted, and the log names both topics once", async () => {
  await register("half", "kv@");
  await connected(1);
  await until("messages are refused", async () => {
    await publish(0, 0);
    const [rank] = (await reports())[0]?.ranks ?? [];
    return ((rank as unknown as { dropped: Record<string, number> }).dropped["other_topic"] ?? 0) > 20;
  });
  expect(await matchedBy(0)).toEqual([]);
  const told = running.log.filter(({ event }) => event === "topic_not_published");
  expect(told.map(({ message }) => message)).toEqual([expect.stringMatching(/"kv@a".*"kv@"/)]);
});
