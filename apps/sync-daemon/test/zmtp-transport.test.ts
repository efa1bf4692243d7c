/**
 * The daemon's own ZMTP reader at real sockets (zmtp-socket.ts, zmtp-transport.ts). Peers send bytes that libzmq cannot be
 * made to send (test/raw-peer.ts). A live libzmq is the other side where bytes and addresses are compared.
 */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";

import { freePort } from "@kvsync/engine-sim";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { curveKeyPair, Dealer, Publisher, Pull, Subscriber } from "zeromq";

import type { Closeable, Frames } from "../src/transport/transport.ts";
import { ZmtpTransport } from "../src/transport/zmtp-transport.ts";
import { until } from "./fleet.ts";
import { longFrameHeader, peerGreeting, pour, publisherGreeting, RawPeer } from "./raw-peer.ts";

const MIB = 1024 * 1024;
const MESSAGE_BYTES = 4 * MIB;
const LIMITS = { messageBytes: MESSAGE_BYTES, messageParts: 64 };
const SEQUENCE = Buffer.alloc(8);

let transport: ZmtpTransport;
let folder: string;
const cleanUp: { close?(): void; stop?(): void }[] = [];

beforeEach(() => {
  transport = new ZmtpTransport(LIMITS, ["127.0.0.0/8"]);
  folder = mkdtempSync(join(tmpdir(), "kvsync-zmtp-"));
});

afterEach(() => {
  transport.close();
  for (const one of cleanUp.splice(0)) {
    one.close?.();
    one.stop?.();
  }
  rmSync(folder, { recursive: true, force: true });
});

function keep<One extends { close?(): void; stop?(): void }>(one: One): One {
  cleanUp.push(one);
  return one;
}

interface Heard {
  readonly events: string[];
  readonly details: string[];
  readonly messages: Frames[];
  readonly subscription: Closeable;
}

function subscribe(endpoint: string, topic = ""): Heard {
  const [events, details, messages]: [string[], string[], Frames[]] = [[], [], []];
  const subscription = transport.subscribe(endpoint, topic, {
    connected: () => events.push("connected"),
    message: (frames) => messages.push(frames),
    ended: (reason, detail) => {
      events.push(reason);
      details.push(detail ?? "");
    },
  });
  return { events, details, messages, subscription };
}

const ended = async (heard: Heard, count: number): Promise<void> => {
  await until(`${count} events`, () => Promise.resolve(heard.events.length >= count));
};

/** The highest resident size while something goes on, and the size before. */
async function grownBytes(work: Promise<unknown>): Promise<number> {
  const before = process.memoryUsage.rss();
  let most = before;
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss());
  }, 5);
  await work;
  clearInterval(timer);
  return Math.max(most, process.memoryUsage.rss()) - before;
}

