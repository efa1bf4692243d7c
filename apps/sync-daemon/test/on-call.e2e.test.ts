/**
 * An engine that dies, freezes or can no longer be asked, as the person on call gets to know of it.
 * The tests read log, health reports, metrics and readiness of a real daemon. It follows real engine
 * processes.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { LINE_BOUNDS } from "@kvsync/observability/signals/log-event";
import { afterEach, expect, test } from "vitest";

import type { HealthAnswer, ReadinessAnswer, SyncHealthAnswer } from "../src/openapi/health-answers.ts";
import { DaemonProcess, type LogEntry } from "./daemon-process.ts";
import { EngineProcess } from "./engine-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";

const MODEL = "test/model";
/** A frozen engine is found by ZeroMQ's heartbeat after 30 s at the latest, one of a busy machine some seconds later. */
const FROZEN_MS = 120_000;
/** A replay that is not answered fails soon, so that three probes in a row have failed within 20 s. */
const IMPATIENT = { replay_timeout_seconds: 0.3, replay_stall_seconds: 0.3, reconnect_ms_max: 300 };
/** A busy machine delays the event loop, which would degrade the health that streams decide here. */
const ANY_LAG = { event_loop_lag_ms: 60_000 };

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function engineOf(id: string, load = 5): Promise<EngineProcess> {
  const engine = await EngineProcess.start(id, MODEL, load);
  cleanups.push(() => engine.kill());
  return engine;
}

async function daemonOf(engines: readonly object[]): Promise<DaemonProcess> {
  const daemon = await DaemonProcess.start({ engines, ingest: IMPATIENT, health: ANY_LAG });
  cleanups.push(() => daemon.end("SIGKILL"));
  return daemon;
}

async function read<Answer>(daemon: DaemonProcess, path: string): Promise<Answer> {
  return (await (await daemon.fetch(path)).json()) as Answer;
}

/** What every report says of the same moment. */
interface Reports {
  readonly sync: SyncHealthAnswer;
  readonly check: HealthAnswer["checks"][string] | undefined;
  readonly health: HealthAnswer["status"];
  readonly ready: ReadinessAnswer;
  /** Of the metrics: streams of the model that are not exact. */
  readonly untrusted: number;
}

async function reportsOf(daemon: DaemonProcess): Promise<Reports> {
  const sync = await read<SyncHealthAnswer>(daemon, "/api/v1/kv-sync/health");
  const { checks, status: health } = await read<HealthAnswer>(daemon, "/health");
  const ready = await read<ReadinessAnswer>(daemon, "/readyz");
  const metrics = await (await daemon.fetch("/metrics")).text();
  const untrusted = [
    ...metrics.matchAll(
      new RegExp(
        String.raw`^${NAMESPACE}_kv_stream_trust\{.*trust="(?:partial|stale|unknown)".*\} (\d+)$`,
        "gm",
      ),
    ),
  ];
  const sum = untrusted.reduce((total, [, value]) => total + Number(value), 0);
  return { sync, check: checks["streams"], health, ready, untrusted: sum };
}

/** The reports once they say that so many of the streams are exact. */
async function reportsWith(daemon: DaemonProcess, exact: number, timeoutMs?: number): Promise<Reports> {
  return until(
    `${exact} streams are exact`,
    async () => {
      const reports = await reportsOf(daemon);
      const isSo = reports.sync.streams.exact === exact && reports.check?.details["exact"] === exact;
      return isSo && reports;
    },
    timeoutMs,
  );
}

function linesOf(daemon: DaemonProcess, event: string, pod?: string): readonly LogEntry[] {
  return daemon.log.filter((line) => line["event"] === event && (pod === undefined || line["pod"] === pod));
}

async function lineOf(daemon: DaemonProcess, event: string, pod: string): Promise<LogEntry> {
  return until(
    `${event} of ${pod}`,
    () => Promise.resolve(linesOf(daemon, event, pod).at(-1) ?? null),
    FROZEN_MS,
  );
}

const ALL_WELL = {
  health: "healthy",
  sync: { status: "healthy" },
  ready: { reason: "in_sync" },
  untrusted: 0,
};

test("an engine that is killed and comes back is told of in two lines, and every report counts it meanwhile", {
  timeout: 2 * FROZEN_MS,
}, async () => {
  const [steady, dying] = [await engineOf("steady"), await engineOf("dying")];
  const daemon = await daemonOf([steady.entry, dying.entry]);
  expect(await reportsWith(daemon, 2)).toMatchObject({
    ...ALL_WELL,
    sync: { streams: { expected: 2, connected: 2, exact: 2, not_exact: [] } },
    check: { status: "healthy", message: "2 of 2 streams are exact and 2 are connected" },
  });
  await dying.kill();
  const lost = await lineOf(daemon, "stream_not_exact", "dying");
  expect(lost).toMatchObject({
    level: "warn",
    component: "health",
    model: MODEL,
    dp_rank: 0,
    trust: "stale",
    reason: "disconnected",
    connected: false,
    exact_seconds: expect.any(Number) as number,
    losses: 1,
  });
  const counts = {
    expected: 2,
    connected: 1,
    exact: 1,
    not_exact: [{ trust: "stale", reason: "disconnected", streams: 1 }],
  };
  const down = await reportsWith(daemon, 1);
  expect(down).toMatchObject({
    health: "degraded",
    sync: {
      status: "degraded",
      streams: counts,
      models: { [MODEL]: { status: "degraded", streams: counts, active_connections: 1 } },
    },
    check: {
      status: "degraded",
      critical: false,
      message: "1 of 2 streams are exact and 1 are connected; not exact: disconnected 1",
      details: { expected: 2, connected: 1, exact: 1 },
    },
    ready: { status: "ready", reason: "was_in_sync" },
    untrusted: 1,
  });
  await dying.startAgain();
  const again = await lineOf(daemon, "stream_exact_again", "dying");
  expect(again).toMatchObject({ level: "warn", model: MODEL, dp_rank: 0, trust: "exact" });
  expect(Number(again["not_exact_seconds"])).toBeGreaterThan(0);
  expect(await reportsWith(daemon, 2)).toMatchObject(ALL_WELL);
  expect(linesOf(daemon, "stream_not_exact")).toHaveLength(1);
  expect(linesOf(daemon, "stream_exact_again")).toHaveLength(1);
});

