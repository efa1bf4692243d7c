import { shardOf } from "@kvsync/core";
import { KvsyncPolicy, LoadBook } from "@kvsync/routing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

import type { RankHeld } from "../query/match.ts";
import { EndpointFleet, type PickOutcome, type PickRequest, type PoolEngine } from "./endpoint-fleet.ts";

function engine(id: string, http: readonly string[], ranks = 1): PoolEngine {
  return { id, model: "m", http, ranks: Array.from({ length: ranks }, (_, dpRank) => ({ dpRank })) };
}

function hold(worker: string, matchedTokens: number, more: Partial<RankHeld> = {}): RankHeld {
  const held = { matchedTokens, slowTokens: 0, heldTokens: matchedTokens, blockSize: 16 };
  return { worker, dpRank: 0, ...held, trust: "exact", ...more };
}

function request(more: Partial<PickRequest> = {}): PickRequest {
  return {
    workers: null,
    subset: null,
    promptTokens: 1000,
    names: { keys: new Uint32Array(0), keyWords: 1, keyTokens: 1 },
    holds: [],
    ...more,
  };
}

function fleet(engines: readonly PoolEngine[], rankHeader = false): EndpointFleet {
  const made = new EndpointFleet({ capacityTokens: 100_000, rankHeader });
  made.update(engines);
  return made;
}

const THREE = [engine("a", ["10.0.0.1:80"]), engine("b", ["10.0.0.2:80"]), engine("c", ["10.0.0.3:80"])];

function workersOf(outcome: PickOutcome): readonly string[] {
  return outcome.kind === "pick" ? outcome.endpoints.map(({ worker }) => worker) : [outcome.kind];
}

describe("a pick", () => {
  it("goes to the engine that holds most of the prompt, and names the next best ones", () => {
    const holds = [hold("a", 100), hold("b", 900), hold("c", 500)];
    const outcome = fleet(THREE).pick(1, request({ holds }), 3, 0);
    expect(workersOf(outcome)).toEqual(["b", "c", "a"]);
    expect(outcome).toMatchObject({ basis: "index", heldTokens: 900, trust: "exact" });
  });

  it("goes to the engine with the least load where the index knows nothing", () => {
    const all = fleet(THREE);
    const picks = Array.from(
      { length: 6 },
      (_, id) => workersOf(all.pick(id, request({ promptTokens: 10_000 }), 1, id * 100))[0],
    );
    expect(picks).toEqual(["a", "b", "c", "a", "b", "c"]);
  });

  it("follows its own decision until the index knows it", () => {
    const all = fleet(THREE);
    const keys = Uint32Array.from({ length: 1024 }, (_, i) => i);
    const names = { keys, keyWords: 1, keyTokens: 1 };
    const first = all.pick(1, request({ names, promptTokens: 1024 }), 1, 0);
    all.end(1);
    const second = all.pick(2, request({ names, promptTokens: 1024 }), 1, 1);
    expect([first, second]).toMatchObject([{ basis: "load" }, { basis: "own", heldTokens: 1024 }]);
    expect(workersOf(second)).toEqual(workersOf(first));
  });

  it("counts half of the best rank's match behind one address, and all of it where the rank can be told", () => {
    const several = [engine("a", ["10.0.0.1:80"], 2), engine("b", ["10.0.0.2:80"])];
    const holds = [hold("a", 100), hold("a", 800, { dpRank: 1 }), hold("b", 500)];
    expect(fleet(several).pick(1, request({ holds }), 1, 0)).toMatchObject({
      heldTokens: 500,
      rankToTell: null,
    });
    expect(fleet(several, true).pick(1, request({ holds }), 1, 0)).toMatchObject({
      heldTokens: 800,
      rankToTell: 1,
    });
  });

  it("takes each rank for an endpoint where each has an address", () => {
    const one = fleet([engine("a", ["10.0.0.1:80", "10.0.0.1:81"], 2)]);
    const holds = [hold("a", 100), hold("a", 800, { dpRank: 1 })];
    const outcome = one.pick(1, request({ holds }), 2, 0);
    expect(outcome.kind === "pick" && outcome.endpoints.map(({ address }) => address)).toEqual([
      "10.0.0.1:81",
      "10.0.0.1:80",
    ]);
  });

  it("takes only what the gateway allows, and says when that is nothing", () => {
    const all = fleet(THREE);
    const holds = [hold("a", 900)];
    expect(workersOf(all.pick(1, request({ holds, subset: ["10.0.0.3:80", "1.2.3.4:5"] }), 3, 0))).toEqual([
      "c",
    ]);
    expect(workersOf(all.pick(2, request({ subset: [] }), 1, 0))).toEqual(["subset_empty"]);
    expect(workersOf(all.pick(3, request({ subset: ["1.2.3.4:5"] }), 1, 0))).toEqual(["subset_empty"]);
    expect(workersOf(fleet([]).pick(4, request(), 1, 0))).toEqual(["no_endpoint"]);
    expect(all.bookingCount).toBe(1);
  });

  it("goes to the engines of its model alone", () => {
    expect(
      workersOf(
        fleet(THREE).pick(1, request({ workers: new Set(["b", "c"]), holds: [hold("a", 900)] }), 3, 0),
      ),
    ).not.toContain("a");
  });
});

