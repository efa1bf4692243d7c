/**
 * The additions of `PrefixIndex` and `PrefixReader` to the contract: limits and refusals, contexts
 * in shared memory, dumps, counts, and a check that finds damage. The contract itself:
 * contract.test.ts; both indexes compared: prefix-index.model.test.ts.
 */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { ContextKey, EvictionReason, Tier } from "./contract.ts";
import { INDEX_ROW_BYTES, type IndexCopy, IndexCopyReader } from "./index-copy.ts";
import { INVARIANTS } from "./invariants.ts";
import { PrefixHasher } from "./prefix-hasher.ts";
import type { PrefixIndexOptions } from "./index-options.ts";
import { STORE_BLOCKS_MAX } from "./writer-memory.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { DUMP_ROW_WORDS, PrefixReader } from "./prefix-reader.ts";

const KEY: ContextKey = { model: "m", loraName: null, blockSize: 4, lookahead: 0 };

/** A prompt is a number; block i of it has tokens of its own, and the engine calls it (100 × prompt + i, 1). */
class Bench {
  readonly evictions: [EvictionReason, number, readonly number[]][] = [];
  readonly index: PrefixIndex;
  readonly reader: PrefixReader;

  constructor(options: PrefixIndexOptions = {}) {
    this.index = PrefixIndex.create({
      memoryBytesMax: 32 * 2 ** 20,
      onEviction: (...eviction) => this.evictions.push(eviction),
      ...options,
    });
    this.reader = PrefixReader.attach(this.index.shared, { tokensMax: 4096 });
  }

  store(
    rankSlot: number,
    prompt: number,
    blockCount: number,
    change: { key?: ContextKey; tier?: Tier } = {},
  ) {
    const { key = KEY, tier = 0 } = change;
    const { tokens, hashes } = this.index.scratch;
    for (let i = 0; i < 4 * blockCount; i++) tokens[i] = 1000 * prompt + i;
    for (let i = 0; i < blockCount; i++) hashes.set([100 * prompt + i, 1], 2 * i);
    return this.index.storeBlocks(
      this.index.openContext(key),
      rankSlot,
      tier,
      blockCount,
      false,
      0,
      0,
      false,
    );
  }

  remove(rankSlot: number, prompt: number, blockCount: number): number {
    for (let i = 0; i < blockCount; i++) this.index.scratch.hashes.set([100 * prompt + i, 1], 2 * i);
    return this.index.removeBlocks(rankSlot, 0, blockCount);
  }

  /** Matched blocks by rank slot. */
  match(
    prompt: number,
    blockCount: number,
    contextId = this.reader.findContext(KEY),
  ): Record<number, number> {
    for (let i = 0; i < 4 * blockCount; i++) this.reader.tokens[i] = 1000 * prompt + i;
    const { matchCount, rows } = this.reader.matchTokens(contextId, 4 * blockCount, false);
    return Object.fromEntries(Array.from({ length: matchCount }, (_, i) => [rows[6 * i], rows[6 * i + 1]]));
  }
}

