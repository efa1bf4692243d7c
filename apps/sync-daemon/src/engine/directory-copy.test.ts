/**
 * A thread's copy of the engines against the registry, with batches that come late, by the numbers of
 * slot-incarnations.ts and of fleet-directory.ts. The index is a table of who wrote each slot.
 */
import fc from "fast-check";
import { expect, test } from "vitest";

import { engineEntry } from "./engine-entry.ts";
import { EngineRegistry } from "./engine-registry.ts";
import { DirectoryCopy } from "./directory-copy.ts";
import { type EngineBatch, EngineFeed } from "../picker/engine-feed.ts";

const IDS = ["a", "b", "c", "d"];

/** A registry whose slots are cleared when the test says so, and the writers of each slot. */
function world() {
  const writers = new Map<number, string>();
  const clearing: (() => void)[] = [];
  const registry = new EngineRegistry(
    {
      follow: ({ rankSlot, workerId }) => writers.set(rankSlot, workerId),
      forget: (rankSlot) =>
        new Promise((resolve) => {
          clearing.push(() => {
            writers.delete(rankSlot);
            resolve();
          });
        }),
      redial: () => undefined,
    },
    { engines: 100, engineFiles: 1000, filesOf: () => 1 },
  );
  const batches: EngineBatch[] = [];
  const feed = new EngineFeed(registry, true, (batch) => batches.push(batch));
  const copy = new DirectoryCopy(registry.incarnations.memory);
  return { writers, clearing, registry, batches, feed, copy };
}

function register(registry: EngineRegistry, id: string, ranks: number): void {
  const port = 1000 * (1 + IDS.indexOf(id));
  registry.register(
    engineEntry.parse({ id, model: `m${id}`, endpoint: `tcp://10.0.0.1:${port}`, dp_size: ranks }),
  );
}

const step = fc.oneof(
  fc.record({
    kind: fc.constant("toggle" as const),
    id: fc.constantFrom(...IDS),
    ranks: fc.integer({ min: 1, max: 3 }),
  }),
  fc.constant({ kind: "clear" as const }),
  fc.constant({ kind: "turn" as const }),
  fc.constant({ kind: "deliver" as const }),
);

test("I1, D1: with batches as late as they may be, a slot counts for a rank only while its blocks are the rank's", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const { writers, clearing, registry, batches, feed, copy } = world();
      const deliver = (): void => {
        const batch = batches.shift();
        if (batch === undefined) return;
        copy.apply(batch.changes);
        feed.taken();
      };
      for (const one of steps) {
        if (one.kind === "toggle") {
          if (registry.engine(one.id) === null) register(registry, one.id, one.ranks);
          else void registry.remove(one.id);
        } else if (one.kind === "clear") clearing.shift()?.();
        else if (one.kind === "deliver") deliver();
        await new Promise(setImmediate);
        for (const id of IDS)
          for (const { ranks } of copy.enginesOf(`m${id}`) ?? [])
            for (const { dpRank, rankSlot } of ranks)
              if (copy.isCurrent(id, dpRank)) expect(writers.get(rankSlot)).toBe(id);
      }
      while (batches.length > 0) {
        deliver();
        await new Promise(setImmediate);
      }
      const known = [...registry.engines()];
      expect(copy.engineCount).toBe(known.length);
      for (const registered of known) {
        expect([...(copy.enginesOf(registered.engine.model) ?? [])]).toEqual([registered]);
        for (const { dpRank } of registered.ranks)
          expect(copy.isCurrent(registered.engine.id, dpRank)).toBe(true);
      }
    }),
    { numRuns: 100 },
  );
});

test("a rank or an engine that it does not know is nobody's", () => {
  const { copy } = world();
  expect(copy.isCurrent("a", 0)).toBe(false);
});

test("F1: a model that only other shards serve has no engines here, and is known, in the registry and in its copy", async () => {
  const { registry, batches, feed, copy } = world();
  const elsewhere = engineEntry.parse({
    id: "far",
    model: "far/model",
    aliases: ["far-name"],
    adapters: ["far-adapter"],
    endpoint: "tcp://10.0.0.9:1",
  });
  register(registry, "a", 1);
  registry.knowElsewhere([elsewhere]);
  await new Promise(setImmediate);
  for (let batch = batches.shift(); batch !== undefined; batch = batches.shift()) {
    copy.apply(batch.changes);
    feed.taken();
    await new Promise(setImmediate);
  }
  for (const directory of [registry, copy]) {
    expect([...directory.models()]).toEqual(["ma"]);
    expect(directory.enginesOf("far/model")).toEqual(new Set());
    expect(directory.enginesOf("near/model")).toBeNull();
    expect(directory.enginesWithAlias("far-name")).toEqual(new Set());
    expect(directory.modelsWithAlias("far-name")).toEqual(new Set(["far/model"]));
    expect(directory.modelsWithAdapter("far-adapter")).toEqual(new Set(["far/model"]));
  }
});
