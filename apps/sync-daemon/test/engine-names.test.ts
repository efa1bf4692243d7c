/**
 * Engines that are listed or registered by name. The daemon asks a DNS server of the test's own
 * (`discovery.dns_servers`), with real sockets on several addresses of this machine.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import type { EngineReport, RankReport } from "./daemon-process.ts";
import { type DaemonInProcess, startInProcess } from "./daemon-in-process.ts";
import { DnsServer } from "./dns-server.ts";
import { TestEngine, until } from "./fleet.ts";

let dns: DnsServer;
let folder: string;
let running: DaemonInProcess | null = null;
const engines: TestEngine[] = [];

beforeEach(async () => {
  dns = await DnsServer.start();
  folder = mkdtempSync(join(tmpdir(), "kvsync-names-"));
});

afterEach(async () => {
  await running?.stop();
  running = null;
  for (const engine of engines.splice(0)) await engine.stop();
  dns.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function startDaemon(flags: readonly string[] = []): Promise<DaemonInProcess> {
  running = await startInProcess([
    ...flags,
    ...["--discovery-dns-servers", dns.address],
    ...["--discovery-resolve-seconds", "0.1"],
    ...["--discovery-state-directory", folder],
    ...["--ingest-reconnect-ms-min", "20", "--ingest-reconnect-ms-max", "200"],
  ]);
  return running;
}

async function engineAt(host: string, seed: number, ports: { port?: number; replayPort?: number } = {}) {
  const engine = await TestEngine.start({ id: `e${seed}` }, seed, { host, ...ports });
  engines.push(engine);
  return engine;
}

const portOf = (endpoint: string | null): number => Number(/\d+$/.exec(endpoint ?? "")?.[0]);

/** An engine's ports at a name. */
function entryAt({ server }: TestEngine, name: string): object {
  return {
    id: "named",
    model: "test/model",
    endpoint: `tcp://${name}:${portOf(server.endpoint)}`,
    replay_endpoint: `tcp://${name}:${portOf(server.replayEndpoint)}`,
  };
}

async function register(engine: TestEngine, name: string): Promise<number> {
  const payload = entryAt(engine, name);
  const response = await running?.app.inject({ method: "POST", url: "/api/v1/engines", payload });
  return response?.statusCode ?? 0;
}

async function rank(): Promise<(RankReport & { endpoint: string }) | undefined> {
  const response = await running?.app.inject("/api/v1/engines");
  const [engine] = response?.json<{ engines: EngineReport[] }>().engines ?? [];
  return engine?.ranks[0] as (RankReport & { endpoint: string }) | undefined;
}

const isExact = (engine: TestEngine) =>
  until("the engine is exact", async () => {
    const found = await rank();
    return (
      found?.trust === "exact" && (found.last_sequence_number ?? -1) === engine.engine.lastSequenceNumber
    );
  });

const logged = (event: string) => running?.log.filter((line) => line.event === event) ?? [];

test.each([
  ["an AAAA record alone", ["::1"]],
  ["A and AAAA records, of which the first refuses,", ["127.0.0.1", "::1"]],
])("an engine that the file lists by a name with %s is exact", async (_, addresses) => {
  dns.names.set("engine.test", addresses);
  const engine = await engineAt("[::1]", 1);
  await engine.serve(4);
  const path = join(folder, "kvsync.yaml");
  writeFileSync(path, JSON.stringify({ engines: [entryAt(engine, "engine.test")] }));
  await startDaemon(["--config", path]);
  await isExact(engine);
  await engine.serve(4);
  await isExact(engine);
});

test("an engine that is registered by a name with an AAAA record alone is exact", async () => {
  await startDaemon();
  dns.names.set("engine.test", ["::1"]);
  const engine = await engineAt("[::1]", 1);
  await engine.serve(4);
  expect(await register(engine, "engine.test")).toBe(201);
  await isExact(engine);
  await engine.serve(4);
  await isExact(engine);
});

test("a name that moves is followed: the engine at the new address is exact, and the file holds the name", async () => {
  await startDaemon();
  dns.names.set("engine.test", ["127.0.0.1"]);
  const old = await engineAt("127.0.0.1", 1);
  await old.serve(4);
  expect(await register(old, "engine.test")).toBe(201);
  await isExact(old);
  const ports = { port: portOf(old.server.endpoint), replayPort: portOf(old.server.replayEndpoint) };
  const next = await engineAt("127.0.0.2", 2, ports);
  await next.serve(7);
  dns.names.set("engine.test", ["127.0.0.2"]);
  await until("it is followed", async () => (await rank())?.endpoint.includes("127.0.0.2") === true);
  await isExact(next);
  expect(logged("registration_moved")).toHaveLength(1);
  expect(await register(next, "engine.test")).toBe(200);
  expect(readFileSync(join(folder, "registrations.json"), "utf8")).toContain("tcp://engine.test:");
});

test("a name with several addresses keeps the one it has, and one that may not be there is not followed", async () => {
  await startDaemon();
  dns.names.set("engine.test", ["127.0.0.1"]);
  const engine = await engineAt("127.0.0.1", 1);
  await engine.serve(4);
  expect(await register(engine, "engine.test")).toBe(201);
  dns.names.set("engine.test", ["127.0.0.2", "127.0.0.1"]);
  await isExact(engine);
  dns.names.set("engine.test", ["93.184.215.14"]);
  await until("it is named", () => Promise.resolve(logged("registration_not_resolved").length > 0));
  expect(logged("registration_not_resolved")[0]?.facts).toMatchObject({ code: "endpoint_not_allowed" });
  await isExact(engine);
  expect((await rank())?.endpoint).toContain("127.0.0.1");
});

test("a resolver that is down costs nothing: what is followed stays, and what was kept comes with the resolver", async () => {
  await startDaemon();
  dns.names.set("engine.test", ["127.0.0.1"]);
  const engine = await engineAt("127.0.0.1", 1);
  await engine.serve(4);
  expect(await register(engine, "engine.test")).toBe(201);
  await isExact(engine);
  dns.names.delete("engine.test");
  await until("it is named", () => Promise.resolve(logged("registration_not_resolved").length > 0));
  await isExact(engine);
  await running?.stop();
  await startDaemon();
  expect(await rank()).toBeUndefined();
  await until("it is named", () => Promise.resolve(logged("registration_not_resolved").length > 0));
  dns.names.set("engine.test", ["127.0.0.1"]);
  await isExact(engine);
});

test("a registration whose name has no address after a start can be removed", async () => {
  await startDaemon();
  dns.names.set("engine.test", ["127.0.0.1"]);
  const engine = await engineAt("127.0.0.1", 1);
  expect(await register(engine, "engine.test")).toBe(201);
  await running?.stop();
  dns.names.delete("engine.test");
  const { app } = await startDaemon();
  const removed = await app.inject({ method: "DELETE", url: "/api/v1/engines/named" });
  expect(removed.statusCode).toBe(204);
  expect(readFileSync(join(folder, "registrations.json"), "utf8")).not.toContain("engine.test");
});
