import { expect, test } from "vitest";

import type { FollowedRank, SnapshotStream } from "./followed-rank.ts";
import { engineEntry, type EngineEntryInput } from "./engine-entry.ts";
import { EngineRegistry } from "./engine-registry.ts";

/** Follows nothing; says a slot is clean when the test says so. */
class RecordingFollower {
  readonly followed: FollowedRank[] = [];
  readonly #forgotten = new Map<number, () => void>();
  follow(rank: FollowedRank): void {
    this.followed.push(rank);
  }
  forget(rankSlot: number): Promise<void> {
    return new Promise((resolve) => this.#forgotten.set(rankSlot, resolve));
  }
  redial(): void {
    throw new Error("nobody asked for it");
  }
  clean(rankSlot: number): void {
    this.#forgotten.get(rankSlot)?.();
  }
}

let port = 1;
function engine(id: string, more: Partial<EngineEntryInput> = {}) {
  port += 10;
  return engineEntry.parse({ id, model: "m", endpoint: `tcp://h:${port}`, ...more });
}

test("registering the same again changes nothing, registering another under its id is a conflict that names the field (R2)", () => {
  const registry = new EngineRegistry(new RecordingFollower(), {
    engines: 10,
    engineFiles: Infinity,
    filesOf: ({ ranks }) => ranks.length,
  });
  const first = engine("a", { endpoint: "tcp://h:7" });
  expect(registry.register(first).created).toBe(true);
  expect(registry.register(engine("a", { endpoint: "tcp://h:7" })).created).toBe(false);
  expect(() => registry.register(engine("a", { endpoint: "tcp://h:7", model: "n" }))).toThrow(
    "engine a is registered with another model",
  );
  expect(() => registry.register(engine("b", { endpoint: "tcp://h:7" }))).toThrow(
    "engine b has an endpoint that belongs to engine a",
  );
  expect(registry.engineCount).toBe(1);
});

test("a slot is given out again only after the index is clear of its former rank (R1)", async () => {
  const follower = new RecordingFollower();
  const registry = new EngineRegistry(follower, {
    engines: 10,
    engineFiles: Infinity,
    filesOf: ({ ranks }) => ranks.length,
  });
  const slot = registry.register(engine("a")).registered.ranks[0]?.rankSlot ?? -1;
  const removed = registry.remove("a");
  expect(registry.ownerOf(slot)).toBeNull();
  expect(registry.enginesOf("m")).toBeNull();
  const next = registry.register(engine("b")).registered.ranks[0]?.rankSlot;
  expect(next).not.toBe(slot);
  follower.clean(slot);
  await removed;
  expect(registry.register(engine("c")).registered.ranks[0]?.rankSlot).toBe(slot);
  expect(registry.ownerOf(slot)).toEqual({ workerId: "c", model: "m", dpRank: 0 });
});

test("engines and ranks are bounded, and a refusal names the limit and takes nothing (R3)", () => {
  const engines = new EngineRegistry(new RecordingFollower(), {
    engines: 1,
    engineFiles: Infinity,
    filesOf: ({ ranks }) => ranks.length,
  });
  engines.register(engine("a"));
  expect(() => engines.register(engine("b"))).toThrow("no room for engine b: at most 1 engines at once");
  const ranks = new EngineRegistry(new RecordingFollower(), {
    engines: 100,
    engineFiles: Infinity,
    filesOf: ({ ranks }) => ranks.length,
  });
  for (let i = 0; i < 64; i++) ranks.register(engine(`e${i}`, { endpoint: `tcp://h${i}:1000`, dp_size: 64 }));
  expect(() => ranks.register(engine("z"))).toThrow("no room for engine z: at most 4096 ranks at once");
  expect(ranks.engineCount).toBe(64);
  const files = new EngineRegistry(new RecordingFollower(), {
    engines: 10,
    engineFiles: 3,
    filesOf: ({ ranks }) => ranks.length,
  });
  files.register(engine("a", { dp_size: 2 }));
  expect(() => files.register(engine("b", { dp_size: 2 }))).toThrow(
    "at most 3 files of ranks within the limit on open files",
  );
});

test("a slot that a snapshot filled is for the rank that it belonged to; another under that id gets another (R4)", async () => {
  const follower = new RecordingFollower();
  const registry = new EngineRegistry(follower, {
    engines: 10,
    engineFiles: Infinity,
    filesOf: ({ ranks }) => ranks.length,
  });
  const endpoint = "tcp://h:7";
  const kept = (workerId: string, rankSlot: number): SnapshotStream => {
    const { model, topic, reportMode } = engineEntry.parse({ id: workerId, model: "m", endpoint });
    // The registry hands the position on and reads nothing of it.
    const position = { of: workerId } as unknown as SnapshotStream["position"];
    return { workerId, rankSlot, dpRank: 0, endpoint, model, topic, reportMode, position };
  };
  registry.reserve([kept("same", 3), kept("changed", 5), kept("gone", 6)]);
  const slotOf = (id: string, more: Partial<EngineEntryInput>): number | undefined =>
    registry.register(engine(id, more)).registered.ranks[0]?.rankSlot;
  expect(slotOf("new", {})).toBe(0);
  expect(slotOf("changed", { endpoint: "tcp://h:8" })).toBe(1);
  expect(slotOf("same", { endpoint })).toBe(3);
  expect(follower.followed.find(({ workerId }) => workerId === "same")).toMatchObject({
    resumeFrom: { of: "same" },
  });
  // The other's slot, and after a while the one that nobody came for, are given out once the index is clear of them.
  expect(slotOf("next", {})).toBe(2);
  const released = registry.releaseReserved();
  follower.clean(5);
  follower.clean(6);
  expect(await released).toBe(1);
  expect([slotOf("e", {}), slotOf("f", {}), slotOf("g", {})]).toEqual([4, 5, 6]);
});

test("removing an engine that is not there is an error by code", () => {
  const registry = new EngineRegistry(new RecordingFollower(), {
    engines: 10,
    engineFiles: Infinity,
    filesOf: ({ ranks }) => ranks.length,
  });
  expect(() => registry.remove("ghost")).toThrow(expect.objectContaining({ code: "unknown_engine" }));
});
