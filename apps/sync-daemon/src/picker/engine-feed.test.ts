import { expect, test } from "vitest";

import { engineEntry } from "../engine/engine-entry.ts";
import { EngineRegistry } from "../engine/engine-registry.ts";
import { type EngineBatch, EngineFeed } from "./engine-feed.ts";

const turn = (): Promise<void> => new Promise(setImmediate);

function world(isOwnPool = true) {
  const registry = new EngineRegistry(
    { follow: () => undefined, forget: () => Promise.resolve(), redial: () => undefined },
    { engines: 1000, engineFiles: 1000, filesOf: () => 1 },
  );
  const batches: EngineBatch[] = [];
  const feed = new EngineFeed(registry, isOwnPool, (batch) => batches.push(batch));
  const register = (id: number, http: readonly string[] = [`10.0.0.1:${id}`]): void => {
    registry.register(
      engineEntry.parse({ id: `e${id}`, model: "m", endpoint: `tcp://10.0.0.1:${id}`, http }),
    );
  };
  return { registry, batches, feed, register };
}

test("F1: while the thread takes nothing, one batch is on its way, and the next one has each engine once", async () => {
  const { registry, batches, feed, register } = world();
  await turn();
  expect(batches).toHaveLength(1);
  for (let round = 0; round < 50; round++) {
    register(1);
    await turn();
    await registry.remove("e1");
    await turn();
  }
  register(2);
  await turn();
  expect(batches).toHaveLength(1);
  feed.taken();
  await turn();
  expect(batches).toHaveLength(2);
  expect(batches[1]?.changes.map(({ id, registered }) => [id, registered?.ranks])).toEqual([
    ["e1", undefined],
    ["e2", [{ dpRank: 0, rankSlot: expect.any(Number) as number }]],
  ]);
});

test("F2: the thread is told first of the engines that there were, and of the endpoints with each change", async () => {
  const { registry, batches, feed, register } = world();
  register(1);
  register(2, []);
  await turn();
  expect(batches[0]?.changes.map(({ id }) => id)).toEqual(["e1", "e2"]);
  expect(batches[0]?.pool?.engines).toEqual([
    { id: "e1", model: "m", ranks: [{ dpRank: 0 }], http: ["10.0.0.1:1"] },
  ]);
  feed.taken();
  await turn();
  expect(batches).toHaveLength(1);
  await registry.remove("e1");
  await turn();
  expect(batches[1]?.pool?.engines).toEqual([]);
});

test("F3: engines of other shards are told, and are endpoints, until they are gone", async () => {
  const { registry, batches, feed, register } = world();
  const other = engineEntry.parse({
    id: "other",
    model: "m",
    endpoint: "tcp://10.0.0.2:1",
    http: ["10.0.0.2:1"],
  });
  registry.knowElsewhere([other]);
  register(1);
  await turn();
  expect(batches[0]?.changes).toMatchObject([
    { id: "other", registered: null, elsewhere: other },
    { id: "e1", elsewhere: null },
  ]);
  expect(batches[0]?.pool?.engines.map(({ id }) => id)).toEqual(["e1", "other"]);
  feed.taken();
  registry.knowElsewhere([other]);
  await turn();
  expect(batches).toHaveLength(1);
  registry.knowElsewhere([]);
  await turn();
  expect(batches[1]?.changes).toEqual([{ id: "other", registered: null, elsewhere: null, incarnations: [] }]);
  expect(batches[1]?.pool?.engines.map(({ id }) => id)).toEqual(["e1"]);
});

test("F2: endpoints of a pool are told when they are known, whatever the engines' own addresses", async () => {
  const { batches, feed, register } = world(false);
  register(1);
  await turn();
  expect(batches).toMatchObject([{ changes: [{ id: "e1" }], pool: null }]);
  feed.taken();
  const engines = [{ id: "ns/pod", model: null, ranks: [{ dpRank: 0 }], http: ["10.0.0.9:8000"] }];
  const news = { engines, standing: { notReady: 1, isStale: false } };
  feed.pool(news);
  await turn();
  expect(batches[1]).toEqual({ changes: [], pool: news });
});
