/**
 * The promises of contract.ts (S1 to S6, S10) and what the specification (naive-prefix-index.ts) settles about them (N1 to N6),
 * by example, for every implementation. A path is written as the letters of its blocks; `hold` reads back what each rank holds of a path.
 */
import { beforeEach, describe, expect, test } from "vitest";
import { ReferenceHash } from "../block-hash/testing/reference-hash.ts";
import {
  DEFAULT_HASH_SEED,
  MATCH_ROW_WORDS,
  type IndexWriter,
  type RepeatRule,
  type Tier,
} from "./contract.ts";
import { NaivePrefixIndex } from "./testing/naive-prefix-index.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { PrefixReader } from "./prefix-reader.ts";
import { PrefixWorld, type IndexReader, type Path } from "./testing/prefix-world.ts";

const hash = await ReferenceHash.create(DEFAULT_HASH_SEED);
const world = new PrefixWorld(
  [
    { model: "m", loraName: null, blockSize: 4, lookahead: 0 },
    { model: "m", loraName: "a", blockSize: 4, lookahead: 0 },
    { model: "m", loraName: null, blockSize: 4, lookahead: 1 },
  ],
  hash,
);

interface Subject {
  readonly writer: IndexWriter;
  readonly reader: IndexReader;
}

const SUBJECTS: readonly { readonly name: string; readonly make: () => Subject }[] = [
  {
    name: "NaivePrefixIndex",
    make: () => {
      const index = new NaivePrefixIndex(hash);
      return { writer: index, reader: index };
    },
  },
  {
    name: "PrefixIndex",
    make: () => {
      const writer = PrefixIndex.create();
      return { writer, reader: PrefixReader.attach(writer.shared, { tokensMax: 1_024 }) };
    },
  },
];

/** What commands may say beside slot and path; the defaults are the plain case. */
interface Options {
  readonly context?: number;
  readonly tier?: Tier;
  readonly from?: number;
  readonly engineSeed?: number;
  readonly next?: number;
  /** A lie for the block at `from`. */
  readonly lie?: number;
  /** The same lie for the block behind it. */
  readonly twice?: boolean;
  readonly parentLie?: number;
  readonly repeats?: RepeatRule;
}

function pathOf(letters: string, next = 0): Path {
  return { letters: Array.from(letters, (letter) => letter.charCodeAt(0) - "a".charCodeAt(0)), next };
}

