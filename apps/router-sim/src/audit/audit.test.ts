/**
 * The audit must find what is planted. The test makes a small fleet of truths and copies the dump
 * from it. Then it plants each kind of corruption, one at a time, at a random place. The audit has
 * to find exactly that one.
 */
import { Prng } from "@kvsync/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

import {
  audit,
  DIFFERENCES_LISTED_MAX,
  type EngineTruth,
  type LineageOf,
  type StreamHoldings,
  type StreamStanding,
} from "./audit.ts";

/** One physical copy of the truth. */
interface Copy {
  hash: bigint;
  tier: number;
  announcedIn: number;
  adapter?: string;
}

const NO_LINEAGE: LineageOf = () => new Map();

function truthOf(worker: string, copies: readonly Copy[]): EngineTruth {
  const adapters = ["", "legal"];
  return {
    worker,
    dpRank: 0,
    adapters,
    adapterOf: Uint16Array.from(copies, ({ adapter }) => adapters.indexOf(adapter ?? "")),
    tierOf: Uint8Array.from(copies, ({ tier }) => tier),
    hashes: BigUint64Array.from(copies, ({ hash }) => hash),
    announcedIn: Float64Array.from(copies, ({ announcedIn }) => announcedIn),
  };
}

/** What a faultless daemon would dump: one row per held (context, tier, hash). */
function dumpOf(truth: EngineTruth, copiesKnown = true): StreamHoldings {
  const rows = new Map<string, { hash: bigint; tier: number; adapter: number; copies: number }>();
  truth.hashes.forEach((hash, row) => {
    const tier = truth.tierOf[row]!;
    const adapter = truth.adapterOf[row]!;
    const key = `${hash}/${tier}/${adapter}`;
    const known = rows.get(key) ?? { hash, tier, adapter, copies: 0 };
    rows.set(key, { ...known, copies: known.copies + 1 });
  });
  const list = [...rows.values()].reverse();
  return {
    worker: truth.worker,
    dpRank: truth.dpRank,
    adapters: truth.adapters,
    adapterOf: Uint16Array.from(list, ({ adapter }) => adapter),
    tierOf: Uint8Array.from(list, ({ tier }) => tier),
    hashes: BigUint64Array.from(list, ({ hash }) => hash),
    copies: Uint32Array.from(list, ({ copies }) => (copiesKnown ? copies : 0)),
  };
}

function standing(worker: string, trust = "exact", historyFrom = 0): StreamStanding {
  return { worker, dpRank: 0, trust, historyFrom };
}

function without(holdings: StreamHoldings, dropped: number): StreamHoldings {
  const keep = (_: unknown, row: number): boolean => row !== dropped;
  return {
    ...holdings,
    adapterOf: holdings.adapterOf.filter(keep),
    tierOf: holdings.tierOf.filter(keep),
    hashes: holdings.hashes.filter(keep),
    copies: holdings.copies.filter(keep),
  };
}

function randomTruth(random: Prng, worker: string): EngineTruth {
  const copies = Array.from({ length: 20 + random.below(30) }, (_, i) => ({
    hash: (BigInt(random.nextU32()) << 32n) | BigInt(i),
    tier: random.below(2),
    announcedIn: i,
    adapter: random.pick(["", "legal"]),
  }));
  // Some blocks lie in the pool twice.
  return truthOf(worker, [
    ...copies,
    ...copies.slice(0, random.below(5)).map((copy) => ({ ...copy, announcedIn: 90 })),
  ]);
}

describe("an audit of equal sides", () => {
  it("finds nothing, copies known or not", () => {
    fc.assert(
      fc.property(fc.nat(), fc.boolean(), (seed, copiesKnown) => {
        const random = new Prng(seed);
        const truths = ["a", "b", "c"].map((worker) => randomTruth(random, worker));
        const dump = truths.map((truth) => dumpOf(truth, copiesKnown));
        const result = audit(
          truths,
          dump,
          truths.map(({ worker }) => standing(worker)),
          NO_LINEAGE,
        );
        expect(result.differences).toEqual([]);
        expect(result.heldCount).toBe(result.dumpedCount);
        expect(result.streamsByTrust).toEqual({ exact: 3 });
      }),
    );
  });
});