describe("N1: a message without end", () => {
  const parts = [
    ["of empty parts", Buffer.alloc(65_536, Buffer.from([1, 0])), "too_many_parts"],
    ["of large parts", Buffer.concat([longFrameHeader(MIB, true), Buffer.alloc(MIB)]), "message_too_long"],
  ] as const;

  test.each(parts)(
    "S1: %s ends an event connection by name, within its memory",
    async (_what, chunk, reason) => {
      const peer = keep(
        await RawPeer.start((socket) => {
          socket.write(publisherGreeting());
          pour(socket, chunk);
        }),
      );
      const heard = subscribe(peer.endpoint);
      const grown = await grownBytes(ended(heard, 2));
      expect(heard.events).toEqual(["connected", reason]);
      expect(heard.details[0]).toContain(`${reason} at byte`);
      expect(heard.messages).toEqual([]);
      expect(grown).toBeLessThan(4 * MESSAGE_BYTES + 48 * MIB);
      await until("the connection is closed", () => Promise.resolve(peer.connections === 0));
    },
  );

  test.each(parts)("%s ends a replay by name, within its memory", async (_what, chunk, reason) => {
    const peer = keep(
      await RawPeer.start((socket) => {
        socket.write(peerGreeting("ROUTER"));
        pour(socket, chunk);
      }),
    );
    const outcome = new Promise<unknown[]>((resolve) => {
      const patience = { firstMs: 20_000, nextMs: 20_000 };
      transport.requestReplay(peer.endpoint, 0, patience, {
        message: () => undefined,
        ended: (failure, violation) => {
          resolve([failure, violation]);
        },
      });
    });
    const grown = await grownBytes(outcome);
    expect(await outcome).toEqual(["violation", reason]);
    expect(grown).toBeLessThan(4 * MESSAGE_BYTES + 48 * MIB);
  });

  test("S5, N2: incomplete messages of many connections have a budget together, and the largest one ends beyond it", async () => {
    transport.close();
    transport = new ZmtpTransport(LIMITS, [], 4.5 * MIB);
    // None is beyond the limits of one connection, and none ends. A buffer is at most twice as large as what it holds.
    const dripping = (bytes: number): Promise<RawPeer> =>
      RawPeer.start((socket) => {
        socket.write(publisherGreeting());
        socket.write(longFrameHeader(MESSAGE_BYTES, false));
        socket.write(Buffer.alloc(bytes));
      });
    const small: Heard[] = [];
    for (let i = 0; i < 3; i += 1) small.push(subscribe(keep(await dripping(MIB / 2)).endpoint));
    const large = keep(await dripping(3.5 * MIB));
    // A connection that has ended gives its room back: ten have no more than one.
    for (let i = 0; i < 10; i += 1) {
      const heard = subscribe(large.endpoint);
      await ended(heard, 2);
      expect(heard.events).toEqual(["connected", "buffers_full"]);
      expect(heard.details[0]).toMatch(/buffers_full at byte \d+ of the connection: .* in 4718592 bytes/);
    }
    expect(small.map(({ events }) => events)).toEqual(small.map(() => ["connected"]));
    // And one that is closed, too: then the large one has room.
    for (const { subscription } of small) subscription.close();
    const alone = subscribe(large.endpoint);
    await ended(alone, 1);
    const publisher = keep(new Publisher({ linger: 0 }));
    await publisher.bind("tcp://127.0.0.1:*");
    const healthy = subscribe(publisher.lastEndpoint ?? "");
    await until("another is heard beside it", async () => {
      await publisher.send(["", SEQUENCE, "a"]);
      return healthy.messages.length > 0;
    });
    expect(alone.events).toEqual(["connected"]);
  });

  test("S2: costs another engine nothing, though they share a buffer", async () => {
    const publisher = keep(new Publisher({ linger: 0 }));
    await publisher.bind("tcp://127.0.0.1:*");
    const healthy = subscribe(publisher.lastEndpoint ?? "");
    await until("it is heard", async () => {
      await publisher.send(["", SEQUENCE, "a"]);
      return healthy.messages.length > 0;
    });
    const peer = keep(
      await RawPeer.start((socket) => {
        socket.write(publisherGreeting());
        pour(socket, parts[1][1]);
      }),
    );
    const hostile = subscribe(peer.endpoint);
    const before = healthy.messages.length;
    for (let i = 0; i < 100; i += 1) await publisher.send(["", SEQUENCE, "b"]);
    await ended(hostile, 2);
    await until("all is heard", () => Promise.resolve(healthy.messages.length >= before + 100));
    expect(healthy.events).toEqual(["connected"]);
  });
});

