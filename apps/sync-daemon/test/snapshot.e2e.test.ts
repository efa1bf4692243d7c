/**
 * Snapshots of a real daemon in front of real engines. The daemon is killed at any moment and
 * restarted, also next to engines that began again. It meets damaged files and a folder that it
 * cannot write, and it gives its snapshot to a sibling as the first state.
 */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";

import { verifySnapshot } from "../src/snapshot/snapshot-file.ts";
import { DaemonProcess } from "./daemon-process.ts";
import { audit, caughtUp, dumped, TestEngine, until } from "./fleet.ts";

/** Less than an engine says before the daemons come, more than while one is away. */
const KEPT_MESSAGES = 100;

let folder: string;
let engines: TestEngine[];
let daemons: DaemonProcess[];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "kvsync-snapshots-"));
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

beforeEach(async () => {
  rmSync(folder, { recursive: true, force: true });
  engines = [await TestEngine.start({ id: "a" }, 1), await TestEngine.start({ id: "b" }, 2)];
  daemons = [];
});

afterEach(async () => {
  for (const daemon of daemons) await daemon.end("SIGKILL");
  await Promise.all(engines.map((engine) => engine.stop()));
});

const file = () => join(folder, "kvsync.snapshot");

async function start(more: object = {}): Promise<DaemonProcess> {
  const daemon = await DaemonProcess.start({
    engines: engines.map((engine) => engine.entry),
    snapshot: { directory: folder, interval_seconds: 1 },
    ...more,
  });
  daemons.push(daemon);
  return daemon;
}

async function settled(daemon: DaemonProcess): Promise<void> {
  await Promise.all(engines.map((engine) => engine.serve(4)));
  await caughtUp(daemon, engines);
  expect(await audit(daemon, engines)).toEqual([]);
}

/** A stop has a limit in time. Where its snapshot does not fit into it, the next daemon has the one before: one with all streams. */
async function kept(daemon: DaemonProcess): Promise<void> {
  await until("a snapshot has all streams", () =>
    Promise.resolve(
      daemon.log.some(({ event, streams }) => event === "snapshot_written" && streams === engines.length),
    ),
  );
}

const logged = (daemon: DaemonProcess, event: string) => daemon.log.find((line) => line["event"] === event);

/** What the daemon asked of the engines after it began: a resumed stream asks once, from where it stood. */
async function restarts(daemon: DaemonProcess): Promise<number> {
  const reports = await daemon.engines();
  return reports.flatMap(({ ranks }) => ranks).reduce((sum, rank) => sum + rank.restarts, 0);
}

test("a daemon that was stopped goes on from its last snapshot, and asks for no more than it missed", async () => {
  const first = await start();
  await Promise.all(engines.map((engine) => engine.serve(30)));
  await settled(first);
  await kept(first);
  const ended = await first.end();
  expect(ended).toMatchObject({ code: 0 });
  expect(ended.afterMs).toBeLessThan(5000);
  await Promise.all(engines.map((engine) => engine.serve(3)));
  const second = await start();
  expect(logged(second, "snapshot_loaded")).toMatchObject({ origin: "own", streams: 2 });
  await settled(second);
  const applied = (await second.engines()).flatMap(({ ranks }) =>
    ranks.map((rank) => rank.last_sequence_number ?? 0),
  );
  const replayed = (await second.engines()).flatMap(({ ranks }) =>
    ranks.map((rank) => (rank as unknown as { messages_applied: number }).messages_applied),
  );
  // Both began with thousands of numbers applied before; what is applied now is the little that came since.
  replayed.forEach((count, i) => {
    expect(count).toBeLessThan((applied[i] ?? 0) / 2);
  });
  expect(await restarts(second)).toBe(0);
});

test("a daemon killed at any moment under load is exact again from its snapshot, within a second of its last replay", async () => {
  let daemon = await start();
  for (let round = 0; round < 4; round++) {
    const load = Promise.all(engines.map((engine) => engine.serve(150)));
    await until("there is a snapshot", () => Promise.resolve(existsSync(file())));
    // Somewhere between two snapshots, or inside one.
    await new Promise((resolve) => setTimeout(resolve, 150 + 317 * round));
    await daemon.end("SIGKILL");
    await load;
    const began = performance.now();
    daemon = await start();
    await caughtUp(daemon, engines);
    const seconds = (performance.now() - began) / 1000;
    expect(await audit(daemon, engines)).toEqual([]);
    const origin = String(logged(daemon, "snapshot_loaded")?.["origin"]);
    console.log(
      `round ${round}: killed, restarted from ${origin}, exact again after ${seconds.toFixed(2)} s, process start included`,
    );
    expect(origin).toMatch(/own|previous/);
  }
});