test("an engine that is frozen is found, although its connection stands, and so is its return", {
  timeout: 2 * FROZEN_MS + 30_000,
}, async () => {
  const frozen = await engineOf("frozen");
  const daemon = await daemonOf([frozen.entry]);
  await reportsWith(daemon, 1);
  frozen.signal("SIGSTOP");
  cleanups.push(() => {
    frozen.signal("SIGCONT");
  });
  const lost = await lineOf(daemon, "stream_not_exact", "frozen");
  expect(lost).toMatchObject({ level: "warn", trust: "stale" });
  expect(["probes_failed", "disconnected"]).toContain(lost["reason"]);
  expect(await reportsWith(daemon, 0)).toMatchObject({
    health: "degraded",
    sync: { status: "degraded", streams: { expected: 1, exact: 0 } },
    ready: { status: "ready", reason: "was_in_sync" },
    untrusted: 1,
  });
  frozen.signal("SIGCONT");
  await lineOf(daemon, "stream_exact_again", "frozen");
  expect(await reportsWith(daemon, 1)).toMatchObject(ALL_WELL);
  expect(linesOf(daemon, "stream_not_exact")).toHaveLength(1);
});

/** A way to a socket that can be cut, and closed for new connections. */
async function passage(
  endpoint: string,
): Promise<{ readonly endpoint: string; readonly cut: () => Promise<void> }> {
  const [, host = "", port = ""] = /^tcp:\/\/(.+):(\d+)$/.exec(endpoint) ?? [];
  const open = new Set<Socket>();
  const server: Server = createServer((near) => {
    const far = connect(Number(port), host);
    for (const socket of [near, far]) {
      open.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => {
        open.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = async (): Promise<void> => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of open) socket.destroy();
    await closed;
  };
  cleanups.push(() => (server.listening ? cut() : undefined));
  return { endpoint: `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`, cut };
}

test("an idle engine whose replay endpoint is gone is told of, since nothing shows any more that it is idle", {
  timeout: FROZEN_MS + 30_000,
}, async () => {
  const idle = await engineOf("idle", 0);
  const replay = await passage(idle.replayEndpoint);
  const daemon = await daemonOf([{ ...idle.entry, replay_endpoint: replay.endpoint }]);
  // No probe asks for readiness meanwhile, and it is known all the same.
  await until("the stream is exact", async () => {
    return (await read<SyncHealthAnswer>(daemon, "/api/v1/kv-sync/health")).streams.exact === 1;
  });
  await replay.cut();
  const lost = await lineOf(daemon, "stream_not_exact", "idle");
  expect(lost).toMatchObject({ level: "warn", trust: "stale", reason: "probes_failed", connected: true });
  expect(await reportsWith(daemon, 0)).toMatchObject({
    sync: { status: "degraded", streams: { expected: 1, connected: 1, exact: 0 } },
    ready: { status: "ready", reason: "was_in_sync" },
  });
});

test("the loss of a whole fleet writes a bounded number of lines of each event, and says how many it left out", {
  timeout: 180_000,
}, async () => {
  const engines: TestEngine[] = [];
  for (let i = 0; i < 80; i++) engines.push(await TestEngine.start({ id: `engine-${i}`, blockCount: 40 }, i));
  const stopAll = async (): Promise<void> => {
    await Promise.all(engines.map((engine) => engine.stop()));
  };
  try {
    const daemon = await daemonOf(engines.map(({ entry }) => entry));
    await caughtUp(daemon, engines);
    const from = daemon.log.length;
    await stopAll();
    await reportsWith(daemon, 0);
    const lines = await until("the lines that were left out are reported", () => {
      const since = daemon.log.slice(from);
      const report = since.find(
        (line) => line["event"] === "lines_left_out" && line["of_event"] === "stream_not_exact",
      );
      return Promise.resolve(report === undefined ? null : since);
    });
    const told = lines.filter(({ event }) => event === "stream_not_exact").length;
    expect(told).toBeGreaterThanOrEqual(LINE_BOUNDS.peer.burst);
    expect(told).toBeLessThan(80);
    const counts = new Map<unknown, number>();
    for (const { event } of lines) counts.set(event, (counts.get(event) ?? 0) + 1);
    for (const event of ["stream_not_exact", "engine_disconnected", "engine_unreachable", "trust_changed"])
      expect(counts.get(event) ?? 0, event).toBeLessThan(80);
  } finally {
    await stopAll();
  }
});