describe("peers that are not what they should be", () => {
  test("libzmq with CURVE is named by its mechanism, each time", async () => {
    const options = { linger: 0, curveServer: true, curveSecretKey: curveKeyPair().secretKey };
    const publisher = keep(new Publisher(options));
    await publisher.bind("tcp://127.0.0.1:*");
    for (let i = 0; i < 5; i += 1) {
      const heard = subscribe(publisher.lastEndpoint ?? "");
      await ended(heard, 1);
      expect(heard.events).toEqual(["mechanism_mismatch"]);
      expect(heard.details[0]).toContain('got "CURVE"');
    }
  });

  test("libzmq sockets that do not publish are named by their type", async () => {
    const pull = keep(new Pull({ linger: 0 }));
    await pull.bind("tcp://127.0.0.1:*");
    // libzmq closes at once when it reads our type before it has sent its own. Another attempt hears it.
    const reason = await until("the type is heard", async () => {
      const heard = subscribe(pull.lastEndpoint ?? "");
      await ended(heard, 1);
      return heard.events[0] === "handshake_failed" ? null : (heard.events[0] ?? null);
    });
    expect(reason).toBe("socket_type_mismatch");
  });

  test.each([
    ["a server of another protocol", "220 mail ready\r\n", "not_zmtp"],
    ["one that hangs up", null, "handshake_failed"],
  ])("%s is %s", async (_what, text, reason) => {
    const peer = keep(
      await RawPeer.start((socket) => {
        if (text === null) socket.end();
        else socket.write(text);
      }),
    );
    const heard = subscribe(peer.endpoint);
    await ended(heard, 1);
    expect(heard.events).toEqual([reason]);
  });

  test("a peer of ZMTP 3.0 gets its subscription as a message, and is heard", async () => {
    const received: Buffer[] = [];
    const greeting = publisherGreeting();
    const peer = keep(
      await RawPeer.start((socket) => {
        socket.on("data", (chunk) => received.push(chunk));
        socket.write(greeting);
        socket.write(Buffer.from([0, 1, 0x61]));
      }),
    );
    const heard = subscribe(peer.endpoint, "kv");
    await until("it is heard", () => Promise.resolve(heard.messages.length > 0));
    await until("it is subscribed", () =>
      Promise.resolve(Buffer.concat(received).toString("hex").endsWith("0003016b76")),
    );
  });

  test("S4: a publisher that sends PINGs and does not read gets no queue of answers", async () => {
    const ping = Buffer.from("0404070450494e470000".slice(2), "hex");
    const many = Buffer.concat(Array.from({ length: 5000 }, () => ping));
    let sent = 0;
    const peer = keep(
      await RawPeer.start((socket) => {
        socket.pause();
        socket.write(publisherGreeting());
        const go = (): void => {
          while (sent < 400 && socket.write(many)) sent += 1;
          sent += 1;
          if (sent < 400) socket.once("drain", go);
          else socket.write(Buffer.from([0, 1, 0x61]));
        };
        go();
      }),
    );
    const heard = subscribe(peer.endpoint);
    const grown = await grownBytes(
      until("two million PINGs are behind", () => Promise.resolve(heard.messages.length > 0), 60_000),
    );
    expect(heard.events).toEqual(["connected"]);
    expect(grown).toBeLessThan(64 * MIB);
  });
});