test("an engine that began anew while the daemon was away is cleared, not believed", async () => {
  const first = await start();
  await engines[0]!.serve(30);
  await settled(first);
  await first.end();
  await engines[0]!.server.applyFault({ kind: "restart" }, 0);
  await engines[0]!.serve(2);
  const second = await start();
  await caughtUp(second, engines, ["exact", "partial"]);
  expect(await audit(second, engines)).toEqual([]);
});

test("a damaged snapshot is refused by name and place, and the one before it is used", async () => {
  const first = await start();
  await settled(first);
  await until("there are two snapshots", () => Promise.resolve(existsSync(`${file()}.previous`)));
  await first.end();
  const size = statSync(file()).size;
  const bytes = readFileSync(file());
  bytes[Math.floor(size / 2)]! ^= 1;
  writeFileSync(file(), bytes);
  const second = await start();
  expect(logged(second, "snapshot_refused")).toMatchObject({ origin: "own", code: "checksum_mismatch" });
  expect(String(logged(second, "snapshot_refused")?.["message"])).toMatch(/section at byte \d+ is damaged/);
  expect(logged(second, "snapshot_loaded")).toMatchObject({ origin: "previous" });
  await settled(second);
  await second.end();
  truncateSync(file(), 100);
  rmSync(`${file()}.previous`);
  const third = await start();
  expect(logged(third, "snapshot_refused")).toMatchObject({ code: "truncated" });
  expect(logged(third, "snapshot_loaded")).toBeUndefined();
  await settled(third);
});

test("a secret hash seed lives on in the snapshot, and one of the other setting is refused by reason", async () => {
  const secret = { index: { prefix_hashes: "secret" } };
  const first = await start(secret);
  await Promise.all(engines.map((engine) => engine.serve(4)));
  await caughtUp(first, engines);
  await kept(first);
  await first.end();
  const second = await start(secret);
  expect(logged(second, "snapshot_loaded")).toMatchObject({ streams: 2 });
  await second.end();
  const third = await start();
  expect(logged(third, "snapshot_refused")).toMatchObject({ code: "other_hash_seed" });
  expect(String(logged(third, "snapshot_refused")?.["message"])).not.toMatch(/seed \d/);
});

test("of streams whose engines are no longer configured nothing stays", async () => {
  const first = await start();
  await settled(first);
  await kept(first);
  await first.end();
  const second = await DaemonProcess.start({
    engines: [engines[0]!.entry],
    snapshot: { directory: folder },
    readiness: { deadline_seconds: 1 },
  });
  daemons.push(second);
  expect(logged(second, "snapshot_loaded")).toMatchObject({ streams: 2 });
  await until("the other engine's blocks are gone", async () => {
    const differences = await audit(second, [engines[0]!]);
    return differences.length === 0;
  });
});

test("a folder that takes no file fails the check, the metric and the log, and nothing else", async () => {
  writeFileSync(folder, "not a folder");
  const daemon = await start();
  await settled(daemon);
  await until("a snapshot has failed", () =>
    Promise.resolve(logged(daemon, "snapshot_failed") !== undefined),
  );
  expect(String(logged(daemon, "snapshot_failed")?.["message"])).toMatch(/ENOTDIR|EEXIST/);
  const response = await daemon.fetch("/health");
  const health = (await response.json()) as {
    status: string;
    checks: Record<string, { status: string; message: string }>;
  };
  expect(response.status).toBe(200);
  expect(health.status).toBe("degraded");
  expect(health.checks["snapshot_store"]).toMatchObject({ status: "unhealthy" });
  expect(health.checks["snapshot_store"]?.message).toMatch(/ENOTDIR|EEXIST/);
  const metrics = await (await daemon.fetch("/metrics")).text();
  expect(metrics).toMatch(
    new RegExp(String.raw`${NAMESPACE}_kv_snapshot_errors_total\{operation="write"\} [1-9]`),
  );
});

test("a folder that takes small files but not the snapshot fails the check too, until one is written", async () => {
  const daemon = await start();
  await settled(daemon);
  await until("a snapshot is there", () => Promise.resolve(existsSync(file())));
  const check = async (): Promise<{ status?: string; message?: string }> => {
    const { checks } = (await (await daemon.fetch("/health")).json()) as {
      checks: Record<string, { status: string; message: string }>;
    };
    return checks["snapshot_store"] ?? {};
  };
  rmSync(file());
  mkdirSync(file());
  await until("the check says so", async () => (await check()).status === "unhealthy");
  expect((await check()).message).toMatch(/^the last snapshot could not be written: .*(EPERM|EISDIR)/);
  rmSync(file(), { recursive: true });
  await until("it is well again", async () => (await check()).status === "healthy");
});

