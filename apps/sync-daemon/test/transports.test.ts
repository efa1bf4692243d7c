/**
 * The same promises of both transports, against a simulated engine's real sockets: connections, messages, replays, and
 * no report once closed.
 */
import {
  copyFrames,
  encodeReplayReply,
  parseLiveFrames,
  parseReplayFrames,
  parseReplayRequest,
} from "@kvsync/core";
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Router } from "zeromq";

import type { Closeable, Frames, Transport } from "../src/transport/transport.ts";
import { ZmqTransport } from "../src/transport/zmq-transport.ts";
import { ZmtpTransport } from "../src/transport/zmtp-transport.ts";
import { TestEngine, until } from "./fleet.ts";

/** Messages that libzmq's ROUTER queues for a peer before it drops, by default. */
const ROUTER_HIGH_WATER_MARK = 1000;

/** Both implementations keep the same promises. */
const TRANSPORTS = [
  {
    name: "ZmtpTransport",
    file: "zmtp-transport",
    limits: { messageBytes: 1e8, messageParts: 5000 },
    make: (): Transport => new ZmtpTransport(),
  },
  { name: "ZmqTransport", file: "zmq-transport", limits: null, make: (): Transport => new ZmqTransport() },
] as const;

describe.each(TRANSPORTS)("$name", ({ name, file, limits, make }) => {
  let transport: Transport;
  let engine: TestEngine;

  beforeEach(async () => {
    transport = make();
    engine = await TestEngine.start({ id: "a" }, 1);
  });

  afterEach(async () => {
    transport.close();
    await engine.stop();
  });

  /** A subscription with its reports in a list. */
  function subscribe(endpoint: string): { events: string[]; messages: Frames[]; subscription: Closeable } {
    const events: string[] = [];
    const messages: Frames[] = [];
    const subscription = transport.subscribe(endpoint, "", {
      connected: () => events.push("connected"),
      message: (frames, areLent) => {
        messages.push(areLent === true ? copyFrames(frames) : frames);
      },
      ended: (reason) => events.push(reason),
    });
    return { events, messages, subscription };
  }

  async function replay(
    from: number,
    patience = { firstMs: 2000, nextMs: 2000 },
  ): Promise<{ numbers: (number | "end")[]; failure: string | null }> {
    const numbers: (number | "end")[] = [];
    const failure = await new Promise<string | null>((resolve) => {
      transport.requestReplay(engine.server.replayEndpoint ?? "", from, patience, {
        message: (frames) => {
          const reply = parseReplayFrames(frames);
          numbers.push(reply.kind === "end" ? "end" : reply.sequenceNumber);
        },
        ended: resolve,
      });
    });
    return { numbers, failure };
  }

  const happened = (events: readonly string[], count: number) =>
    until(`${count} events`, () => Promise.resolve(events.length >= count));

  /** Connected is not subscribed: what is published before the subscription has come through is for nobody. */
  const heard = (messages: readonly Frames[], from: TestEngine) =>
    until("the subscription has come through", async () => {
      await from.serve(1);
      return messages.length > 0;
    });

  test("a subscription reports its connection, then messages in the publisher's order", async () => {
    const { events, messages } = subscribe(engine.server.endpoint);
    await heard(messages, engine);
    await engine.serve(10);
    const last = engine.engine.lastSequenceNumber;
    const numbers = (): number[] => messages.map((frames) => parseLiveFrames(frames).sequenceNumber);
    await until("the last message", () => Promise.resolve(numbers().at(-1) === last));
    expect(events).toEqual(["connected"]);
    const [first = 0] = numbers();
    expect(numbers()).toEqual(Array.from({ length: last + 1 - first }, (_, i) => first + i));
  });

  test("a publisher that goes away ends the subscription once, and it does not come back by itself", async () => {
    const { events, messages } = subscribe(engine.server.endpoint);
    await happened(events, 1);
    await engine.server.applyFault({ kind: "restart" }, 0);
    await happened(events, 2);
    await engine.serve(10);
    const again = subscribe(engine.server.endpoint);
    await happened(again.events, 1);
    expect(events).toEqual(["connected", "disconnected"]);
    expect(messages).toEqual([]);
  });

  test("an engine at an IPv6 address is followed and asked like any other", async () => {
    const six = await TestEngine.start({ id: "six" }, 2, { host: "[::1]" }).catch((error: unknown) => {
      throw new Error("this machine has no IPv6 loopback", { cause: error });
    });
    const { events, messages } = subscribe(six.server.endpoint);
    expect(six.server.endpoint).toMatch(/^tcp:\/\/\[::1\]:/);
    await heard(messages, six);
    expect(events).toEqual(["connected"]);
    await six.stop();
  });

  test("nobody listening is refused; an address that is none as well", async () => {
    const refused = subscribe("tcp://127.0.0.1:19997");
    await happened(refused.events, 1);
    expect(refused.events).toEqual(["refused"]);
    const nonsense = subscribe("tcp://127.0.0.1:nonsense");
    expect(nonsense.events).toEqual([]);
    await happened(nonsense.events, 1);
    expect(nonsense.events).toEqual(["no_socket"]);
  });

  test("a closed subscription reports nothing more", async () => {
    const { events, messages, subscription } = subscribe(engine.server.endpoint);
    await happened(events, 1);
    subscription.close();
    subscription.close();
    await engine.serve(5);
    expect((await replay(0)).failure).toBeNull();
    expect(events).toEqual(["connected"]);
    expect(messages).toEqual([]);
  });

  test("a replay brings everything from the number asked for, then the end", async () => {
    await engine.serve(20);
    const last = engine.engine.lastSequenceNumber;
    const { numbers, failure } = await replay(3);
    expect(failure).toBeNull();
    expect(numbers).toEqual([...Array.from({ length: last - 2 }, (_, i) => i + 3), "end"]);
    expect((await replay(last + 1)).numbers).toEqual(["end"]);
  });

  test("thousands of messages come back: an answer goes past ROUTER's high-water mark, and asking from its first hole completes it", async () => {
    await engine.serve(1500);
    const last = engine.engine.lastSequenceNumber;
    expect(last).toBeGreaterThan(3000);
    let next = 0;
    for (let asked = 0; next <= last && asked < 20; asked++) {
      const { numbers } = await replay(next);
      // How much ROUTER drops depends on who gets the cores; never the first messages, whose pipe is empty.
      expect(numbers[0]).toBe(next);
      if (asked === 0) expect(numbers.length).toBeGreaterThan(ROUTER_HIGH_WATER_MARK);
      for (const number of numbers) if (number === next) next++;
    }
    expect(next).toBe(last + 1);
  });

  test("an engine that does not answer makes the replay fail as idle", async () => {
    await engine.server.applyFault({ kind: "hold", seconds: 5 }, 0);
    expect(await replay(0, { firstMs: 200, nextMs: 200 })).toEqual({ numbers: [], failure: "idle" });
  });

  test("the patience with a replay begins with its request, also at the end of a long turn of the event loop", async () => {
    const router = new Router();
    await router.bind("tcp://127.0.0.1:*");
    const firstMs = 300;
    const busyFrom = performance.now();
    while (performance.now() < busyFrom + 2 * firstMs);
    const askedMs = performance.now();
    const failure = await new Promise((resolve) => {
      transport.requestReplay(
        router.lastEndpoint ?? "",
        0,
        { firstMs, nextMs: firstMs },
        {
          message: () => undefined,
          ended: resolve,
        },
      );
    });
    expect(failure).toBe("idle");
    // A timer of whole milliseconds may end one early.
    expect(performance.now() - askedMs).toBeGreaterThanOrEqual(firstMs - 1);
    router.close();
  });

  test("a replay whose rest is lost has failed after the shorter silence, one that has not begun after the longer", async () => {
    const router = new Router();
    await router.bind("tcp://127.0.0.1:*");
    const endpoint = router.lastEndpoint ?? "";
    const failedAfter = (patience: {
      firstMs: number;
      nextMs: number;
    }): Promise<readonly [string | null, number, number]> =>
      new Promise((resolve) => {
        const beganMs = performance.now();
        let heard = 0;
        transport.requestReplay(endpoint, 0, patience, {
          message: () => (heard += 1),
          ended: (failure) => {
            resolve([failure, heard, performance.now() - beganMs]);
          },
        });
      });
    const begun = failedAfter({ firstMs: 5000, nextMs: 50 });
    const { identity } = parseReplayRequest(await router.receive());
    await router.send(
      encodeReplayReply({
        identity,
        shape: "plain",
        topic: "",
        sequenceNumber: 0,
        payload: Uint8Array.of(0x93),
      }),
    );
    const [failure, heard, begunMs] = await begun;
    expect([failure, heard]).toEqual(["idle", 1]);
    const silent = await failedAfter({ firstMs: 20 * begunMs, nextMs: 50 });
    expect(silent.slice(0, 2)).toEqual(["idle", 0]);
    expect(silent[2]).toBeGreaterThan(10 * begunMs);
    router.close();
  });

  test("what only looks like the end of a replay is none: the request fails and is not silently over", async () => {
    const router = new Router();
    await router.bind("tcp://127.0.0.1:*");
    const ended = new Promise((resolve) => {
      const patience = { firstMs: 2000, nextMs: 50 };
      transport.requestReplay(router.lastEndpoint ?? "", 0, patience, {
        message: () => undefined,
        ended: resolve,
      });
    });
    const [identity = new Uint8Array()] = await router.receive();
    await router.send([identity, new Uint8Array(), new Uint8Array()]);
    expect(await ended).toBe("idle");
    router.close();
  });

  test("a publisher that dies in the middle of messages of many frames does not take the process along", async () => {
    const script = `
    import { Publisher } from "zeromq";
    const socket = new Publisher({ linger: 0, sendHighWaterMark: 0 });
    await socket.bind("tcp://127.0.0.1:*");
    process.stdout.write(socket.lastEndpoint + "\\n");
    const frames = Array.from({ length: 5000 }, () => new Uint8Array());
    for (;;) await socket.send(frames);
  `;
    const subscriber = `
    import { ${name} } from ${JSON.stringify(new URL(`../dist/transport/${file}.js`, import.meta.url).href)};
    const transport = new ${name}(${limits === null ? "" : JSON.stringify(limits)});
    transport.subscribe(process.argv[1], "", {
      connected: () => process.stdout.write("connected\\n"),
      message: () => undefined,
      ended: (reason) => process.exit(reason === "disconnected" ? 0 : 1),
    });
  `;
    const run = (text: string, ...args: string[]) =>
      spawn(process.execPath, ["--input-type=module", "-e", text, ...args], {
        stdio: ["ignore", "pipe", "inherit"],
        cwd: fileURLToPath(new URL("..", import.meta.url)),
      });
    const firstLine = (child: ChildProcess) =>
      new Promise<string>((resolve) =>
        child.stdout?.once("data", (chunk: Buffer) => {
          resolve(chunk.toString().trim());
        }),
      );
    for (let round = 0; round < 6; round++) {
      const publisher = run(script);
      const reader = run(subscriber, await firstLine(publisher));
      const over = new Promise((resolve) =>
        reader.on("exit", (code, signal) => {
          resolve(signal ?? code);
        }),
      );
      await firstLine(reader);
      await new Promise((resolve) => setTimeout(resolve, 100 + 40 * round));
      publisher.kill("SIGKILL");
      expect(await over).toBe(0);
    }
  });

  test.skipIf(process.platform !== "linux")(
    "attempts that come to nothing, and those given up, leave no descriptor open, before anything is collected (Linux only)",
    async () => {
      const openFiles = (): number => readdirSync("/proc/self/fd").length;
      const dial = (ended: () => void) =>
        transport.subscribe("tcp://127.0.0.1:9", "", {
          connected: () => undefined,
          message: () => undefined,
          ended,
        });
      const before = openFiles();
      let refused = 0;
      for (let i = 0; i < 50; i++) dial(() => (refused += 1));
      await vi.waitFor(() => {
        expect(refused).toBe(50);
      }, 60_000);
      for (let i = 0; i < 50; i++) dial(() => undefined).close();
      // The context's own threads, made with its first socket, stay.
      await vi.waitFor(() => {
        expect(openFiles()).toBeLessThan(before + 20);
      }, 60_000);
    },
  );
});
