import fc from "fast-check";
import { expect, test } from "vitest";

import { HeldBlocks } from "./held-blocks.ts";
import { StepLog } from "./step-log.ts";

const ENGINES = 3;

test("B1: a block without a copy in its cell is held by no engine, whatever was stored, offloaded and removed", () => {
  const step = fc.record({
    engine: fc.nat(ENGINES - 1),
    // Two words that share a cell, and others.
    low: fc.constantFrom(1, 2, 3, 1 + 2 ** 10, 2 ** 31 + 2),
    tier: fc.constantFrom<(0 | 1)[]>(0, 1),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const held = new HeldBlocks(1);
      const listeners = Array.from({ length: ENGINES }, (_, engine) => held.listener(engine, new StepLog()));
      const copies = new Set<string>();
      for (const { engine, low, tier } of steps) {
        const copy = `${engine} ${low} ${tier}`;
        if (copies.delete(copy)) listeners[engine]?.removed(tier, low, 7);
        else {
          copies.add(copy);
          if (tier === 0) listeners[engine]?.stored(Uint32Array.of(0, 0, low, 7), 1, 1);
          else listeners[engine]?.offloaded(low, 7);
        }
        const isHeld = [...copies].some((one) => one.split(" ")[1] === String(low));
        if (isHeld) expect(held.leading(Uint32Array.of(low, 7), 1)).toBe(1);
      }
      for (const { engine, low, tier } of steps)
        if (copies.delete(`${engine} ${low} ${tier}`)) listeners[engine]?.removed(tier, low, 7);
      for (const { low } of steps) expect(held.leading(Uint32Array.of(low, 7), 1)).toBe(0);
    }),
  );
});

test("a cell that is full stays full, and names the engine that stored last", () => {
  const held = new HeldBlocks(1);
  const listener = held.listener(2, new StepLog());
  const words = Uint32Array.of(5, 0);
  for (let i = 0; i < 70_000; i++) held.listener(1, new StepLog()).offloaded(5, 0);
  listener.stored(words, 0, 1);
  for (let i = 0; i < 80_000; i++) listener.removed(0, 5, 0);
  expect([held.leading(words, 1), held.storedLast(5)]).toEqual([1, 2]);
});