describe("what is foreign is refused with a code", () => {
  it("refuses limits out of their range", () => {
    for (const option of ["memoryBytesMax", "contextCountMax", "prefixesPerContextMax"] as const)
      expect(() => PrefixIndex.create({ [option]: 0 })).toThrow(
        expect.objectContaining({
          facts: expect.objectContaining({ code: "invalid_option", option }) as unknown,
        }),
      );
  });

  it("refuses block sizes, names and rank slots that it cannot keep", () => {
    const { index } = new Bench();
    expect(() => index.openContext({ ...KEY, blockSize: 0 })).toThrow(
      expect.objectContaining({ code: "invalid_block_size" }),
    );
    expect(() => index.openContext({ ...KEY, lookahead: 33 })).toThrow(
      expect.objectContaining({ code: "invalid_lookahead" }),
    );
    expect(() => index.openContext({ ...KEY, model: "x".repeat(5000) })).toThrow(
      expect.objectContaining({ code: "context_name_too_long" }),
    );
    const contextId = index.openContext(KEY);
    expect(() => index.storeBlocks(contextId, 4096, 0, 0, false, 0, 0, false)).toThrow(
      expect.objectContaining({ code: "invalid_rank_slot" }),
    );
  });

  it("answers a run longer than scratch with an outcome, and changes nothing", () => {
    const { index } = new Bench();
    const contextId = index.openContext({ ...KEY, blockSize: 1 });
    const outcome = index.storeBlocks(contextId, 0, 0, STORE_BLOCKS_MAX + 1, false, 0, 0, false);
    expect([outcome, index.stats().prefixCount]).toEqual(["rejected_too_many_blocks", 0]);
    expect(() => index.removeBlocks(0, 0, STORE_BLOCKS_MAX + 1)).toThrow(
      expect.objectContaining({ code: "too_many_blocks" }),
    );
  });

  it("refuses queries longer than the reader's buffers", () => {
    const { reader } = new Bench();
    expect(() => reader.matchTokens(0, reader.tokens.length + 1, false)).toThrow(
      expect.objectContaining({ code: "too_many_tokens" }),
    );
    expect(() => reader.matchHashes(0, 4097)).toThrow(expect.objectContaining({ code: "too_many_blocks" }));
  });

  it("has room for the hashes of the longest query where a block has one token", () => {
    const { index } = new Bench();
    const contextId = index.openContext({ ...KEY, blockSize: 1 });
    const [reader, beside] = [0, 1].map(() => PrefixReader.attach(index.shared, { tokensMax: 64 }));
    const { tokens, hashes } = index.scratch;
    const { length } = reader.tokens;
    for (let i = 0; i < length; i++) {
      [tokens[i], reader.tokens[i], beside.tokens[i]] = [i, i, i];
      hashes.set([i, 1], 2 * i);
    }
    index.storeBlocks(contextId, 0, 0, length, false, 0, 0, false);
    for (const each of [reader, beside, reader])
      expect([...each.matchTokens(contextId, length, false).rows.subarray(0, 3)]).toEqual([
        0,
        length,
        length,
      ]);
    expect([length, reader.hashes.length, index.check()]).toEqual([96, 128, []]);
  });

  it("attaches 128 readers, no more, and takes back the places of those that detach", () => {
    const { index, reader } = new Bench();
    const attach = (): PrefixReader => PrefixReader.attach(index.shared, { tokensMax: 1 });
    const others = Array.from({ length: 127 }, attach);
    expect(attach).toThrow(expect.objectContaining({ facts: { code: "too_many_readers", readersMax: 128 } }));
    const before = index.stats().memoryBytes;
    for (const other of others) other.detach();
    for (let i = 0; i < 500; i++) attach().detach();
    expect(index.stats().memoryBytes).toBe(before);
    expect(reader.contexts()).toEqual([]);
    expect(index.check()).toEqual([]);
  });
});

describe("contexts", () => {
  it("are found and listed by readers without messages, names and counts and all", () => {
    const bench = new Bench();
    const lora: ContextKey = { model: "Qwen/Qwen3 ✓", loraName: "ü", blockSize: 4, lookahead: 1 };
    bench.store(3, 1, 5);
    bench.store(3, 1, 2, { key: lora });
    const byModel = (one: { key: ContextKey }, other: { key: ContextKey }) =>
      one.key.model < other.key.model ? -1 : 1;
    const listed = bench.reader.contexts().sort(byModel);
    expect(listed).toEqual(bench.index.contexts().sort(byModel));
    expect(
      listed.map(({ id, key, prefixCount, mappingCount }) => [id, key, prefixCount, mappingCount]),
    ).toEqual([
      [bench.index.openContext(lora), lora, 2, 2],
      [bench.index.openContext(KEY), KEY, 5, 5],
    ]);
    expect(bench.reader.findContext(lora)).toBe(bench.index.openContext(lora));
    expect(bench.reader.findContext({ ...lora, lookahead: 0 })).toBe(-1);
  });

  it("beyond the limit drop the one stored to longest ago, with its ranks named, and its id never matches again", () => {
    const bench = new Bench({ contextCountMax: 2 });
    const [first, second, third] = ["a", "b", "c"].map((model) => ({ ...KEY, model }));
    for (const [i, key] of [first, second].entries()) bench.store(i, 1, 3, { key });
    const ids = [first, second].map((key) => bench.reader.findContext(key));
    bench.store(0, 4, 1, { key: first });
    bench.match(1, 3, ids[1]);
    bench.store(2, 1, 3, { key: third });
    expect(bench.evictions).toEqual([["context_limit", 3, [1]]]);
    expect(bench.reader.findContext(second)).toBe(-1);
    expect([bench.match(1, 3, ids[0]), bench.match(1, 3, ids[1])]).toEqual([{ 0: 3 }, {}]);
    bench.store(5, 1, 2, { key: second });
    expect(bench.match(1, 3, ids[1])).toEqual({});
    expect(bench.match(1, 3, bench.reader.findContext(second))).toEqual({ 5: 2 });
    expect(bench.index.rankBlockCount(1)).toBe(0);
    expect(bench.index.check()).toEqual([]);
  });

  it("give all their memory back when they are dropped", () => {
    const bench = new Bench({ contextCountMax: 1 });
    bench.store(0, 0, 40);
    const early = bench.index.stats().allocatedBytes;
    for (let i = 1; i < 50; i++) bench.store(i % 9, i, 40, { key: { ...KEY, model: `m${i}` } });
    expect(bench.index.stats().allocatedBytes).toBe(early);
  });
});

