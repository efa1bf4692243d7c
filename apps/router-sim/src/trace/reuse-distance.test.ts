/**
 * The one-pass distances against the plain definition: an LRU cache of a given size, simulated block by block.
 */
import { Prng } from "@kvsync/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { ReuseDistances } from "./reuse-distance.ts";

/** Prefix hits of one LRU cache; a Set keeps its members in the order of use. */
function lruPrefixHits(requests: readonly (readonly number[])[], capacity: number): number {
  const cache = new Set<number>();
  let hits = 0;
  for (const ids of requests) {
    let leading = true;
    for (const id of ids) {
      leading &&= cache.has(id);
      if (leading) hits += 1;
      cache.delete(id);
      cache.add(id);
      const [oldest] = cache;
      if (cache.size > capacity && oldest !== undefined) cache.delete(oldest);
    }
  }
  return hits;
}

function taken(requests: readonly (readonly number[])[]): ReuseDistances {
  const reuse = new ReuseDistances();
  for (const ids of requests) reuse.take(ids);
  return reuse;
}

const requestsArbitrary = fc.array(fc.uniqueArray(fc.nat(40), { minLength: 1, maxLength: 12 }), {
  minLength: 1,
  maxLength: 60,
});

describe("reuse distances", () => {
  it("hit exactly what an LRU cache hits, whatever its size", () => {
    fc.assert(
      fc.property(requestsArbitrary, fc.integer({ min: 1, max: 45 }), (requests, capacity) => {
        const references = requests.flat().length;
        const [share = -1] = taken(requests).hitShares([capacity]);
        expect(Math.round(share * references)).toBe(lruPrefixHits(requests, capacity));
      }),
      { numRuns: 300 },
    );
  });

  it("name the least cache that reaches a share of the ceiling: one block less does not", () => {
    fc.assert(
      fc.property(requestsArbitrary, fc.double({ min: 0.01, max: 1, noNaN: true }), (requests, share) => {
        const reuse = taken(requests);
        const capacity = reuse.capacityFor(share);
        const [ceiling = 0, enough = 0, less = 0] = reuse.hitShares([Infinity, capacity, capacity - 1]);
        if (ceiling === 0) return;
        expect(enough).toBeGreaterThanOrEqual(share * ceiling - 1e-12);
        expect(less).toBeLessThan(share * ceiling);
      }),
    );
  });

  it("stay exact when times run out and blocks outnumber the first tables", () => {
    const random = new Prng(5);
    const requests = Array.from({ length: 20_000 }, (_, i) => {
      const begin = random.chance(0.5) ? i * 8 : random.below(i + 1) * 8;
      return Array.from({ length: 8 }, (_, j) => begin + j);
    });
    const reuse = taken(requests);
    const capacities = [1_000, 60_000];
    const shares = reuse.hitShares(capacities);
    capacities.forEach((capacity, position) => {
      expect(Math.round((shares[position] ?? 0) * reuse.references)).toBe(lruPrefixHits(requests, capacity));
    });
    expect(reuse.distinctBlocks).toBe(new Set(requests.flat()).size);
    expect(reuse.distinctBlocks).toBeGreaterThan(65_536);
  });

  it("are nothing before anything was taken", () => {
    const reuse = new ReuseDistances();
    expect(reuse.hitShares([1, Infinity])).toEqual([0, 0]);
    expect(reuse.capacityFor(0.9)).toBe(0);
  });
});
