/**
 * Several sources, one registry. The property test drives sources at random and compares the
 * registry with a naive form of the rule. It walks the sources by rank and takes each engine whose
 * id and endpoints are still free.
 */
import fc from "fast-check";
import { expect, test } from "vitest";

import { type Engine, engineEntry, type EngineEntryInput } from "../engine/engine-entry.ts";
import { EngineRegistry, RegistryError } from "../engine/engine-registry.ts";
import { FleetShard, WHOLE_FLEET } from "../engine/fleet-shard.ts";
import type { FollowedRank } from "../engine/followed-rank.ts";
import { eventWriter } from "../log/log-line.ts";
import { ENGINE_SOURCES, type EngineSource, EngineSources, type Refusal } from "./engine-sources.ts";

/** Follows in memory, and complains when a slot is given out twice (R1). */
class MemoryFollower {
  readonly followed = new Map<number, FollowedRank>();
  readonly redialled: number[] = [];
  follows = 0;
  /** Slots are clean at once, or when `clean` is called. */
  isSlow = false;
  readonly #waiting: (() => void)[] = [];
  follow(rank: FollowedRank): void {
    expect(this.followed.has(rank.rankSlot)).toBe(false);
    this.followed.set(rank.rankSlot, rank);
    this.follows += 1;
  }
  async forget(rankSlot: number): Promise<void> {
    if (this.isSlow) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.followed.delete(rankSlot);
  }
  redial(rankSlot: number): void {
    this.redialled.push(rankSlot);
  }
  clean(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

function setUp(limits: { engines?: number; engineFiles?: number } = {}, shard: FleetShard = WHOLE_FLEET) {
  const follower = new MemoryFollower();
  const registry = new EngineRegistry(follower, {
    engines: 100,
    engineFiles: Infinity,
    filesOf: ({ ranks }) => ranks.length,
    ...limits,
  });
  const logged: string[] = [];
  const log = eventWriter("test", ({ event }) => logged.push(event));
  const refused: Refusal[] = [];
  const sources = new EngineSources(registry, { log, refused: (refusal) => refused.push(refusal) }, shard);
  const ids = () => [...registry.engines()].map(({ engine }) => engine.id).sort();
  return { follower, registry, sources, logged, refused, ids };
}

function engine(id: string, port: number, more: Partial<EngineEntryInput> = {}): Engine {
  return engineEntry.parse({ id, model: "m", endpoint: `tcp://h:${port}`, ...more });
}
const stated = (...engines: Engine[]) => engines.map((one) => ({ engine: one, incarnation: null }));

test("of two sources that contradict each other the one named first is followed, and the other is named with its field (E2, E4)", () => {
  const { sources, registry, refused, logged, ids } = setUp();
  sources.state("kubernetes", stated(engine("a", 1), engine("pod", 2)));
  sources.state("file", stated(engine("a", 1, { model: "other" }), engine("b", 2)));
  expect(ids()).toEqual(["a", "b"]);
  expect(registry.engine("a")?.engine.model).toBe("other");
  expect(refused).toMatchObject([
    {
      source: "kubernetes",
      id: "a",
      reason: "conflict",
      field: "model",
      winner: { source: "file", id: "a" },
    },
    {
      source: "kubernetes",
      id: "pod",
      reason: "conflict",
      field: "endpoint",
      winner: { source: "file", id: "b" },
    },
  ]);
  expect(refused[1]?.message).toBe(
    "engine pod of Kubernetes contradicts the configuration file (engine b) in endpoint; the latter is followed",
  );
  expect(logged).toEqual(["engine_refused", "engine_refused"]);
  sources.state("file", stated(engine("b", 2)));
  expect(ids()).toEqual(["a", "b"]);
  expect(registry.engine("a")?.engine.model).toBe("m");
  expect([...sources.refusals()].map(({ id }) => id)).toEqual(["pod"]);
  expect(refused).toHaveLength(2);
  expect(logged.slice(2)).toEqual(["engines_refused"]);
});

test("a duplicate takes over from its source without the stream noticing (E2)", () => {
  const { sources, registry, follower, refused } = setUp();
  sources.state("http", stated(engine("a", 1)));
  sources.state("kubernetes", stated(engine("a", 1)));
  expect(refused).toMatchObject([{ source: "kubernetes", reason: "duplicate", field: null }]);
  const { registered } = { registered: registry.engine("a") };
  sources.withdraw("http", "a");
  expect(sources.sourceOf("a")).toBe("kubernetes");
  expect(registry.engine("a")).toBe(registered);
  expect(follower.follows).toBe(1);
  expect([...sources.refusals()]).toEqual([]);
});

test("an engine that changed in place is removed and registered anew, one that did not is left alone", async () => {
  const { sources, registry, follower } = setUp();
  sources.state("file", stated(engine("a", 1), engine("b", 2)));
  const before = registry.engine("b");
  sources.state("file", stated(engine("a", 9), engine("b", 2)));
  expect(registry.engine("a")?.engine.ranks[0]?.endpoint).toBe("tcp://h:9");
  expect(registry.engine("b")).toBe(before);
  await Promise.resolve();
  expect(follower.follows).toBe(3);
});

test("an endpoint may go from one engine to another in one step", () => {
  const { sources, ids, refused } = setUp();
  sources.state("kubernetes", stated(engine("old", 1)));
  sources.state("kubernetes", stated(engine("new", 1)));
  expect(ids()).toEqual(["new"]);
  expect(refused).toEqual([]);
});

test("an engine without room is refused by name, costs nothing else, and is followed once there is room (E3)", async () => {
  const { sources, follower, refused, ids } = setUp({ engineFiles: 2 });
  follower.isSlow = true;
  sources.state("file", stated(engine("a", 1), engine("b", 2)));
  sources.state("kubernetes", stated(engine("c", 3)));
  expect(ids()).toEqual(["a", "b"]);
  expect(refused).toMatchObject([{ source: "kubernetes", id: "c", reason: "no_room" }]);
  sources.state("file", stated(engine("a", 1)));
  expect(ids()).toEqual(["a"]);
  follower.clean();
  await new Promise(setImmediate);
  expect(ids()).toEqual(["a", "c"]);
  expect([...sources.refusals()]).toEqual([]);
});

test("what is offered and cannot be followed is refused by code and leaves nothing behind", () => {
  const { sources, registry, refused, ids } = setUp({ engines: 2 });
  sources.state("file", stated(engine("a", 1)));
  const offered = (one: Engine): string => {
    try {
      return sources.offer("http", one).created ? "created" : "known";
    } catch (error) {
      if (error instanceof RegistryError) return error.code;
      throw error;
    }
  };
  expect(offered(engine("a", 1))).toBe("known");
  expect(offered(engine("x", 1))).toBe("engine_conflict");
  expect(offered(engine("b", 2))).toBe("created");
  expect(offered(engine("b", 2))).toBe("known");
  expect(offered(engine("b", 3))).toBe("engine_conflict");
  expect(offered(engine("c", 4))).toBe("registry_full");
  expect(ids()).toEqual(["a", "b"]);
  expect([...sources.wanted("http")].map(({ id }) => id)).toEqual(["a", "b"]);
  expect(refused.map(({ reason }) => reason)).toEqual(["duplicate"]);
  expect(registry.engineCount).toBe(2);
});

test("a source takes back its own engines only", () => {
  const { sources, ids } = setUp();
  sources.state("file", stated(engine("a", 1)));
  const codeOf = (id: string): unknown => {
    try {
      sources.withdraw("http", id);
      return null;
    } catch (error) {
      return error instanceof RegistryError ? error.facts : error;
    }
  };
  expect(codeOf("a")).toEqual({ code: "stated_elsewhere", id: "a", source: "file" });
  expect(codeOf("ghost")).toEqual({ code: "unknown_engine", id: "ghost" });
  expect(ids()).toEqual(["a"]);
});

test("a new incarnation of an engine that stayed is dialled at once, and nothing else is", () => {
  const { sources, registry, follower } = setUp();
  const [a, b] = [engine("a", 1), engine("b", 2)];
  const state = (one: string | null, other: string): void => {
    sources.state("kubernetes", [
      { engine: a, incarnation: one },
      { engine: b, incarnation: other },
    ]);
  };
  state("1", "1");
  state("2", "1");
  state("2", "1");
  expect(follower.redialled).toEqual([registry.engine("a")?.ranks[0]?.rankSlot]);
});

test("a fleet that is refused as a whole is counted one by one, once, and told in a few lines (E4)", () => {
  const { sources, refused, logged } = setUp();
  const fleet = Array.from({ length: 500 }, (_, i) => ({ id: `p${i}`, field: "port", message: "no port" }));
  sources.state("kubernetes", [], fleet);
  sources.state("kubernetes", [], fleet);
  expect(refused).toHaveLength(500);
  expect(logged.filter((event) => event === "engine_refused")).toHaveLength(20);
  expect(logged.filter((event) => event === "engines_refused")).toHaveLength(1);
});

const anyEngine = fc
  .record({ id: fc.integer({ min: 0, max: 5 }), port: fc.integer({ min: 1, max: 6 }), isOther: fc.boolean() })
  .map(({ id, port, isOther }) => engine(`e${id}`, port, { model: isOther ? "n" : "m" }));
const anyStatement = fc.record({
  source: fc.constantFrom(...ENGINE_SOURCES),
  engines: fc.uniqueArray(anyEngine, { maxLength: 6, selector: ({ id }) => id }),
});

/** The rule, said naively. */
function expected(wishes: ReadonlyMap<EngineSource, readonly Engine[]>): Map<string, Engine> {
  const winners = new Map<string, Engine>();
  const endpoints = new Set<string>();
  for (const source of ENGINE_SOURCES) {
    for (const one of wishes.get(source) ?? []) {
      const endpoint = one.ranks[0]?.endpoint ?? "";
      if (winners.has(one.id) || endpoints.has(endpoint)) continue;
      winners.set(one.id, one);
      endpoints.add(endpoint);
    }
  }
  return winners;
}

test("whatever sources state in whatever order, the registry holds the winners by the rule, and everything else is a refusal (E1, E2, E3)", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyStatement, { maxLength: 12 }), async (statements) => {
      const { sources, registry, follower } = setUp();
      const wishes = new Map<EngineSource, readonly Engine[]>();
      for (const { source, engines } of statements) {
        wishes.set(source, engines);
        sources.state(source, stated(...engines));
        const winners = expected(wishes);
        const held = new Map([...registry.engines()].map((one) => [one.engine.id, one.engine]));
        expect(held).toEqual(winners);
        const wanted = [...wishes.values()].reduce((sum, list) => sum + list.length, 0);
        expect([...sources.refusals()]).toHaveLength(wanted - winners.size);
      }
      await new Promise(setImmediate);
      expect([...follower.followed.values()].map(({ workerId }) => workerId).sort()).toEqual(
        [...expected(wishes).keys()].sort(),
      );
    }),
  );
});

