/**
 * Two DP ranks behind one relay socket, each with its own numbering (AMD-AGI/Infera#121,
 * ai-dynamo/dynamo#7209). With an entry that declares it, both are followed; without it, the second
 * is refused with a named reason. It is never taken for restarts.
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

beforeAll(async () => {
  await relay.bind("tcp://127.0.0.1:*");
  running = await startInProcess();
});

afterAll(async () => {
  await running.stop();
  relay.close();
});

/** One block of a rank's own, as its n-th message. */
async function publish(rank: number, number: number): Promise<void> {
  const sequence = Buffer.alloc(8);
  sequence.writeBigUInt64BE(BigInt(number));
  const store = {
    type: "BlockStored",
    blockHashes: [BigInt(1000 * rank + number + 1)],
    parentBlockHash: number === 0 ? null : BigInt(1000 * rank + number),
    tokenIds: tokensOf(rank)
      .slice(0, 16)
      .map((token) => token + 16 * number),
    blockSize: 16,
    medium: "GPU",
  } as const;
  const batch = { timestampSeconds: Date.now() / 1000, events: [store], dataParallelRank: rank };
  await relay.send(["", sequence, encodeEventBatch(batch, "vllm-0.29")]);
}

const tokensOf = (rank: number): number[] => Array.from({ length: 64 }, (_, i) => 1000 * (rank + 1) + i);

async function register(entry: object): Promise<void> {
  const payload = { model: "m", endpoint: relay.lastEndpoint, ...entry };
  const created = await running.app.inject({ method: "POST", url: "/api/v1/engines", payload });
  expect(created.statusCode).toBe(201);
}

const reports = async (): Promise<EngineReport[]> =>
  (await running.app.inject("/api/v1/engines")).json<{ engines: EngineReport[] }>().engines;

async function matchedBy(rank: number): Promise<(readonly [number, number, string])[]> {
  const payload = { model: "m", token_ids: tokensOf(rank) };
  const response = await running.app.inject({ method: "POST", url: "/api/v1/match", payload });
  const { matches } = response.json<MatchAnswer>();
  return matches.map(({ dp_rank, matched_tokens }) => [dp_rank, matched_tokens, ""] as const);
}

/** Both ranks' four messages, in turns, from the start again until the subscriptions have come through. */
async function publishBoth(): Promise<void> {
  for (let number = 0; number < 4; number++) for (const rank of [0, 1]) await publish(rank, number);
}

async function connected(): Promise<void> {
  await until("all ranks are connected", async () => {
    const [engine] = await reports();
    return (engine?.ranks ?? []).every((rank) => (rank as { connected?: boolean }).connected === true);
  });
}

test("with shared_socket both ranks have their own blocks", async () => {
  await register({ id: "both", dp_size: 2, shared_socket: true });
  await connected();
  await until("both ranks have all of their blocks", async () => {
    await publishBoth();
    const [own, other] = [await matchedBy(0), await matchedBy(1)];
    return own.length === 1 && other.length === 1 && own[0]?.[1] === 64 && other[0]?.[1] === 64;
  });
  expect([(await matchedBy(0))[0]?.[0], (await matchedBy(1))[0]?.[0]]).toEqual([0, 1]);
  await running.app.inject({ method: "DELETE", url: "/api/v1/engines/both" });
});

test("without it the other rank's messages are refused by name, once in the log, and nothing restarts", async () => {
  await register({ id: "one" });
  await connected();
  const report = async () =>
    (await reports())[0]?.ranks[0] as unknown as {
      restarts: number;
      dropped: Record<string, number>;
    };
  let number = 0;
  await until("messages of the other rank are refused", async () => {
    for (const rank of [0, 1]) await publish(rank, number);
    number += 1;
    return ((await report()).dropped["other_dp_rank"] ?? 0) > 8;
  });
  expect((await report()).restarts).toBe(0);
  expect(await matchedBy(1)).toEqual([]);
  const told = running.log.filter(({ event }) => event === "ranks_share_socket");
  expect(told).toHaveLength(1);
  expect(told[0]?.message).toMatch(/DP rank 0 is followed.*Set shared_socket: true and dp_size/);
});
