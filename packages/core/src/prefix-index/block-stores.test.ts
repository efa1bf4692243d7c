/**
 * The rooms of the writing side, each by the numbers in its head: index-options.ts, call-checks.ts, open-contexts.ts,
 * store-calls.ts, waiting-stores.ts, block-stores.ts, group-stores.ts.
 */
import { describe, expect, it } from "vitest";
import { BlockStores } from "./block-stores.ts";
import type { ContextKey, EvictionReason, RepeatRule, StoreOutcome } from "./contract.ts";
import { limitsOf, type PrefixIndexOptions } from "./index-options.ts";
import { IndexReport } from "./index-report.ts";
import { instantiateKernel } from "./kernel.ts";
import { OpenContexts } from "./open-contexts.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { PrefixReader } from "./prefix-reader.ts";
import { StoreCalls } from "./store-calls.ts";
import { WaitingStores } from "./waiting-stores.ts";
import { initialiseIndex, makeIndexMemory, makeWriterScratch, STORE_BLOCKS_MAX } from "./writer-memory.ts";

const KEY: ContextKey = { model: "m", loraName: null, blockSize: 4, lookahead: 0 };
const SMALL = { memoryBytesMax: 32 * 2 ** 20 };

/** One rank and one prompt, of which block i has the name (i + 1, 7). */
class Rank {
  readonly lost: [EvictionReason, number, readonly number[]][] = [];
  readonly index: PrefixIndex;
  readonly #reader: PrefixReader;

  constructor(options: PrefixIndexOptions = {}) {
    this.index = PrefixIndex.create({
      ...SMALL,
      onEviction: (...lost) => this.lost.push(lost),
      ...options,
    });
    this.#reader = PrefixReader.attach(this.index.shared, { tokensMax: 1024 });
  }

  /** Stores blocks `first` … `first + count − 1`, the first behind its parent. */
  store(
    first: number,
    count: number,
    repeats: RepeatRule = "count",
    tokenOf = (i: number) => i,
  ): StoreOutcome {
    const { tokens, hashes } = this.index.scratch;
    for (let i = 0; i < 4 * count; i += 1) tokens[i] = tokenOf(4 * first + i);
    this.name(first, count);
    const context = this.index.openContext(KEY);
    return this.index.storeBlocks(context, 0, 0, count, first > 0, hashes[0] - 1, 7, false, repeats);
  }

  name(first: number, count: number): void {
    for (let i = 0; i < count; i += 1) this.index.scratch.hashes.set([first + i + 1, 7], 2 * i);
  }

  /** Leading blocks of the prompt that a lookup finds. */
  matched(): number {
    for (let i = 0; i < 256; i += 1) this.#reader.tokens[i] = i;
    const { rows, matchCount } = this.#reader.matchTokens(this.index.openContext(KEY), 256, false);
    return matchCount === 0 ? 0 : rows[1];
  }
}

describe("what a caller may pass", () => {
  it("is held to its range, each limit by its name, before anything is made (O1)", () => {
    for (const option of ["memoryBytesMax", "contextCountMax", "prefixesPerContextMax", "parkedBytesMax"])
      expect(() => PrefixIndex.create({ [option]: -1 })).toThrow(option);
    expect(() => PrefixIndex.create({ parkedAgeMsMax: 0.5, parkedStoresPerRankMax: 0 })).toThrow(
      "parkedAgeMsMax",
    );
    expect(limitsOf({ contextCountMax: undefined })).toMatchObject({ contextCountMax: 256 });
  });

  it("is held to its range in each call, before anything is changed (K1)", () => {
    const { index } = new Rank();
    const context = index.openContext(KEY);
    for (const rankSlot of [-1, 0.5, 4096])
      expect(() => index.storeBlocks(context, rankSlot, 0, 1, false, 0, 0, false)).toThrow("rank slot");
    expect(() => index.removeBlocks(0, 0, STORE_BLOCKS_MAX + 1)).toThrow("blocks in one call");
    expect(() => index.removeBlocks(8192, 0, 1)).toThrow("rank slot");
    expect(() => index.openContext({ ...KEY, lookahead: 33 })).toThrow("lookahead");
    expect(index.stats()).toMatchObject({ holderCount: 0, unknownRemovalCount: 0 });
  });

  it("is held to its range by a second writer too, each limit by its name (O1)", () => {
    const { shared } = new Rank().index;
    for (const option of ["memoryBytesMax", "contextCountMax", "parkedBytesMax", "parkedAgeMsMax"])
      expect(() => PrefixIndex.attach(shared, { [option]: -1 })).toThrow(option);
  });

  it.each<[call: string, use: (index: PrefixIndex, slot: number) => unknown]>([
    [
      "storeGroupBlocks",
      (index, slot) => index.storeGroupBlocks(0, slot, 0, 1, 1, false, false, 0, 0, false),
    ],
    ["hasGivenUpParent", (index, slot) => index.hasGivenUpParent(slot, 1)],
    ["hasParked", (index, slot) => index.hasParked(slot)],
    ["parkedStoreCount", (index, slot) => index.parkedStoreCount(slot)],
    ["takeParked", (index, slot) => index.takeParked(slot)],
  ])("has a slot within its range in %s, also while stores wait (K1)", (_, use) => {
    const rank = new Rank();
    expect(rank.store(4, 1)).toBe("parked");
    for (const slot of [-1, 0.5, 8192, Number.NaN]) expect(() => use(rank.index, slot)).toThrow("rank slot");
    expect(rank.index.stats()).toMatchObject({ holderCount: 0, parkedStoreCount: 1 });
    expect(rank.index.check()).toEqual([]);
  });
});