describe("limits", () => {
  it("of prefixes forget what was neither stored nor matched lately, and name the ranks", () => {
    const bench = new Bench({ prefixesPerContextMax: 30 });
    for (const prompt of [1, 2, 3]) bench.store(prompt, prompt, 10);
    bench.store(9, 4, 1);
    expect(bench.evictions).toEqual([["prefix_limit", 1, [1]]]);
    expect(bench.match(3, 10)).toEqual({ 3: 10 });
    bench.store(9, 5, 14);
    expect(bench.evictions[1]).toEqual(["prefix_limit", 14, [1, 2]]);
    expect([bench.match(3, 10), bench.match(4, 1), bench.match(5, 14)]).toEqual([
      { 3: 10 },
      { 9: 1 },
      { 9: 14 },
    ]);
    expect(bench.index.stats()).toMatchObject({ prefixCount: 30, evictedByReason: { prefix_limit: 15 } });
    expect(bench.store(9, 6, 31)).toBe("rejected_too_many_blocks");
    expect(bench.index.check()).toEqual([]);
  });

  it("of prefixes pass over once what was matched once, wherever its neighbours are", () => {
    const bench = new Bench({ prefixesPerContextMax: 20 });
    for (let prompt = 0; prompt < 20; prompt++) bench.store(1, prompt, 1);
    for (const prompt of [0, 2, 4]) bench.match(prompt, 1);
    for (let prompt = 20; prompt < 26; prompt++) bench.store(1, prompt, 1);
    expect([0, 2, 4].map((prompt) => bench.match(prompt, 1))).toEqual([{ 1: 1 }, { 1: 1 }, { 1: 1 }]);
    // A round is the thousand ids of a chunk; the match just now saves the three for one more.
    for (let prompt = 26; prompt < 2500; prompt++) bench.store(1, prompt, 1);
    expect([0, 2, 4].map((prompt) => bench.match(prompt, 1))).toEqual([{}, {}, {}]);
  });

  it("of the park are told, the ranks named", () => {
    const bench = new Bench({ parkedStoresPerRankMax: 1 });
    const { index } = bench;
    const contextId = index.openContext(KEY);
    const orphan = (parent: number): string => index.storeBlocks(contextId, 7, 0, 2, true, parent, 0, false);
    expect([orphan(1), orphan(2)]).toEqual(["parked", "parked"]);
    expect(bench.evictions).toEqual([["park_limit", 2, [7]]]);
    expect(index.stats().evictedByReason.park_limit).toBe(2);
    const none = new Bench({ parkedStoresPerRankMax: 0 }).index;
    expect(none.storeBlocks(none.openContext(KEY), 7, 0, 2, true, 1, 0, false)).toBe("rejected_park_full");
  });
});

