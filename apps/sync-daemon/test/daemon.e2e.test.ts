/**
 * The whole daemon, as a process, following simulated engines over real ZeroMQ while things go
 * wrong. Each test ends with the same claim: the daemon's index equals what the engines hold, row
 * by row.
 */
import { readdirSync, readFileSync } from "node:fs";

import { type Dialect, DIALECTS } from "@kvsync/core";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { afterEach, expect, test } from "vitest";

import { DaemonProcess } from "./daemon-process.ts";
import { audit, caughtUp, dumped, entryOf, rankOf, TestEngine, until } from "./fleet.ts";

const MODEL = "test/model";
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function daemonWith(config: object = {}): Promise<DaemonProcess> {
  const daemon = await DaemonProcess.start(config);
  cleanups.push(() => daemon.end("SIGKILL"));
  return daemon;
}

async function engineWith(...args: Parameters<typeof TestEngine.start>): Promise<TestEngine> {
  const engine = await TestEngine.start(...args);
  cleanups.push(() => engine.stop());
  return engine;
}

async function register(daemon: DaemonProcess, entry: object): Promise<number> {
  const response = await daemon.fetch("/api/v1/engines", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(entry),
  });
  return response.status;
}

/** The entry of an engine at whose address nobody listens. */
function engineOfNobody(i: number): { readonly id: string; readonly model: string } {
  const ports = {
    endpoint: `tcp://127.0.0.1:${20_000 + i}`,
    replay_endpoint: `tcp://127.0.0.1:${21_000 + i}`,
  };
  return { id: `ghost-${i}`, model: MODEL, ...ports };
}

async function expectEqual(daemon: DaemonProcess, engines: readonly TestEngine[]): Promise<void> {
  await caughtUp(daemon, engines);
  expect(await audit(daemon, engines)).toEqual([]);
}

test("a daemon that starts in the middle of a stream learns the history and then follows live", async () => {
  const engine = await engineWith({ id: "a" }, 1);
  await engine.serve(40);
  const daemon = await daemonWith({ engines: [engine.entry] });
  await expectEqual(daemon, [engine]);
  expect((await dumped(daemon, MODEL)).size).toBeGreaterThan(100);
  await engine.serve(40);
  await expectEqual(daemon, [engine]);
  expect(rankOf(await daemon.engines(), engine)?.history_from_sequence_number).toBe(0);
});

test("an engine that comes up long after it was registered is found and followed", async () => {
  const early = await engineWith({ id: "a" }, 2);
  const entry = early.entry as { endpoints: string[]; replay_endpoints: string[] };
  await early.stop();
  const daemon = await daemonWith({ engines: [entry], ingest: { reconnect_ms_max: 300 } });
  await until("a failed attempt is logged", () =>
    Promise.resolve(daemon.log.some(({ event }) => event === "engine_unreachable")),
  );
  const [port, replayPort] = [entry.endpoints[0], entry.replay_endpoints[0]].map((e) =>
    Number(e?.split(":")[2]),
  );
  const engine = await engineWith({ id: "a" }, 2, { port, replayPort });
  await engine.serve(20);
  await expectEqual(daemon, [engine]);
});

test("messages lost on the way are found by their gap, replayed and applied in order", async () => {
  const engine = await engineWith({ id: "a" }, 3);
  const daemon = await daemonWith({ engines: [engine.entry] });
  await engine.serve(10);
  await caughtUp(daemon, [engine]);
  await engine.server.applyFault({ kind: "drop", percent: 20, replayPercent: 5 }, 0);
  await engine.serve(80);
  await engine.server.applyFault({ kind: "drop", percent: 0 }, 0);
  await engine.serve(5);
  await expectEqual(daemon, [engine]);
  const rank = rankOf(await daemon.engines(), engine);
  expect(rank?.gaps).toBeGreaterThan(0);
  expect(rank?.missed_messages).toBeGreaterThanOrEqual(rank?.gaps ?? 0);
});

test("a lost tail, which no later message shows, is found by asking", async () => {
  const engine = await engineWith({ id: "a" }, 4);
  const daemon = await daemonWith({ engines: [engine.entry] });
  await engine.serve(10);
  await caughtUp(daemon, [engine]);
  await engine.server.applyFault({ kind: "drop", percent: 100 }, 0);
  await engine.serve(5);
  await engine.server.applyFault({ kind: "drop", percent: 0 }, 0);
  await expectEqual(daemon, [engine]);
});

test("a restarted engine's former blocks are gone, its new ones are known", async () => {
  const engine = await engineWith({ id: "a" }, 5);
  const daemon = await daemonWith({ engines: [engine.entry] });
  await engine.serve(60);
  await caughtUp(daemon, [engine]);
  await engine.server.applyFault({ kind: "restart" }, 0);
  await engine.serve(15);
  await expectEqual(daemon, [engine]);
  expect(rankOf(await daemon.engines(), engine)?.restarts).toBe(1);
});

