import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

import { afterEach, describe, expect, it, vi } from "vitest";

import { Authority } from "../../test/certificates.ts";
import { type LateFrame, RawGateway } from "./testing/raw-gateway.ts";
import {
  type Cleanups,
  frame,
  FULL_DUPLEX,
  PICK,
  servePicker,
  type ServedOptions,
  type ServedPicker,
} from "./testing/served-picker.ts";
import type { StreamFault } from "./picker-server.ts";
import { framed } from "./wire/ext-proc-codec.ts";
import { referenceEncode } from "./wire/testing/reference-codec.ts";

const cleanups: Cleanups = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

function serve(options: ServedOptions = {}): Promise<ServedPicker> {
  return servePicker(cleanups, options);
}

describe("the picker's server", () => {
  it("answers a request of a gateway from its headers to the end of its response", async () => {
    const { books, client, server } = await serve();
    const stream = client().open();
    stream.send({ requestHeaders: {}, protocolConfig: FULL_DUPLEX });
    stream.send({ requestBody: { body: Buffer.from("{}"), endOfStream: true } });
    expect(await stream.answered(2)).toMatchObject([{ requestHeaders: {} }, { requestBody: {} }]);
    stream.send({ responseHeaders: {} });
    stream.send({ responseBody: { body: Buffer.from("answer"), endOfStream: true } });
    stream.stream.end();
    expect(await stream.outcome).toEqual({ status: 0, message: "" });
    expect([books.ends, books.faults, server.streamCount]).toEqual([["complete"], [], 0]);
  });

  it.each([
    ["", 1],
    ["readiness", 2],
    ["stranger", 3],
  ])("answers the health check of %j", async (service, status) => {
    const { client } = await serve();
    expect(await client().health(service)).toBe(status);
  });

  it("V1: ends one stream for its fault, by name, and answers the next one of the same connection", async () => {
    const { books, client } = await serve({ limits: { bodyBytes: 1000 } });
    const connection = client();
    const cases: [Buffer | string, number, StreamFault][] = [
      [framed(Buffer.of(0x0a, 9)), 3, "truncated"],
      [Buffer.of(1, 0, 0, 0, 0), 3, "compressed"],
      [Buffer.of(0, 0x7f, 0, 0, 0), 3, "message_too_large"],
      [framed(Buffer.alloc(0)), 13, "message_without_part"],
    ];
    for (const [bytes, status, message] of cases) {
      const stream = connection.open();
      stream.stream.end(bytes);
      expect(await stream.outcome).toEqual({ status, message });
    }
    const cut = connection.open();
    cut.stream.end(Buffer.of(0, 0));
    expect(await cut.outcome).toEqual({ status: 3, message: "cut_short" });
    const stranger = connection.open("/some.Service/Method");
    stranger.stream.end();
    expect(await stranger.outcome).toEqual({ status: 12, message: "unknown_path" });
    expect(books.faults).toEqual([...cases.map(([, , fault]) => fault), "cut_short", "unknown_path"]);
    expect(await connection.health("")).toBe(1);
  });

  it("V6: ends a stream whose decision throws, and no other", async () => {
    let asked = 0;
    const { books, client } = await serve({
      host: {
        ask: (session) => {
          if (asked++ === 0) throw new Error("broken");
          session.decide(PICK);
        },
      },
    });
    const connection = client();
    const first = connection.open();
    first.send({ requestHeaders: { endOfStream: true } });
    expect(await first.outcome).toEqual({ status: 13, message: "host_failed" });
    const second = connection.open();
    second.send({ requestHeaders: { endOfStream: true } });
    expect(await second.answered(1)).toHaveLength(1);
    expect(books.faults).toEqual(["host_failed"]);
  });

  it("V6: ends a stream whose host fails later, or while it hears of the request, and no other", async () => {
    let mode: "fail" | "first" | "over" = "fail";
    const { books, client, server } = await serve({
      host: {
        ask: (session) => {
          if (mode === "fail")
            setImmediate(() => {
              session.fail();
            });
          else session.decide(PICK);
        },
        firstToken: () => {
          if (mode === "first") throw new Error("broken");
        },
        over: () => {
          if (mode === "over") throw new Error("broken");
        },
      },
    });
    const connection = client();
    const outcome = async (now: typeof mode): Promise<number> => {
      mode = now;
      const stream = connection.open();
      stream.send({ requestHeaders: { endOfStream: true }, protocolConfig: FULL_DUPLEX });
      if (now !== "fail") {
        await stream.answered(1);
        stream.send({ responseHeaders: {} });
        stream.send({ responseBody: { body: Buffer.from("answer"), endOfStream: true } });
      }
      return (await stream.outcome).status;
    };
    expect([await outcome("fail"), await outcome("first"), await outcome("over")]).toEqual([13, 13, 0]);
    expect([books.faults, server.streamCount]).toEqual([Array(3).fill("host_failed"), 0]);
  });

  it("answers health checks alone at a port for probes", async () => {
    const { client, books } = await serve({ serves: "probes" });
    const connection = client();
    expect(await connection.health("")).toBe(1);
    const stream = connection.open();
    stream.send({ requestHeaders: { endOfStream: true } });
    stream.stream.end();
    expect(await stream.outcome).toEqual({ status: 12, message: "unknown_path" });
    expect(books.asked).toBe(0);
  });

  it("V7: sends the pick, the body and what follows it in one write", async () => {
    const { client } = await serve();
    const connection = client();
    const stream = connection.open();
    const chunks: number[] = [];
    stream.stream.on("data", (chunk: Buffer) => chunks.push(chunk.length));
    const headers = { requestHeaders: {}, protocolConfig: FULL_DUPLEX };
    const body = { requestBody: { body: Buffer.from("{}") } };
    const messages = [headers, body, body, { requestTrailers: {} }];
    stream.stream.write(
      Buffer.concat(
        messages.map((message) => framed(Buffer.from(referenceEncode("ProcessingRequest", message)))),
      ),
    );
    expect(await stream.answered(4)).toHaveLength(4);
    expect(chunks).toHaveLength(1);
  });

  it("V2: keeps a connection that resets ten thousand streams, each after its pick", async () => {
    const { books, client, server } = await serve();
    const connection = client();
    for (let round = 0; round < 200; round++) {
      await Promise.all(
        Array.from({ length: 50 }, async () => {
          const stream = connection.open();
          stream.send({ requestHeaders: { endOfStream: true } });
          expect(await stream.answered(1)).toHaveLength(1);
          stream.stream.close(8);
          await stream.outcome;
        }),
      );
    }
    expect(await connection.health("")).toBe(1);
    expect(connection.session.destroyed).toBe(false);
    await vi.waitFor(
      () => {
        expect(server.streamCount).toBe(0);
      },
      { timeout: 60_000 },
    );
    expect([books.ends.length, new Set(books.ends), books.faults]).toEqual([10_000, new Set(["client"]), []]);
  });

  it.each<LateFrame>(["reset", "window", "data"])(
    "V2: keeps a connection whose gateway sends a late frame (%s) on each of 5,000 streams that the picker has ended",
    async (kind) => {
      const { books, port } = await serve({
        host: {
          ask: (session) => {
            session.decide({ ...PICK, leaves: true });
          },
        },
      });
      const gateway = await RawGateway.connect(port);
      cleanups.push(() => {
        gateway.close();
      });
      const request = framed(
        Buffer.from(referenceEncode("ProcessingRequest", { requestHeaders: { endOfStream: true } })),
      );
      for (let round = 0; round < 100; round++)
        for (const stream of await Promise.all(Array.from({ length: 50 }, () => gateway.open(request))))
          gateway.late(stream, kind);
      await gateway.open(request);
      expect([gateway.goaway, gateway.isClosed]).toEqual([null, false]);
      expect([books.ends.length, new Set(books.ends), books.faults]).toEqual([5001, new Set(["left"]), []]);
    },
    60_000,
  );

  it("refuses streams and connections beyond their limits, by name", async () => {
    const { books, client } = await serve({
      limits: { streams: 2, connections: 2 },
      host: { ask: () => undefined },
    });
    const [one, two] = [client(), client()];
    const open = [one.open(), two.open()];
    for (const stream of open) stream.send({ requestHeaders: { endOfStream: true } });
    await Promise.all([one.health(""), two.health("")]);
    const third = one.open();
    third.stream.end();
    expect(await third.outcome).toEqual({ status: 8, message: "streams_limit" });
    const stranger = client();
    await new Promise((resolve) => stranger.session.once("close", resolve));
    expect(books.faults).toEqual(["streams_limit", "connections_limit"]);
    open[0]?.stream.close(8);
    await open[0]?.outcome;
    const again = one.open();
    again.send({ requestHeaders: { endOfStream: true } });
    await one.health("");
    expect(books.faults).toHaveLength(2);
  });

  it("V10: gives up the connection that has been without a stream for longest, and none with one, when all places are taken", async () => {
    const { books, client, server } = await serve({
      limits: { connections: 3 },
      host: { ask: () => undefined },
    });
    const busy = client();
    const open = busy.open();
    open.send({ requestHeaders: { endOfStream: true } });
    const [first, second] = [client(), client()];
    for (const one of [busy, first, second]) await one.health("");
    const isClosed = new Promise((resolve) => first.session.once("close", resolve));
    const latest = client();
    expect(await latest.health("")).toBe(1);
    await isClosed;
    expect([busy, second, latest].map(({ session }) => session.closed)).toEqual([false, false, false]);
    expect([books.faults, server.connectionCount, server.streamCount]).toEqual([["connections_limit"], 3, 1]);
  });

  it("V9: ends a connection of probes that resets streams in a row, and allows it a few at once", async () => {
    const { port, client } = await serve({ serves: "probes" });
    const { session } = client();
    await new Promise((resolve) => session.once("remoteSettings", resolve));
    expect(session.remoteSettings.maxConcurrentStreams).toBe(16);
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.resume();
    socket.write(Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(4, 0, 0, [])]));
    for (let i = 0; i < 200; i += 1) {
      const stream = 2 * i + 1;
      // POST / over http to "a", without a body's end; then a reset.
      socket.write(frame(1, 4, stream, [0x83, 0x86, 0x84, 0x41, 1, 0x61]));
      socket.write(frame(3, 0, stream, [0, 0, 0, 8]));
    }
    await new Promise((resolve) => socket.once("close", resolve));
    expect(await client().health("")).toBe(1);
  });

  it("V3: does not read from a gateway that does not read, while another stream is served", async () => {
    const { client, server } = await serve({ limits: { bodyBytes: 100 } });
    const stuck = client();
    const stream = stuck.open();
    stream.stream.pause();
    stream.send({ requestHeaders: {}, protocolConfig: FULL_DUPLEX });
    const chunk = { requestBody: { body: Buffer.alloc(60_000, 1) } };
    // The client takes nothing, so that its window fills; from then on the server leaves what comes unread.
    for (let i = 0; i < 400; i++) stream.send(chunk);
    const other = client();
    for (let i = 0; i < 50; i++) expect(await other.health("")).toBe(1);
    expect(stream.stream.writableLength).toBeGreaterThan(10_000_000);
    expect(server.bufferedBytes).toBeLessThanOrEqual(100 + 60_000);
  });

  it("V4: bounds the bodies that are held over all streams, and gives the room back", async () => {
    const { client, server } = await serve({ limits: { bufferedBytes: 100_000 } });
    const connection = client();
    const streams = Array.from({ length: 3 }, () => connection.open());
    for (const stream of streams) {
      stream.send({ requestHeaders: {}, protocolConfig: FULL_DUPLEX });
      stream.send({ requestBody: { body: Buffer.alloc(45_000, 1) } });
      await connection.health("");
      expect(server.bufferedBytes).toBeLessThanOrEqual(100_000);
    }
    // The third had no room: its pick was made at once.
    expect(await streams[2]?.answered(2)).toMatchObject([{ requestHeaders: {} }, { requestBody: {} }]);
    for (const stream of streams) stream.stream.close(8);
    await Promise.all(streams.map((stream) => stream.outcome));
    await vi.waitFor(
      () => {
        expect(server.bufferedBytes).toBe(0);
      },
      { timeout: 60_000 },
    );
  });

  it("V5: holds nothing after it stopped in the middle of requests", async () => {
    const { books, client, server } = await serve({ host: { ask: () => undefined } });
    const connection = client();
    const streams = Array.from({ length: 5 }, () => connection.open());
    for (const stream of streams) {
      stream.send({ requestHeaders: {}, protocolConfig: FULL_DUPLEX });
      stream.send({ requestBody: { body: Buffer.from("text") } });
    }
    await connection.health("");
    expect(server.bufferedBytes).toBe(20);
    await server.stop();
    expect([server.streamCount, server.bufferedBytes, books.ends]).toEqual([0, 0, Array(5).fill("drained")]);
  });

  it("lets open requests end when it drains, and takes no new connection", async () => {
    const { client, server, port } = await serve();
    const stream = client().open();
    stream.send({ requestHeaders: {}, protocolConfig: FULL_DUPLEX });
    await vi.waitFor(
      () => {
        expect(server.streamCount).toBe(1);
      },
      { timeout: 60_000 },
    );
    const drained = server.drained();
    stream.send({ requestBody: { body: Buffer.from("{}"), endOfStream: true } });
    expect(await stream.answered(2)).toHaveLength(2);
    stream.send({ responseHeaders: { endOfStream: true } });
    expect(await stream.outcome).toMatchObject({ status: 0 });
    await drained;
    const refused = connect(port, "127.0.0.1");
    const error = await new Promise<NodeJS.ErrnoException>((resolve) => refused.once("error", resolve));
    expect(error.code).toBe("ECONNREFUSED");
  });

  it("shows new connections a certificate that was renewed, and asks for one of the authority's clients", async () => {
    const authority = await Authority.make();
    const [first, second, gateway] = await Promise.all(
      ["first", "second", "gateway"].map((name) => authority.sign(name)),
    );
    if (first === undefined || second === undefined || gateway === undefined) return expect.unreachable();
    const { port, server } = await serve({ tls: { ...first, ca: authority.cert } });
    const subjectAt = async (own: object): Promise<string | null> => {
      const socket = connectTls({
        port,
        host: "127.0.0.1",
        ca: authority.cert,
        ALPNProtocols: ["h2"],
        ...own,
      });
      const name = await new Promise<string | null>((resolve) => {
        socket.on("error", () => {
          resolve(null);
        });
        // A server of TLS 1.3 refuses a client after the client's own handshake: its first bytes say that it does not.
        socket.once("data", () => {
          resolve(String(socket.getPeerCertificate().subject.CN));
        });
      });
      socket.destroy();
      return name;
    };
    expect(await subjectAt(gateway)).toBe("first");
    expect(await subjectAt({})).toBeNull();
    server.renew({ ...second, ca: authority.cert });
    expect(await subjectAt(gateway)).toBe("second");
  });

  it("serves TLS, and ends a connection that speaks none", async () => {
    const { key, cert } = await (await Authority.make()).sign("picker");
    const { client, port } = await serve({ tls: { key, cert, ca: null } });
    expect(await client().health("")).toBe(1);
    const plain: Socket = connect(port, "127.0.0.1");
    plain.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    await new Promise((resolve) => plain.once("close", resolve).on("error", () => undefined));
    expect(await client().health("")).toBe(1);
  });
});
