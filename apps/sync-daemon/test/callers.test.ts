/**
 * What one caller can do to the others: connections that it holds, bodies that it sends, names that it uses. Sockets are real; the daemon runs in this process.
 */
import { once } from "node:events";
import { request } from "node:http";
import { connect, type Socket } from "node:net";

import { expect, onTestFinished, test } from "vitest";

import { type DaemonInProcess, startInProcess } from "./daemon-in-process.ts";
import { until } from "./fleet.ts";

interface Listening extends DaemonInProcess {
  readonly port: number;
}

async function start(...argv: string[]): Promise<Listening> {
  const running = await startInProcess(argv);
  onTestFinished(running.stop);
  await running.app.listen({ host: "127.0.0.1", port: 0 });
  const address = running.app.getHttpServer().address();
  return { ...running, port: typeof address === "object" ? (address?.port ?? 0) : 0 };
}

const REQUEST = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

/** Opens a connection from an address of loopback; it stays open. */
async function hold(port: number, localAddress: string, text = ""): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", localAddress });
  socket.on("error", () => undefined);
  onTestFinished(() => {
    socket.destroy();
  });
  await once(socket, "connect");
  if (text !== "") {
    socket.write(text);
    await once(socket, "data");
  }
  return socket;
}

/** Status of /livez over a connection of its own from an address; the error's code when there is no answer. */
async function probe(port: number, localAddress: string, host = "localhost"): Promise<number | string> {
  return new Promise((resolve) => {
    const asked = request({ port, host: "127.0.0.1", localAddress, path: "/livez", agent: false });
    asked.setHeader("host", host);
    asked.on("response", (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    asked.on("error", (error: Error & { code?: string }) => {
      resolve(error.code ?? error.message);
    });
    asked.end();
  });
}

async function closedCount({ app }: Listening, reason: string): Promise<number> {
  const { body } = await app.inject("/metrics");
  const [, count] =
    new RegExp(`kv_http_connections_refused_total\\{reason="${reason}"\\} (\\d+)`).exec(body) ?? [];
  return Number(count);
}

test("idle kept connections of one address give way: others are answered, and so is that address", async () => {
  const daemon = await start("--callers-connections", "16", "--callers-connections-per-address", "16");
  const held: Socket[] = [];
  for (let i = 0; i < 16; i += 1) held.push(await hold(daemon.port, "127.0.0.2", REQUEST));
  expect(await probe(daemon.port, "127.0.0.3")).toBe(200);
  expect(await probe(daemon.port, "127.0.0.2")).toBe(200);
  await until("the connections that gave way are closed", () =>
    Promise.resolve(held.some((socket) => socket.destroyed)),
  );
  expect(await closedCount(daemon, "gave_way")).toBeGreaterThan(0);
  expect(daemon.log.find(({ event }) => event === "connection_refused")).toMatchObject({
    facts: { reason: "gave_way", connections_max: 16 },
  });
});

test("connections with requests under way are bounded by address, and a few places are left for others", async () => {
  const daemon = await start("--callers-connections", "16", "--callers-connections-per-address", "8");
  const busy =
    "POST /api/v1/match HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
  // The answer to Expect says that the request has begun.
  const held: Socket[] = [];
  for (let i = 0; i < 8; i += 1) held.push(await hold(daemon.port, "127.0.0.2", busy));
  expect(await probe(daemon.port, "127.0.0.2")).toBe("ECONNRESET");
  expect(await closedCount(daemon, "address_full")).toBe(1);
  for (let i = 0; i < 6; i += 1) held.push(await hold(daemon.port, "127.0.0.4", busy));
  // Two places are left, of the reserve.
  expect(await probe(daemon.port, "127.0.0.4")).toBe("ECONNRESET");
  expect(await closedCount(daemon, "all_taken")).toBe(1);
  expect(await probe(daemon.port, "127.0.0.3")).toBe(200);
  expect(held.some((socket) => socket.destroyed)).toBe(false);
  held[0]?.destroy();
  await until("there is room again", async () => (await probe(daemon.port, "127.0.0.2")) === 200);
});

test("an idle connection is kept for callers.keep_alive_seconds, by default longer than Envoy's hour", async () => {
  const daemon = await start();
  expect(daemon.app.getHttpServer().keepAliveTimeout).toBeGreaterThan(3_600_000);
  const short = await start("--callers-keep-alive-seconds", "1");
  const socket = await hold(short.port, "127.0.0.1", REQUEST);
  await once(socket, "close");
});

test.each([
  ["localhost", 200],
  ["LOCALHOST:7070", 200],
  ["127.0.0.1:7070", 200],
  ["[::1]:7070", 200],
  ["rebound.example", 421],
  ["127.0.0.1.rebound.example:7070", 421],
  ["10.0.0.1", 421],
  ["gateway.internal:80", 200],
])("on loopback without tokens the host name %s is answered with %i", async (host, status) => {
  const daemon = await start("--http-host-names", "gateway.internal");
  expect(await probe(daemon.port, "127.0.0.1", host)).toBe(status);
});

test("a request under a foreign host name is a problem that names the setting, and is counted", async () => {
  const daemon = await start();
  const { body } = await daemon.app.inject({ url: "/api/v1/engines", headers: { host: "rebound.example" } });
  expect(JSON.parse(body)).toMatchObject({
    status: 421,
    code: "foreign_host",
    expected: expect.stringContaining("http.host_names") as string,
  });
  expect((await daemon.app.inject("/metrics")).body).toMatch(
    /kv_access_refusals_total\{code="foreign_host"\} 1/,
  );
});
