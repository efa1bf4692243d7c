/** Many requests through a picker over a daemon's index, on one connection: none fails, and nothing of them stays. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { afterEach, expect, it, vi } from "vitest";

import { Picker } from "../src/picker/picker.ts";
import { PickerServer, type StreamFault } from "../src/picker/picker-server.ts";
import { PromptLookup } from "../src/picker/prompt-lookup.ts";
import type { SessionEnd } from "../src/picker/session.ts";
import { type Ending, framesOf, LoadClient, ready, sendAll } from "../src/picker/testing/load-client.ts";
import { startInProcess } from "./daemon-in-process.ts";

const MODEL = "soak/model";
const REQUESTS = 1200;
const CLIENTS = 32;
const ENDINGS: readonly Ending[] = ["status", "reset", "leave"];
const LIMITS = {
  bodyBytes: 1_000_000,
  bufferedBytes: 64_000_000,
  streams: 1000,
  connections: 16,
  headersBytes: 98_304,
};

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

/** Collects what nothing refers to. */
setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Bytes of the heap and of buffers that something refers to. */
function heldBytes(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

it("2,700 requests on one connection, a third ended by a reset, a third by clients that leave: none fails, none is booked, and memory stays", async () => {
  const { daemon, app, stop } = await startInProcess();
  cleanups.push(stop);
  for (let i = 0; i < 8; i++) {
    const payload = { id: `engine-${i}`, model: MODEL, endpoint: `tcp://127.0.9.${i + 1}:9` };
    expect((await app.inject({ method: "POST", url: "/api/v1/engines", payload })).statusCode).toBe(201);
  }
  const { reader, board, registry } = daemon;
  const faults: StreamFault[] = [];
  const ends = new Map<SessionEnd, number>();
  let decided = 0;
  const picker = new Picker(
    {
      decisionMs: 60_000,
      fallbacks: 2,
      rankHeader: false,
      capacityTokens: 64_000,
      followsResponses: true,
      checkSample: 10,
    },
    {
      lookup: new PromptLookup({ reader, board, registry, now: Date.now }, 1_000_000),
      tokenizer: null,
      watch: {
        decided: () => (decided += 1),
        servedElsewhere: () => undefined,
        firstToken: () => undefined,
        responseChunk: () => undefined,
        reported: () => undefined,
        checked: () => undefined,
        ended: (end) => ends.set(end, (ends.get(end) ?? 0) + 1),
        fault: (fault) => faults.push(fault),
      },
      isReady: () => true,
      now: () => performance.now(),
    },
  );
  picker.update(
    Array.from({ length: 8 }, (_, i) => ({
      id: `engine-${i}`,
      model: MODEL,
      ranks: [{ dpRank: 0 }],
      http: [`10.0.0.${i + 1}:8000`],
    })),
  );
  const server = new PickerServer(
    { host: "127.0.0.1", port: 0, tls: null, serves: "gateways", limits: LIMITS },
    picker,
  );
  const client = new LoadClient(await server.listen());
  cleanups.push(() => server.stop());
  cleanups.push(() => {
    client.close();
  });
  // Token ids, a text, a body of many chunks, and one that is no JSON.
  const kinds = [
    JSON.stringify({ model: MODEL, prompt: Array.from({ length: 200 }, (_, i) => i) }),
    JSON.stringify({ model: MODEL, prompt: "a text without a tokenizer" }),
    JSON.stringify({ model: MODEL, prompt: "word ".repeat(20_000) }),
    "no JSON",
    JSON.stringify({ model: "of nobody", prompt: [1, 2, 3] }),
  ].map((body) => framesOf(body));
  await ready(client, kinds);

  /** Sends so many. @returns bytes of the heap and of buffers when all of it is over. */
  const part = async (requests: number): Promise<number> => {
    const { failures } = await sendAll(client, kinds, requests, CLIENTS, (i) => ENDINGS[i % 3] ?? "status");
    expect([...failures]).toEqual([]);
    await vi.waitFor(
      () => {
        expect([picker.bookingCount, server.streamCount, server.bufferedBytes]).toEqual([0, 0, 0]);
      },
      { timeout: 60_000 },
    );
    return heldBytes();
  };
  // What the first requests compile and fill stays.
  await part(REQUESTS / 4);
  const before = await part(REQUESTS);
  await part(REQUESTS);
  // Buffers of closed streams go in later turns and collections; what a map holds stays. An entry that is left behind takes more
  // than a hundred bytes, with what it refers to.
  await vi.waitFor(
    () => {
      expect((heldBytes() - before) / REQUESTS).toBeLessThan(60);
    },
    { timeout: 60_000, interval: 200 },
  );
  expect(faults).toEqual([]);
  expect([...ends.keys()].sort()).toEqual(["client", "complete"]);
  expect([...ends.values()].reduce((sum, count) => sum + count, 0)).toBe(decided);
});