test("a restarted engine that has already passed the last number seen is found out too", async () => {
  const engine = await engineWith({ id: "a" }, 6);
  const daemon = await daemonWith({ engines: [engine.entry] });
  await engine.serve(4);
  await caughtUp(daemon, [engine]);
  const before = engine.engine.lastSequenceNumber;
  daemon.signal("SIGSTOP");
  await engine.server.applyFault({ kind: "restart" }, 0);
  await engine.serve(30);
  expect(engine.engine.lastSequenceNumber).toBeGreaterThan(before);
  daemon.signal("SIGCONT");
  await expectEqual(daemon, [engine]);
});

test("history that is cut off costs what it held, never more: the rank is partial and has no ghosts", async () => {
  const engine = await engineWith({ id: "a", blockCount: 2000 }, 7);
  await engine.serve(30);
  await engine.server.applyFault({ kind: "truncate_history", keep: 20 }, 0);
  const daemon = await daemonWith({ engines: [engine.entry] });
  await engine.serve(5);
  await caughtUp(daemon, [engine], ["partial"]);
  const rank = rankOf(await daemon.engines(), engine);
  const from = rank?.history_from_sequence_number ?? -1;
  expect(from).toBeGreaterThan(0);
  const differences = await audit(daemon, [engine]);
  expect(differences.filter((line) => !line.startsWith("missing"))).toEqual([]);
  expect(differences.length).toBeGreaterThan(0);
  // What begins after the cut is known in full: missing is only what hangs on blocks announced before it.
  await engine.serve(10, { isFresh: true });
  await caughtUp(daemon, [engine], ["partial"]);
  const before = new Set(differences);
  expect((await audit(daemon, [engine])).filter((line) => !before.has(line))).toEqual([]);
});

test("poison costs itself: bad events and bad messages are counted by code, and everything else is applied", async () => {
  const engine = await engineWith({ id: "a" }, 8);
  const daemon = await daemonWith({ engines: [engine.entry] });
  await engine.serve(5);
  for (const form of [
    "malformed_event",
    "unknown_event_type",
    "short_sequence_frame",
    "missing_sequence_frame",
  ] as const) {
    await engine.server.applyFault({ kind: "poison", form, count: 2 }, 0);
    await engine.serve(5);
  }
  await caughtUp(daemon, [engine], ["exact", "partial", "stale"]);
  expect((await audit(daemon, [engine])).filter((line) => line.startsWith("missing"))).toEqual([]);
  const faults = rankOf(await daemon.engines(), engine)?.faults ?? {};
  expect(Object.keys(faults)).toEqual(
    expect.arrayContaining(["unknown_event_type", "wrong_sequence_length", "wrong_frame_count"]),
  );
  const metrics = await (await daemon.fetch("/metrics")).text();
  expect(metrics).toMatch(
    new RegExp(String.raw`${NAMESPACE}_kv_events_dropped_total\{.*reason="unknown_event_type"\} [1-9]`),
  );
});

test("two DP ranks of one worker are two streams with one name", async () => {
  const ranks = [await engineWith({ id: "a", dpRank: 0 }, 9), await engineWith({ id: "a", dpRank: 1 }, 10)];
  const daemon = await daemonWith();
  expect(await register(daemon, entryOf(ranks))).toBe(201);
  for (const rank of ranks) await rank.serve(20);
  await expectEqual(daemon, ranks);
  const [engine] = await daemon.engines();
  expect(engine?.ranks.map(({ dp_rank }) => dp_rank)).toEqual([0, 1]);
});

test.each(Object.keys(DIALECTS) as Dialect[])(
  "an engine that speaks %s is understood to the last row",
  async (dialect) => {
    const engine = await engineWith({ id: "a", dialect }, 11);
    const daemon = await daemonWith({ engines: [engine.entry] });
    await engine.serve(30);
    await expectEqual(daemon, [engine]);
  },
);

test("adapters and salts are kept apart as the engine keeps them", async () => {
  const engine = await engineWith({ id: "a", dialect: "vllm-0.29", loraNames: ["sql"] }, 12);
  const daemon = await daemonWith({ engines: [engine.entry] });
  await engine.serve(15);
  await engine.serve(15, { loraName: "sql" });
  await engine.serve(15, { cacheSalt: "tenant-a" });
  await expectEqual(daemon, [engine]);
});

