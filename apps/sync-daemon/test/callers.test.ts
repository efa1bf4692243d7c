/**
 * Bounds on one caller: the connections that it holds, the bodies that it sends, the names that it uses. Sockets are real; the daemon runs in this process.
 *
 * It executes the numbers of security/connection-limit.ts, security/body-budget.ts, request/json-shape.ts and http/request-reading.ts.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";

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

test("C4, C5: idle kept connections of one address give way: others are answered, and so is that address", async () => {
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

test("C1, C2, C3: connections with requests under way are bounded by address, and a few places are left for others", async () => {
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
  ["localhost.:7070", 200],
  ["127.0.0.1:7070", 200],
  ["127.8.9.1", 200],
  ["[::1]:7070", 200],
  ["rebound.example", 421],
  ["127.0.0.1.rebound.example:7070", 421],
  ["127.rebound.example", 421],
  ["10.0.0.1", 421],
  ["[fd00::1]:7070", 421],
  ["gateway.internal:80", 200],
])("on loopback without tokens the host name %s is answered with %i", async (host, status) => {
  const daemon = await start("--http-host-names", "gateway.internal");
  expect(await probe(daemon.port, "127.0.0.1", host)).toBe(status);
});

test("the page's files and its data are both refused under a foreign host name", async () => {
  const { app } = await start();
  for (const url of ["/dashboard/", "/api/v1/dashboard/history", "/api/v1/system", "/metrics", "/livez"])
    expect((await app.inject({ url, headers: { host: "rebound.example" } })).statusCode).toBe(421);
});

test("with tokens, and on all addresses behind a proxy that is trusted, any host name is served", async () => {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-hosts-"));
  onTestFinished(() => {
    rmSync(folder, { recursive: true });
  });
  const tokens = join(folder, "tokens.yaml");
  const token = "read-token-of-at-least-32-characters";
  writeFileSync(tokens, `tokens:\n  - { name: reader, scope: read, token: ${token} }\n`);
  const headers = { host: "kvsync.example.com", authorization: `Bearer ${token}` };
  for (const argv of [
    ["--security-tokens-file", tokens],
    ["--http-host", "0.0.0.0", "--security-trust-every-caller-on-the-network", "true"],
  ]) {
    const { app } = await start(...argv);
    expect((await app.inject({ url: "/api/v1/engines", headers })).statusCode).toBe(200);
  }
});

test("a request with two Host headers is refused, also when the first one is this machine's", async () => {
  const daemon = await start();
  const head = "GET /api/v1/engines HTTP/1.1\r\nHost: localhost\r\nHost: rebound.example\r\n\r\n";
  const socket = await hold(daemon.port, "127.0.0.1");
  socket.write(head);
  const [answer] = (await once(socket, "data")) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1\.1 421 /);
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

/** Sends a head that announces a body, and a first byte of it; resolves when the request has begun. */
async function announce(port: number, localAddress: string, bytes: number): Promise<Socket> {
  const type = "application/octet-stream";
  const head = `POST /api/v1/match?model=m HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\nExpect: 100-continue\r\nContent-Length: ${bytes}\r\n\r\n`;
  return hold(port, localAddress, head);
}

test("B1, B2: bodies under way are bounded in sum and by address: beyond it 503 with Retry-After, and room again when they end", async () => {
  const daemon = await start("--http-body-bytes", "524288", "--callers-bodies-bytes", "1048576");
  const lookup = async (localAddress: string): Promise<{ status: number; retryAfter: string | undefined }> =>
    new Promise((resolve, reject) => {
      const headers = { "content-type": "application/octet-stream", "content-length": "8" };
      const path = "/api/v1/match?model=m";
      const asked = request({ port: daemon.port, localAddress, path, method: "POST", headers, agent: false });
      asked.on("response", (response) => {
        response.resume();
        resolve({ status: response.statusCode ?? 0, retryAfter: response.headers["retry-after"] });
      });
      asked.on("error", reject);
      asked.end(Buffer.alloc(8));
    });
  const first = await announce(daemon.port, "127.0.0.2", 524_288);
  // Half is taken by one address: it gets no more, others do.
  expect(await lookup("127.0.0.2")).toEqual({ status: 503, retryAfter: "1" });
  expect((await lookup("127.0.0.3")).status).toBe(404);
  await announce(daemon.port, "127.0.0.3", 524_288);
  expect((await lookup("127.0.0.4")).status).toBe(503);
  first.destroy();
  await until("there is room again", async () => (await lookup("127.0.0.4")).status === 404);
  const { body } = await daemon.app.inject("/metrics");
  expect(body).toMatch(/kv_http_request_errors_total\{[^}]*code="bodies_full"[^}]*\} [1-9]/);
});

