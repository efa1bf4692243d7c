/**
 * The connection's states over a transport that the test drives; the clock is a number.
 */
import { expect, test } from "vitest";

import { EngineConnection } from "./engine-connection.ts";
import type { SubscriptionEvents, Transport } from "./transport.ts";

function setUp() {
  const dialled: SubscriptionEvents[] = [];
  const happened: string[] = [];
  let nowMs = 0;
  let closed = 0;
  const transport: Transport = {
    subscribe: (_endpoint, _topic, events) => {
      dialled.push(events);
      return { close: () => (closed += 1) };
    },
    listen: (_endpoint, _topic, events) => {
      dialled.push(events);
      return { close: () => (closed += 1) };
    },
    requestReplay: () => {
      throw new Error("not asked for here");
    },
    close: () => undefined,
  };
  const connection = new EngineConnection(
    { endpoint: "tcp://h:1", topic: "", bind: false, waitMsMin: 100, waitMsMax: 800 },
    { transport, now: () => nowMs, random: () => 1 },
    {
      connected: () => happened.push("connected"),
      disconnected: () => happened.push("disconnected"),
      failed: (reason) => happened.push(`failed: ${reason}`),
      message: () => happened.push("message"),
      refused: (reason) => happened.push(reason),
    },
  );
  return {
    connection,
    dialled,
    happened,
    closed: () => closed,
    advance: (ms: number) => (nowMs += ms),
    now: () => nowMs,
  };
}

test("waits between attempts double up to their maximum, and a connection that stands starts them over", () => {
  const { connection, dialled, advance, now } = setUp();
  const waits: number[] = [];
  for (let i = 0; i < 8; i++) {
    let waited = 0;
    while (!connection.isDue(now())) {
      advance(10);
      waited += 10;
    }
    waits.push(waited);
    connection.dial();
    // A peer that speaks the protocol and ends the connection at once is as good as none.
    if (i >= 2) dialled.at(-1)?.connected();
    if (i === 5) advance(801);
    dialled.at(-1)?.ended("disconnected");
  }
  expect(waits).toEqual([0, 100, 200, 400, 800, 800, 100, 200]);
});

test("a connection that ends by its peer's bytes starts no waits over, however long it stood", () => {
  const waits = (reason: "too_many_parts" | "disconnected"): number[] => {
    const { connection, dialled, advance, now } = setUp();
    return Array.from({ length: 5 }, () => {
      connection.dial();
      dialled.at(-1)?.connected();
      advance(100_000);
      dialled.at(-1)?.ended(reason);
      const endedMs = now();
      while (!connection.isDue(now())) advance(10);
      return now() - endedMs;
    });
  };
  expect(waits("too_many_parts")).toEqual([100, 200, 400, 800, 800]);
  expect(waits("disconnected")).toEqual([100, 100, 100, 100, 100]);
});

test("nothing is dialled while an attempt is under way, while connected, or after closing", () => {
  const { connection, dialled, closed } = setUp();
  connection.dial();
  expect(connection.isDue(1e9)).toBe(false);
  dialled[0]?.connected();
  expect(connection.connected).toBe(true);
  expect(connection.isDue(1e9)).toBe(false);
  connection.close();
  expect(closed()).toBe(1);
  expect(connection.isDue(1e9)).toBe(false);
});

test("a lost connection is told as such, an attempt that came to nothing as another thing", () => {
  const { connection, dialled, happened } = setUp();
  connection.dial();
  dialled[0]?.ended("refused");
  connection.dial();
  dialled[1]?.connected();
  dialled[1]?.message([]);
  dialled[1]?.ended("disconnected");
  expect(happened).toEqual(["failed: refused", "connected", "message", "disconnected"]);
});

test("a publisher that is known to be new is due at once, one that is connected is left alone", () => {
  const { connection, dialled, advance, now, closed } = setUp();
  for (let i = 0; i < 4; i++) {
    connection.dial();
    dialled.at(-1)?.ended("refused");
    advance(800);
  }
  connection.dial();
  dialled.at(-1)?.ended("refused");
  expect(connection.isDue(now())).toBe(false);
  connection.redial();
  expect(connection.isDue(now())).toBe(true);
  connection.dial();
  connection.redial();
  expect(connection.isDue(1e9)).toBe(false);
  dialled.at(-1)?.ended("refused");
  advance(100);
  expect(connection.isDue(now())).toBe(true);
  connection.dial();
  dialled.at(-1)?.connected();
  connection.redial();
  expect(connection.connected).toBe(true);
  expect(connection.isDue(1e9)).toBe(false);
  expect(closed()).toBe(0);
});