describe("an audit finds what is planted", () => {
  type Plant = (random: Prng, dump: StreamHoldings) => { dump: StreamHoldings; kind: string };
  const plants: Record<string, Plant> = {
    "a block the daemon lost": (random, dump) => ({
      dump: without(dump, random.below(dump.hashes.length)),
      kind: "missing",
    }),
    "a ghost": (random, dump) => {
      const hashes = BigUint64Array.from([...dump.hashes, BigInt(random.nextU32()) << 31n]);
      return {
        dump: {
          ...dump,
          hashes,
          adapterOf: Uint16Array.from([...dump.adapterOf, 0]),
          tierOf: Uint8Array.from([...dump.tierOf, 0]),
          copies: Uint32Array.from([...dump.copies, 1]),
        },
        kind: "ghost",
      };
    },
    "a copy too many": (random, dump) => {
      const copies = dump.copies.slice();
      copies[random.below(copies.length)]! += 1;
      return { dump: { ...dump, copies }, kind: "copies" };
    },
  };

  it.each(Object.keys(plants))("%s, and nothing else", (name) => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const random = new Prng(seed);
        const truths = ["a", "b"].map((worker) => randomTruth(random, worker));
        const dumps = truths.map((truth) => dumpOf(truth));
        const victim = random.below(2);
        const planted = plants[name]!(random, dumps[victim]!);
        dumps[victim] = planted.dump;
        const result = audit(
          truths,
          dumps,
          truths.map(({ worker }) => standing(worker)),
          NO_LINEAGE,
        );
        expect(result.differenceCount).toBe(1);
        expect(result.differences[0]).toMatchObject({ kind: planted.kind, worker: truths[victim]!.worker });
      }),
    );
  });

  it("a block on the wrong tier or adapter, as one missing and one ghost", () => {
    const truth = truthOf("a", [{ hash: 5n, tier: 0, announcedIn: 3 }]);
    const dump = dumpOf(truth);
    for (const wrong of [{ tierOf: Uint8Array.of(1) }, { adapterOf: Uint16Array.of(1) }]) {
      const result = audit([truth], [{ ...dump, ...wrong }], [standing("a")], NO_LINEAGE);
      expect(result.differences.map(({ kind }) => kind)).toEqual(["ghost", "missing"]);
    }
  });

  it("a block that the daemon gives to another worker", () => {
    const [a, b] = [truthOf("a", [{ hash: 5n, tier: 0, announcedIn: 3 }]), truthOf("b", [])];
    const dump = [
      { ...dumpOf(b), worker: "a" },
      { ...dumpOf(a), worker: "b" },
    ];
    const result = audit([a, b], dump, [standing("a"), standing("b")], NO_LINEAGE);
    expect(result.differences).toMatchObject([
      { kind: "missing", worker: "a", prefixHash: "0000000000000005", announcedIn: 3, tier: "device" },
      { kind: "ghost", worker: "b", prefixHash: "0000000000000005", announcedIn: null },
    ]);
  });

  it("a stream that only one side knows", () => {
    const truth = truthOf("a", []);
    expect(audit([truth], [], [], NO_LINEAGE).differences).toMatchObject([
      { kind: "missing_stream", worker: "a" },
    ]);
    expect(audit([], [], [standing("z")], NO_LINEAGE).differences).toMatchObject([
      { kind: "unknown_stream", worker: "z" },
    ]);
  });

  it("more than it lists, and still counts them", () => {
    const truth = truthOf(
      "a",
      Array.from({ length: 100 }, (_, i) => ({ hash: BigInt(i), tier: 0, announcedIn: i })),
    );
    const result = audit([truth], [], [standing("a")], NO_LINEAGE);
    expect(result.differenceCount).toBe(100);
    expect(result.differences).toHaveLength(DIFFERENCES_LISTED_MAX);
  });
});

describe("a stream that is not exact", () => {
  // A chain 1 ← 2 ← 3, announced in messages 10, 20, 30.
  const chain = truthOf("a", [
    { hash: 1n, tier: 0, announcedIn: 10 },
    { hash: 2n, tier: 0, announcedIn: 20 },
    { hash: 3n, tier: 0, announcedIn: 30 },
  ]);
  const lineage: LineageOf = () =>
    new Map([
      [1n, null],
      [2n, 1n],
      [3n, 2n],
    ]);
  const empty = { ...dumpOf(truthOf("a", [])) };

  it("may miss what was announced before its history, and what hangs on that (A3)", () => {
    const result = audit([chain], [empty], [standing("a", "partial", 11)], lineage);
    expect(result).toMatchObject({ differenceCount: 0, excusedCount: 3 });
  });

  it("may not miss what it could have learnt (A3)", () => {
    const result = audit([chain], [empty], [standing("a", "partial", 10)], lineage);
    expect(result.differences.map(({ prefixHash }) => prefixHash.slice(-1))).toEqual(["1", "2", "3"]);
  });

  it("may miss a child of a block that the engine no longer holds", () => {
    const rest = truthOf("a", [{ hash: 3n, tier: 0, announcedIn: 30 }]);
    expect(audit([rest], [empty], [standing("a", "partial", 10)], lineage)).toMatchObject({
      excusedCount: 1,
    });
  });

  it("is excused nothing when it is called exact", () => {
    const result = audit([chain], [empty], [standing("a", "exact", 11)], lineage);
    expect(result.differenceCount).toBe(3);
  });

  it("may know fewer copies, never more", () => {
    const twice = truthOf(
      "a",
      [1, 2].map((announcedIn) => ({ hash: 1n, tier: 0, announcedIn })),
    );
    const dump = dumpOf(twice);
    const knows = (copies: number): number =>
      audit([twice], [{ ...dump, copies: Uint32Array.of(copies) }], [standing("a", "partial", 2)], lineage)
        .differenceCount;
    expect([1, 2, 3].map(knows)).toEqual([0, 0, 1]);
  });

  it("has no ghosts either", () => {
    const result = audit([truthOf("a", [])], [dumpOf(chain)], [standing("a", "partial", 10)], lineage);
    expect(result.differences.map(({ kind }) => kind)).toEqual(["ghost", "ghost", "ghost"]);
  });
});
