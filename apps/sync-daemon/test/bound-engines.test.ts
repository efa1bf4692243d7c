/**
 * Engines that connect (P1 and P2 of publisher-gate.ts), where the daemon listens (`bind`): vLLM's publisher does so when its endpoint has no `*`. Real sockets; each
 * publisher answers replay requests as an engine does.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { encodeEventBatch, encodeReplayEnd, encodeReplayReply, parseReplayRequest } from "@kvsync/core";
import { freePort } from "@kvsync/engine-sim";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Publisher, Router } from "zeromq";

import type { MatchAnswer } from "../src/query/match-answer.ts";
import type { EngineReport } from "./daemon-process.ts";
import { type DaemonInProcess, startInProcess } from "./daemon-in-process.ts";
import { until } from "./fleet.ts";

/** Where replay is answered, whichever process of the engine it is. */
let replayPort = 0;
let eventsPort = 0;
let folder: string;
let running: DaemonInProcess | null = null;
const engines: ConnectingEngine[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "kvsync-bound-"));
  [eventsPort, replayPort] = [await freePort(), await freePort()];
});

afterEach(async () => {
  await running?.stop();
  running = null;
  for (const engine of engines.splice(0)) engine.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A publisher that connects, with its history. */
class ConnectingEngine {
  readonly publisher = new Publisher({ linger: 0 });
  readonly #payloads: Uint8Array[] = [];
  readonly #seed: number;
  #replay: Router | null = null;

  private constructor(seed: number) {
    this.#seed = seed;
    this.publisher.connect(`tcp://127.0.0.1:${eventsPort}`);
  }

  static async start(seed: number, hasReplay = true): Promise<ConnectingEngine> {
    const engine = new ConnectingEngine(seed);
    engines.push(engine);
    if (hasReplay) await engine.answerReplays();
    return engine;
  }

  /** Takes the replay port, as soon as it is free. */
  async answerReplays(): Promise<void> {
    const router = new Router({ linger: 0, sendHighWaterMark: 0 });
    this.#replay = router;
    await until("the replay port is free", () =>
      router.bind(`tcp://127.0.0.1:${replayPort}`).then(
        () => true,
        () => false,
      ),
    );
    void this.#answer(router);
  }

  get tokens(): number[] {
    return Array.from({ length: 64 }, (_, i) => 1000 * this.#seed + i);
  }

  /** Stores the next block of its one prompt. */
  async publish(): Promise<void> {
    const number = this.#payloads.length;
    const store = {
      type: "BlockStored",
      blockHashes: [BigInt(1000 * this.#seed + number + 1)],
      parentBlockHash: number === 0 ? null : BigInt(1000 * this.#seed + number),
      tokenIds: this.tokens.slice(16 * number, 16 * (number + 1)),
      blockSize: 16,
      medium: "GPU",
    } as const;
    const batch = { timestampSeconds: Date.now() / 1000, events: [store], dataParallelRank: 0 };
    const payload = encodeEventBatch(batch, "vllm-0.29");
    this.#payloads.push(payload);
    const sequence = Buffer.alloc(8);
    sequence.writeBigUInt64BE(BigInt(number));
    await this.publisher.send(["", sequence, payload]);
  }

  stop(): void {
    this.publisher.close();
    this.#replay?.close();
  }

  async #answer(router: Router): Promise<void> {
    try {
      for await (const frames of router) {
        const { identity, startSequenceNumber } = parseReplayRequest(frames);
        for (const [sequenceNumber, payload] of this.#payloads.entries()) {
          if (sequenceNumber < startSequenceNumber) continue;
          await router.send(
            encodeReplayReply({ identity, shape: "plain", topic: "", sequenceNumber, payload }).map(bytes),
          );
        }
        await router.send(encodeReplayEnd(identity, "plain").map(bytes));
      }
    } catch (error) {
      if (!router.closed) throw error;
    }
  }
}

const bytes = (frame: Uint8Array): Buffer => Buffer.from(frame);

async function startDaemon(settings = ""): Promise<DaemonInProcess> {
  const path = join(folder, "kvsync.yaml");
  writeFileSync(
    path,
    `engines:
  - id: bound
    model: m
    endpoint: tcp://0.0.0.0:${eventsPort}
    replay_endpoint: tcp://127.0.0.1:${replayPort}
    bind: true
ingest: { reconnect_ms_min: 20, reconnect_ms_max: 200 }
${settings}`,
  );
  running = await startInProcess(["--config", path]);
  return running;
}

async function rank(): Promise<EngineReport["ranks"][0] & { connected: boolean; restarts: number }> {
  const { engines: all } = (await running?.app.inject("/api/v1/engines"))?.json<{
    engines: EngineReport[];
  }>() ?? { engines: [] };
  return all[0]?.ranks[0] as Awaited<ReturnType<typeof rank>>;
}

async function matched(tokens: readonly number[]): Promise<(readonly [number, string])[]> {
  const payload = { model: "m", token_ids: tokens };
  const response = await running?.app.inject({ method: "POST", url: "/api/v1/match", payload });
  const { matches } = response?.json<MatchAnswer>() ?? { matches: [] };
  return matches.map((row) => [row.matched_tokens, row.trust] as const);
}

const isExact = (engine: ConnectingEngine) =>
  until("the engine's blocks are known, exactly", async () => {
    const [row] = await matched(engine.tokens);
    return row?.[0] === 64 && row[1] === "exact";
  });

const events = (name: string) => running?.log.filter(({ event }) => event === name) ?? [];

test("an engine that connects is exact, from its history and what it publishes later", async () => {
  await startDaemon();
  const engine = await ConnectingEngine.start(1);
  for (let i = 0; i < 2; i++) await engine.publish();
  await until("it is connected", async () => (await rank()).connected);
  for (let i = 0; i < 2; i++) await engine.publish();
  await isExact(engine);
});

test("an engine that ends is stale, and the process that follows it is exact with its own blocks alone", async () => {
  await startDaemon();
  const first = await ConnectingEngine.start(1);
  for (let i = 0; i < 4; i++) await first.publish();
  await isExact(first);
  first.stop();
  await until("the rank is not exact", async () => (await rank()).trust === "stale");
  expect((await rank()).connected).toBe(false);
  const second = await ConnectingEngine.start(2);
  for (let i = 0; i < 4; i++) await second.publish();
  await isExact(second);
  expect(await matched(first.tokens)).toEqual([]);
});

test("P1: a second publisher at the address is refused by name, once in the log, and costs the first nothing", async () => {
  const { daemon } = await startDaemon();
  const first = await ConnectingEngine.start(1);
  for (let i = 0; i < 2; i++) await first.publish();
  await until("the first is connected", async () => (await rank()).trust === "exact");
  const second = await ConnectingEngine.start(2, false);
  const refusals = /security_failures_total\{[^}]*reason="second_publisher"[^}]*\} (\d+)/;
  await until("the second is refused again and again", async () => {
    await second.publish();
    return Number(refusals.exec(await daemon.exposition.scrape())?.[1] ?? 0) > 1;
  });
  for (let i = 0; i < 2; i++) await first.publish();
  await isExact(first);
  expect(await matched(second.tokens)).toEqual([]);
  expect((await rank()).restarts).toBe(0);
  expect(events("engine_connected")).toHaveLength(1);
  expect(events("publisher_refused").map(({ facts }) => [facts["reason"], facts["address"]])).toEqual([
    ["second_publisher", "127.0.0.1"],
  ]);
});

test("the second publisher takes the place of the first when that ends", async () => {
  await startDaemon();
  const first = await ConnectingEngine.start(1);
  for (let i = 0; i < 4; i++) await first.publish();
  await isExact(first);
  const second = await ConnectingEngine.start(2, false);
  await until("the second is refused", () => Promise.resolve(events("publisher_refused").length > 0));
  first.stop();
  await second.answerReplays();
  for (let i = 0; i < 4; i++) await second.publish();
  await isExact(second);
  expect(await matched(first.tokens)).toEqual([]);
});

test("P2: a publisher from an address that may not is refused by name", async () => {
  await startDaemon(`security: { publisher_ranges: ["10.0.0.0/8"] }\n`);
  await ConnectingEngine.start(1);
  await until("it is refused", () => Promise.resolve(events("publisher_refused").length > 0));
  expect(events("publisher_refused")[0]?.facts).toMatchObject({ reason: "publisher_not_allowed" });
  expect((await rank()).connected).toBe(false);
});

test("an address that is taken is named, and listened at once it is free", async () => {
  const rival = createServer();
  rival.listen(eventsPort, "0.0.0.0");
  await once(rival, "listening");
  await startDaemon();
  await until("it says so", () => Promise.resolve(events("engine_unreachable").length > 0));
  expect(events("engine_unreachable")[0]?.facts).toMatchObject({ reason: "address_in_use" });
  rival.close();
  const engine = await ConnectingEngine.start(1);
  for (let i = 0; i < 4; i++) await engine.publish();
  await isExact(engine);
});

test("only the configuration file may have the daemon listen", async () => {
  const { app } = await startDaemon();
  const payload = { id: "http", model: "m", endpoint: "tcp://127.0.0.1:5999", bind: true };
  const response = await app.inject({ method: "POST", url: "/api/v1/engines", payload });
  expect(response.statusCode).toBe(422);
  expect(response.json<{ code: string; detail: string }>()).toMatchObject({ code: "endpoint_not_allowed" });
});