test("shards follow the engines of one daemon between them, each engine and each refusal once (E1, E5)", () => {
  const engines = Array.from({ length: 60 }, (_, n) => engine(`engine-${n}`, n + 1));
  // Each has the socket of another engine, which may be another shard's.
  const rivals = Array.from({ length: 20 }, (_, n) => engine(`rival-${n}`, n + 1));
  const state = (sources: EngineSources): void => {
    sources.state("file", stated(...engines));
    sources.state("kubernetes", stated(...rivals), [{ id: "odd", field: "model", message: "no model" }]);
  };
  const whole = setUp();
  state(whole.sources);
  const shards = Array.from({ length: 4 }, (_, index) => setUp({}, new FleetShard(index, 4)));
  for (const { sources } of shards) state(sources);
  expect(shards.flatMap(({ ids }) => ids()).sort()).toEqual(whole.ids());
  const refusals = ({ sources }: { sources: EngineSources }): string[] =>
    [...sources.refusals()].map(({ source, id, message }) => `${source} ${id} ${message}`);
  expect(shards.flatMap(refusals).sort()).toEqual(refusals(whole).sort());
  for (const { sources, ids } of shards) {
    expect(ids().length).toBeGreaterThan(0);
    expect(sources.ownCount).toBe(ids().length);
    expect(sources.ownCount + sources.elsewhereCount).toBe(60);
  }
  expect(whole.sources.elsewhereCount).toBe(0);
});

