/** The park by example: its bounds, its order, what a removal takes. */
import { describe, expect, it } from "vitest";
import { type ParkedStore, ParkedStores } from "./parked-stores.ts";

let sequence = 0;

/** A store of blocks with these names that waits for `parent`; names fit in the low word. */
function waiting(parent: number, names: readonly number[], change: Partial<ParkedStore> = {}): ParkedStore {
  return {
    sequence: sequence++,
    contextId: 1,
    rankSlot: 0,
    tier: 0,
    parentLow: parent,
    parentHigh: 0,
    blockCount: names.length,
    tokens: new Uint32Array(16 * names.length),
    hashes: Uint32Array.from(names.flatMap((name) => [name, 0])),
    extraDigests: null,
    removed: new Uint8Array(names.length),
    blocksLeft: names.length,
    ...change,
  };
}

describe("ParkedStores", () => {
  it("gives what waits for a parent in the order of parking, by context and rank", () => {
    const park = new ParkedStores(1e6, 10);
    const stores = [waiting(7, [1]), waiting(7, [2]), waiting(7, [3], { rankSlot: 1 }), waiting(8, [4])];
    for (const store of stores) expect(park.park(store)).toEqual([]);
    expect(park.waitingFor(1, 0, 7, 0)).toEqual([stores[0], stores[1]]);
    expect(park.waitingFor(2, 0, 7, 0)).toEqual([]);
    expect(park.waitingFor(1, 1, 7, 0)).toEqual([stores[2]]);
  });

  it("lets the rank's oldest go for one store too many", () => {
    const park = new ParkedStores(1e6, 2);
    const [first, second, third] = [waiting(1, [1]), waiting(2, [2]), waiting(3, [3])];
    park.park(first);
    park.park(waiting(1, [9], { rankSlot: 5 }));
    park.park(second);
    expect(park.park(third)).toEqual([first]);
    expect(park.storeCount).toBe(3);
  });

  it("lets the oldest of all go for bytes, and refuses what could never fit", () => {
    const small = waiting(1, [1]);
    const park = new ParkedStores(2600, 10);
    park.park(small);
    const bytes = park.bytes;
    park.park(waiting(2, [2]));
    expect(park.bytes).toBe(2 * bytes);
    expect(park.park(waiting(3, [3], { rankSlot: 4 }))).toEqual([small]);
    expect(
      park.park(
        waiting(
          4,
          Array.from({ length: 50 }, (_, i) => i),
        ),
      ),
    ).toBeNull();
    expect(park.bytes).toBe(2 * bytes);
  });

  it("has nothing left, and counts no bytes, when everything was taken out", () => {
    const park = new ParkedStores(1e6, 10);
    const stores = [waiting(1, [1, 2]), waiting(1, [2, 3]), waiting(2, [1], { rankSlot: 3 })];
    for (const store of stores) park.park(store);
    park.remove(stores[1]);
    park.remove(stores[1]);
    expect(park.clearRank(0)).toBe(1);
    expect(park.keepContexts(new Set([9]))).toEqual([stores[2]]);
    expect([park.storeCount, park.bytes, park.has(0), park.has(3)]).toEqual([0, 0, false, false]);
  });

  it("takes a removed block from the store parked first, at its tier only, and all of them when asked to", () => {
    const park = new ParkedStores(1e6, 10);
    const stores = [waiting(1, [5], { tier: 1 }), waiting(2, [5, 6]), waiting(3, [5, 5])];
    for (const store of stores) park.park(store);
    expect(park.removeBlock(0, 0, 5, 0, false)).toBe(true);
    expect(stores.map(({ removed }) => [...removed])).toEqual([[0], [1, 0], [0, 0]]);
    expect(park.removeBlock(0, 0, 5, 0, true)).toBe(true);
    expect(stores.map(({ removed }) => [...removed])).toEqual([[0], [1, 0], [1, 1]]);
    expect(park.removeBlock(0, 0, 5, 0, true)).toBe(false);
    expect(park.removeBlock(0, 0, 5, 1, true)).toBe(false);
    expect(park.removeBlock(7, 0, 5, 0, true)).toBe(false);
  });

  it("lets a store go with its last block, since nothing can come of it", () => {
    const park = new ParkedStores(1e6, 10);
    park.park(waiting(1, [5, 6]));
    park.removeBlock(0, 0, 5, 0, false);
    expect(park.storeCount).toBe(1);
    park.removeBlock(0, 0, 6, 0, false);
    expect([park.storeCount, park.bytes, park.has(0), park.waitingFor(1, 0, 1, 0)]).toEqual([
      0,
      0,
      false,
      [],
    ]);
  });

  it("takes a block out of many stores in about the time that it takes out of few", () => {
    const [few, many] = [100, 6400].map((storeCount) => {
      const park = new ParkedStores(1e9, storeCount);
      for (let i = 0; i < storeCount; i++) park.park(waiting(i, [2 * i, 2 * i + 1]));
      const began = performance.now();
      for (let i = storeCount - 1; i >= 0; i--) park.removeBlock(0, 0, 2 * i, 0, false);
      return (performance.now() - began) / storeCount;
    });
    expect(many / few).toBeLessThan(16);
  });
});
