/** Engines with keys of their own next to plain ones, at real sockets. */
import { afterEach, expect, test } from "vitest";
import { curveKeyPair, Publisher } from "zeromq";

import { inTurns } from "../engine/host-names.ts";
import { EngineTransports } from "./engine-transports.ts";
import { ZmtpTransport } from "./zmtp-transport.ts";
import { curveNetworks } from "./zmq-transport.ts";

const SEQUENCE = Buffer.alloc(8);
const [one, other] = [curveKeyPair(), curveKeyPair()];
const publishers: Publisher[] = [];
const subscriptions: { close(): void }[] = [];

afterEach(() => {
  for (const subscription of subscriptions.splice(0)) subscription.close();
  for (const publisher of publishers.splice(0)) publisher.close();
});

function transportsOf(fleetKey: string | null): { transports: EngineTransports; loads: () => number } {
  let loads = 0;
  const loadCurve = () => {
    loads += 1;
    return Promise.resolve(curveNetworks(curveKeyPair(), 1_000_000));
  };
  const resolve = inTurns(() => Promise.resolve(["127.0.0.1"]));
  const networks = { plain: new ZmtpTransport(), loadCurve };
  return { transports: new EngineTransports(networks, fleetKey, resolve), loads: () => loads };
}

/** A publisher that repeats its name; with keys it speaks CURVE. */
async function publisherOf(name: string, keys: { secretKey: string } | null): Promise<string> {
  const curve = keys === null ? {} : { curveServer: true, curveSecretKey: keys.secretKey };
  const publisher = new Publisher({ linger: 0, ...curve });
  publishers.push(publisher);
  await publisher.bind("tcp://127.0.0.1:*");
  void (async () => {
    while (!publisher.closed) {
      await publisher.send(["", SEQUENCE, name]);
      await new Promise(setImmediate);
    }
  })().catch(() => undefined);
  return (publisher.lastEndpoint ?? "").replace("127.0.0.1", "engine.test");
}

/** The first message, or why there is none. */
function firstOf(transports: EngineTransports, endpoint: string, key: string | null): Promise<string> {
  return new Promise((resolve) => {
    const subscription = transports.of(key).subscribe(endpoint, "", {
      connected: () => undefined,
      message: (frames) => {
        resolve(Buffer.from(frames[2] ?? []).toString());
      },
      ended: resolve,
    });
    subscriptions.push(subscription);
  });
}

test("C1: engines with keys of their own and plain ones are heard side by side, and a key that is not the engine's hears nothing", async () => {
  const { transports, loads } = transportsOf(null);
  const [a, b, plain] = [
    await publisherOf("a", one),
    await publisherOf("b", other),
    await publisherOf("plain", null),
  ];
  expect(await firstOf(transports, plain, null)).toBe("plain");
  expect(loads()).toBe(0);
  expect(
    await Promise.all([
      firstOf(transports, a, one.publicKey),
      firstOf(transports, b, other.publicKey),
      firstOf(transports, plain, null),
      firstOf(transports, b, one.publicKey),
      firstOf(transports, plain, one.publicKey),
      firstOf(transports, a, null),
    ]),
  ).toEqual(["a", "b", "plain", "curve_failed", "curve_failed", "mechanism_mismatch"]);
  expect(loads()).toBe(1);
});

test("an engine's own key goes before the fleet's, which the others have", async () => {
  const { transports } = transportsOf(one.publicKey);
  const [a, b, plain] = [
    await publisherOf("a", one),
    await publisherOf("b", other),
    await publisherOf("plain", null),
  ];
  expect(
    await Promise.all([
      firstOf(transports, a, null),
      firstOf(transports, b, other.publicKey),
      firstOf(transports, plain, null),
    ]),
  ).toEqual(["a", "b", "curve_failed"]);
});

test("a dial that is given up before libzmq is there opens nothing", async () => {
  const { transports } = transportsOf(null);
  const heard: string[] = [];
  const endpoint = await publisherOf("a", one);
  const events = {
    connected: () => heard.push("connected"),
    message: () => heard.push("message"),
    ended: () => heard.push("ended"),
  };
  transports.of(one.publicKey).subscribe(endpoint, "", events).close();
  expect(await firstOf(transports, endpoint, one.publicKey)).toBe("a");
  expect(heard).toEqual([]);
});