describe.each(SUBJECTS)("$name", ({ make }) => {
  let subject: Subject;
  beforeEach(() => {
    subject = make();
  });

  function placeOf(slot: number, letters: string, options: Options) {
    const { context = 0, tier = 0, from = 0, engineSeed = 0, next, lie, twice = false } = options;
    const lies = lie === undefined ? [] : (twice ? [0, 1] : [0]).map((at) => ({ at, lie }));
    return { context, slot, engineSeed, lies, tier, path: pathOf(letters, next), from };
  }

  function store(slot: number, letters: string, options: Options = {}): string {
    const { parentLie = null, repeats = "count" } = options;
    const place = placeOf(slot, letters, options);
    return world.write(subject.writer, { kind: "store", ...place, parentLie, repeats });
  }

  function remove(slot: number, letters: string, options: Options = {}): number {
    return Number(removeNoted(slot, letters, options).split(" ")[0]);
  }

  /** How many were removed, and a note for each block. */
  function removeNoted(slot: number, letters: string, options: Options = {}): string {
    return world.write(subject.writer, { kind: "remove", ...placeOf(slot, letters, options) });
  }

  function storeKnown(slot: number, letters: string, options: Options = {}): number {
    return Number(world.write(subject.writer, { kind: "storeKnown", ...placeOf(slot, letters, options) }));
  }

  /** Rank slot → [matched blocks, by tier…] of a path looked up by its tokens. */
  function hold(letters: string, { context = 0, next = 0 }: Options = {}): Record<number, number[]> {
    const contextId = subject.writer.openContext(world.contexts[context]);
    const tokenCount = world.writeTokens(subject.reader, context, pathOf(letters, next), 0, 1);
    const { matchCount, rows } = subject.reader.matchTokens(contextId, tokenCount, true);
    const starts = Array.from({ length: matchCount }, (_, i) => i * MATCH_ROW_WORDS);
    return Object.fromEntries(starts.map((start) => [rows[start], [...rows.subarray(start + 1, start + 6)]]));
  }

  describe("S1 a store chains its blocks to the parent", () => {
    test("a root and its continuation match as one prefix, and another start does not", () => {
      expect([store(3, "ab"), store(3, "abcd", { from: 2 })]).toEqual(["stored", "stored"]);
      expect([hold("abcd"), hold("abdd"), hold("bbcd")]).toEqual([
        { 3: [4, 4, 0, 0, 0] },
        { 3: [2, 2, 0, 0, 0] },
        {},
      ]);
    });

    test("equal tokens behind different parents are different prefixes", () => {
      store(0, "ac");
      store(1, "bc");
      expect(hold("bc")).toEqual({ 1: [2, 2, 0, 0, 0] });
    });

    test("every copy must be removed before the holder no longer has the block", () => {
      store(0, "a");
      store(0, "a");
      remove(0, "a");
      expect(hold("a")).toEqual({ 0: [1, 1, 0, 0, 0] });
      remove(0, "a");
      expect(hold("a")).toEqual({});
    });

    test("contexts, extra digests and the tokens after a block with lookahead are part of what a prefix is", () => {
      store(0, "a");
      expect([hold("a", { context: 1 }), hold("e")]).toEqual([{}, {}]);
      store(1, "ab", { context: 2, next: 3 });
      expect(hold("ab", { context: 2, next: 3 })).toEqual({ 1: [2, 2, 0, 0, 0] });
      expect(hold("ab", { context: 2, next: 2 })).toEqual({ 1: [1, 1, 0, 0, 0] });
    });
  });

  describe("S2 a parent is known by this very rank, or the store waits", () => {
    test("another rank's parent of the same name does not count", () => {
      store(0, "a");
      expect(store(1, "ab", { from: 1 })).toBe("parked");
      expect(hold("ab")).toEqual({ 0: [1, 1, 0, 0, 0] });
    });

    test("another context's parent does not count", () => {
      store(0, "a", { context: 1 });
      expect(store(0, "ab", { from: 1, parentLie: 0 })).toBe("parked");
      expect(hold("ab")).toEqual({});
    });

    test("what waited is attached, generation after generation, when the parent comes", () => {
      expect(store(0, "abcd", { from: 3 })).toBe("parked");
      expect(store(0, "abc", { from: 1 })).toBe("parked");
      expect(hold("abcd")).toEqual({});
      expect(store(0, "a")).toBe("stored");
      expect(hold("abcd")).toEqual({ 0: [4, 4, 0, 0, 0] });
    });

    test("a parent whose last copy was removed is unknown again, on whichever tier that was", () => {
      store(0, "a");
      storeKnown(0, "a", { tier: 1 });
      remove(0, "a");
      expect(store(0, "ab", { from: 1 })).toBe("stored");
      remove(0, "a", { tier: 1 });
      expect(store(0, "abb", { from: 1 })).toBe("parked");
    });

    test("N4 a block removed while it waits is gone, and those behind it keep their prefix", () => {
      store(0, "abcd", { from: 1 });
      expect(remove(0, "abc", { from: 2 })).toBe(1);
      expect(remove(0, "abc", { from: 2 })).toBe(0);
      store(0, "a");
      expect(hold("abcd")).toEqual({ 0: [2, 2, 0, 0, 0] });
      store(0, "abc", { from: 2 });
      expect(hold("abcd")).toEqual({ 0: [4, 4, 0, 0, 0] });
    });

    test("N4 a waiting block on another tier is not what a removal means", () => {
      store(0, "ab", { from: 1, tier: 1 });
      expect(remove(0, "ab", { from: 1, tier: 0 })).toBe(0);
      store(0, "a");
      expect(hold("ab")).toEqual({ 0: [2, 1, 1, 0, 0] });
    });

    test("a clear drops what waits", () => {
      store(0, "ab", { from: 1 });
      subject.writer.clearRank(0);
      store(0, "a");
      expect(hold("ab")).toEqual({ 0: [1, 1, 0, 0, 0] });
    });

    test("N3 of several that wait for one parent all are attached", () => {
      store(0, "ab", { from: 1 });
      store(0, "ac", { from: 1 });
      store(0, "ab", { from: 1 });
      store(0, "a");
      expect([hold("ab"), hold("ac")]).toEqual([{ 0: [2, 2, 0, 0, 0] }, { 0: [2, 2, 0, 0, 0] }]);
      remove(0, "ab", { from: 1 });
      expect(hold("ab")).toEqual({ 0: [2, 2, 0, 0, 0] });
    });
  });

  describe("S3 a removal takes one copy of one holder", () => {
    test("what the holder does not have changes nothing and counts for nothing", () => {
      store(0, "ab");
      expect([remove(0, "ba"), remove(1, "ab"), remove(0, "ab", { tier: 2 })]).toEqual([0, 0, 0]);
      expect(hold("ab")).toEqual({ 0: [2, 2, 0, 0, 0] });
    });

    test("a hole ends the match, and filling it makes the match whole again", () => {
      store(0, "abcd");
      expect(remove(0, "ab", { from: 1 })).toBe(1);
      expect(hold("abcd")).toEqual({ 0: [1, 1, 0, 0, 0] });
      store(0, "ab", { from: 1 });
      expect(hold("abcd")).toEqual({ 0: [4, 4, 0, 0, 0] });
    });

    test("N1 two names of one prefix have copies of their own", () => {
      store(0, "a", { engineSeed: 1 });
      store(0, "a", { engineSeed: 2 });
      expect([remove(0, "a", { engineSeed: 1 }), remove(0, "a", { engineSeed: 1 })]).toEqual([1, 0]);
      expect(hold("a")).toEqual({ 0: [1, 1, 0, 0, 0] });
      expect(store(0, "ab", { from: 1, engineSeed: 1 })).toBe("parked");
      expect(remove(0, "a", { engineSeed: 2 })).toBe(1);
      expect(hold("a")).toEqual({});
    });

    test("N1 a rank does not know a prefix by the name that another rank gave it", () => {
      store(0, "a", { engineSeed: 1 });
      store(1, "a", { engineSeed: 2 });
      expect(remove(1, "a", { engineSeed: 1 })).toBe(0);
      expect(store(1, "ab", { from: 1, engineSeed: 1 })).toBe("parked");
      expect(hold("a")).toEqual({ 0: [1, 1, 0, 0, 0], 1: [1, 1, 0, 0, 0] });
    });

    test("N5 a name that a rank has in two contexts means the one it last stored to", () => {
      store(0, "a", { lie: 2, context: 0 });
      store(0, "a", { lie: 2, context: 1 });
      expect(remove(0, "a", { lie: 2 })).toBe(1);
      expect([hold("a"), hold("a", { context: 1 })]).toEqual([{ 0: [1, 1, 0, 0, 0] }, {}]);
      expect(remove(0, "a", { lie: 2 })).toBe(1);
      expect(hold("a")).toEqual({});
    });
  });

  describe("S4 the newest meaning of a name counts", () => {
    test("the old content is no longer held, other ranks keep theirs", () => {
      store(0, "a", { lie: 3 });
      store(1, "a", { lie: 3 });
      store(0, "b", { lie: 3 });
      expect([hold("a"), hold("b")]).toEqual([{ 1: [1, 1, 0, 0, 0] }, { 0: [1, 1, 0, 0, 0] }]);
    });

    test("all copies of the old content go, on every tier", () => {
      store(0, "a", { lie: 3 });
      store(0, "a", { lie: 3 });
      store(0, "a", { lie: 3, tier: 1 });
      store(0, "b", { lie: 3, tier: 1 });
      expect([hold("a"), hold("b")]).toEqual([{}, { 0: [1, 0, 1, 0, 0] }]);
    });

    test("N2 it holds inside one run: a name said twice means the later block", () => {
      store(0, "abc", { lie: 3, twice: true });
      expect(hold("abc")).toEqual({});
      store(0, "a");
      expect(hold("abc")).toEqual({ 0: [3, 3, 0, 0, 0] });
      expect(remove(0, "ab", { lie: 3, from: 1 })).toBe(1);
      expect(hold("abc")).toEqual({ 0: [1, 1, 0, 0, 0] });
    });

    test("children of a name follow its newest meaning", () => {
      store(0, "a", { lie: 3 });
      store(0, "b", { lie: 3 });
      expect(store(0, "bc", { from: 1, parentLie: 3 })).toBe("stored");
      expect([hold("ac"), hold("bc")]).toEqual([{}, { 0: [2, 2, 0, 0, 0] }]);
    });
  });

  describe("S5 a clear forgets one rank", () => {
    test("the others keep what they hold, and the slot starts from nothing", () => {
      store(0, "ab");
      store(1, "ab");
      subject.writer.clearRank(0);
      expect(hold("ab")).toEqual({ 1: [2, 2, 0, 0, 0] });
      expect([remove(0, "ab"), store(0, "abc", { from: 2 })]).toEqual([0, "parked"]);
      store(0, "b");
      expect([hold("ab"), hold("b")]).toEqual([{ 1: [2, 2, 0, 0, 0] }, { 0: [1, 1, 0, 0, 0] }]);
    });
  });

  describe("S6 a lookup splits the match by the fastest tier of each block", () => {
    test("each block counts once, at the fastest tier that has it", () => {
      store(0, "abcd", { tier: 3 });
      storeKnown(0, "abc", { tier: 2 });
      storeKnown(0, "ab", { tier: 1 });
      storeKnown(0, "a", { tier: 0 });
      expect(hold("abcd")).toEqual({ 0: [4, 1, 1, 1, 1] });
      remove(0, "a");
      expect(hold("abcd")).toEqual({ 0: [4, 0, 2, 1, 1] });
    });

    test("a prompt shorter than a block, and an unknown one, match nothing", () => {
      store(0, "ab");
      const contextId = subject.writer.openContext(world.contexts[0]);
      world.writeTokens(subject.reader, 0, pathOf("ab"), 0, 0);
      const blocksOf = (tokenCount: number): number[] => {
        const { blockCount, matchCount } = subject.reader.matchTokens(contextId, tokenCount, false);
        return [blockCount, matchCount];
      };
      expect([blocksOf(0), blocksOf(3), blocksOf(4), blocksOf(7)]).toEqual([
        [0, 0],
        [0, 0],
        [1, 1],
        [1, 1],
      ]);
    });
  });

  test("S10 a store of what is all there changes nothing under skip_all, and counts when one block is new", () => {
    store(0, "ab");
    expect([store(0, "ab", { repeats: "skip_all" }), remove(0, "ab")]).toEqual(["repeated", 2]);
    expect(hold("ab")).toEqual({});
    store(0, "a");
    expect([store(0, "ab", { repeats: "skip_all" }), remove(0, "ab")]).toEqual(["stored", 2]);
    expect(hold("ab")).toEqual({ 0: [1, 1, 0, 0, 0] });
  });

  test("S10 only this tier, this name and this content make a block a repeated one", () => {
    store(0, "a", { tier: 1 });
    store(0, "a", { engineSeed: 1 });
    expect(store(0, "a", { repeats: "skip_all" })).toBe("stored");
    store(0, "b", { lie: 0 });
    expect(store(0, "c", { lie: 0, repeats: "skip_all" })).toBe("stored 2");
  });

  test("S10 a repeated block gains no copy under skip_each, and is noted", () => {
    store(0, "ab");
    expect(store(0, "abc", { repeats: "skip_each" })).toBe("stored 1,1,0");
    expect([removeNoted(0, "abc"), removeNoted(0, "a")]).toEqual(["3 2,2,2", "0 1"]);
  });

  test("S10 a block that waits is a repeated one under skip_each, and is attached by what brings its parent", () => {
    store(0, "abc", { from: 1 });
    expect(store(0, "abcd", { repeats: "skip_each" })).toBe("stored 0,1,1,0");
    expect([hold("abcd"), remove(0, "abcd"), hold("abcd")]).toEqual([{ 0: [4, 4, 0, 0, 0] }, 4, {}]);
  });

  test("N6 a store that is parked counts copies by any rule, and so does what is attached", () => {
    store(0, "ab");
    remove(0, "a");
    expect(store(0, "abc", { from: 1, repeats: "skip_all" })).toBe("parked");
    expect(store(0, "abc", { from: 1, repeats: "skip_each" })).toBe("parked");
    store(0, "a");
    expect([remove(0, "abc", { from: 1 }), hold("abc")]).toEqual([2, { 0: [3, 3, 0, 0, 0] }]);
  });

  test("S10 a removal notes which names have no copy left at the tier", () => {
    store(0, "ab");
    store(0, "a");
    store(0, "a", { tier: 1 });
    expect([removeNoted(0, "ab"), removeNoted(0, "ab"), hold("a")]).toEqual([
      "2 0,2",
      "1 2,1",
      { 0: [1, 0, 1, 0, 0] },
    ]);
  });

  test("S10 a name that comes to mean another block is noted, also when a store that waited does it", () => {
    store(0, "a", { lie: 1 });
    expect(store(0, "b", { lie: 1 })).toBe("stored 2");
    store(0, "cd", { from: 1, lie: 1 });
    expect(store(0, "c")).toBe("stored renames 1");
  });

  test("asked for held blocks, it notes those with a copy at the tier under this very name", () => {
    store(0, "abc");
    storeKnown(0, "abc", { from: 2, tier: 1 });
    remove(0, "ab", { from: 1 });
    store(1, "ab");
    const held = (rank: number, tier: Tier): string => {
      // A removal where nothing is leaves the names in place.
      remove(2, "abc");
      subject.writer.noteHeld(rank, tier, 3);
      return subject.writer.notes.slice(0, 3).join();
    };
    expect([held(0, 0), held(0, 1), held(1, 0), held(2, 0)]).toEqual(["1,0,1", "0,0,1", "1,1,0", "0,0,0"]);
  });

  test("a rank has parked stores until they are attached, removed or cleared", () => {
    const isParked: boolean[] = [subject.writer.hasParked(0)];
    const clear = (): void => {
      subject.writer.clearRank(0);
    };
    for (const end of [() => store(0, "a"), () => remove(0, "ab", { from: 1 }), clear]) {
      clear();
      store(0, "ab", { from: 1 });
      isParked.push(subject.writer.hasParked(0));
      end();
      isParked.push(subject.writer.hasParked(0));
    }
    expect(isParked).toEqual([false, true, false, true, false, true, false]);
  });

  test("copies of blocks that are not known are not made", () => {
    store(0, "ab", { from: 1 });
    store(1, "a");
    expect([storeKnown(0, "ab", { tier: 1 }), storeKnown(1, "ab", { tier: 1 })]).toEqual([0, 1]);
    expect(hold("ab")).toEqual({ 1: [1, 1, 0, 0, 0] });
  });
});
