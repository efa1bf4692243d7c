/** The park by example: its bounds, its order, what a removal takes. */
import { describe, expect, it } from "vitest";
import type { ContextKey } from "./contract.ts";
import { type ParkedStore, ParkedStores } from "./parked-stores.ts";

const CONTEXT: ContextKey = { model: "m", loraName: null, blockSize: 16, lookahead: 0 };
const OTHER: ContextKey = { ...CONTEXT, loraName: "adapter" };

/** Names, low then high, that differ from the first one in one of its four halves of a word. */
const NAMES_IN_HALVES: readonly (readonly [low: number, high: number])[] = [
  [5, 6],
  [7, 6],
  [5 + 0x10000, 6],
  [5, 7],
  [5, 6 + 0x10000],
];

let sequence = 0;

/** A store of blocks with these names that waits for `parent`; names fit in the low word. */
function waiting(parent: number, names: readonly number[], change: Partial<ParkedStore> = {}): ParkedStore {
  return {
    sequence: sequence++,
    parkedMs: 0,
    context: CONTEXT,
    rankSlot: 0,
    tier: 0,
    parentLow: parent,
    parentHigh: 0,
    blockCount: names.length,
    tokens: new Uint32Array(16 * names.length),
    hashes: Uint32Array.from(names.flatMap((name) => [name, 0])),
    extraDigests: null,
    removed: new Uint8Array(names.length),
    ...change,
  };
}

