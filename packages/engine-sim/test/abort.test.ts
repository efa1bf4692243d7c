/** Requests that end before their last token (D5 of scheduler.ts). */
import { expect, test } from "vitest";

import type { EngineSettings } from "../src/engine-contract.ts";
import { SimulatedEngine } from "../src/simulated-engine.ts";

function engineOf(more: Partial<EngineSettings>): SimulatedEngine {
  return new SimulatedEngine({ id: "e", model: "m", blockSize: 4, blockCount: 20, ...more });
}

function submit(engine: SimulatedEngine, id: number, promptLength: number, count: number): void {
  const promptTokens = Uint32Array.from({ length: promptLength }, (_, i) => 1000 * id + i);
  engine.submit({ id, promptTokens, output: { count, seed: id } }, 0);
}

test("D5: an aborted request frees its blocks at once, and what it stored stays cached", () => {
  const engine = engineOf({});
  submit(engine, 1, 17, 30);
  engine.step(0);
  expect(engine.pressure()).toMatchObject({ running: 1, freeBlocks: 15 });
  expect([engine.abort(1), engine.abort(1), engine.abort(9)]).toEqual([true, false, false]);
  expect(engine.pressure()).toMatchObject({
    running: 0,
    waiting: 0,
    freeBlocks: 20,
    pendingPrefillTokens: 0,
  });
  expect(engine.contents().rowCount).toBe(4);
  submit(engine, 1, 17, 1);
  expect(engine.step(1).finished).toMatchObject([{ id: 1, cachedBlocks: 4 }]);
});

test("the next in the queue runs in the step after, when a request that blocked it was aborted", () => {
  const engine = engineOf({});
  submit(engine, 1, 70, 8);
  submit(engine, 2, 40, 2);
  submit(engine, 3, 30, 2);
  engine.step(0);
  expect(engine.pressure()).toMatchObject({ running: 1, waiting: 2 });
  // Running, and the head of the queue, which lacks blocks.
  engine.abort(1);
  engine.abort(2);
  expect(engine.step(1).firstTokens).toEqual([3]);
  expect(engine.step(2).finished).toMatchObject([{ id: 3 }]);
  expect(engine.hasWork).toBe(false);
});

test("a preempted request can be aborted, and the others keep their order", () => {
  const engine = engineOf({ blockCount: 10, maxSequences: 4 });
  submit(engine, 1, 12, 20);
  submit(engine, 2, 12, 20);
  submit(engine, 3, 4, 1);
  let preemptions = 0;
  for (let step = 0; preemptions === 0; step++) preemptions = engine.step(step).preemptionCount;
  expect(engine.pressure()).toMatchObject({ running: 1, waiting: 1 });
  expect(engine.abort(2)).toBe(true);
  expect(engine.pressure()).toMatchObject({ running: 1, waiting: 0, pendingPrefillTokens: 0 });
  const finished: number[] = [];
  for (let step = 100; engine.hasWork; step++)
    finished.push(...engine.step(step).finished.map(({ id }) => id));
  expect(finished).toEqual([1]);
  expect(engine.pressure().freeBlocks).toBe(10);
});