describe("bytes", () => {
  /** All that a client sends to a listener that greets it as a socket of this type. */
  async function sentTo(
    type: string,
    act: (endpoint: string) => Promise<unknown> | undefined,
    bytes: number,
  ): Promise<string> {
    const received: Buffer[] = [];
    const peer = keep(
      await RawPeer.start((socket) => {
        socket.on("data", (chunk) => received.push(chunk));
        socket.write(peerGreeting(type, 1));
      }),
    );
    await act(peer.endpoint);
    await until("everything was sent", () => Promise.resolve(Buffer.concat(received).byteLength >= bytes));
    return Buffer.concat(received).toString("hex");
  }

  test.each(["", "kv"])("of a subscriber to %j are those of a live libzmq", async (topic) => {
    const bytes = 64 + 27 + 12 + topic.length;
    const ours = await sentTo("PUB", (endpoint) => void subscribe(endpoint, topic), bytes);
    const libzmqs = await sentTo(
      "PUB",
      (endpoint) => {
        const socket = keep(new Subscriber({ linger: 0 }));
        socket.subscribe(topic);
        socket.connect(endpoint);
        return undefined;
      },
      bytes,
    );
    expect(ours).toBe(libzmqs);
  });

  test("of a replay request are those of a live libzmq", async () => {
    const bytes = 64 + 43 + 12;
    const patience = { firstMs: 20_000, nextMs: 20_000 };
    const ours = await sentTo(
      "ROUTER",
      (endpoint) =>
        void transport.requestReplay(endpoint, 10, patience, {
          message: () => undefined,
          ended: () => undefined,
        }),
      bytes,
    );
    const libzmqs = await sentTo(
      "ROUTER",
      async (endpoint) => {
        const socket = keep(new Dealer({ linger: 0 }));
        socket.connect(endpoint);
        await socket.send(["", Buffer.from("000000000000000a", "hex")]);
      },
      bytes,
    );
    expect(ours).toBe(libzmqs);
  });

  test("libzmq's heartbeats are answered: its publisher keeps the connection beyond their timeout", async () => {
    const publisher = keep(new Publisher({ linger: 0, heartbeatInterval: 50, heartbeatTimeout: 150 }));
    await publisher.bind("tcp://127.0.0.1:*");
    let lost = 0;
    void (async () => {
      for await (const event of publisher.events) if (event.type === "disconnect") lost += 1;
    })().catch(() => undefined);
    const heard = subscribe(publisher.lastEndpoint ?? "");
    let rounds = 0;
    await until("a second of messages has come", async () => {
      await publisher.send(["", SEQUENCE, "x"]);
      rounds += 1;
      return rounds > 50 && heard.messages.length > 25;
    });
    expect(heard.events).toEqual(["connected"]);
    expect(lost).toBe(0);
  });
});

