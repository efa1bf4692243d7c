/**
 * A daemon in front of a cluster: real engines at addresses of their own (all of 127.0.0.0/8 is
 * here). Pods come, go, move, restart in place and lose their label, while the API server fails. In
 * the end the subscriptions are exactly right, the index equals the engines' truth, and nothing is
 * left open.
 *
 * CI churns 500 pods. Elsewhere, and where the system's limit of open files is too low for so many
 * engines, it is 48. KVSYNC_TEST_PODS sets another number.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Prng } from "@kvsync/core";
import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { afterAll, beforeAll, expect, test } from "vitest";

import { Cluster, eligibleEngines } from "./cluster.ts";
import { DaemonProcess } from "./daemon-process.ts";
import { audit, caughtUp, TestEngine, until } from "./fleet.ts";

/** 500 engines take some 8,000. */
const OPEN_FILES_FOR_MANY = 16_384;
const openFilesMax = spawnSync("sh", ["-c", "ulimit -Hn"], { encoding: "utf8" }).stdout.trim();
const hasFiles = openFilesMax === "unlimited" || Number(openFilesMax) >= OPEN_FILES_FOR_MANY;
const PODS = Number(
  process.env["KVSYNC_TEST_PODS"] ?? (process.env["CI"] === "true" && hasFiles ? "500" : "48"),
);
const ROUNDS = 3;
const CROWD_ROUNDS = 6;
/** The daemon's own limits (daemon.ts). */
const DIALS_PER_SECOND = 200;
const DIALS_BURST = 64;
const MODEL = "test/model";
const PREFIX = "model.aibrix.ai/";
const TIMEOUT_MS = 60_000 + 1000 * PODS;
const EVENTS_PORT = 5557;
const REPLAY_PORT = 5558;
/** So that test runs beside each other on one machine do not meet. */
const NETWORK = 64 + (process.pid % 190);

const random = new Prng(7);
let cluster: Cluster;
let daemon: DaemonProcess;
/** By pod. Those whose pod is not eligible are kept too: they may come back. */
const engines = new Map<string, TestEngine>();
let addresses = 0;
let seeds = 0;

function nextAddress(): string {
  addresses += 1;
  return `127.${NETWORK}.${addresses >> 8}.${addresses & 255}`;
}

async function startEngine(name: string): Promise<string> {
  const host = nextAddress();
  const serving = { host, port: EVENTS_PORT, replayPort: REPLAY_PORT };
  engines.set(
    name,
    await TestEngine.start({ id: `serving/${name}`, blockCount: 120 }, (seeds += 1), serving),
  );
  return host;
}

async function addPod(name: string): Promise<void> {
  cluster.add(name, await startEngine(name), { annotations: { [`${PREFIX}name`]: MODEL } });
}

const setEnabled = (name: string, value: "true" | "false"): void => {
  cluster.edit(`serving/${name}`, ({ metadata }) => {
    metadata.labels[`${PREFIX}kv-events-enabled`] = value;
  });
};

/** Engines of eligible pods. */
function expectedEngines(): TestEngine[] {
  const eligible = eligibleEngines(cluster.pods());
  return [...engines].filter(([name]) => eligible.has(`serving/${name}`)).map(([, engine]) => engine);
}

async function serveAll(requests: number): Promise<void> {
  // One after the other: they share this process, and it is the daemon that is tested.
  for (const engine of engines.values()) await engine.serve(requests);
}

/** Subscribed to exactly the right engines, in sync, and equal to their truth. */
async function settled(): Promise<void> {
  const expected = [...eligibleEngines(cluster.pods()).keys()].sort();
  await until(
    "exactly the eligible pods are followed",
    async () => {
      const ids = (await daemon.engines()).map(({ id }) => id).sort();
      return JSON.stringify(ids) === JSON.stringify(expected);
    },
    TIMEOUT_MS,
  );
  if (expected.length === 0) return;
  await caughtUp(daemon, expectedEngines());
  expect(await audit(daemon, expectedEngines())).toEqual([]);
}

const openFiles = (): number => readdirSync(`/proc/${daemon.pid}/fd`).length;

