/** The barrier between real threads: one of them copies while the others pause. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { afterEach, expect, test } from "vitest";

import { letGo, makeBarrier, othersStand, type SnapshotBarrier } from "./snapshot-barrier.ts";

const MODULE = new URL("../../dist/ingest/snapshot-barrier.js", import.meta.url).href;
/** Longer than any of this takes. */
const PATIENCE_MS = 20_000;

const threads: Worker[] = [];
afterEach(async () => {
  await Promise.all(threads.splice(0).map((thread) => thread.terminate()));
});

/** A thread that stands still for so long at most, and ends. */
function standing(barrier: SnapshotBarrier, msMax: number): Worker {
  const source = `
    import { workerData } from "node:worker_threads";
    const { standStill } = await import(${JSON.stringify(MODULE)});
    standStill(workerData.barrier, workerData.msMax);
  `;
  const script = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
  const thread = new Worker(script, { workerData: { barrier, msMax } });
  threads.push(thread);
  return thread;
}

test("a copy while all stand still counts, and they go on after it", async () => {
  const barrier = makeBarrier(2);
  const ends = [0, 1].map(() => once(standing(barrier, PATIENCE_MS), "exit"));
  expect(othersStand(barrier, PATIENCE_MS)).toBe(true);
  expect(letGo(barrier)).toBe(true);
  await Promise.all(ends);
});

test("a copy during which one went on by itself does not count, however early it had come (B1)", async () => {
  const barrier = makeBarrier(2);
  const early = once(standing(barrier, 1), "exit");
  await early;
  void standing(barrier, PATIENCE_MS);
  expect(othersStand(barrier, PATIENCE_MS)).toBe(true);
  expect(letGo(barrier)).toBe(false);
});

test("one that does not come is not waited for longer than that", () => {
  const barrier = makeBarrier(1);
  expect(othersStand(barrier, 5)).toBe(false);
});
