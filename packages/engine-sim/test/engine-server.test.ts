/**
 * The publisher over real ZeroMQ on loopback: the messages that a subscriber and a replay client
 * get, without a fault and with every fault. Nothing waits for a time to pass; conditions are
 * polled with a deadline, and clocks are only compared with a lower bound.
 *
 * Numbers in titles: B of publisher.ts, H of replay-history.ts, N of engine-server.ts.
 */
import {
  type BatchHeader,
  encodeEventBatch,
  EventBatchDecoder,
  type EventFault,
  parseLiveFrames,
} from "@kvsync/core";
import { Dealer } from "zeromq";
import { afterEach, describe, expect, test } from "vitest";
import { Listener, replay, until } from "./listener.ts";
import type { EngineSettings, NumberedBatch } from "../src/engine-contract.ts";
import { EngineServer, type EngineServerSettings } from "../src/engine-server.ts";
import { SimulatedEngine } from "../src/simulated-engine.ts";

const open: EngineServer[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.stop()));
});

async function serve(
  settings: Partial<EngineSettings> = {},
  server: Partial<EngineServerSettings> = {},
): Promise<{ engine: SimulatedEngine; server: EngineServer }> {
  const engine = new SimulatedEngine({
    id: "engine",
    model: "m",
    blockSize: 4,
    blockCount: 1000,
    ...settings,
  });
  const started = await EngineServer.start({ engine, ...server });
  open.push(started);
  return { engine, server: started };
}

/** Publishes `count` batches, each of one request with a prompt of its own. */
function work(engine: SimulatedEngine, server: EngineServer, count: number): NumberedBatch[] {
  const batches: NumberedBatch[] = [];
  const first = engine.counters.requestsFinished;
  for (let id = first; batches.length < count; id++) {
    engine.submit({ id, promptTokens: Uint32Array.of(id, 1, 2, 3), output: { count: 1, seed: 1 } }, id);
    const { batch } = engine.step(id);
    if (batch === null) continue;
    batches.push(batch);
    server.publish(batch);
  }
  return batches;
}

const numbersTo = (count: number) => Array.from({ length: count }, (_, i) => i);

function decode(payload: Uint8Array): { header: BatchHeader; types: string[]; faults: EventFault[] } {
  const types: string[] = [];
  const faults: EventFault[] = [];
  const scratch = { tokens: new Uint32Array(1024), hashes: new Uint32Array(256) };
  const header = new EventBatchDecoder(scratch).decode(payload, {
    onBlockStored: (event) => types.push(event.type),
    onBlockRemoved: (event) => types.push(event.type),
    onAllBlocksCleared: () => types.push("AllBlocksCleared"),
    onUnknownField: () => undefined,
    onFault: (fault) => faults.push(fault),
  });
  return { header, types, faults };
}

describe("live messages", () => {
  test("are topic, number and payload, in order, byte for byte the encoded batches (B3)", async () => {
    const { engine, server } = await serve({}, { topic: "kv@engine@m" });
    await using listener = await Listener.to(server);
    const batches = work(engine, server, 50);
    await until("50 messages arrive", () => listener.messages().length === 50);
    expect(listener.numbers()).toEqual(numbersTo(50));
    listener.messages().forEach((message, index) => {
      expect(Buffer.from(message.topic).toString()).toBe("kv@engine@m");
      const batch = batches[index]?.batch;
      expect(Buffer.from(message.payload)).toEqual(Buffer.from(encodeEventBatch(batch!, "vllm-0.26")));
    });
  });

  test("a queue longer than its limit is refused, with the limit named", async () => {
    const { engine, server } = await serve({}, { maxQueueSize: 2 });
    await server.applyFault({ kind: "hold", seconds: 60 }, 0);
    expect(() => work(engine, server, 3)).toThrow(
      expect.objectContaining({ facts: { code: "publish_queue_full", queueMax: 2 } }),
    );
    expect(server.queueLength).toBe(2);
  });
});

