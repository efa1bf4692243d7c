/**
 * A daemon process with an engine whose messages are as expensive as the limits allow. The bounds
 * are ratios and trust. A healthy engine's messages are still applied, its rank stays exact, probes
 * and lookups are answered, and the process lives.
 */
import { encodeEventBatch, encodeLiveFrames, type KvEvent } from "@kvsync/core";
import { Publisher } from "zeromq";
import { afterAll, beforeAll, expect, test } from "vitest";

import { DaemonProcess } from "./daemon-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";

/** Longest time that a probe or a lookup may take beside a worker that has all it can do. */
const ANSWER_MS_MAX = 3000;

const cleanUp: (() => unknown)[] = [];
let daemon: DaemonProcess;
let healthy: TestEngine;
let publisher: Publisher;
let nextNumber = 0;

beforeAll(async () => {
  healthy = await TestEngine.start({ id: "healthy" }, 1);
  cleanUp.push(() => healthy.stop());
  publisher = new Publisher({ linger: 0, sendHighWaterMark: 0 });
  await publisher.bind("tcp://127.0.0.1:*");
  cleanUp.push(() => {
    publisher.close();
  });
  const endpoint = publisher.lastEndpoint ?? "";
  daemon = await DaemonProcess.start({
    engines: [healthy.entry, { id: "hostile", model: "test/model", endpoint }],
    limits: { contexts: 64 },
  });
  cleanUp.push(() => daemon.end("SIGKILL"));
  await healthy.serve(4);
  await caughtUp(daemon, [healthy]);
});

afterAll(async () => {
  for (const step of cleanUp.reverse()) await step();
});

/** A store of one block whose parent nobody announces, unless it is a root. */
function store(hash: bigint, parentBlockHash: bigint | null, loraName: string | null = null): KvEvent {
  return {
    type: "BlockStored",
    blockHashes: [hash],
    parentBlockHash,
    tokenIds: [1],
    blockSize: 1,
    loraName,
    medium: "GPU",
  };
}

const LOW_WORD = 0x12345678n;

const MESSAGES: Record<string, () => KvEvent[]> = {
  "removals that share a low word with parked stores": () => [
    ...Array.from({ length: 1024 }, (_, i) => store((BigInt(i + 1) << 32n) | LOW_WORD, 1n << 60n)),
    {
      type: "BlockRemoved",
      blockHashes: Array.from({ length: 250_000 }, (_, i) => (BigInt(i + 5000) << 32n) | LOW_WORD),
      medium: "GPU",
    },
    {
      type: "BlockRemoved",
      blockHashes: Array.from({ length: 50_000 }, (_, i) => (BigInt(i + 500_000) << 32n) | LOW_WORD),
      medium: "GPU",
    },
  ],
  "orphans, each with a parent of its own": () =>
    Array.from({ length: 40_000 }, (_, i) => store(BigInt(i + 1), BigInt(i) + (1n << 50n))),
  "a clear after every block": () =>
    Array.from(
      { length: 40_000 },
      (_, i): KvEvent => (i % 2 === 0 ? store(BigInt(i + 1), null) : { type: "AllBlocksCleared" }),
    ),
  "a context for every block": () =>
    Array.from({ length: 4000 }, (_, i) => store(BigInt(i + 1), null, `adapter-${i}`)),
};

async function timed(ask: () => Promise<unknown>): Promise<number> {
  const beganMs = performance.now();
  await ask();
  return performance.now() - beganMs;
}

async function lookUp(): Promise<void> {
  const response = await daemon.fetch("/api/v1/match", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "test/model", block_size: 16, token_ids: [1, 2, 3] }),
  });
  expect(response.status).toBe(200);
}

for (const [name, events] of Object.entries(MESSAGES)) {
  test(`${name}: other engines' messages go on being applied`, async () => {
    const batch = { timestampSeconds: 1e9 + nextNumber, events: events(), dataParallelRank: 0 };
    const payload = encodeEventBatch(batch, "vllm-0.29");
    const hostile = async () =>
      (await daemon.engines()).find(({ id }) => id === "hostile")?.ranks[0]?.last_sequence_number ?? -1;
    await until("the hostile engine is connected", async () =>
      (await daemon.engines()).some(({ id, ranks }) => id === "hostile" && ranks[0]?.connected),
    );
    const number = nextNumber++;
    await publisher.send(encodeLiveFrames("", number, payload));
    let isApplied = false;
    for (let round = 0; round < 3 || !isApplied; round++) {
      await healthy.serve(2);
      // Contexts without end push out those of others, which is said and costs matches; nothing else may.
      await caughtUp(daemon, [healthy], name.includes("context") ? ["exact", "partial"] : ["exact"]);
      expect(await timed(() => daemon.fetch("/livez"))).toBeLessThan(ANSWER_MS_MAX);
      expect(await timed(lookUp)).toBeLessThan(ANSWER_MS_MAX);
      expect((await daemon.fetch("/readyz")).status).toBe(200);
      isApplied = (await hostile()) >= number;
    }
  });
}
