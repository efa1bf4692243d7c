/**
 * A daemon process in which one ingest worker really stops. A module that the process preloads
 * keeps the worker's thread busy as long as a file exists. Nothing of the product takes part in it.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, expect, test } from "vitest";

import { DaemonProcess } from "./daemon-process.ts";
import { caughtUp, TestEngine, until } from "./fleet.ts";

/** Later than a heartbeat may be, with room for a busy machine. */
const STALE_WITHIN_MS = 6000;

const cleanUp: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

async function setUp(config: object, engineCount: number) {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-stall-"));
  cleanUp.push(() => {
    rmSync(folder, { recursive: true });
  });
  const blockFile = join(folder, "block");
  const preload = join(folder, "preload.mjs");
  writeFileSync(
    preload,
    `import { existsSync } from "node:fs";
     import { workerData } from "node:worker_threads";
     if (workerData?.workerNumber === 0)
       setInterval(() => { while (existsSync(${JSON.stringify(blockFile)})); }, 20).unref();`,
  );
  const engines: TestEngine[] = [];
  for (let i = 0; i < engineCount; i++) {
    const engine = await TestEngine.start({ id: `engine-${i}` }, i + 1);
    cleanUp.push(() => engine.stop());
    engines.push(engine);
  }
  const daemon = await DaemonProcess.start(
    { engines: engines.map(({ entry }) => entry), ...config },
    [],
    null,
    { NODE_OPTIONS: `--import ${preload}` },
  );
  cleanUp.push(() => daemon.end("SIGKILL"));
  for (const engine of engines) await engine.serve(3);
  await caughtUp(daemon, engines);
  const statuses = async () => {
    const response = await daemon.fetch("/api/v1/match", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "test/model", block_size: 16, token_ids: [1, 2, 3] }),
    });
    const { ranks } = (await response.json()) as { ranks: Record<string, number> };
    const ready = await daemon.fetch("/readyz");
    const { reason } = (await ready.json()) as { reason: string };
    return { ranks, ready: ready.status, reason };
  };
  const block = (): void => {
    writeFileSync(blockFile, "");
  };
  const unblock = (): void => {
    rmSync(blockFile);
  };
  const logged = (event: string) =>
    until(`${event} in the log`, () =>
      Promise.resolve(daemon.log.some((line) => line["event"] === event && line["worker"] === "ingest-0")),
    );
  return { daemon, engines, statuses, logged, block, unblock };
}

test("a worker that stops takes trust and readiness of its ranks alone, and both come back with it", async () => {
  const { daemon, engines, statuses, logged, block, unblock } = await setUp({ ingest: { workers: 2 } }, 2);
  await until("ready", async () => (await statuses()).ready === 200);
  expect(await statuses()).toMatchObject({ ranks: { exact: 2 } });
  block();
  const beganMs = performance.now();
  await until("the stop is seen", async () => (await statuses()).ready === 503);
  expect(performance.now() - beganMs).toBeLessThan(STALE_WITHIN_MS);
  // The other worker's rank is as good as before.
  expect(await statuses()).toEqual({
    ranks: { exact: 1, partial: 0, stale: 1, unknown: 0 },
    ready: 503,
    reason: "worker_stalled",
  });
  const trusts = (await daemon.engines()).flatMap(({ ranks }) => ranks.map(({ trust }) => trust));
  expect(trusts.sort()).toEqual(["exact", "stale"]);
  expect((await daemon.fetch("/livez")).status).toBe(200);
  expect((await daemon.fetch("/health")).status).toBe(503);
  await logged("worker_stalled");
  unblock();
  await until("it runs again", async () => (await statuses()).ready === 200);
  expect(await statuses()).toMatchObject({ ranks: { exact: 2 } });
  await logged("worker_resumed");
  for (const engine of engines) await engine.serve(2);
  await caughtUp(daemon, engines);
});

test("a worker that does not come back ends the process with its own exit code, for the supervisor", async () => {
  const { daemon, block } = await setUp({ ingest: { stall_seconds: 3 } }, 1);
  block();
  const { code, signal } = await daemon.exited;
  // Node before 22.15 cannot end at once, and may abort while it ends the thread.
  const isAborted = !("execve" in process) && signal === "SIGABRT";
  expect(isAborted ? 3 : code).toBe(3);
  expect(daemon.log.at(-1)).toMatchObject({ event: "ingest_stalled", worker: "ingest-0" });
});