const MIB = 2 ** 20;
/** Bodies of the largest length, each with something in it that takes long to read. */
const HARD_BODIES: readonly (readonly [string, number, (bytes: number) => string])[] = [
  ["unknown names", 400, (bytes) => `{${repeated(bytes, (i) => `"k${i.toString(36)}":0`)}}`],
  ["names of a conversation", 400, (bytes) => `{"messages":[${repeated(bytes, (i) => `{"k${i}":0}`)}]}`],
  ["empty objects", 400, (bytes) => `{"messages":[${repeated(bytes, () => "{}")}]}`],
  ["arrays inside each other", 400, (bytes) => "[".repeat(bytes)],
  ["token ids", 404, (bytes) => `{"model":"m","token_ids":[${repeated(bytes, (i) => String(i))}]}`],
  [
    "hashes as texts",
    422,
    (bytes) => `{"model":"m","prefix_hashes":[${repeated(bytes, (i) => `"${10n ** 19n + BigInt(i)}"`)}]}`,
  ],
  ["escapes", 400, (bytes) => `{"${"\\u0041".repeat(Math.floor(bytes / 6) - 1)}":0}`],
];

function repeated(bytes: number, part: (i: number) => string): string {
  const parts: string[] = [];
  // As much as fits, with the rest of the body.
  for (let i = 0, length = 64; length + part(i).length < bytes; i += 1) {
    parts.push(part(i));
    length += part(i).length + 1;
  }
  return parts.join(",");
}

/** As long, and read by the engine's own parser at once. */
const PLAIN_BODY = `[${repeated(MIB, (i) => String(i))}]`;

test.each(HARD_BODIES)(
  "R4, J1, J2: a JSON body of the largest length, full of %s, keeps the loop for less time than twenty plain readings",
  async (_name, status, make) => {
    const daemon = await startInProcess(["--index-prefix-hashes", "secret"]);
    onTestFinished(daemon.stop);
    const payload = make(MIB);
    expect(payload.length).toBeLessThanOrEqual(MIB);
    const headers = { "content-type": "application/json" };
    let [leastMs, plainMs] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    // The least of several, in turns: what else the machine does is not this daemon's.
    for (let i = 0; i < 5; i += 1) {
      const startMs = performance.now();
      JSON.parse(PLAIN_BODY);
      plainMs = Math.min(plainMs, performance.now() - startMs);
      const before = performance.eventLoopUtilization();
      const response = await daemon.app.inject({ method: "POST", url: "/api/v1/match", headers, payload });
      // All that the loop did for the request, which is at least what it did at a stretch.
      const { active } = performance.eventLoopUtilization(before);
      expect(response.statusCode).toBe(status);
      leastMs = Math.min(leastMs, active);
    }
    expect(leastMs).toBeLessThan(20 * plainMs);
  },
);

test("a longer JSON body is refused with the setting and the binary form that takes it", async () => {
  const daemon = await startInProcess();
  onTestFinished(daemon.stop);
  const headers = { "content-type": "application/json" };
  const payload = `{"model":"m","prompt":"${"x".repeat(MIB)}"}`;
  const { body } = await daemon.app.inject({ method: "POST", url: "/api/v1/match", headers, payload });
  expect(JSON.parse(body)).toMatchObject({
    status: 413,
    code: "body_too_large",
    expected: expect.stringMatching(/http\.json_bytes.*application\/octet-stream/) as string,
  });
});

const HALF = String.raw`\ud83d`;
const REGISTRATION = '"id":"a","endpoint":"tcp://127.0.0.1:5557"';
const INSTANCE = '"instance_id":"a","endpoint":"tcp://127.0.0.1:5557"';
test.each([
  ["/api/v1/engines", "model", `{${REGISTRATION},"model":"m${HALF}"}`],
  ["/api/v1/engines", "aliases.0", `{${REGISTRATION},"model":"m","aliases":["${HALF}"]}`],
  ["/api/v1/engines", "adapters.0", `{${REGISTRATION},"model":"m","adapters":["${HALF}"]}`],
  ["/api/v1/engines", "topic", `{${REGISTRATION},"model":"m","topic":"${HALF}"}`],
  ["/api/v1/match", "model", `{"model":"m${HALF}","token_ids":[1]}`],
  ["/api/v1/match", "lora_name", `{"model":"m","lora_name":"${HALF}","token_ids":[1]}`],
  ["/api/v1/match", "cache_salt", `{"model":"m","cache_salt":"${HALF}","token_ids":[1]}`],
  ["/register", "modelname", `{${INSTANCE},"modelname":"m${HALF}"}`],
  ["/register", "lora_name", `{${INSTANCE},"modelname":"m","lora_name":"${HALF}"}`],
  ["/register", "tenant_id", `{${INSTANCE},"modelname":"m","tenant_id":"${HALF}"}`],
  ["/query", "cache_salt", `{"model":"m","cache_salt":"${HALF}","token_ids":[1]}`],
])("%s refuses %s with half of a surrogate pair", async (url, where, payload) => {
  const daemon = await startInProcess();
  onTestFinished(daemon.stop);
  const headers = { "content-type": "application/json" };
  const { body } = await daemon.app.inject({ method: "POST", url, headers, payload });
  expect(JSON.parse(body)).toMatchObject({
    status: 400,
    where,
    expected: expect.stringContaining("lone surrogates") as string,
  });
});

