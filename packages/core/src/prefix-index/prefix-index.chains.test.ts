/**
 * Chained blocks have no entry in the directory (README.md, I2). Each is found when blocks before it went, or came back
 * elsewhere. Random worlds are in prefix-index.model.test.ts and prefix-index.holes.test.ts.
 */
import { describe, expect, it } from "vitest";
import type { ContextKey } from "./contract.ts";
import { IndexCopyReader } from "./index-copy.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { PrefixReader } from "./prefix-reader.ts";

const KEY: ContextKey = { model: "m", loraName: null, blockSize: 4, lookahead: 0 };
const BLOCKS = 12;

/** One prompt of `BLOCKS` blocks; the engine calls block i (i + 1, its seed). */
class Prompt {
  readonly index = PrefixIndex.create({ seed: 7 });
  readonly #reader = PrefixReader.attach(this.index.shared, { tokensMax: 4 * BLOCKS });

  store(rank: number, from: number, to: number, seed = 1): string {
    const { tokens, hashes } = this.index.scratch;
    for (let i = 0; i < 4 * (to - from); i++) tokens[i] = 4 * from + i;
    for (let i = from; i < to; i++) hashes.set([i + 1, seed], 2 * (i - from));
    const context = this.index.openContext(KEY);
    return this.index.storeBlocks(context, rank, 0, to - from, from > 0, from, seed, false);
  }

  remove(rank: number, blocks: readonly number[], seed = 1): void {
    blocks.forEach((block, i) => {
      this.index.scratch.hashes.set([block + 1, seed], 2 * i);
    });
    expect(this.index.removeBlocks(rank, 0, blocks.length)).toBe(blocks.length);
  }

  /** Blocks matched by each rank. */
  matched(): Record<number, number | undefined> {
    for (let i = 0; i < 4 * BLOCKS; i++) this.#reader.tokens[i] = i;
    const { matchCount, rows } = this.#reader.matchTokens(this.index.openContext(KEY), 4 * BLOCKS, false);
    return Object.fromEntries(
      Array.from({ length: matchCount }, (_, row) => [rows[7 * row], rows[7 * row + 1]]),
    );
  }
}

const indices = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

describe("a chained block", () => {
  it.each([
    ["each block alone", indices(0, BLOCKS).map((block) => [block])],
    ["the first blocks, in order", [indices(0, 5)]],
    ["a middle, from its end", [[7, 6, 5, 4]]],
    ["a middle, in order", [[4, 5, 6, 7]]],
    ["every other block", [[1, 3, 5, 7, 9, 11]]],
  ])("is found after those before it went and came back: %s", (_, rounds) => {
    const prompt = new Prompt();
    prompt.store(0, 0, BLOCKS);
    for (const gone of rounds) {
      prompt.remove(0, gone);
      expect(prompt.index.check()).toEqual([]);
      expect(prompt.matched()[0] ?? 0).toBe(Math.min(...gone));
      for (const block of [...gone].sort((one, other) => one - other)) prompt.store(0, block, block + 1);
      expect(prompt.matched()).toEqual({ 0: BLOCKS });
      expect(prompt.index.stats().prefixCount).toBe(BLOCKS);
      expect(prompt.index.check()).toEqual([]);
    }
  });

  it("is known to a store that comes to it behind a block of another run", () => {
    const prompt = new Prompt();
    prompt.store(0, 0, BLOCKS);
    prompt.store(1, 0, 3);
    prompt.remove(0, [2]);
    prompt.remove(1, [2]);
    prompt.store(1, 2, BLOCKS);
    expect(prompt.index.stats().prefixCount).toBe(BLOCKS);
    expect(prompt.matched()).toEqual({ 0: 2, 1: BLOCKS });
    expect(prompt.index.check()).toEqual([]);
  });

  it("is found after the one before it went with a rank that has a name of its own for it", () => {
    const prompt = new Prompt();
    prompt.store(0, 0, BLOCKS);
    prompt.store(1, 0, BLOCKS, 2);
    prompt.remove(0, indices(0, BLOCKS));
    prompt.remove(1, [5], 2);
    expect(prompt.index.check()).toEqual([]);
    prompt.store(1, 5, 6, 2);
    expect(prompt.matched()).toEqual({ 1: BLOCKS });
    expect(prompt.index.check()).toEqual([]);
  });

  it("is known to an import, whose rows name no parents", () => {
    const source = new Prompt();
    source.store(5, 0, BLOCKS);
    source.remove(5, [3, 2, 1, 0]);
    const target = new Prompt();
    target.store(0, 0, BLOCKS);
    const copy = new IndexCopyReader(source.index.copy());
    const importer = target.index.importer();
    for (const { id, key } of copy.contexts())
      for (const page of copy.rows(id)) importer.add(key, page, () => true);
    expect(target.index.stats().prefixCount).toBe(BLOCKS);
    target.store(0, 0, BLOCKS);
    expect(target.matched()[0]).toBe(BLOCKS);
    expect(target.index.check()).toEqual([]);
  });

  it("takes no entry of a table: long runs need 28 bytes a block", () => {
    const index = PrefixIndex.create();
    const context = index.openContext(KEY);
    const empty = index.stats().allocatedBytes;
    for (let run = 0; run < 256; run++) {
      for (let i = 0; i < 4 * 512; i++) index.scratch.tokens[i] = run;
      for (let i = 0; i < 512; i++) index.scratch.hashes.set([512 * run + i, 1], 2 * i);
      index.storeBlocks(context, 0, 0, 512, false, 0, 0, false);
    }
    expect((index.stats().allocatedBytes - empty) / (256 * 512)).toBeLessThan(28.5);
  });
});