test("a new replica takes the state of a running one, and is exact without the engines' histories", async () => {
  const first = await start();
  await Promise.all(engines.map((engine) => engine.serve(30)));
  await settled(first);
  const second = await DaemonProcess.start({
    engines: engines.map((engine) => engine.entry),
    snapshot: { warm_from: first.url },
  });
  daemons.push(second);
  expect(logged(second, "snapshot_loaded")).toMatchObject({ origin: "sibling", streams: 2 });
  await settled(second);
  const third = await DaemonProcess.start({
    engines: engines.map((engine) => engine.entry),
    snapshot: { warm_from: "http://127.0.0.1:9", warm_timeout_seconds: 1 },
  });
  daemons.push(third);
  expect(logged(third, "snapshot_refused")).toMatchObject({ origin: "sibling", code: "fetch_failed" });
  await settled(third);
});

test("what waits for its parents is as good behind a kill as if there had been none, whatever the number of workers", async () => {
  await Promise.all(engines.map((engine) => engine.stop()));
  engines = await Promise.all(
    ["a", "b", "c"].map((id, i) =>
      TestEngine.start({ id, blockCount: 3000 }, i + 1, { bufferSteps: KEPT_MESSAGES }),
    ),
  );
  // Whoever comes now meets stores whose parents are older than what is kept.
  await Promise.all(engines.map((engine) => engine.serve(150)));
  const known = ["exact", "partial"];
  const witness = await DaemonProcess.start({ engines: engines.map((engine) => engine.entry) });
  daemons.push(witness);
  const first = await start({ ingest: { workers: 1 } });
  await Promise.all([witness, first].map((each) => caughtUp(each, engines, known)));
  // Until the message that proves a publisher is younger than what the daemons began with.
  const provenMs = performance.now() + 11_000;
  while (performance.now() < provenMs) {
    await Promise.all(engines.map((engine) => engine.serve(1)));
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  const load = Promise.all(engines.map((engine) => engine.serve(6)));
  // The sibling takes the state of a daemon that is under load and makes its own meanwhile.
  const sibling = await DaemonProcess.start({
    engines: engines.map((engine) => engine.entry),
    snapshot: { warm_from: first.url },
    ingest: { workers: 2 },
  });
  daemons.push(sibling);
  // In the middle of a write, if one is seen.
  await until("one is being written", () => Promise.resolve(existsSync(`${file()}.writing`)), 1100).catch(
    () => undefined,
  );
  await first.end("SIGKILL");
  await load;
  expect(verifySnapshot(file()).parked, "stores wait for their parents").toBeGreaterThan(0);
  const second = await start({ ingest: { workers: 3 } });
  expect(logged(second, "snapshot_loaded")).toMatchObject({ streams: 3 });
  expect(logged(sibling, "snapshot_loaded")).toMatchObject({ origin: "sibling", streams: 3 });
  // Conversations go on: parents that were evicted are computed anew.
  await Promise.all(engines.map((engine) => engine.serve(40)));
  await Promise.all([witness, second, sibling].map((each) => caughtUp(each, engines, known)));
  const expected = [...(await dumped(witness, "test/model"))].sort();
  for (const each of [second, sibling]) {
    expect([...(await dumped(each, "test/model"))].sort()).toEqual(expected);
    const untrue = (await audit(each, engines)).filter((difference) => !difference.startsWith("missing"));
    expect(untrue).toEqual([]);
    expect(await restarts(each)).toBe(0);
  }
});

test("a snapshot's summary says what is in it", async () => {
  const daemon = await start();
  await settled(daemon);
  await kept(daemon);
  await daemon.end();
  const { head, rows, contexts } = verifySnapshot(file());
  expect(head.streams.map((stream) => stream.workerId).sort()).toEqual(["a", "b"]);
  expect(contexts).toMatchObject([{ model: "test/model", blockSize: 16, rows }]);
  expect(rows).toBeGreaterThan(100);
  const copy = `${file()}.copy`;
  copyFileSync(file(), copy);
  chmodSync(copy, 0o600);
  expect(verifySnapshot(copy).rows).toBe(rows);
});