describe("contexts that a writer has opened", () => {
  it("are opened anew when they went, and keys of those that are gone are forgotten (X1, X2)", () => {
    const limits = limitsOf({ ...SMALL, contextCountMax: 1 });
    const memory = makeIndexMemory(limits);
    const kernel = instantiateKernel(memory);
    initialiseIndex(kernel, limits);
    const { nameAt } = makeWriterScratch(kernel, memory);
    const contexts = new OpenContexts(kernel, memory, nameAt, limits.contextCountMax, () => undefined);
    const first = contexts.open({ ...KEY, model: "0" }, -1);
    for (let i = 1; i <= 60; i += 1) contexts.open({ ...KEY, model: String(i) }, -1);
    expect(contexts.keyOf(first)).toMatchObject({ model: "0" });
    const again = contexts.open({ ...KEY, model: "0" }, -1);
    expect(again).not.toBe(first);
    for (let i = 61; i <= 80; i += 1) contexts.open({ ...KEY, model: String(i) }, -1);
    expect(() => contexts.keyOf(first)).toThrow("is not open");
  });
});

describe("stores", () => {
  it("count under one outcome each (B1)", () => {
    const rank = new Rank({ parkedStoresPerRankMax: 1, parkedBytesMax: 3000 });
    const outcomes = [
      rank.store(0, 2),
      rank.store(0, 2, "skip_all"),
      rank.store(8, 1),
      rank.store(40, 100),
      rank.index.storeBlocks(rank.index.openContext(KEY), 0, 0, STORE_BLOCKS_MAX + 1, false, 0, 0, false),
    ];
    expect(outcomes).toEqual([
      "stored",
      "repeated",
      "parked",
      "rejected_park_full",
      "rejected_too_many_blocks",
    ]);
    const { storesByOutcome } = rank.index.stats();
    expect(outcomes.map((outcome) => storesByOutcome[outcome])).toEqual([1, 1, 1, 1, 1]);
    expect(Object.values(storesByOutcome).reduce((sum, count) => sum + count)).toBe(outcomes.length);
  });

  it("attach what waits for them whole and in order, and leave names and notes as the caller's (B2, B3)", () => {
    const rank = new Rank();
    expect([rank.store(4, 2), rank.store(2, 2), rank.matched()]).toEqual(["parked", "parked", 0]);
    expect([rank.store(0, 2), rank.matched()]).toEqual(["stored", 6]);
    expect([...rank.index.scratch.hashes.subarray(0, 4)]).toEqual([1, 7, 2, 7]);
    expect([...rank.index.notes.subarray(0, 2)]).toEqual([0, 0]);
    expect(rank.index.stats()).toMatchObject({ attachedStoreCount: 2, parkedStoreCount: 0 });
  });

  it("wait on where another writer drops their context while they are attached (B4)", () => {
    const lost: EvictionReason[] = [];
    const limits = limitsOf({ ...SMALL, contextCountMax: 1, onEviction: (reason) => lost.push(reason) });
    const memory = makeIndexMemory(limits);
    const kernel = instantiateKernel(memory);
    initialiseIndex(kernel, limits);
    const scratch = makeWriterScratch(kernel, memory);
    const report = new IndexReport(kernel, memory, scratch.reportAt, limits.onEviction);
    const takeEvictions = (): void => {
      report.takeEvictions();
    };
    const other = new OpenContexts(kernel, memory, scratch.nameAt, 1, takeEvictions);
    let isRaced = false;
    class RacedContexts extends OpenContexts {
      override open(key: ContextKey, rankSlot: number): number {
        const id = super.open(key, rankSlot);
        if (isRaced) other.open({ ...KEY, model: "other" }, 1);
        isRaced = false;
        return id;
      }
    }
    const contexts = new RacedContexts(kernel, memory, scratch.nameAt, 1, takeEvictions);
    const waiting = new WaitingStores(kernel, scratch, report, limits);
    const stores = new BlockStores(scratch, contexts, new StoreCalls(kernel, scratch, report), waiting);
    const store = (name: number, hasParent: boolean): StoreOutcome => {
      scratch.tokens.fill(name, 0, 4);
      scratch.hashes.set([name, 7]);
      const context = contexts.open(KEY, 0);
      isRaced = !hasParent;
      return stores.store(context, 0, 0, 1, hasParent, name - 1, 7, false, false, "count");
    };
    expect([store(2, true), store(1, false)]).toEqual(["parked", "stored"]);
    expect([isRaced, waiting.countOf(0), stores.attachedCount]).toEqual([false, 1, 0]);
    expect(lost).toEqual(["context_limit"]);
  });

  it("have notes of their own, and what they attach is noted apart, both until the next store (C1)", () => {
    const rank = new Rank();
    rank.store(0, 1);
    // Block 5 has other content first, so that what waits renames it.
    rank.name(5, 1);
    rank.index.scratch.tokens.fill(99, 0, 4);
    rank.index.storeBlocks(rank.index.openContext(KEY), 0, 0, 1, false, 0, 0, false);
    expect(rank.store(5, 1)).toBe("parked");
    expect(rank.store(0, 5, "skip_each")).toBe("stored");
    expect([rank.index.hasNotes, [...rank.index.notes.subarray(0, 5)]]).toEqual([true, [1, 0, 0, 0, 0]]);
    expect(rank.index.attachedRenames).toEqual([6, 7]);
    rank.store(6, 1);
    expect([rank.index.hasNotes, rank.index.attachedRenames]).toEqual([false, []]);
  });

  it("that wait too long are counted, reported, and their parents remembered until the rank is cleared (F1)", () => {
    const rank = new Rank({ parkedAgeMsMax: 10 });
    rank.store(3, 2);
    rank.index.passTime(11);
    expect(rank.lost).toEqual([["park_limit", 2, [0]]]);
    expect(rank.index.stats().evictedByReason.park_limit).toBe(2);
    rank.name(2, 1);
    expect(rank.index.hasGivenUpParent(0, 1)).toBe(true);
    rank.index.clearRank(0);
    expect(rank.index.hasGivenUpParent(0, 1)).toBe(false);
  });

  it("wait in arrays of their own (F2)", () => {
    const rank = new Rank();
    rank.store(1, 2);
    rank.index.scratch.tokens.fill(0);
    rank.index.scratch.hashes.fill(0);
    rank.store(0, 1);
    expect(rank.matched()).toBe(3);
  });

  it("of a group report what they cannot place, its names first and in order (D1)", () => {
    const rank = new Rank();
    rank.store(0, 2);
    rank.index.openMainGroup(0, 4);
    const shape = {
      index: 1,
      rule: "window",
      kind: "sliding_window",
      windowTokens: 8,
      blockSize: 4,
    } as const;
    const group = rank.index.openGroup(0, shape);
    const { hashes } = rank.index.scratch;
    hashes.set([90, 7, 1, 7, 91, 7, 2, 7]);
    const context = rank.index.openContext(KEY);
    expect(rank.index.storeGroupBlocks(context, group, 0, 4, 1, false, false, 0, 0, false)).toEqual({
      outcome: "stored",
      unplacedCount: 2,
    });
    expect([...hashes.subarray(0, 4)]).toEqual([90, 7, 91, 7]);
    expect(rank.index.rankBlockCount(0)).toBe(2);
  });
});
