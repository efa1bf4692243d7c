/**
 * The reader of several indexes, where the model test's short prompts and single thread do not reach. Numbers are those of
 * parts-reader.ts and rank-rows.ts.
 */
import { describe, expect, test } from "vitest";
import { assert } from "../assert.ts";
import { type ContextKey, MATCH_ROW_WORDS, PARTS_MAX, RANK_SLOTS_MAX } from "./contract.ts";
import { IndexError } from "./index-error.ts";
import { attachReader } from "./parts-reader.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { DUMP_ROW_WORDS, type PrefixReader } from "./prefix-reader.ts";
import { RankHomes } from "./rank-homes.ts";
import { RankImport, rowCount } from "./rank-rows.ts";
import { PartsIndex } from "./testing/parts-index.ts";

const KEY: ContextKey = { model: "m", loraName: null, blockSize: 4, lookahead: 0 };
const OPTIONS = { memoryBytesMax: 2 ** 26 };

/** Stores the first blocks of the prompt 0, 1, 2 …, with an extra digest for each third block. */
function store(index: PartsIndex | PrefixIndex, key: ContextKey, rank: number, blocks: number): void {
  const { tokens, hashes, extraDigests } = index.scratch;
  for (let i = 0; i < blocks * key.blockSize + key.lookahead; i++) tokens[i] = i;
  for (let block = 0; block < blocks; block++) {
    hashes.set([block + 1, rank], 2 * block);
    extraDigests.set([block % 3 === 2 ? block : 0, 0], 2 * block);
  }
  expect(index.storeBlocks(index.openContext(key), rank, 0, blocks, false, 0, 0, true)).toBe("stored");
}

function ask(reader: PrefixReader, key: ContextKey, blocks: number): [number, number][] {
  const tokenCount = blocks * key.blockSize + key.lookahead;
  for (let i = 0; i < tokenCount; i++) reader.tokens[i] = i;
  for (let block = 0; block < blocks; block++)
    reader.extraDigests.set([block % 3 === 2 ? block : 0, 0], 2 * block);
  const { blockCount, matchCount, rows } = reader.matchTokens(reader.findContext(key), tokenCount, true);
  expect(blockCount).toBe(blocks);
  return Array.from({ length: matchCount }, (_, i): [number, number] => [
    rows[i * MATCH_ROW_WORDS],
    rows[i * MATCH_ROW_WORDS + 1],
  ]).sort(([a], [b]) => a - b);
}

describe("lookups over several parts", () => {
  test.each([0, 3])(
    "are right at every length at which more is hashed, with lookahead %i (Q1)",
    (lookahead) => {
      const key = { ...KEY, lookahead };
      const lengths = [1, 255, 256, 257, 1023, 1024, 1025, 1200];
      const index = new PartsIndex(3, OPTIONS);
      for (const [rank, blocks] of lengths.entries()) store(index, key, rank, blocks);
      for (const asked of [1, 255, 256, 257, 258, 1023, 1024, 1025, 1026, 1200, 1250])
        expect(ask(index.reader, key, asked)).toEqual(
          lengths.map((held, rank) => [rank, Math.min(held, asked)]),
        );
    },
  );

  test("hash a prompt at most to four times its longest match (Q2)", () => {
    const index = new PartsIndex(2, OPTIONS);
    store(index, KEY, 0, 270);
    store(index, KEY, 1, 20);
    index.reader.hashes.fill(0);
    ask(index.reader, KEY, 2000);
    const hashed = index.reader.hashes.findLastIndex((word) => word !== 0);
    expect(Math.ceil(hashed / 2)).toBeLessThanOrEqual(4 * 270);
  });

  test("of one part are those of its own reader", () => {
    const index = PrefixIndex.create(OPTIONS);
    store(index, KEY, 5, 10);
    const reader = attachReader(
      { parts: [index.shared], homes: RankHomes.create().memory },
      { tokensMax: 64 },
    );
    expect(ask(reader, KEY, 12)).toEqual([[5, 10]]);
    expect(reader.contexts()).toEqual(index.contexts());
  });

  test("count a context's blocks in each part that has them, under one id (Q4)", () => {
    const index = new PartsIndex(2, OPTIONS);
    const adapter = { ...KEY, loraName: "a" };
    store(index, adapter, 0, 10);
    const id = index.reader.findContext(adapter);
    store(index, adapter, 1, 7);
    store(index, KEY, 1, 3);
    expect(index.reader.findContext(adapter)).toBe(id);
    expect(index.reader.contexts()).toMatchObject([
      { id, key: adapter, prefixCount: 17 },
      { key: KEY, prefixCount: 3 },
    ]);
    expect(index.reader.modelsWithAdapter("a")).toEqual(["m"]);
    expect(index.reader.findContext({ ...KEY, model: "other" })).toBe(-1);
    expect(index.reader.matchTokens(99, 40, false)).toMatchObject({ blockCount: 0, matchCount: 0 });
  });

  test("a dump has all parts' rows, whatever the size of a page", () => {
    const index = new PartsIndex(3, OPTIONS);
    for (const rank of [0, 1, 2, 5]) store(index, KEY, rank, 10 + rank);
    const out = new Uint32Array(7 * DUMP_ROW_WORDS);
    const counts = new Map<number, number>();
    for (let cursor = 0; cursor >= 0; ) {
      const page = index.reader.dump(index.reader.findContext(KEY), cursor, out);
      for (let i = 0; i < page.rows; i++) {
        const rank = out[i * DUMP_ROW_WORDS + 2];
        counts.set(rank, (counts.get(rank) ?? 0) + 1);
      }
      cursor = page.cursor;
    }
    expect(Object.fromEntries(counts)).toEqual({ 0: 10, 1: 11, 2: 12, 5: 15 });
  });

  test("what two parts have of a rank that is moving counts once (H1)", () => {
    const index = new PartsIndex(2, OPTIONS);
    store(index, KEY, 0, 10);
    const [, target] = index.parts;
    const moving = RankImport.begin(target.importer(), structuredClone(index.parts[0].exportRank(0)));
    assert(moving !== null, "there is room");
    while (moving.step());
    expect(ask(index.reader, KEY, 12)).toEqual([[0, 10]]);
    expect(index.reader.rankBlockCount(0)).toBe(10);
    expect(index.reader.rankBlockCount(RANK_SLOTS_MAX)).toBe(0);
  });
});

