/**
 * Several ingest workers in one daemon, each with a part of the index in a memory of its own. The index
 * is as exact as with one worker. Streams move with their rows to workers that have time for them, and
 * snapshots have all parts. Numbers are those of ingest-pool.ts.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NAMESPACE } from "@kvsync/observability/kvsync/namespace";
import { afterEach, beforeEach, expect, test } from "vitest";

import { DaemonProcess } from "./daemon-process.ts";
import { audit, caughtUp, TestEngine, until } from "./fleet.ts";

const ENGINES = 4;

let engines: TestEngine[];
let daemon: DaemonProcess;
let folder: string;

async function start(workers: number): Promise<DaemonProcess> {
  return DaemonProcess.start({
    engines: engines.map((engine) => engine.entry),
    // libzmq costs more a message: one process that publishes is enough to keep a worker busy.
    ingest: { workers, transport: "libzmq" },
    snapshot: { directory: folder, interval_seconds: 3600 },
  });
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "kvsync-workers-"));
  engines = await Promise.all(
    Array.from({ length: ENGINES }, (_, i) => TestEngine.start({ id: `engine-${i}` }, i + 1)),
  );
  daemon = await start(3);
});

afterEach(async () => {
  await daemon.end("SIGKILL");
  await Promise.all(engines.map((engine) => engine.stop()));
  rmSync(folder, { recursive: true, force: true });
});

test("three workers keep one exact index, through losses and restarts of engines", async () => {
  await Promise.all(engines.map((engine) => engine.serve(20)));
  await engines[1]!.server.applyFault({ kind: "drop", percent: 20 }, 0);
  await Promise.all(engines.map((engine) => engine.serve(20)));
  await engines[1]!.server.applyFault({ kind: "drop", percent: 0 }, 0);
  await engines[2]!.server.applyFault({ kind: "restart" }, 0);
  await Promise.all(engines.map((engine) => engine.serve(5)));
  await caughtUp(daemon, engines);
  expect(await audit(daemon, engines)).toEqual([]);
  const metrics = await (await daemon.fetch("/metrics")).text();
  for (const worker of ["ingest-0", "ingest-1", "ingest-2"])
    expect(metrics).toMatch(
      new RegExp(`${NAMESPACE}_kv_stream_batches_processed_total\\{worker="${worker}"\\} [1-9]`),
    );
});

test("a snapshot has the parts of all workers, and any number of workers goes on from it (P3)", async () => {
  await Promise.all(engines.map((engine) => engine.serve(20)));
  await caughtUp(daemon, engines);
  expect(await daemon.end()).toMatchObject({ code: 0 });
  await Promise.all(engines.map((engine) => engine.serve(2)));
  daemon = await start(2);
  expect(daemon.log.find(({ event }) => event === "snapshot_loaded")).toMatchObject({ streams: ENGINES });
  await caughtUp(daemon, engines);
  expect(await audit(daemon, engines)).toEqual([]);
});

test("streams of a busy worker move to an idle one, and stay exact (P2)", async () => {
  const [first, , , fourth] = engines;
  // By number of ranks the first and the fourth engine share a worker, and only they have something to say.
  const busy = [first!, fourth!];
  await until(
    "a stream has moved",
    async () => {
      await Promise.all(busy.map((engine) => engine.serve(400, { isFresh: true })));
      return daemon.log.some(({ event }) => event === "stream_moved");
    },
    60_000,
  );
  await Promise.all(engines.map((engine) => engine.serve(5)));
  await caughtUp(daemon, engines);
  expect(await audit(daemon, engines)).toEqual([]);
  const metrics = await (await daemon.fetch("/metrics")).text();
  expect(metrics).toMatch(
    new RegExp(String.raw`${NAMESPACE}_kv_stream_work_stolen_total\{worker="ingest-\d"\} [1-9]`),
  );
});