test("C6: a connection with more than sixteen requests that wait for their answers is closed, and is counted", async () => {
  const daemon = await start();
  const few = await hold(daemon.port, "127.0.0.1");
  let answered = "";
  few.on("data", (data: Buffer) => (answered += data.toString()));
  few.write(REQUEST.repeat(16));
  await until("all of the few are answered", () => Promise.resolve(answered.split('"alive"').length === 17));
  const many = await hold(daemon.port, "127.0.0.1");
  many.write("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000));
  await once(many, "close");
  expect(await closedCount(daemon, "pipelined")).toBe(1);
  expect(few.destroyed).toBe(false);
});

/** The least of some times of /livez while something is asked for. */
async function leastProbeMs(port: number, ask: () => Promise<void>): Promise<number> {
  let leastMs = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 3; i += 1) {
    await ask();
    const beganMs = performance.now();
    expect(await probe(port, "127.0.0.3")).toBe(200);
    leastMs = Math.min(leastMs, performance.now() - beganMs);
  }
  return leastMs;
}

test("C6, N1, N2: a probe is answered while a caller sends hundreds of requests, on one connection or on many", async () => {
  const daemon = await start();
  const text = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
  const beganMs = performance.now();
  const alone = await hold(daemon.port, "127.0.0.2", text);
  const oneMs = performance.now() - beganMs;
  alone.destroy();
  const atOnce = await leastProbeMs(daemon.port, async () => {
    for (let i = 0; i < 300; i += 1) (await hold(daemon.port, "127.0.0.2")).write(text);
  });
  const inRow = await leastProbeMs(daemon.port, async () => {
    (await hold(daemon.port, "127.0.0.2")).write(text.repeat(3000));
  });
  // Hundreds of them take hundreds of times as long as one.
  expect(atOnce).toBeLessThan(Math.max(50, 30 * oneMs));
  expect(inRow).toBeLessThan(Math.max(50, 30 * oneMs));
});

test("C7: a connection whose peer takes nothing of an answer is closed, and is counted", async () => {
  // Engines that are not there: their list is a megabyte, so that sixteen of it fit into no buffer of the system.
  const folder = mkdtempSync(join(tmpdir(), "kvsync-callers-"));
  onTestFinished(() => {
    rmSync(folder, { recursive: true });
  });
  const engines = Array.from({ length: 1000 }, (_, i) => ({
    id: `away-${i}`,
    model: "m",
    endpoint: `tcp://127.1.${i >> 8}.${i & 255}:9`,
  }));
  writeFileSync(join(folder, "config.yaml"), JSON.stringify({ engines }));
  const daemon = await start("--config", join(folder, "config.yaml"), "--callers-request-seconds", "1");
  const unread = await hold(daemon.port, "127.0.0.1");
  unread.pause();
  unread.write("GET /api/v1/engines HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(16));
  await until("it is closed", async () => (await closedCount(daemon, "answer_unread")) === 1);
});

test("an idle connection that had an answer is kept beyond the time for a request", async () => {
  const daemon = await start("--callers-request-seconds", "1", "--callers-keep-alive-seconds", "3");
  const socket = await hold(daemon.port, "127.0.0.1", REQUEST);
  const beganMs = performance.now();
  await once(socket, "close");
  expect(performance.now() - beganMs).toBeGreaterThan(2500);
});

test("a connection that sends nothing, or half of a head, still gets its 408 and is counted", async () => {
  const daemon = await start("--callers-request-seconds", "1");
  for (const text of ["", "GET /livez HT"]) {
    const socket = await hold(daemon.port, "127.0.0.1");
    let answer = "";
    socket.on("data", (data: Buffer) => (answer += data.toString()));
    socket.write(text);
    await once(socket, "close");
    expect(answer).toMatch(/^HTTP\/1\.1 408 /);
  }
  const { body } = await daemon.app.inject("/metrics");
  expect(body).toMatch(/kv_http_request_errors_total\{[^}]*code="request_overdue"[^}]*\} 2/);
});
