import { expect, test } from "vitest";

import { EngineChanges } from "./engine-changes.ts";
import { engineEntry } from "./engine-entry.ts";
import { EngineRegistry } from "./engine-registry.ts";

function world() {
  const registry = new EngineRegistry(
    { follow: () => undefined, forget: () => Promise.resolve(), redial: () => undefined },
    { engines: 1000, engineFiles: 1000, filesOf: () => 1 },
  );
  const register = (id: number): void => {
    registry.register(engineEntry.parse({ id: `e${id}`, model: "m", endpoint: `tcp://10.0.0.1:${id}` }));
  };
  return { registry, register };
}

test("C1: the first list has the engines that were there before", () => {
  const { registry, register } = world();
  register(1);
  register(2);
  const changes = new EngineChanges(registry);
  expect(changes.count).toBe(2);
  expect(changes.take().map(({ id, registered }) => [id, registered?.engine.id])).toEqual([
    ["e1", "e1"],
    ["e2", "e2"],
  ]);
  expect(changes.take()).toEqual([]);
});

test("C2: an engine that came, left and came again is listed once, as it is; one that left is listed as gone", async () => {
  const { registry, register } = world();
  let calls = 0;
  const changes = new EngineChanges(registry, () => (calls += 1));
  register(1);
  await registry.remove("e1");
  register(1);
  register(2);
  await registry.remove("e2");
  expect(calls).toBe(5);
  const slots = registry.engine("e1")?.ranks.map(({ rankSlot }) => registry.incarnations.of(rankSlot));
  expect(changes.take()).toEqual([
    { id: "e1", registered: registry.engine("e1"), elsewhere: null, incarnations: slots },
    { id: "e2", registered: null, elsewhere: null, incarnations: [] },
  ]);
});