describe("replay", () => {
  test.each([
    ["vllm-0.24", 3],
    ["vllm-0.26", 4],
    ["sglang-map", 3],
    ["trtllm", 4],
  ] as const)(
    "of %s gives every batch from the start asked for, in messages of %i frames",
    async (dialect, frames) => {
      const { engine, server } = await serve({ dialect });
      work(engine, server, 20);
      await server.drained();
      const published = server.counters.published;
      const all = await replay(server.replayEndpoint!, 0);
      expect(all.numbers).toEqual(numbersTo(published));
      expect([...all.frameCounts]).toEqual([frames]);
      expect((await replay(server.replayEndpoint!, 7)).numbers).toEqual(numbersTo(published).slice(7));
    },
  );

  test("from the future is an end alone, and from before the history what is left of it (H1)", async () => {
    const { engine, server } = await serve({}, { bufferSteps: 5 });
    work(engine, server, 12);
    await server.drained();
    expect((await replay(server.replayEndpoint!, 12)).numbers).toEqual([]);
    expect((await replay(server.replayEndpoint!, 3)).numbers).toEqual([7, 8, 9, 10, 11]);
    await server.applyFault({ kind: "truncate_history", keep: 2 }, 0);
    expect((await replay(server.replayEndpoint!, 0)).numbers).toEqual([10, 11]);
    work(engine, server, 4);
    await server.drained();
    expect((await replay(server.replayEndpoint!, 0)).numbers).toEqual([11, 12, 13, 14, 15]);
  });

  test("a request without the delimiter gets no answer and harms no later one", async () => {
    const { engine, server } = await serve();
    work(engine, server, 3);
    const mute = new Dealer({ linger: 0 });
    mute.connect(server.replayEndpoint!);
    await mute.send([new Uint8Array(8)]);
    await until("the request is ignored", () => server.counters.replayRequestsIgnored === 1);
    expect((await replay(server.replayEndpoint!, 0)).numbers).toEqual([0, 1, 2]);
    mute.close();
  });

  test("stalls live publishing until it is answered (B1)", async () => {
    const { engine, server } = await serve();
    work(engine, server, 3000);
    await server.drained();
    const answer = replay(server.replayEndpoint!, 2500);
    await until("the replay has begun", () => server.counters.replayRequests === 1);
    const before = server.counters;
    work(engine, server, 1);
    await until("the next batch is published", () => server.counters.published === 3001);
    expect(before.published).toBe(3000);
    expect(server.counters.replayedMessages).toBe(500);
    expect((await answer).numbers).toEqual(numbersTo(3000).slice(2500));
  });
});

describe("faults", () => {
  test("drop loses the share asked for, live only, and the same messages for the same seed", async () => {
    const lost: number[][] = [];
    for (let run = 0; run < 2; run++) {
      const { engine, server } = await serve({}, { seed: 42 });
      await using listener = await Listener.to(server);
      await server.applyFault({ kind: "drop", percent: 30 }, 0);
      work(engine, server, 200);
      await server.drained();
      const { droppedLive } = server.counters;
      await until("the rest arrives", () => listener.messages().length === 200 - droppedLive);
      expect(droppedLive).toBeGreaterThan(30);
      expect(droppedLive).toBeLessThan(90);
      expect((await replay(server.replayEndpoint!, 0)).numbers).toEqual(numbersTo(200));
      const arrived = new Set(listener.numbers());
      lost.push(numbersTo(200).filter((number) => !arrived.has(number)));
    }
    expect(lost[0]).toEqual(lost[1]);
  });

  test("drop with a replay share makes holes in replays, which still end", async () => {
    const { engine, server } = await serve({}, { seed: 3 });
    work(engine, server, 200);
    await server.applyFault({ kind: "drop", percent: 0, replayPercent: 50 }, 0);
    const { numbers } = await replay(server.replayEndpoint!, 0);
    expect(numbers.length).toBe(200 - server.counters.droppedReplay);
    expect(server.counters.droppedReplay).toBeGreaterThan(50);
  });

  test("hold sends nothing until its time is over, then everything", async () => {
    const { engine, server } = await serve();
    await using listener = await Listener.to(server);
    const start = performance.now();
    await server.applyFault({ kind: "hold", seconds: 0.2 }, 0);
    work(engine, server, 10);
    await server.drained();
    await until("all arrive", () => listener.messages().length === 10);
    expect(Math.min(...listener.arrivedAtMs) - start).toBeGreaterThanOrEqual(195);
    expect(listener.numbers()).toEqual(numbersTo(10));
  });

  test("lose loses live messages while it lasts and keeps them in history (B2)", async () => {
    const { engine, server } = await serve();
    await using listener = await Listener.to(server);
    await server.applyFault({ kind: "lose", seconds: 60 }, 0);
    work(engine, server, 5);
    await server.drained();
    await server.applyFault({ kind: "lose", seconds: 1e-6 }, 0);
    work(engine, server, 1);
    await until("the one after it arrives", () => listener.messages().length === 1);
    expect(listener.numbers()).toEqual([5]);
    expect((await replay(server.replayEndpoint!, 0)).numbers).toEqual(numbersTo(6));
  });

  test("a burnt number is missing live and in replay, and no event with it", async () => {
    const { engine, server } = await serve();
    await using listener = await Listener.to(server);
    work(engine, server, 2);
    await server.applyFault({ kind: "burn_sequence_number" }, 0);
    work(engine, server, 1);
    await until("three arrive", () => listener.messages().length === 3);
    expect(listener.numbers()).toEqual([0, 1, 3]);
    expect((await replay(server.replayEndpoint!, 0)).numbers).toEqual([0, 1, 3]);
    expect(engine.contents()).toMatchObject({ rowCount: 3, lastSequenceNumber: 3 });
  });

  test.each(["vllm-0.21", "vllm-0.26"] as const)(
    "poison in %s spoils itself and no good event",
    async (dialect) => {
      const { engine, server } = await serve({ dialect });
      await using listener = await Listener.to(server);
      const poison = (
        form: "malformed_event" | "unknown_event_type" | "malformed_batch" | "short_sequence_frame",
      ) => server.applyFault({ kind: "poison", form }, 0);
      await poison("malformed_event");
      await poison("unknown_event_type");
      work(engine, server, 1);
      await poison("malformed_batch");
      await poison("short_sequence_frame");
      work(engine, server, 1);
      await until("four arrive", () => listener.frames.filter((frames) => frames.length === 3).length === 4);
      const [spoilt, broken, short, good] = listener.frames.filter((frames) => frames.length === 3);
      const decoded = decode(parseLiveFrames(spoilt!).payload);
      expect(decoded.types).toEqual(["BlockStored"]);
      expect(decoded.faults.map((fault) => fault.eventType)).toEqual([null, "BlockStored"]);
      expect(parseLiveFrames(broken!).sequenceNumber).toBe(1);
      expect(() => decode(parseLiveFrames(broken!).payload)).toThrow(
        expect.objectContaining({ code: "truncated" }),
      );
      expect(() => parseLiveFrames(short!)).toThrow(
        expect.objectContaining({ code: "wrong_sequence_length" }),
      );
      expect(parseLiveFrames(good!).sequenceNumber).toBe(2);
      expect(decode(parseLiveFrames(good!).payload)).toMatchObject({ types: ["BlockStored"], faults: [] });
    },
  );
});