describe("a rank's rows", () => {
  test("say what they are, and nothing of other ranks", () => {
    const index = PrefixIndex.create(OPTIONS);
    store(index, KEY, 0, 10);
    store(index, KEY, 1, 20);
    store(index, { ...KEY, loraName: "a" }, 1, 5);
    const rows = index.exportRank(1);
    expect(rowCount(rows)).toBe(25);
    expect(rows.orders).toEqual([{ holderSlot: 1, contexts: [KEY, { ...KEY, loraName: "a" }] }]);
    expect(rowCount(index.exportRank(7))).toBe(0);
    expect(index.check()).toEqual([]);
  });

  test("that do not fit are not whole, and a rank can be cleared again (E2)", () => {
    const index = PrefixIndex.create(OPTIONS);
    store(index, KEY, 3, 200);
    const target = PrefixIndex.create({ ...OPTIONS, prefixesPerContextMax: 100 });
    const moving = RankImport.begin(target.importer(), index.exportRank(3));
    assert(moving !== null, "it has no groups");
    while (moving.step());
    expect(moving.isWhole).toBe(false);
    target.clearRank(3);
    expect(target.rankBlockCount(3)).toBe(0);
    expect(target.check()).toEqual([]);
  });

  test("of a rank with groups need slots of the target's share (E2)", () => {
    const group = {
      index: 1,
      rule: "window",
      kind: "sliding_window",
      windowTokens: 8,
      blockSize: 4,
    } as const;
    const index = PrefixIndex.create(OPTIONS);
    index.openGroup(3, group);
    const part = { number: 1, count: PARTS_MAX };
    const target = PrefixIndex.create({ ...OPTIONS, part });
    for (let rank = 100; target.openGroup(rank, group) >= 0; rank++);
    expect(RankImport.begin(target.importer(), index.exportRank(3))).toBeNull();
    target.clearRank(100);
    const moving = RankImport.begin(target.importer(), index.exportRank(3));
    expect([...(moving?.slots.values() ?? [])]).toEqual([RANK_SLOTS_MAX + 1]);
  });
});

test.each([
  { number: 0, count: 0 },
  { number: 1, count: 1 },
  { number: -1, count: 2 },
  { number: 0, count: PARTS_MAX + 1 },
  { number: 0.5, count: 2 },
])("an index that is part $number of $count is refused (O1)", (part) => {
  expect(() => PrefixIndex.create({ part })).toThrow(
    new IndexError(
      {
        code: "invalid_option",
        option: "part",
        actual: part.number,
        expected: `0 … count − 1, at most ${PARTS_MAX}`,
      },
      `part ${part.number} of ${part.count} is none of at most ${PARTS_MAX} parts`,
    ),
  );
});