async function metric(pattern: RegExp): Promise<number> {
  const text = await (await daemon.fetch("/metrics")).text();
  return Number(pattern.exec(text)?.[1] ?? Number.NaN);
}
const connections = () =>
  metric(new RegExp(String.raw`^${NAMESPACE}_kv_zmq_connections_active\{model="test\/model"\} (\d+)`, "m"));
const timers = () => metric(/^nodejs_active_resources\{type="Timeout"\} (\d+)/m);
const residentBytes = () => metric(/^process_resident_memory_bytes (\d+)/m);

beforeAll(async () => {
  cluster = await Cluster.start();
  daemon = await DaemonProcess.start(
    {
      discovery: {
        kubernetes: {
          enabled: true,
          kubeconfig: cluster.kubeconfig(),
          retry_seconds_min: 0.05,
          retry_seconds_max: 0.5,
        },
      },
      ingest: { reconnect_ms_max: 2000 },
    },
    [],
    null,
    // Heaps so small that garbage is collected, and memory that grows is not garbage.
    { NODE_OPTIONS: "--max-old-space-size=100 --max-semi-space-size=1" },
  );
}, TIMEOUT_MS);

afterAll(async () => {
  await daemon.end("SIGKILL");
  for (const engine of engines.values()) await engine.stop();
  await cluster.stop();
}, TIMEOUT_MS);

const isLinux = process.platform === "linux";

test.skipIf(!isLinux)(
  "pods churned between faults of the API server end as the right subscriptions, an equal index, and as many open files as before (Linux only)",
  async () => {
    await until("the cluster was listed", async () => (await daemon.fetch("/readyz")).status === 200);
    const idleFiles = openFiles();
    for (let i = 0; i < PODS; i++) await addPod(`p${i}`);
    await serveAll(3);
    await settled();
    const fullFiles = openFiles();
    const fullTimers = await timers();
    // A connection each: the own reader needs no more.
    expect(fullFiles - idleFiles).toBeGreaterThanOrEqual(PODS);
    for (let round = 0; round < ROUNDS; round++) await churn(round);
    // The fleet is as large as at first: so are files and timers, but for a connection or replay that is just being closed.
    for (const name of engines.keys()) setEnabled(name, "true");
    await serveAll(1);
    await settled();
    expect(engines.size).toBe(PODS);
    expect(await connections()).toBe(PODS);
    await until("files are closed", () => Promise.resolve(openFiles() <= fullFiles + 8), TIMEOUT_MS);
    await until("timers are over", async () => (await timers()) <= fullTimers + 4, TIMEOUT_MS);
    for (const name of engines.keys()) cluster.remove(`serving/${name}`);
    await settled();
    await until("nothing is open any more", () => Promise.resolve(openFiles() <= idleFiles + 8), TIMEOUT_MS);
    expect(await daemon.engines()).toEqual([]);
  },
  4 * TIMEOUT_MS,
);

async function churn(round: number): Promise<void> {
  const fault = (["drop", "compact", "down"] as const)[round % 3];
  if (fault === "drop") cluster.drop();
  if (fault === "down") await cluster.down();
  if (fault !== "drop") cluster.compact();
  for (const name of [...engines.keys()]) {
    const engine = engines.get(name);
    switch (random.below(6)) {
      case 0:
        cluster.remove(`serving/${name}`);
        await engine?.stop();
        engines.delete(name);
        await addPod(`${name}x`);
        break;
      case 1:
        await engine?.server.applyFault({ kind: "restart" }, 0);
        cluster.restart(`serving/${name}`);
        break;
      case 2: {
        await engine?.stop();
        const podIP = await startEngine(name);
        cluster.edit(`serving/${name}`, ({ status }) => {
          status.podIP = podIP;
        });
        break;
      }
      case 3:
        setEnabled(name, "false");
        break;
      default:
        setEnabled(name, "true");
    }
  }
  await serveAll(2);
  if (fault === "down") await cluster.up();
  await settled();
}

