/** Engines that are listed by name, with a DNS server of the test's own and real sockets. */
import { encodeReplayReply, parseReplayFrames } from "@kvsync/core";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Publisher, Router } from "zeromq";

import { ResolvingTransport } from "../src/transport/resolving-transport.ts";
import type { Transport } from "../src/transport/transport.ts";
import { ZmqTransport } from "../src/transport/zmq-transport.ts";
import { ZmtpTransport } from "../src/transport/zmtp-transport.ts";
import { DnsServer } from "./dns-server.ts";
import { until } from "./fleet.ts";

const SEQUENCE = Buffer.alloc(8);

describe.each([
  ["ZmtpTransport", (): Transport => new ZmtpTransport()],
  ["ZmqTransport", (): Transport => new ZmqTransport()],
])("over %s", (_name, make) => {
  let dns: DnsServer;
  let transport: ResolvingTransport;
  const sockets: { close(): void }[] = [];

  beforeEach(async () => {
    dns = await DnsServer.start();
    transport = new ResolvingTransport(make(), dns.resolve);
  });

  afterEach(() => {
    transport.close();
    dns.stop();
    for (const socket of sockets.splice(0)) socket.close();
  });

  /** A publisher at an address of its own, and its port. */
  async function publisherAt(address: string): Promise<{ publisher: Publisher; port: string }> {
    const publisher = new Publisher({ ipv6: address.includes(":"), linger: 0 });
    sockets.push(publisher);
    await publisher.bind(`tcp://${address}:*`);
    return { publisher, port: /\d+$/.exec(publisher.lastEndpoint ?? "")?.[0] ?? "" };
  }

  function subscribe(endpoint: string): { events: string[]; close: () => void } {
    const events: string[] = [];
    const subscription = transport.subscribe(endpoint, "", {
      connected: () => events.push("connected"),
      message: (frames) => events.push(Buffer.from(frames[2] ?? []).toString()),
      ended: (reason) => events.push(reason),
    });
    return {
      events,
      close: () => {
        subscription.close();
      },
    };
  }

  /** Sends until it has come through: connected is not subscribed. */
  async function hears(events: readonly string[], publisher: Publisher, text: string): Promise<void> {
    await until(`it hears ${text}`, async () => {
      await publisher.send(["", SEQUENCE, text]);
      return events.includes(text);
    });
  }

  test("an engine whose name has an IPv6 address only is connected, and heard", async () => {
    const { publisher, port } = await publisherAt("[::1]");
    dns.names.set("engine.test", ["::1"]);
    const { events } = subscribe(`tcp://engine.test:${port}`);
    await hears(events, publisher, "hello");
    expect(events[0]).toBe("connected");
  });

  /** Asks an engine whose replay socket is at the IPv6 address alone; numbers of what it answers. */
  async function replayed(): Promise<number[]> {
    const router = new Router({ ipv6: true, linger: 0 });
    sockets.push(router);
    await router.bind("tcp://[::1]:*");
    void (async () => {
      const [identity = Buffer.alloc(0)] = await router.receive();
      const payload = Buffer.from("batch");
      const reply = encodeReplayReply({ identity, shape: "plain", topic: "", sequenceNumber: 7, payload });
      await router.send(reply.map((frame) => Buffer.from(frame)));
    })().catch(() => undefined);
    const numbers: number[] = [];
    let failure: string | null = null;
    const port = /\d+$/.exec(router.lastEndpoint ?? "")?.[0] ?? "";
    const request = transport.requestReplay(
      `tcp://engine.test:${port}`,
      0,
      { firstMs: 5000, nextMs: 5000 },
      {
        message: (frames) => {
          const reply = parseReplayFrames(frames);
          if (reply.kind === "message") numbers.push(reply.sequenceNumber);
        },
        ended: (reason) => (failure = reason),
      },
    );
    await until("the answer is here", () => Promise.resolve(numbers.length > 0 || failure !== null));
    request.close();
    return numbers;
  }

  test("a replay is asked for at such a name too", async () => {
    dns.names.set("engine.test", ["::1"]);
    expect(await replayed()).toEqual([7]);
  });

  test("a replay is asked for where the name is connected, also after another rank of it has ended", async () => {
    const [first, second, third] = [
      await publisherAt("[::1]"),
      await publisherAt("[::1]"),
      await publisherAt("[::1]"),
    ];
    dns.names.set("engine.test", ["127.0.0.1", "::1"]);
    const ranks = [first, second, third].map(({ port }) => subscribe(`tcp://engine.test:${port}`));
    await until("all are connected", () => Promise.resolve(ranks.every(({ events }) => events.length > 0)));
    expect(await replayed()).toEqual([7]);
    ranks[0]?.close();
    second.publisher.close();
    await until("the second has ended", () => Promise.resolve(ranks[1]?.events.length === 2));
    expect(ranks.map(({ events }) => events)).toEqual([
      ["connected"],
      ["connected", "disconnected"],
      ["connected"],
    ]);
    expect(await replayed()).toEqual([7]);
  });

  test("of a name with both kinds of address the IPv4 one is dialled: engines listen there by default", async () => {
    const { publisher, port } = await publisherAt("127.0.0.1");
    dns.names.set("engine.test", ["::1", "127.0.0.1"]);
    const { events } = subscribe(`tcp://engine.test:${port}`);
    await hears(events, publisher, "hello");
  });

  test("of a name with both kinds of address the IPv6 one is dialled when nothing listens at the IPv4 one", async () => {
    const { publisher, port } = await publisherAt("[::1]");
    dns.names.set("engine.test", ["127.0.0.1", "::1"]);
    const { events } = subscribe(`tcp://engine.test:${port}`);
    await hears(events, publisher, "hello");
    expect(events[0]).toBe("connected");
  });

  test("a name whose addresses both refuse ends once", async () => {
    const { publisher, port } = await publisherAt("127.0.0.1");
    publisher.close();
    dns.names.set("engine.test", ["127.0.0.1", "::1"]);
    const { events } = subscribe(`tcp://engine.test:${port}`);
    await until("it has ended", () => Promise.resolve(events.length > 0));
    expect(events).toEqual(["refused"]);
  });

  test("a name without an address says so, and an engine that moves is found at the next dial", async () => {
    const gone = subscribe("tcp://engine.test:5557");
    await until("it has ended", () => Promise.resolve(gone.events.length > 0));
    expect(gone.events).toEqual(["unresolvable"]);
    const { publisher, port } = await publisherAt("127.0.0.1");
    dns.names.set("engine.test", ["127.0.0.1"]);
    const { events } = subscribe(`tcp://engine.test:${port}`);
    await hears(events, publisher, "hello");
  });

  test("a subscription that is given up while its name is looked up never dials", async () => {
    const { port } = await publisherAt("127.0.0.1");
    dns.names.set("engine.test", ["127.0.0.1"]);
    const { events, close } = subscribe(`tcp://engine.test:${port}`);
    close();
    // One that is asked for later is answered later: the first has had its turn.
    const second = subscribe(`tcp://engine.test:${port}`);
    await until("the second is connected", () => Promise.resolve(second.events.length > 0));
    expect(events).toEqual([]);
  });

  test("a hundred names that do not exist all end, two lookups at a time", async () => {
    const all = Array.from({ length: 100 }, (_, i) => subscribe(`tcp://gone-${i}.test:5557`));
    await until("all have ended", () => Promise.resolve(all.every(({ events }) => events.length === 1)));
    expect(new Set(all.flatMap(({ events }) => events))).toEqual(new Set(["unresolvable"]));
  });
});