describe("counts", () => {
  it("follow stores, removals and clears, over tiers and contexts", () => {
    const bench = new Bench();
    const { index } = bench;
    bench.store(1, 1, 5);
    bench.store(1, 1, 5, { tier: 1 });
    bench.store(1, 2, 3, { key: { ...KEY, model: "other" } });
    bench.store(2, 1, 5);
    expect([index.rankBlockCount(1), bench.reader.rankBlockCount(1)]).toEqual([8, 8]);
    expect([bench.reader.rankBlockCount(-1), bench.reader.rankBlockCount(1e9)]).toEqual([0, 0]);
    expect(index.stats()).toMatchObject({
      contextCount: 2,
      prefixCount: 8,
      holderCount: 18,
      mappingCount: 8,
    });
    bench.remove(1, 1, 2);
    expect(index.rankBlockCount(1)).toBe(8);
    expect(index.stats()).toMatchObject({ holderCount: 16, removedCount: 2, unknownRemovalCount: 0 });
    expect(bench.remove(2, 2, 2)).toBe(0);
    index.clearRank(1);
    expect([index.rankBlockCount(1), index.rankBlockCount(2)]).toEqual([0, 5]);
    expect(index.stats()).toMatchObject({ holderCount: 5, prefixCount: 5, unknownRemovalCount: 2 });
    expect(index.stats().storesByOutcome).toMatchObject({ stored: 4, parked: 0 });
  });

  it("show that what a clear leaves behind is swept by the writes that follow", () => {
    const bench = new Bench();
    for (let prompt = 0; prompt < 200; prompt++) bench.store(1, prompt, 40);
    bench.index.clearRank(1);
    expect(bench.index.stats()).toMatchObject({ prefixCount: 0, holderCount: 0 });
    expect(bench.index.stats().deadCount).toBeGreaterThan(0);
    for (let i = 0; i < 100; i++) bench.remove(2, 1, 1);
    expect(bench.index.stats()).toMatchObject({ deadCount: 0, sweepCount: 0, limboCount: 0 });
    expect(bench.index.check()).toEqual([]);
  });
});

describe("a dump", () => {
  it("gives every holder once, with its copies, in pages of any size", () => {
    const bench = new Bench();
    for (const rankSlot of [0, 70, 4095]) bench.store(rankSlot, 1, 20);
    bench.store(70, 1, 20, { tier: 2 });
    bench.store(70, 1, 20);
    const contextId = bench.reader.findContext(KEY);
    const dumpBy = (rowsPerPage: number): string[] => {
      const lines: string[] = [];
      const out = new Uint32Array(DUMP_ROW_WORDS * rowsPerPage);
      for (let cursor = 0; cursor >= 0; ) {
        const page = bench.reader.dump(contextId, cursor, out);
        for (let i = 0; i < page.rows; i++)
          lines.push(out.subarray(DUMP_ROW_WORDS * i, DUMP_ROW_WORDS * (i + 1)).join());
        cursor = page.cursor;
      }
      return lines;
    };
    const whole = dumpBy(1000);
    expect(new Set(whole).size).toBe(80);
    expect(whole.filter((line) => line.endsWith(",70,0,2"))).toHaveLength(20);
    expect(dumpBy(1)).toEqual(whole);
    expect(dumpBy(7)).toEqual(whole);
    expect(bench.reader.dump(contextId + 4096, 0, new Uint32Array(10))).toEqual({ cursor: -1, rows: 0 });
  });
});

describe("a copy", () => {
  it("made in the memory of an earlier one is as good as one of its own, and does not make it larger", () => {
    const index = PrefixIndex.create();
    const context = index.openContext({ model: "m", loraName: null, blockSize: 4, lookahead: 0 });
    const rowsIn = (copy: IndexCopy): number => {
      const reader = new IndexCopyReader(copy);
      return reader
        .contexts()
        .flatMap(({ id }) => [...reader.rows(id)])
        .reduce((rows, page) => rows + page.byteLength / INDEX_ROW_BYTES, 0);
    };
    let copy = index.copy();
    const { memory } = copy;
    rowsIn(copy);
    const bytes = memory.buffer.byteLength;
    for (let chain = 1; chain <= 100; chain++) {
      for (let i = 0; i < 8; i++) index.scratch.tokens[i] = chain;
      index.scratch.hashes.set([chain, 0, chain, 1]);
      index.storeBlocks(context, chain, 0, 2, false, 0, 0, false);
      copy = index.copy(copy);
      expect(rowsIn(copy)).toBe(2 * chain);
    }
    expect([copy.memory, copy.memory.buffer.byteLength]).toEqual([memory, bytes]);
    for (let i = 0; i < 4 * STORE_BLOCKS_MAX; i++) index.scratch.tokens[i] = i >>> 2;
    for (let i = 0; i < 2 * STORE_BLOCKS_MAX; i++) index.scratch.hashes[i] = i;
    for (let rank = 0; rank < 2; rank++)
      expect(index.storeBlocks(context, rank, 0, STORE_BLOCKS_MAX, false, 0, 0, false)).toBe("stored");
    expect(rowsIn(index.copy(copy))).toBe(200 + 2 * STORE_BLOCKS_MAX);
  });

  it("says what waited at its moment, whatever is removed later, here or where it was taken to", () => {
    const index = PrefixIndex.create();
    const other = PrefixIndex.create();
    const context = index.openContext({ model: "m", loraName: null, blockSize: 4, lookahead: 0 });
    index.scratch.hashes.set([1, 0, 2, 0]);
    expect(index.storeBlocks(context, 0, 0, 2, true, 99, 0, false)).toBe("parked");
    const [record] = index.copyParked();
    const target = other.importer();
    for (const parked of index.copy().parked) target.park(parked);
    for (const one of [index, other]) {
      one.scratch.hashes.set([1, 0]);
      expect(one.removeBlocks(0, 0, 1)).toBe(1);
      expect([...record.removed]).toEqual([0, 0]);
      expect([...one.copyParked()[0].removed]).toEqual([1, 0]);
    }
  });
});

