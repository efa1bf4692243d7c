/**
 * Contexts that come and go (contract.ts S7, S11): which context is evicted for which, which ranks
 * are reported, and what remains of them.
 */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { beforeEach, describe, expect, test } from "vitest";
import type { ContextKey } from "./contract.ts";
import type { PrefixIndexOptions } from "./index-options.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { PrefixReader } from "./prefix-reader.ts";

const BASE: ContextKey = { model: "base", loraName: null, blockSize: 1, lookahead: 0 };
const adapter = (i: number, model = "other"): ContextKey => ({ ...BASE, model, loraName: `adapter-${i}` });

/** An index whose contexts are few, and what it said that it forgot. */
class Few {
  readonly index: PrefixIndex;
  readonly reader: PrefixReader;
  readonly evictions: [string, number, number[]][] = [];

  constructor(options: PrefixIndexOptions = {}) {
    this.index = PrefixIndex.create({
      contextCountMax: 8,
      onEviction: (reason, blockCount, rankSlots) =>
        this.evictions.push([reason, blockCount, [...rankSlots]]),
      ...options,
    });
    this.reader = PrefixReader.attach(this.index.shared, { tokensMax: 64 });
  }

  /** Two blocks, whose names are the context's alone. */
  store(rankSlot: number, key: ContextKey, name: number, writer = this.index, hasParent = false): string {
    const { tokens, hashes } = writer.scratch;
    tokens.set([1, 2]);
    hashes.set([2 * name, 1, 2 * name + 1, 1]);
    return writer.storeBlocks(writer.openContext(key, rankSlot), rankSlot, 0, 2, hasParent, 77, 1, false);
  }

  remove(rankSlot: number, name: number): number {
    this.index.scratch.hashes.set([2 * name, 1, 2 * name + 1, 1]);
    return this.index.removeBlocks(rankSlot, 0, 2);
  }

  matched(key: ContextKey): number {
    this.reader.tokens.set([1, 2]);
    const { matchCount, rows } = this.reader.matchTokens(this.reader.findContext(key), 2, false);
    return matchCount === 0 ? 0 : rows[1];
  }
}

let few: Few;
beforeEach(() => {
  few = new Few();
});

describe("Too many contexts (S11)", () => {
  test("adapters that were stored and removed cost a model nothing that nobody asks about", () => {
    few.store(0, BASE, 0);
    for (let i = 0; i < 30; i++) {
      few.store(1, adapter(i), 100 + i);
      few.remove(1, 100 + i);
    }
    few.store(1, { ...BASE, model: "other" }, 50);
    expect([few.matched(BASE), few.matched({ ...BASE, model: "other" })]).toEqual([2, 2]);
    expect(few.evictions).toEqual([]);
    expect(few.reader.rankLostTo(0)).toBe(null);
    expect(few.index.stats().contextCount).toBe(2);
  });

  test("of one engine take its own, though others are looked up and stored to less", () => {
    for (let i = 0; i < 4; i++) few.store(i, adapter(i, `mine-${i}`), i);
    for (let i = 0; i < 40; i++) few.store(7, adapter(i, "many"), 100 + i);
    for (let i = 0; i < 4; i++) expect(few.matched(adapter(i, `mine-${i}`))).toBe(2);
    expect(new Set(few.evictions.flatMap(([, , slots]) => slots))).toEqual(new Set([7]));
    expect(few.index.check()).toEqual([]);
  });

  test("of one engine's ranks count together", () => {
    for (const rankSlot of [4, 5, 6, 7]) few.index.setRankOwner(rankSlot, 4);
    for (let i = 0; i < 4; i++) few.store(i, adapter(i, `mine-${i}`), i);
    for (let i = 0; i < 40; i++) few.store(4 + (i % 4), adapter(i, "many"), 100 + i);
    for (let i = 0; i < 4; i++) expect(few.matched(adapter(i, `mine-${i}`))).toBe(2);
  });

  test("an engine that has none takes from the one that has most", () => {
    few.store(1, BASE, 0);
    for (let i = 0; i < 7; i++) few.store(7, adapter(i), 100 + i);
    few.store(2, adapter(0, "new"), 200);
    expect([few.matched(BASE), few.matched(adapter(0, "new")), few.matched(adapter(0))]).toEqual([2, 2, 0]);
    expect(few.evictions).toEqual([["context_limit", 2, [7]]]);
  });

  test("a rank that lost blocks is marked for readers in the same call, whoever's call it was, until it is cleared (S7)", () => {
    const heard: number[] = [];
    const other = PrefixIndex.attach(few.index.shared, {
      contextCountMax: 8,
      onEviction: (_reason, _blockCount, rankSlots) => {
        for (const slot of rankSlots)
          heard.push(slot, Number(few.reader.rankLostTo(slot) === "context_limit"), few.matched(BASE));
      },
    });
    few.store(0, BASE, 0);
    for (let i = 1; i < 8; i++) few.store(i, adapter(i), i);
    expect(few.reader.rankLostTo(0)).toBe(null);
    few.store(9, adapter(100), 100, other);
    expect(heard).toEqual([0, 1, 0]);
    expect(few.reader.rankLostTo(0)).toBe("context_limit");
    few.index.clearRank(0);
    expect(few.reader.rankLostTo(0)).toBe(null);
    expect(few.reader.rankLostTo(1)).toBe(null);
  });
});

