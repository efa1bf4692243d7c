/** The server of picker-server.ts against clients that take their time: these tests last as long as its limits do. */
import { connect } from "node:net";

import { afterEach, describe, expect, it } from "vitest";

import { Authority } from "../../test/certificates.ts";
import { type Cleanups, frame, FULL_DUPLEX, servePicker } from "./testing/served-picker.ts";

const cleanups: Cleanups = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

/** Sends what comes first at once, and then a byte a second. Resolves when the server has ended the connection. */
async function trickle(port: number, first: Buffer, then: Buffer): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.resume();
  socket.write(first);
  let at = 0;
  const sending = setInterval(() => socket.write(then.subarray(at, ++at)), 1000);
  await new Promise((resolve) => socket.once("close", resolve));
  clearInterval(sending);
  expect(at).toBeLessThan(then.length);
}

describe("the picker's server", () => {
  it.each(["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"])(
    "V8: ends a stream of %s that its client keeps open",
    async (path) => {
      const { client } = await servePicker(cleanups, { serves: "probes" });
      const stream = client().session.request({ ":method": "POST", ":path": path });
      stream.on("error", () => undefined);
      stream.resume();
      await new Promise((resolve) => stream.once("close", resolve));
      expect(stream.destroyed).toBe(true);
    },
    30_000,
  );

  it("V11: ends connections whose preface, headers or TLS handshake come a byte a second, by name, and no other", async () => {
    const plain = await servePicker(cleanups);
    const secure = await servePicker(cleanups, {
      tls: { ...(await (await Authority.make()).sign("picker")), ca: null },
    });
    const gateway = plain.client();
    const open = gateway.open();
    open.send({ requestHeaders: {}, protocolConfig: FULL_DUPLEX });
    const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    const settings = frame(4, 0, 0, []);
    const headers = frame(1, 4, 1, [0x83, 0x86, 0x84, 0x41, 100, ...Array.from({ length: 100 }, () => 0x61)]);
    const hello = Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]);
    const slow = [
      trickle(plain.port, Buffer.alloc(0), preface),
      // A frame of an undefined type is ignored.
      trickle(
        plain.port,
        Buffer.concat([preface, settings]),
        frame(
          250,
          0,
          0,
          Array.from({ length: 99 }, () => 0),
        ),
      ),
      trickle(plain.port, Buffer.concat([preface, settings, headers.subarray(0, 12)]), headers.subarray(12)),
      trickle(secure.port, hello, Buffer.alloc(500)),
    ];
    await Promise.all(slow);
    expect(plain.books.faults).toEqual(Array.from({ length: 3 }, () => "no_first_stream"));
    expect(secure.books.faults).toEqual(["no_first_stream"]);
    expect([plain.server.connectionCount, plain.server.streamCount]).toEqual([1, 1]);
    open.send({ requestBody: { body: Buffer.from("{}"), endOfStream: true } });
    await open.answered(2);
    expect(plain.books.asked).toBe(1);
    expect(await secure.client().health("")).toBe(1);
  }, 60_000);
});