test("names of engines that other shards follow are known, without a rank, as long as they are wanted (E5)", () => {
  const shard = new FleetShard(0, 4);
  const { sources, registry } = setUp({}, shard);
  const elsewhere = Array.from({ length: 40 }, (_, n) => `engine-${n}`).filter((id) => !shard.owns(id));
  const [first = "", second = ""] = elsewhere;
  const tuned = engine(first, 1, { model: "big", aliases: ["nick"], adapters: ["tuned"] });
  sources.state("file", stated(tuned, engine(second, 2, { model: "big" })));
  expect(registry.enginesOf("big")).toEqual(new Set());
  expect([...registry.modelsWithAlias("nick"), ...registry.modelsWithAdapter("tuned")]).toEqual([
    "big",
    "big",
  ]);
  sources.state("file", stated(engine(second, 2, { model: "big" })));
  expect(registry.enginesOf("big")).toEqual(new Set());
  expect([...registry.modelsWithAlias("nick")]).toEqual([]);
  sources.state("file", []);
  expect(registry.enginesOf("big")).toBeNull();
});

test("an engine of another shard cannot be registered here, and the refusal names its shard", () => {
  const shard = new FleetShard(0, 4);
  const { sources } = setUp({}, shard);
  const id = Array.from({ length: 40 }, (_, n) => `engine-${n}`).find((one) => !shard.owns(one)) ?? "";
  try {
    sources.offer("http", engine(id, 1));
    expect.unreachable();
  } catch (error) {
    expect((error as RegistryError).facts).toMatchObject({ code: "other_shard", id, count: 4 });
  }
});