describe("ParkedStores", () => {
  it("gives what waits for a parent in the order of parking, by context and rank", () => {
    const park = new ParkedStores(1e6, 10);
    const stores = [waiting(7, [1]), waiting(7, [2]), waiting(7, [3], { rankSlot: 1 }), waiting(8, [4])];
    for (const store of stores) expect(park.park(store)).toEqual([]);
    expect(park.waitingFor(CONTEXT, 0, 7, 0)).toEqual([stores[0], stores[1]]);
    expect(park.waitingFor(OTHER, 0, 7, 0)).toEqual([]);
    expect(park.waitingFor(CONTEXT, 1, 7, 0)).toEqual([stores[2]]);
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

  it("counts the bytes of each array of a store", () => {
    const bytesOf = (change: Partial<ParkedStore>): number => {
      const park = new ParkedStores(1e6, 10);
      park.park(waiting(1, [1, 2], change));
      return park.bytes;
    };
    const bytes = bytesOf({});
    expect(bytesOf({ extraDigests: new Uint32Array(4) }) - bytes).toBe(16);
    expect(bytesOf({ tokens: new Uint32Array(33) }) - bytes).toBe(4);
  });

  it("refuses every store where a rank may park none", () => {
    const park = new ParkedStores(1e6, 0);
    expect([park.park(waiting(1, [1])), park.storeCount, park.bytes]).toEqual([null, 0, 0]);
  });

  it("lets the oldest of the rank with most go for bytes (P3), and refuses what could never fit", () => {
    const [mine, first, second] = [waiting(1, [1], { rankSlot: 4 }), waiting(1, [1]), waiting(2, [2])];
    const park = new ParkedStores(3900, 10);
    park.park(mine);
    const bytes = park.bytes;
    park.park(first);
    park.park(second);
    expect(park.bytes).toBe(3 * bytes);
    expect(park.park(waiting(3, [3], { rankSlot: 4 }))).toEqual([first]);
    expect(park.park(waiting(4, [4], { rankSlot: 5 }))).toEqual([mine]);
    expect(
      park.park(
        waiting(
          4,
          Array.from({ length: 50 }, (_, i) => i),
        ),
      ),
    ).toBeNull();
    expect(park.bytes).toBe(3 * bytes);
  });

  it("has nothing left, and counts no bytes, when everything was taken out", () => {
    const park = new ParkedStores(1e6, 10);
    const stores = [waiting(1, [1, 2]), waiting(1, [2, 3]), waiting(2, [1], { rankSlot: 3 })];
    for (const store of stores) park.park(store);
    park.remove(stores[1]);
    park.remove(stores[1]);
    expect(park.clearRank(0)).toBe(1);
    expect(park.storeCountOf(3)).toBe(1);
    park.remove(stores[2]);
    expect([park.storeCount, park.bytes, park.storeCountOf(0), park.storeCountOf(3)]).toEqual([0, 0, 0, 0]);
  });

  it("takes a removed block from the store parked first, at its tier only", () => {
    const park = new ParkedStores(1e6, 10);
    const stores = [waiting(1, [5], { tier: 1 }), waiting(2, [5, 6]), waiting(3, [5, 5])];
    for (const store of stores) park.park(store);
    expect(park.removeBlock(0, 0, 5, 0)).toBe(true);
    expect(stores.map(({ removed }) => [...removed])).toEqual([[0], [1, 0], [0, 0]]);
    expect([park.removeBlock(0, 0, 5, 0), park.removeBlock(0, 0, 5, 0)]).toEqual([true, true]);
    expect(stores.map(({ removed }) => [...removed])).toEqual([[0], [1, 0], [1, 1]]);
    expect(park.removeBlock(0, 0, 5, 0)).toBe(false);
    expect(park.removeBlock(0, 0, 5, 1)).toBe(false);
    expect(park.removeBlock(7, 0, 5, 0)).toBe(false);
  });

  it("takes no block whose name has the same low word and another high one", () => {
    const park = new ParkedStores(1e6, 10);
    const names = Uint32Array.of(5, 1, 5, 2);
    const store = waiting(1, [5, 5], { hashes: names });
    park.park(store);
    expect([park.hasBlock(0, 0, 5, 2), park.hasBlock(0, 0, 5, 3)]).toEqual([true, false]);
    expect([park.removeBlock(0, 0, 5, 2), [...store.removed]]).toEqual([true, [0, 1]]);
    expect([park.removeBlock(0, 0, 5, 2), [...store.removed]]).toEqual([false, [0, 1]]);
  });

  it("tells blocks apart by each half of each word of a name, by tier and by rank", () => {
    const park = new ParkedStores(1e6, 20);
    const stores = NAMES_IN_HALVES.map((name) =>
      waiting(1, [0, 1], { hashes: Uint32Array.of(...name, 1, 1) }),
    );
    for (const store of stores) park.park(store);
    for (const [at, [low, high]] of NAMES_IN_HALVES.entries()) {
      expect([park.hasBlock(1, 0, low, high), park.hasBlock(0, 1, low, high)]).toEqual([false, false]);
      expect([park.removeBlock(1, 0, low, high), park.removeBlock(0, 1, low, high)]).toEqual([false, false]);
      expect(park.removeBlock(0, 0, low, high)).toBe(true);
      expect(stores.map(({ removed }) => removed[0])).toEqual(stores.map((_, i) => (i <= at ? 1 : 0)));
      expect(park.hasBlock(0, 0, low, high)).toBe(false);
    }
  });

  it("tells parents apart by each half of each word of a name, by context and by rank", () => {
    const park = new ParkedStores(1e6, 20);
    const places = [
      { context: CONTEXT, rankSlot: 0 },
      { context: OTHER, rankSlot: 0 },
      { context: CONTEXT, rankSlot: 1 },
    ];
    const stores = places.flatMap((place) =>
      NAMES_IN_HALVES.map(([low, high]) => waiting(low, [1], { parentHigh: high, ...place })),
    );
    for (const store of stores) park.park(store);
    for (const store of stores) {
      const { context, rankSlot, parentLow, parentHigh } = store;
      expect(park.waitingFor(context, rankSlot, parentLow, parentHigh)).toEqual([store]);
    }
  });

  it("lets a store go with its last block, since nothing can come of it (P2)", () => {
    const park = new ParkedStores(1e6, 10);
    park.park(waiting(1, [5, 6]));
    park.removeBlock(0, 0, 5, 0);
    expect(park.storeCount).toBe(1);
    park.removeBlock(0, 0, 6, 0);
    expect([park.storeCount, park.bytes, park.storeCountOf(0), park.waitingFor(CONTEXT, 0, 1, 0)]).toEqual([
      0,
      0,
      0,
      [],
    ]);
  });

  it("gives up what was parked before a moment, and nothing else", () => {
    const park = new ParkedStores(1e6, 10);
    const stores = [0, 5, 10].map((parkedMs) => waiting(1, [1], { parkedMs }));
    for (const store of stores) park.park(store);
    expect(park.expire(0)).toEqual([]);
    expect(park.expire(10)).toEqual([stores[0], stores[1]]);
    expect(park.removeBlock(0, 0, 1, 0)).toBe(true);
    expect([park.storeCount, park.bytes]).toEqual([0, 0]);
  });

  it("keeps the order of what has one name while stores come and go from anywhere in it", () => {
    const park = new ParkedStores(1e6, 10);
    const stores = [0, 1, 2, 3].map((i) => waiting(i, [9, 9, i]));
    for (const store of stores) park.park(store);
    park.remove(stores[0]);
    park.remove(stores[2]);
    park.remove(stores[3]);
    park.park(stores[3]);
    const taken = Array.from({ length: 5 }, () => park.removeBlock(0, 0, 9, 0));
    expect(taken).toEqual([true, true, true, true, false]);
    expect([stores[1], stores[3]].map(({ removed }) => [...removed])).toEqual([
      [1, 1, 0],
      [1, 1, 0],
    ]);
    expect(park.storeCount).toBe(2);
  });

  it("keeps what has one name together when the first goes, or one between", () => {
    const park = new ParkedStores(1e6, 10);
    const stores = [1, 2, 3, 4, 5].map((parent) => waiting(parent, [5, parent + 10]));
    for (const store of stores.slice(0, 4)) park.park(store);
    const order = (): number => {
      expect(park.removeBlock(0, 0, 5, 0)).toBe(true);
      return stores.findLastIndex(({ removed }) => removed[0] === 1);
    };
    expect(order()).toBe(0);
    park.park(stores[4]);
    park.remove(stores[2]);
    expect([order(), order(), order()]).toEqual([1, 3, 4]);
    expect(stores[2].removed[0]).toBe(0);
    expect(park.hasBlock(0, 0, 5, 0)).toBe(false);
    // A block that was taken is none of its store's any more.
    park.remove(stores[0]);
    expect(park.hasBlock(0, 0, 5, 0)).toBe(false);
  });

  it("removes names that share a low word with all that is parked as fast as any others (P1)", () => {
    const BLOCKS = 64;
    const STORES = 1024;
    const REMOVALS = 30_000;
    const removalsMs = (lowOf: (i: number) => number): number => {
      const park = new ParkedStores(1e9, STORES);
      for (let i = 0; i < STORES; i++) {
        const names = Array.from({ length: BLOCKS }, (_, j) => i * BLOCKS + j);
        const hashes = Uint32Array.from(names.flatMap((name) => [lowOf(name), name]));
        park.park(waiting(i, names, { hashes }));
      }
      const began = performance.now();
      for (let i = 0; i < REMOVALS; i++) park.removeBlock(0, 0, lowOf(i), 1e6 + i);
      return performance.now() - began;
    };
    removalsMs((i) => i);
    const spread = removalsMs((i) => Math.imul(i, 0x9e3779b1) >>> 0);
    expect(removalsMs(() => 7) / spread).toBeLessThan(8);
  });

  it("takes a block out of many stores in about the time that it takes out of few", () => {
    const [few, many] = [100, 6400].map((storeCount) => {
      const park = new ParkedStores(1e9, storeCount);
      for (let i = 0; i < storeCount; i++) park.park(waiting(i, [2 * i, 2 * i + 1]));
      const began = performance.now();
      for (let i = storeCount - 1; i >= 0; i--) park.removeBlock(0, 0, 2 * i, 0);
      return (performance.now() - began) / storeCount;
    });
    expect(many / few).toBeLessThan(16);
  });
});