describe("the endpoints", () => {
  it("E1: an address is the first engine's that has it, and the other hears of it", () => {
    const all = fleet([]);
    expect(all.update([engine("a", ["x:1"]), engine("b", ["x:1"])])).toEqual(["x:1"]);
    expect(all.endpoints.map(({ worker }) => worker)).toEqual(["a"]);
    expect(all.update([engine("c", ["y:1", "y:2"], 3)])).toEqual(["y:1", "y:2"]);
    expect(all.endpoints).toEqual([]);
  });

  it("E2: a position that is given again has nothing of the endpoint before", () => {
    const all = fleet([THREE[0]!]);
    const keys = Uint32Array.from({ length: 1024 }, (_, i) => i);
    const names = { keys, keyWords: 1, keyTokens: 1 };
    all.pick(1, request({ names, promptTokens: 1024 }), 1, 0);
    all.update([engine("d", ["10.0.0.4:80"])]);
    expect(all.endpoints).toMatchObject([{ worker: "d", position: 0 }]);
    expect(all.bookingCount).toBe(0);
    expect(all.pick(2, request({ names, promptTokens: 1024 }), 1, 1)).toMatchObject({
      basis: "load",
      heldTokens: 0,
    });
    expect(all.served(1, "10.0.0.4:80", 1)).toBe(false);
    all.end(1);
    expect(all.bookingCount).toBe(1);
  });

  it("keep their loads while others come and go", () => {
    const all = fleet(THREE);
    all.pick(1, request({ promptTokens: 50_000 }), 1, 0);
    all.update([...THREE, engine("d", ["10.0.0.4:80"])]);
    expect(all.bookingCount).toBe(1);
    expect(workersOf(all.pick(2, request(), 4, 0)).at(-1)).toBe("a");
  });

  it("E5: rest after three picks in a row that others served, longer each time, unless all rest", () => {
    const all = fleet(THREE.slice(0, 2));
    let id = 0;
    const miss = (now: number): void => {
      id += 1;
      all.pick(id, request({ holds: [hold("a", 1000)] }), 1, now);
      all.served(id, "10.0.0.2:80", now);
      all.end(id);
    };
    const best = (now: number): string | undefined => {
      id += 1;
      const [worker] = workersOf(all.pick(id, request({ holds: [hold("a", 1000)] }), 1, now));
      all.end(id);
      return worker;
    };
    for (let i = 0; i < 3; i++) {
      expect(best(0)).toBe("a");
      miss(0);
    }
    expect([best(0), best(4.9), best(5)]).toEqual(["b", "b", "a"]);
    for (let i = 0; i < 3; i++) miss(5);
    expect([best(14.9), best(15)]).toEqual(["b", "a"]);
    for (let i = 0; i < 3; i++) miss(15);
    all.update([THREE[0]!]);
    expect(best(16)).toBe("a");
  });

  it("E5: rest, too, when no endpoint answered three picks in a row; their bookings end at once", () => {
    const all = fleet(THREE);
    for (let id = 0; id < 3; id++) {
      expect(workersOf(all.pick(id, request({ holds: [hold("a", 1000)] }), 1, 0))).toEqual(["a"]);
      expect(all.served(id, null, 0)).toBe(false);
    }
    expect([all.bookingCount, all.states(0).penalty]).toEqual([0, 1]);
    expect(workersOf(all.pick(9, request({ holds: [hold("a", 1000)] }), 1, 0))).not.toEqual(["a"]);
  });

  it("E6: count what an engine has beyond our own requests, by the smaller of two looks", () => {
    const all = fleet(THREE.slice(0, 2));
    const seen = (running: number, waiting: number): readonly unknown[] => {
      all.seen("10.0.0.1:80", { running, waiting, capacityTokens: null });
      const [load] = all.loads();
      return [load?.foreignRunning, load?.running, load?.waiting, load?.pendingTokens];
    };
    all.pick(1, request({ promptTokens: 300, holds: [hold("a", 200)] }), 1, 0);
    expect(seen(21, 9)).toEqual([0, 1, 1, 100]);
    expect(seen(20, 10)).toEqual([29, 30, 10, 100 + 9 * 300]);
    expect(seen(7, 0)).toEqual([6, 7, 1, 100]);
    expect(seen(20, 10)).toEqual([6, 7, 1, 100]);
    // Alone: whether it runs or waits there, it is ours.
    for (const [running, waiting] of [
      [1, 0],
      [0, 1],
      [0, 0],
    ] as const)
      expect(seen(running, waiting)).toEqual([0, 1, 1, 100]);
    seen(9, 0);
    expect(seen(9, 0)).toEqual([8, 9, 1, 100]);
    all.unseen("10.0.0.1:80");
    expect(all.loads()[0]).toMatchObject({ foreignRunning: 0, running: 1 });
    all.end(1);
    expect(all.loads()[0]).toMatchObject({ running: 0, waiting: 0, pendingTokens: 0, contextTokens: 0 });
    all.seen("1.2.3.4:5", { running: 1, waiting: 1, capacityTokens: 1 });
    all.unseen("1.2.3.4:5");
  });

  it("E6: the next endpoint of a position begins with nothing that was seen before", () => {
    const all = fleet(THREE.slice(0, 2));
    all.seen("10.0.0.1:80", { running: 9, waiting: 9, capacityTokens: null });
    all.update([THREE[1]!, engine("d", ["10.0.0.4:80"])]);
    all.seen("10.0.0.4:80", { running: 9, waiting: 9, capacityTokens: null });
    expect(all.loads()).toMatchObject([{ endpoint: { worker: "d" }, running: 0 }, { running: 0 }]);
  });

  it("take the room that the engine says it has, and keep it while it says nothing", () => {
    const all = fleet(THREE.slice(0, 2));
    all.seen("10.0.0.1:80", { running: 0, waiting: 0, capacityTokens: 7000 });
    all.seen("10.0.0.1:80", { running: 0, waiting: 0, capacityTokens: null });
    all.unseen("10.0.0.1:80");
    expect(all.loads().map(({ capacityTokens }) => capacityTokens)).toEqual([7000, 100_000]);
  });

  it("E7: are each in one state", () => {
    const all = fleet(THREE);
    expect(all.states(0)).toEqual({ eligible: 3, not_ready: 0, penalty: 0, stale: 0 });
    for (let id = 0; id < 3; id++) {
      all.pick(id, request({ holds: [hold("a", 1000)] }), 1, 0);
      all.served(id, "10.0.0.2:80", 0);
    }
    expect(all.states(1)).toEqual({ eligible: 2, not_ready: 0, penalty: 1, stale: 0 });
    all.update(THREE, { notReady: 4, isStale: true });
    expect(all.states(1)).toEqual({ eligible: 0, not_ready: 4, penalty: 1, stale: 2 });
    expect(all.states(60)).toEqual({ eligible: 0, not_ready: 4, penalty: 0, stale: 3 });
    expect(workersOf(all.pick(9, request(), 3, 60))).toHaveLength(3);
  });

  it("serve every model while theirs is not known, and keep their requests when it becomes known", () => {
    const all = fleet([{ ...THREE[0]!, model: null }, THREE[1]!]);
    const workers = new Set(["b"]);
    expect(workersOf(all.pick(1, request({ workers }), 2, 0)).toSorted()).toEqual(["a", "b"]);
    all.update(THREE);
    expect(all.bookingCount).toBe(1);
    expect(workersOf(all.pick(2, request({ workers }), 3, 0))).toEqual(["b"]);
  });

  it("E8: are preferred by the session that had them, as far as load and contents allow", () => {
    const all = fleet(THREE);
    const session = "s";
    const next = (id: number, more: Partial<PickRequest>, now = 1000 * id): string | undefined => {
      const [best] = workersOf(all.pick(id, request({ promptTokens: 500, ...more }), 3, now));
      all.end(id);
      return best;
    };
    expect(next(1, { session, subset: ["10.0.0.3:80"] })).toBe("c");
    expect(next(2, {})).toBe("a");
    expect(next(3, { session })).toBe("c");
    // Their caches are used evenly from here on: without a session the least used one is best.
    expect(next(4, { session: "other" })).toBe("b");
    // A prefix that is worth more, and an endpoint that is not allowed.
    expect(next(5, { session, promptTokens: 9000, holds: [hold("b", 8000)] })).toBe("b");
    expect(next(6, { session, subset: ["10.0.0.1:80"] })).toBe("a");
    expect(next(7, { session })).toBe("a");
    all.update(THREE.slice(1));
    expect(next(8, { session })).toBe("c");
    const long = "x".repeat(257);
    expect(next(9, { session: long, subset: ["10.0.0.3:80"] })).toBe("c");
    expect(next(10, { session: long })).toBe("b");
  });

  it("E8: are preferred by an adapter that is loaded there: by the engine's word, by what it holds, by our picks", () => {
    const loads = { running: 0, waiting: 0, capacityTokens: null };
    const best = (all: EndpointFleet, id: number, more: Partial<PickRequest>, now: number): unknown => {
      const found = workersOf(all.pick(id, request({ promptTokens: 200, ...more }), 3, now));
      all.end(id);
      expect(found).toHaveLength(3);
      return found[0];
    };
    const told = fleet(THREE);
    told.seen("10.0.0.2:80", { ...loads, adapters: ["sql"] });
    expect(best(told, 1, { adapter: "sql" }, 0)).toBe("b");
    expect(best(told, 2, { adapter: null }, 500)).toBe("a");
    told.unseen("10.0.0.2:80");
    expect(best(told, 3, { adapter: "sql" }, 9000)).toBe("c");
    const held = fleet(THREE);
    expect(best(held, 1, { adapter: "sql", holds: [hold("c", 16)] }, 0)).toBe("c");
    // Our own pick loads it, and counts for a minute.
    expect(best(held, 2, { adapter: "sql" }, 59)).toBe("c");
    expect(best(held, 3, { adapter: "sql" }, 200)).toBe("a");
    // Loading it elsewhere is better than a long queue.
    for (let id = 10; id < 14; id++)
      held.pick(id, request({ promptTokens: 4000, subset: ["10.0.0.1:80"] }), 1, 201);
    expect(best(held, 20, { adapter: "sql" }, 202)).not.toBe("a");
  });

  it("E9: refuse a sheddable request only while every eligible engine says that it is full", () => {
    const all = fleet(THREE.slice(0, 2));
    const [a, b] = ["10.0.0.1:80", "10.0.0.2:80"] as const;
    const isShed = (more: Partial<PickRequest> = {}): boolean => {
      const { kind } = all.pick(1, request({ isSheddable: true, ...more }), 1, 0);
      all.end(1);
      return kind === "saturated";
    };
    const says = (address: string, waiting: number, kvUsage?: number): void => {
      const load = { running: 9, waiting, capacityTokens: null };
      all.seen(address, kvUsage === undefined ? load : { ...load, kvUsage });
    };
    expect(isShed()).toBe(false);
    says(a, 5);
    expect(isShed()).toBe(false);
    says(b, 4, 0.79);
    expect(isShed()).toBe(false);
    expect(isShed({ subset: [a] })).toBe(true);
    says(b, 0, 0.8);
    expect(isShed()).toBe(true);
    expect(isShed({ isSheddable: false })).toBe(false);
    expect(all.bookingCount).toBe(0);
    all.unseen(b);
    expect(isShed()).toBe(false);
    says(b, 6);
    expect(isShed()).toBe(true);
    all.update([THREE[0]!, engine("b", ["10.0.0.9:80"])]);
    expect(isShed()).toBe(false);
  });

  it("E10: of other shards have the trust of their shard's other ranks, where they have no row", () => {
    const made = new EndpointFleet({ capacityTokens: 100_000, rankHeader: false, shardCount: 2 });
    const names = Array.from({ length: 20 }, (_, n) => `e${n}`);
    const [here = "", there = ""] = [0, 1].map((shard) => names.find((id) => shardOf(id, 2) === shard));
    made.update([
      engine(here, ["10.0.0.1:80"]),
      engine(there, ["10.0.0.2:80"], 2),
      { ...engine("silent", ["10.0.0.3:80"]), model: null },
    ]);
    expect([made.shardOf(here), made.shardOf(there), made.shardOf("nobody")]).toEqual([0, 1, null]);
    const trusts = (more: Partial<PickRequest>): object =>
      Object.fromEntries(
        made.explain(request(more), 0).map(({ endpoint, trust }) => [endpoint.worker, trust]),
      );
    const holds = [hold(here, 0)];
    expect(trusts({ holds, restTrusts: ["unknown", "stale"] })).toEqual({
      [here]: "exact",
      [there]: "stale",
      silent: "unknown",
    });
    expect(trusts({ holds })).toMatchObject({ [there]: "unknown" });
    // Of the two ranks behind its address the shard names the one that holds something.
    const half = made.pick(
      1,
      request({ holds: [...holds, hold(there, 600)], restTrusts: ["unknown", "exact"] }),
      1,
      0,
    );
    expect(half).toMatchObject({ heldTokens: 300, isMean: true, trust: "exact" });
    expect(workersOf(half)).toEqual([there]);
  });

  it("E5: forget their misses with the first pick that they serve", () => {
    const all = fleet(THREE.slice(0, 2));
    const pick = (id: number, by: string): void => {
      all.pick(id, request({ holds: [hold("a", 1000)] }), 1, 0);
      all.served(id, by, 0);
      all.end(id);
    };
    for (const [i, by] of ["2", "2", "1", "2", "2"].entries()) pick(i, `10.0.0.${by}:80`);
    expect(workersOf(all.pick(9, request({ holds: [hold("a", 1000)] }), 1, 0))).toEqual(["a"]);
  });
});