describe("a host that vanishes without a word", () => {
  /** A wire to a port that can be cut: the connections stand, and nothing passes. */
  class Wire {
    readonly #server: Server;
    #isCut = false;
    bytesFromPeer = 0;

    constructor(port: number) {
      this.#server = createServer((near) => {
        const far = connect(port, "127.0.0.1");
        cleanUp.push({ close: () => near.destroy() }, { close: () => far.destroy() });
        near.on("error", () => undefined).on("data", (chunk) => this.#isCut || far.write(chunk));
        far
          .on("error", () => undefined)
          .on("data", (chunk) => {
            if (this.#isCut) return;
            this.bytesFromPeer += chunk.byteLength;
            near.write(chunk);
          });
      });
    }

    async listen(): Promise<string> {
      cleanUp.push({ close: () => this.#server.close() });
      await once(this.#server.listen(0, "127.0.0.1"), "listening");
      return `tcp://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    }

    cut(): void {
      this.#isCut = true;
    }
  }

  afterEach(() => {
    vi.useRealTimers();
  });

  /** Lets a second of ticks pass, then the event loop look at its sockets. */
  const second = async (): Promise<void> => {
    vi.advanceTimersByTime(1000);
    await new Promise((resolve) => setImmediate(resolve));
  };

  test("is noticed after 30 seconds, while a quiet libzmq answers for as long as it is there", async () => {
    const publisher = keep(new Publisher({ linger: 0 }));
    await publisher.bind("tcp://127.0.0.1:*");
    const wire = new Wire(Number(new URL(publisher.lastEndpoint ?? "").port));
    const endpoint = await wire.listen();
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    const heard = subscribe(endpoint);
    await ended(heard, 1);
    for (let round = 0; round < 4; round += 1) {
      const before = wire.bytesFromPeer;
      for (let i = 0; i < 15; i += 1) await second();
      await until("PING is answered", () => Promise.resolve(wire.bytesFromPeer > before));
      await second();
    }
    expect(heard.events).toEqual(["connected"]);
    wire.cut();
    let seconds = 0;
    while (heard.events.length === 1 && seconds < 100) {
      await second();
      seconds += 1;
    }
    expect(heard.events).toEqual(["connected", "peer_silent"]);
    expect(heard.details[0]).toContain("expected an answer to PING, got nothing for 30 s");
    expect(seconds).toBeLessThanOrEqual(30);
  });
});

describe("addresses", () => {
  async function isHeardAt(endpoint: string, bound = endpoint): Promise<void> {
    const publisher = keep(new Publisher({ linger: 0 }));
    await publisher.bind(bound);
    const heard = subscribe(
      endpoint.replace(/:\*$/, `:${/\d+$/.exec(publisher.lastEndpoint ?? "")?.[0] ?? ""}`),
    );
    await until(`it is heard at ${endpoint}`, async () => {
      await publisher.send(["", SEQUENCE, "x"]);
      return heard.messages.length > 0;
    });
  }

  test("of Unix domain sockets are dialled like libzmq's", async () => {
    await isHeardAt(`ipc://${join(folder, "events")}`);
  });

  test.skipIf(process.platform !== "linux")(
    "in Linux's abstract namespace as well (Linux only)",
    async () => {
      await isHeardAt(`ipc://@kvsync-zmtp-${process.pid}`);
    },
  );

  test("with a source are dialled from there: an address, one with a port, an interface", async () => {
    const [loopback = "lo"] = Object.entries(networkInterfaces()).flatMap(([name, all]) =>
      all?.some(({ address }) => address === "127.0.0.1") === true ? [name] : [],
    );
    await isHeardAt("tcp://127.0.0.1:0;127.0.0.1:*", "tcp://127.0.0.1:*");
    await isHeardAt("tcp://127.0.0.1;127.0.0.1:*", "tcp://127.0.0.1:*");
    await isHeardAt(`tcp://${loopback};127.0.0.1:*`, "tcp://127.0.0.1:*");
  });

  test.each([
    "tcp://nowhere0;127.0.0.1:5557",
    "tcp://[127.0.0.1]:5557",
    "tcp://127.0.0.1:65536",
    "udp://127.0.0.1:1",
  ])("like %s are none", async (endpoint) => {
    const heard = subscribe(endpoint);
    await ended(heard, 1);
    expect(heard.events).toEqual(["no_socket"]);
  });
});

describe("where publishers connect", () => {
  async function listen(ranges: readonly string[] = ["127.0.0.0/8"]) {
    transport.close();
    transport = new ZmtpTransport(LIMITS, ranges);
    const port = await freePort();
    const [events, refusals, messages]: [string[], string[], Frames[]] = [[], [], []];
    transport.listen(`tcp://127.0.0.1:${port}`, "", {
      connected: () => events.push("connected"),
      message: (frames) => messages.push(frames),
      ended: (reason) => events.push(reason),
      refused: (reason, address) => refusals.push(`${reason} ${address}`),
    });
    return { port, events, refusals, messages };
  }

  async function dial(port: number, bytes: Buffer): Promise<Socket> {
    const socket = connect(port, "127.0.0.1");
    keep({ close: () => socket.destroy() });
    socket.on("error", () => undefined);
    await once(socket, "connect");
    socket.resume();
    socket.write(bytes);
    return socket;
  }

  test("P1: connections that say nothing take no place, and are closed", async () => {
    const { port, events, refusals } = await listen();
    const silent = await Promise.all(Array.from({ length: 5 }, () => dial(port, Buffer.alloc(0))));
    await dial(port, publisherGreeting());
    await until("the publisher is in", () => Promise.resolve(events.length > 0));
    expect([events, refusals]).toEqual([["connected"], []]);
    await Promise.all(silent.map((socket) => once(socket, "close")));
  });

  test("P1: a peer that breaks the protocol is named, and the place stays free", async () => {
    const { port, events, refusals } = await listen();
    await dial(port, Buffer.from("GET / HTTP/1.1\r\n\r\n"));
    await until("it is refused", () => Promise.resolve(refusals.length > 0));
    expect(refusals).toEqual(["not_zmtp 127.0.0.1"]);
    await dial(port, publisherGreeting());
    await until("the publisher is in", () => Promise.resolve(events.length > 0));
    expect(events).toEqual(["connected"]);
  });

  test("P2: without ranges nobody is let in", async () => {
    const { port, events, refusals } = await listen([]);
    await dial(port, publisherGreeting());
    await until("it is refused", () => Promise.resolve(refusals.length > 0));
    expect([events, refusals]).toEqual([[], ["publisher_not_allowed 127.0.0.1"]]);
  });

  test("P3: a flood of connections is closed and named beyond its bound, and the publisher behind it still comes in", async () => {
    const { port, events, refusals } = await listen();
    const flood = await Promise.all(Array.from({ length: 300 }, () => dial(port, Buffer.alloc(0))));
    await until("most of them are closed", () =>
      Promise.resolve(flood.filter((socket) => socket.closed).length >= 300 - 64),
    );
    expect(new Set(refusals)).toEqual(new Set(["too_many_pending 127.0.0.1"]));
    expect(refusals.length).toBeGreaterThanOrEqual(300 - 64);
    const publisher = keep(new Publisher({ linger: 0, reconnectInterval: 50 }));
    publisher.connect(`tcp://127.0.0.1:${port}`);
    await until("the publisher is in", () => Promise.resolve(events.length > 0));
    expect(events).toEqual(["connected"]);
  });

  test("a message without end from the publisher ends the subscription by name", async () => {
    const { port, events } = await listen();
    const socket = await dial(port, publisherGreeting());
    pour(socket, Buffer.alloc(65_536, Buffer.from([1, 0])));
    await until("it has ended", () => Promise.resolve(events.length > 1));
    expect(events).toEqual(["connected", "too_many_parts"]);
  });
});

test("S3: a reader that stops reading leaves messages to the publisher, and its memory as it is", async () => {
  const peer = keep(
    await RawPeer.start((socket) => {
      socket.write(publisherGreeting());
      pour(
        socket,
        Buffer.concat([Buffer.from([2]), Buffer.from("0000000000010000", "hex"), Buffer.alloc(65_536)]),
      );
    }),
  );
  const heard = subscribe(peer.endpoint);
  let stood = 0;
  const busyMs = 300;
  await ended(heard, 1);
  const grown = await grownBytes(
    until("the thread has stood still a few times", () => {
      // What a slice of the index does to the sockets, only longer.
      const until = performance.now() + busyMs;
      while (performance.now() < until);
      heard.messages.length = 0;
      stood += 1;
      return Promise.resolve(stood === 4);
    }),
  );
  expect(grown).toBeLessThan(96 * MIB);
});

test.skipIf(process.platform !== "linux")("a connection is one file descriptor (Linux only)", async () => {
  const publisher = keep(new Publisher({ linger: 0 }));
  await publisher.bind("tcp://127.0.0.1:*");
  const openFiles = (): number => readdirSync("/proc/self/fd").length;
  const first = subscribe(publisher.lastEndpoint ?? "");
  await ended(first, 1);
  const before = openFiles();
  const all = Array.from({ length: 50 }, () => subscribe(publisher.lastEndpoint ?? ""));
  await until("all are connected", () => Promise.resolve(all.every(({ events }) => events.length === 1)));
  // The publisher's side is in this process too.
  expect(openFiles() - before).toBe(2 * 50);
});

test("a process that uses it does not load libzmq", () => {
  const url = new URL("../dist/transport/zmtp-transport.js", import.meta.url).href;
  const script = `await import(${JSON.stringify(url)}); process.stdout.write(String(process.report.getReport().sharedObjects.filter((path) => path.includes("zeromq")).length));`;
  expect(execFileSync(process.execPath, ["--input-type=module", "-e", script]).toString()).toBe("0");
});