test.skipIf(!isLinux)(
  "hundreds of pods that cannot be reached come and go without a storm of dials, and leave nothing behind (Linux only)",
  async () => {
    const crowd = Array.from({ length: 400 }, (_, i) => `ghost${i}`);
    const dials = async (): Promise<number> => {
      const text = await (await daemon.fetch("/metrics")).text();
      const counts = [
        ...text.matchAll(
          new RegExp(String.raw`^${NAMESPACE}_kv_zmq_connections_total\{.*model="ghosts".*\} (\d+)`, "gm"),
        ),
      ];
      return counts.reduce((sum, [, count]) => sum + Number(count), 0);
    };
    const memory: number[] = [];
    const files = openFiles();
    for (let round = 0; round < CROWD_ROUNDS; round++) {
      const beganMs = performance.now();
      for (const [i, name] of crowd.entries())
        cluster.add(name, `127.${NETWORK}.200.${i & 255}`, {
          annotations: { [`${PREFIX}name`]: "ghosts", [`${PREFIX}kv-events-port`]: String(20_000 + i) },
        });
      await until("all are known", async () => (await daemon.engines()).length === crowd.length, TIMEOUT_MS);
      const count = await until("some were dialled", async () => (await dials()) || null, TIMEOUT_MS);
      const seconds = (performance.now() - beganMs) / 1000;
      // Later the counters of the round before may still be there.
      if (round === 0) expect(count).toBeLessThanOrEqual(DIALS_BURST + DIALS_PER_SECOND * (seconds + 0.1));
      for (const name of crowd) cluster.remove(`serving/${name}`);
      await until("none is known", async () => (await daemon.engines()).length === 0, TIMEOUT_MS);
      memory.push(await residentBytes());
    }
    await until("files are closed", () => Promise.resolve(openFiles() <= files + 8), TIMEOUT_MS);
    console.log(
      `resident memory after each round of 400 pods: ${memory.map((bytes) => `${(bytes / 1e6).toFixed(0)} MB`).join(", ")}`,
    );
    // The first rounds make the tables; after that a round leaves nothing.
    expect((memory.at(-1) ?? 0) / (memory[1] ?? 1)).toBeLessThan(1.15);
    expect((await daemon.fetch("/livez")).status).toBe(200);
  },
  TIMEOUT_MS,
);

test(
  "a daemon that restarts while the API server is away says so, and goes on from its snapshot once it is back",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "kvsync-discovery-"));
    const config = {
      discovery: {
        kubernetes: {
          enabled: true,
          kubeconfig: cluster.kubeconfig(),
          retry_seconds_min: 0.05,
          retry_seconds_max: 0.5,
        },
      },
      snapshot: { directory: folder, interval_seconds: 60 },
      readiness: { deadline_seconds: 1 },
    };
    for (const { metadata } of cluster.pods()) cluster.remove(`serving/${metadata.name}`);
    for (const engine of engines.values()) await engine.stop();
    engines.clear();
    for (const name of ["r0", "r1", "r2"]) await addPod(name);
    await daemon.end();
    daemon = await DaemonProcess.start(config);
    await serveAll(20);
    await settled();
    await daemon.end();
    await cluster.down();
    await serveAll(2);
    daemon = await DaemonProcess.start(config);
    const readiness = async () => (await daemon.fetch("/readyz")).json() as Promise<{ reason: string }>;
    expect((await daemon.fetch("/readyz")).status).toBe(503);
    expect(await readiness()).toMatchObject({ reason: "waiting_for_discovery" });
    await until("health says it", async () => {
      const { checks } = (await (await daemon.fetch("/health")).json()) as {
        checks: Record<string, { status: string; message: string }>;
      };
      const { status, message } = checks["discovery"] ?? { status: "", message: "" };
      return (
        status === "degraded" && message.includes("kubernetes: ") && message.includes("cannot be reached")
      );
    });
    await until("the deadline has passed", async () => (await readiness()).reason === "deadline_passed");
    // The slots of the snapshot would have been let go by now.
    await until(
      "a moment later",
      async () => (await metric(/^process_start_time_seconds (\S+)/m)) < Date.now() / 1000 - 2,
    );
    await cluster.up();
    await settled();
    for (const { ranks } of await daemon.engines()) {
      const [rank] = ranks as unknown as {
        restarts: number;
        messages_applied: number;
        last_sequence_number: number;
      }[];
      expect(rank?.restarts).toBe(0);
      // Only what came since, not everything that was ever said.
      expect(rank?.messages_applied).toBeLessThan((rank?.last_sequence_number ?? 0) / 2);
    }
    rmSync(folder, { recursive: true, force: true });
  },
  TIMEOUT_MS,
);