const command = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("pick" as const),
      tokens: fc.nat(5000),
      held: fc.array(fc.nat(3000), { minLength: 4, maxLength: 4 }),
      subset: fc.option(fc.array(fc.nat(5), { maxLength: 3 })),
      count: fc.integer({ min: 1, max: 5 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("served" as const), request: fc.nat(40), by: fc.nat(5) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("firstToken" as const), request: fc.nat(40) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("end" as const), request: fc.nat(40) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("update" as const),
      members: fc.array(fc.nat(4), { maxLength: 5 }),
    }),
  },
);
const addressOf = (number: number): string => `10.0.0.${number}:80`;

describe("any order of requests, news and changes", () => {
  it("E3, E4: picks are eligible and best first, and every booking ends", () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
        const all = fleet([]);
        let members = new Set<number>();
        const set = (numbers: readonly number[]): void => {
          members = new Set(numbers);
          all.update([...members].map((number) => engine(`w${number}`, [addressOf(number)])));
        };
        set([0, 1, 2]);
        const open = new Set<number>();
        let id = 0;
        for (const [i, one] of commands.entries()) {
          if (one.kind === "update") set(one.members);
          else if (one.kind === "served") all.served(one.request, addressOf(one.by), i);
          else if (one.kind === "firstToken") all.firstToken(one.request);
          else if (one.kind === "end") {
            all.end(one.request);
            open.delete(one.request);
          } else {
            const subset = one.subset?.map(addressOf) ?? null;
            const holds = one.held.map((tokens, number) => hold(`w${number}`, Math.min(tokens, one.tokens)));
            const outcome = all.pick(id, request({ promptTokens: one.tokens, holds, subset }), one.count, i);
            const allowed = [...members]
              .map(addressOf)
              .filter((address) => subset === null || subset.includes(address));
            if (outcome.kind === "pick") {
              open.add(id);
              const addresses = outcome.endpoints.map(({ address }) => address);
              expect(new Set(addresses).size).toBe(addresses.length);
              expect(addresses.every((address) => allowed.includes(address))).toBe(true);
            } else expect(allowed).toEqual([]);
            id += 1;
          }
        }
        expect(all.bookingCount).toBeLessThanOrEqual(open.size);
        for (const request of open) all.end(request);
        expect(all.bookingCount).toBe(0);
        const rest = all.pick(id, request({ promptTokens: 0 }), 5, 1e6);
        if (rest.kind === "pick") expect(rest.endpoints).toHaveLength(members.size);
      }),
      { numRuns: 500 },
    );
  });

  it("E3: the order is the policy's own over the same loads and matches", () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(4000), { minLength: 3, maxLength: 3 }),
        fc.array(fc.nat(4000), { maxLength: 8 }),
        (held, sent) => {
          const all = fleet(THREE);
          const book = new LoadBook(THREE.map(({ id }) => ({ worker: id, capacityTokens: 100_000 })));
          const policy = new KvsyncPolicy(3);
          THREE.forEach((_, position) => {
            policy.join(position, 100_000);
          });
          const into = new Uint32Array(3);
          const expected = (promptTokens: number): number[] => {
            const keys = new Uint32Array(0);
            const routing = {
              promptTokens,
              sessionId: null,
              keys,
              keyWords: 16,
              keyTokens: 16,
              sharedLaterTokens: 0,
            };
            return [...into.subarray(0, policy.rank(routing, book.views, 0, into))];
          };
          sent.forEach((tokens, i) => {
            all.pick(i, request({ promptTokens: tokens }), 1, 0);
            book.clearMatches();
            const [first = 0] = expected(tokens);
            policy.book(first, 0);
            book.send(i, first, tokens);
          });
          const holds = THREE.map(({ id }, i) => hold(id, held[i] ?? 0));
          const outcome = all.pick(99, request({ promptTokens: 4000, holds }), 3, 0);
          book.clearMatches();
          for (const [i, view] of book.views.entries())
            Object.assign(view, { matchedTokens: held[i] ?? 0, trust: "exact" });
          const order = outcome.kind === "pick" ? outcome.endpoints.map(({ position }) => position) : [];
          expect(order).toEqual(expected(4000));
        },
      ),
    );
  });
});