test("a host tier announced without token ids makes its rank partial: how many blocks a unit has is not said", async () => {
  const engine = await engineWith({ id: "a", dialect: "vllm-0.29", hostBlockCount: 200 }, 12);
  const daemon = await daemonWith({ engines: [engine.entry] });
  await engine.serve(30);
  await caughtUp(daemon, [engine], ["partial"]);
  expect(rankOf(await daemon.engines(), engine)).toMatchObject({ trust_reason: "unit_size_unknown" });
});

test("a daemon killed in the middle starts over and ends equal", async () => {
  const engines = [await engineWith({ id: "a" }, 13), await engineWith({ id: "b" }, 14)];
  const config = { engines: engines.map(({ entry }) => entry) };
  const first = await daemonWith(config);
  for (const engine of engines) await engine.serve(30);
  await first.end("SIGKILL");
  for (const engine of engines) await engine.serve(30);
  const second = await daemonWith(config);
  await expectEqual(second, engines);
});

test("a queue far too small loses messages of its own, says so, and still ends equal", async () => {
  const engines = [await engineWith({ id: "a" }, 15), await engineWith({ id: "b" }, 16)];
  const daemon = await daemonWith({
    engines: engines.map(({ entry }) => entry),
    limits: { queue_messages: 2, replay_queue_messages: 8 },
  });
  for (let i = 0; i < 4; i++) {
    daemon.signal("SIGSTOP");
    for (const engine of engines) await engine.serve(25);
    daemon.signal("SIGCONT");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await expectEqual(daemon, engines);
  const reports = await daemon.engines();
  const lost = engines.reduce(
    (sum, engine) => sum + (rankOf(reports, engine)?.dropped["queue_messages"] ?? 0),
    0,
  );
  expect(lost).toBeGreaterThan(0);
});

test("an engine that is removed is gone from lookups and dump at once, and its slot serves the next", async () => {
  const engines = [await engineWith({ id: "a" }, 17), await engineWith({ id: "b" }, 18)];
  const daemon = await daemonWith();
  for (const { entry } of engines) expect(await register(daemon, entry)).toBe(201);
  for (const engine of engines) await engine.serve(20);
  await expectEqual(daemon, engines);
  expect((await daemon.fetch("/api/v1/engines/a", { method: "DELETE" })).status).toBe(204);
  expect((await daemon.engines()).map(({ id }) => id)).toEqual(["b"]);
  const [, kept] = engines;
  if (kept !== undefined) {
    await until("the index is clear of it", async () => (await audit(daemon, [kept])).length === 0);
  }
  expect(await register(daemon, engines[0]?.entry ?? {})).toBe(201);
  await expectEqual(daemon, engines);
});

test("two hundred engines that cannot be reached, registered at once, disturb nothing", async () => {
  const engine = await engineWith({ id: "real" }, 19);
  const daemon = await daemonWith({ engines: [engine.entry] });
  const entries = Array.from({ length: 200 }, (_, i) => engineOfNobody(i));
  const statuses = await Promise.all(entries.map((entry) => register(daemon, entry)));
  expect(new Set(statuses)).toEqual(new Set([201]));
  await engine.serve(20);
  await caughtUp(daemon, [engine]);
  expect(await audit(daemon, [engine])).toEqual([]);
  expect((await daemon.fetch("/livez")).status).toBe(200);
  await Promise.all(entries.map(({ id }) => daemon.fetch(`/api/v1/engines/${id}`, { method: "DELETE" })));
  expect((await daemon.engines()).map(({ id }) => id)).toEqual(["real"]);
});

test("a daemon short of file descriptors refuses engines by code instead of failing", async () => {
  const engine = await engineWith({ id: "real" }, 20);
  const daemon = await DaemonProcess.start({ engines: [engine.entry] }, [], 600);
  cleanups.push(() => daemon.end("SIGKILL"));
  const ghosts = Array.from({ length: 160 }, (_, i) => engineOfNobody(i));
  const statuses = await Promise.all(ghosts.map((entry) => register(daemon, entry)));
  expect(statuses.filter((status) => status === 201)).toHaveLength(139);
  expect(statuses.filter((status) => status === 503)).toHaveLength(21);
  await engine.serve(10);
  await expectEqual(daemon, [engine]);
});

test.skipIf(process.platform !== "linux")(
  "the ingest thread stands back behind the thread that answers lookups (Linux only)",
  async () => {
    const daemon = await daemonWith();
    const nicenessOf = (thread: string): number => {
      const stat = readFileSync(`/proc/${daemon.pid}/task/${thread}/stat`, "utf8");
      // The 19th field; the second is the thread's name in parentheses, which may contain anything.
      return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[16]);
    };
    const threads = readdirSync(`/proc/${daemon.pid}/task`);
    const own = nicenessOf(String(daemon.pid));
    expect(threads.some((thread) => nicenessOf(thread) > own)).toBe(true);
  },
);