describe("a restart", () => {
  test("keeps the ports, begins again at 0 with an empty cache, and subscribers come back by themselves (N1)", async () => {
    const { engine, server } = await serve();
    const before = [server.endpoint, server.replayEndpoint];
    await using listener = await Listener.to(server);
    work(engine, server, 8);
    engine.submit({ id: 99, promptTokens: Uint32Array.of(1), output: { count: 5, seed: 1 } }, 0);
    engine.step(0);
    expect(await server.restart(1)).toEqual([99]);
    expect([server.endpoint, server.replayEndpoint]).toEqual(before);
    expect(engine.contents()).toMatchObject({ rowCount: 0, lastSequenceNumber: -1 });
    await listener.reach(server);
    work(engine, server, 3);
    await until("three arrive", () => listener.messages().length === 3);
    expect(listener.numbers()).toEqual([0, 1, 2]);
    expect((await replay(server.replayEndpoint!, 0)).numbers).toEqual([0, 1, 2]);
    expect(server.counters.restarts).toBe(1);
  });

  test("loses what is queued, and keeps the faults of the network (B4, N1)", async () => {
    const { engine, server } = await serve();
    await server.applyFault({ kind: "drop", percent: 100 }, 0);
    await server.applyFault({ kind: "hold", seconds: 0.2 }, 0);
    work(engine, server, 3);
    expect(server.queueLength).toBe(3);
    await server.restart(1);
    expect(server.queueLength).toBe(0);
    work(engine, server, 2);
    await server.drained();
    expect((await replay(server.replayEndpoint!, 0)).numbers).toEqual([0, 1]);
    expect(server.counters.droppedLive).toBe(2);
  });

  test("of SGLang announces itself with a clear, as its first start does", async () => {
    const { engine, server } = await serve({ dialect: "sglang-salted" });
    for (let life = 0; life < 2; life++) {
      work(engine, server, 2);
      await server.drained();
      const { numbers, payloads } = await replay(server.replayEndpoint!, 0);
      expect(numbers).toEqual([0, 1, 2]);
      expect(decode(payloads[0]!).types).toEqual(["AllBlocksCleared"]);
      await server.restart(1);
    }
  });

  test("what is published while the ports are bound again is sent afterwards", async () => {
    const { engine, server } = await serve();
    work(engine, server, 3);
    const restarted = server.restart(1);
    work(engine, server, 4);
    await restarted;
    await server.drained();
    expect((await replay(server.replayEndpoint!, 0)).numbers).toEqual([0, 1, 2, 3]);
  });
});

describe("ports", () => {
  test("are offset by the DP rank, and free again once `stop` resolves (N2)", async () => {
    const { server: first } = await serve();
    const port = Number(new URL(first.endpoint).port);
    await first.stop();
    const { server } = await serve({ dpRank: 3 }, { port: port - 3 });
    expect(server.endpoint).toBe(`tcp://127.0.0.1:${port}`);
  });

  test("that are taken are named in the refusal, and nothing stays open", async () => {
    const { server } = await serve();
    const port = Number(new URL(server.endpoint).port);
    await expect(serve({}, { port })).rejects.toMatchObject({
      facts: { code: "bind_failed", endpoint: `tcp://127.0.0.1:${port}` },
    });
  });

  test("are closed by stop, after which commands are refused", async () => {
    const { engine, server } = await serve();
    await server.stop();
    await server.stop();
    expect(() => work(engine, server, 1)).toThrow(expect.objectContaining({ code: "stopped" }));
    await expect(server.restart(0)).rejects.toMatchObject({ code: "stopped" });
  });
});