describe("prefix hashes", () => {
  it("of a hasher with the index's seed find what was stored by tokens, and others do not", () => {
    const bench = new Bench({ seed: 99n });
    bench.store(4, 1, 10);
    const contextId = bench.reader.findContext(KEY);
    const tokens = Uint32Array.from({ length: 40 }, (_, i) => 1000 + i);
    PrefixHasher.create(99).hash(tokens, 10, 4, null, bench.reader.hashes);
    expect([...bench.reader.matchHashes(contextId, 10).rows]).toEqual([4, 10, 10, 0, 0, 0, 10]);
    PrefixHasher.create(98).hash(tokens, 10, 4, null, bench.reader.hashes);
    expect(bench.reader.matchHashes(contextId, 10).matchCount).toBe(0);
  });

  it("and digests are the same from index, reader and hasher", () => {
    const { index, reader } = new Bench({ seed: 99n });
    const bytes = new TextEncoder().encode("a salt");
    const digests = [index, reader, PrefixHasher.create(99)].map((digester) => {
      const out = new Uint32Array(3);
      digester.digestBytes(bytes, out, 1);
      return out.join();
    });
    expect(new Set(digests).size).toBe(1);
  });
});

describe("check", () => {
  it("finds a damaged prefix hash, engine hash and set by the number of the invariant", () => {
    const bench = new Bench();
    bench.store(4, 1, 10);
    const tokens = Uint32Array.from({ length: 4 }, (_, i) => 1000 + i);
    const prefix = new Uint32Array(2);
    PrefixHasher.create().hash(tokens, 1, 4, null, prefix);
    const { scratch, shared } = bench.index;
    const words = new Uint32Array(shared.memory.buffer);
    // The arena's columns are found by what is in them; scratch, which holds the same words, is overwritten first.
    scratch.hashes.fill(0);
    scratch.tokens.fill(0);
    const prefixAt = words.findLastIndex((word, i) => word === prefix[0] && words[i + 1] === prefix[1]);
    const columns = words.findIndex((word, i) => word === 100 && words[i + 1] === 1 && words[i + 2] === 101);
    expect(bench.index.check()).toEqual([]);
    const damage = (at: number): string[] => {
      words[at] ^= 1;
      const found = bench.index.check().map((violation) => violation.slice(0, violation.indexOf(":")));
      words[at] ^= 1;
      return [...new Set(found)];
    };
    const candidates = [...words.keys()].filter((i) => words[i] === prefix[0] && words[i + 1] === prefix[1]);
    expect(prefixAt).toBeGreaterThan(0);
    expect(candidates.flatMap(damage)).toContain("I2");
    expect(damage(columns)).toEqual(["I3"]);
    expect(bench.index.check()).toEqual([]);
  });

  it("has the same invariants as the README", () => {
    const readme = readFileSync(new URL("./README.md", import.meta.url), "utf8");
    const listed = [...readme.matchAll(/^- \*\*I(\d+)\*\* (.+)$/gm)].map(([, number, text]) => [
      number,
      text,
    ]);
    expect(listed).toEqual(INVARIANTS.map((text, i) => [String(i + 1), text]));
  });
});
