/** Pods as endpoints, by hand and against a table that is made pod by pod. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { EndpointFleet } from "./endpoint-fleet.ts";
import { type KnownEngine, membersOf, POOL_PODS, type PoolPod } from "./pool-members.ts";

function pod(name: string, more: Partial<PoolPod> = {}): PoolPod {
  return {
    id: `serving/${name}`,
    resourceVersion: "1",
    address: "10.0.0.1",
    isReady: true,
    isTerminating: false,
    ports: null,
    ...more,
  };
}

const engine = (...dpRanks: readonly number[]): KnownEngine => ({
  model: "m",
  ranks: dpRanks.map((dpRank) => ({ dpRank })),
});
const nobody = (): null => null;

describe("the members of a pool", () => {
  it("are the pods that are ready, at the pool's ports", () => {
    const pods = [
      pod("a"),
      pod("b", { address: "fd00::7" }),
      pod("c", { isReady: false }),
      pod("d", { isTerminating: true }),
      pod("e", { address: "" }),
    ];
    expect(membersOf(pods, [8000, 8001], nobody)).toEqual({
      engines: [
        {
          id: "serving/a",
          model: null,
          ranks: [{ dpRank: 0 }, { dpRank: 1 }],
          http: ["10.0.0.1:8000", "10.0.0.1:8001"],
        },
        {
          id: "serving/b",
          model: null,
          ranks: [{ dpRank: 0 }, { dpRank: 1 }],
          http: ["[fd00::7]:8000", "[fd00::7]:8001"],
        },
      ],
      notReady: 4,
      unusable: [],
    });
  });

  it("have model and ranks of the engine that publishes under their name", () => {
    const engines = new Map([["serving/a", engine(4, 5)]]);
    const of = (ports: readonly number[]) =>
      membersOf([pod("a")], ports, (id) => engines.get(id) ?? null).engines[0];
    expect(of([8000])).toMatchObject({ model: "m", ranks: [{ dpRank: 4 }, { dpRank: 5 }] });
    expect(of([8000, 8001])).toMatchObject({ model: "m", ranks: [{ dpRank: 4 }, { dpRank: 5 }] });
  });

  it("M2: have a rank for each of several ports, also where the engine has another number of ranks", () => {
    const [one] = membersOf([pod("a")], [1, 2, 3], () => engine(7)).engines;
    expect(one?.ranks).toEqual([{ dpRank: 7 }, { dpRank: 1 }, { dpRank: 2 }]);
    const fleet = new EndpointFleet({ capacityTokens: 1, rankHeader: false });
    expect(fleet.update([one!])).toEqual([]);
    expect(fleet.endpoints).toHaveLength(3);
  });

  it("have ports of their own by annotation; one that cannot be used is named, and the pool's count", () => {
    const ports = (annotated: string) => {
      const { engines, unusable } = membersOf([pod("a", { ports: annotated })], [8000], nobody);
      return [engines[0]?.http.map((address) => address.split(":")[1]).join(), unusable.join()];
    };
    expect(ports("30000, 30001")).toEqual(["30000,30001", ""]);
    for (const bad of [
      "",
      "a",
      "0",
      "70000",
      "1,1",
      "1;2",
      "-1",
      Array.from({ length: 65 }, (_, i) => i + 1).join(),
    ])
      expect([bad, ports(bad)]).toEqual([bad, ["8000", "serving/a"]]);
  });

  it("are read from pods as the API server sends them", () => {
    const metadata = { name: "a", namespace: "serving", resourceVersion: "7" };
    const annotations = { "model.aibrix.ai/http-ports": "1,2" };
    const status = { phase: "Running", podIP: "10.0.0.1", conditions: [{ type: "Ready", status: "True" }] };
    expect(POOL_PODS.read({ metadata: { ...metadata, annotations }, status })).toEqual(
      pod("a", { resourceVersion: "7", ports: "1,2" }),
    );
    const deletionTimestamp = "2026-01-01T00:00:00Z";
    expect(POOL_PODS.read({ metadata: { ...metadata, deletionTimestamp }, status })).toMatchObject({
      isTerminating: true,
    });
    expect(POOL_PODS.read({ metadata })).toMatchObject({ isReady: false, address: "" });
    expect(POOL_PODS.read({})).toBeNull();
  });

  it("M1: are each ready pod once, for any pods", () => {
    const pods = fc.uniqueArray(
      fc.record({
        n: fc.nat(30),
        isReady: fc.boolean(),
        isTerminating: fc.boolean(),
        own: fc.nat(3),
        ranks: fc.nat(3),
      }),
      { selector: ({ n }) => n, maxLength: 12 },
    );
    fc.assert(
      fc.property(pods, fc.integer({ min: 1, max: 4 }), (all, portCount) => {
        const ports = Array.from({ length: portCount }, (_, i) => 8000 + i);
        const portsOf = (own: number): number[] =>
          own === 0 ? ports : ports.map((port) => port + own).slice(0, own);
        const made = all.map(({ n, isReady, isTerminating, own }) =>
          pod(`p${n}`, {
            address: `10.0.0.${n}`,
            isReady,
            isTerminating,
            ports: own === 0 ? null : portsOf(own).join(),
          }),
        );
        const ranks = new Map(all.map(({ n, ranks: count }) => [`serving/p${n}`, count]));
        const { engines, notReady } = membersOf(made, ports, (id) => {
          const count = ranks.get(id) ?? 0;
          return count === 0 ? null : engine(...Array(count).keys());
        });
        const living = all.filter(({ isTerminating }) => !isTerminating);
        const ready = living.filter(({ isReady }) => isReady);
        expect(engines.flatMap(({ http }) => http)).toEqual(
          ready.flatMap(({ n, own }) => portsOf(own).map((port) => `10.0.0.${n}:${port}`)),
        );
        expect(notReady).toBe(
          living.filter(({ isReady }) => !isReady).reduce((sum, { own }) => sum + portsOf(own).length, 0),
        );
        for (const { http, ranks: its } of engines) if (http.length > 1) expect(its.length).toBe(http.length);
      }),
      { numRuns: 300 },
    );
  });
});