test("a rank that lost blocks to the limit of a context's prefixes is marked with that limit", () => {
  few = new Few({ prefixesPerContextMax: 2 });
  few.store(0, BASE, 0);
  few.index.scratch.tokens.set([8, 9]);
  few.index.scratch.hashes.set([100, 1, 101, 1]);
  few.index.storeBlocks(few.index.openContext(BASE, 1), 1, 0, 2, false, 0, 0, false);
  expect([few.reader.rankLostTo(0), few.reader.rankLostTo(1)]).toEqual(["prefix_limit", null]);
});

describe("Empty contexts (S11)", () => {
  test("go by themselves after some more writes, and what waits in one for its parent does not", () => {
    few.store(3, adapter(1), 5, few.index, true);
    few.store(0, BASE, 0);
    expect(few.index.stats().parkedStoreCount).toBe(1);
    for (let i = 0; i < 2500; i++) few.remove(9, 1);
    expect(few.reader.findContext(adapter(1))).toBe(-1);
    expect(few.index.parkedStoreCount(3)).toBe(1);
    const { tokens, hashes } = few.index.scratch;
    tokens[0] = 9;
    hashes.set([77, 1]);
    few.index.storeBlocks(few.index.openContext(adapter(1), 3), 3, 0, 1, false, 0, 0, false);
    expect([few.index.parkedStoreCount(3), few.index.rankBlockCount(3)]).toEqual([0, 3]);
    expect(few.index.check()).toEqual([]);
  });

  test("that were large go with their last block, by removals and by a clear", () => {
    const COUNT = 60_000;
    const fill = (): void => {
      const { tokens, hashes } = few.index.scratch;
      for (let i = 0; i < COUNT; i++) {
        tokens[i] = i;
        hashes[2 * i] = i;
        hashes[2 * i + 1] = 9;
      }
    };
    few.store(0, BASE, 0);
    const before = few.index.stats().allocatedBytes;
    for (const end of ["removal", "clear"]) {
      fill();
      few.index.storeBlocks(few.index.openContext(adapter(1), 1), 1, 0, COUNT, false, 0, 0, false);
      expect(few.index.stats().allocatedBytes).toBeGreaterThan(before + 1e6);
      fill();
      if (end === "clear") few.index.clearRank(1);
      else few.index.removeBlocks(1, 0, COUNT);
      few.remove(9, 1);
      expect(few.index.stats().allocatedBytes).toBe(before);
    }
  });

  test("of ten thousand models that come and go leave the memory of the process where it was", () => {
    const program = fileURLToPath(new URL("../../test/vanishing-models.mjs", import.meta.url));
    const output = execFileSync(process.execPath, ["--expose-gc", program], { encoding: "utf8" });
    const { empty, early, late, idle } = JSON.parse(output) as Record<
      "empty" | "early" | "late" | "idle",
      { rss: number; allocated: number }
    >;
    console.log(`rss ${early.rss} then ${late.rss}, allocated ${early.allocated} then ${late.allocated}`);
    expect(late.rss / early.rss).toBeLessThan(1.15);
    expect(late.allocated / early.allocated).toBeLessThan(1.1);
    expect(idle.allocated - empty.allocated).toBeLessThan(65_536);
  });

  test("do not keep a parked store beyond its age", () => {
    few.index.passTime(1000);
    few.store(3, adapter(1), 5, few.index, true);
    few.index.passTime(600_999);
    expect(few.index.parkedStoreCount(3)).toBe(1);
    few.index.passTime(601_001);
    expect(few.index.parkedStoreCount(3)).toBe(0);
    expect(few.evictions).toEqual([["park_limit", 2, [3]]]);
  });
});
