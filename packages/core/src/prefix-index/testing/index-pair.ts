/**
 * An index and its specification, driven together: every answer is compared when it is given, and on demand everything
 * that both hold. Tests only: not part of the package's surface.
 */
import { assert } from "../../assert.ts";
import type { ReferenceHash } from "../../block-hash/testing/reference-hash.ts";
import { toHex } from "../../block-hash/block-hash.ts";
import { type ContextKey, HOLDER_SLOTS_MAX } from "../contract.ts";
import { type IndexCopy, IndexCopyReader } from "../index-copy.ts";
import { NaivePrefixIndex } from "./naive-prefix-index.ts";
import type { PrefixIndexOptions } from "../index-options.ts";
import { PrefixIndex } from "../prefix-index.ts";
import { DUMP_ROW_WORDS, PrefixReader } from "../prefix-reader.ts";
import { matchText, type IndexCommand, type PrefixWorld } from "./prefix-world.ts";

/** Rows asked for at a time: few, so that a dump takes several pages. */
const DUMP_PAGE_ROWS = 64;

/** The specification parks without limit. */
export const UNLIMITED_PARK: PrefixIndexOptions = {
  parkedStoresPerRankMax: 1_000_000,
  parkedBytesMax: 2 ** 30,
};

let usedCopy: IndexCopy | null = null;

/** A fresh `PrefixIndex` beside a fresh `NaivePrefixIndex`. */
export class IndexPair {
  readonly naive: NaivePrefixIndex;
  index: PrefixIndex;
  reader: PrefixReader;
  readonly #world: PrefixWorld;
  readonly #options: PrefixIndexOptions;

  constructor(world: PrefixWorld, hash: ReferenceHash, options: PrefixIndexOptions = UNLIMITED_PARK) {
    this.#world = world;
    this.#options = { ...options, keyedHashes: hash.isKeyed };
    this.naive = new NaivePrefixIndex(hash);
    this.index = PrefixIndex.create(this.#options);
    this.reader = PrefixReader.attach(this.index.shared, { tokensMax: 4_096 });
  }

  /**
   * Runs one command on both.
   *
   * @returns the answer of both.
   * @throws AssertionError when they differ.
   */
  run(command: IndexCommand): string {
    const { naive, index, reader } = this;
    const world = this.#world;
    let [expected, actual] = ["", ""];
    if (command.kind === "matchTokens" || command.kind === "matchHashes") {
      const key = world.contexts[command.context];
      expected = matchText(world.match(naive, naive.openContext(key), command));
      actual = matchText(world.match(reader, index.openContext(key), command));
    } else {
      expected = world.write(naive, command);
      actual = world.write(index, command);
    }
    assert(actual === expected, () => `${command.kind}: "${actual}" instead of "${expected}"`);
    return expected;
  }

  /** Goes on with another index, filled with what a copy of this one holds. */
  moveToCopy(): void {
    // One copy after the other in the same memory: thousands of them would wait for a garbage collection.
    const copy = this.index.copy(usedCopy);
    usedCopy = copy;
    const source = new IndexCopyReader(copy);
    const index = PrefixIndex.create(this.#options);
    const target = index.importer();
    const keys = new Map(source.contexts().map(({ id, key }) => [id, key] as const));
    this.#world.moveGroups(this.index, index, target);
    for (const [id, key] of keys) for (const rows of source.rows(id)) target.add(key, rows, () => true);
    for (let slot = 0; slot < HOLDER_SLOTS_MAX; slot++)
      target.order(
        slot,
        source.rankContexts(slot).flatMap((id) => keys.get(id) ?? []),
      );
    for (const parked of copy.parked) target.park(parked);
    assert(target.incompleteRanks.size === 0, () => "limits left something out");
    this.index = index;
    this.reader = PrefixReader.attach(index.shared, { tokensMax: 4_096 });
  }

  /**
   * Compares everything held, and lets the index check itself.
   *
   * @throws AssertionError at the first difference or violation.
   */
  compareAll(): void {
    const { naive, index, reader } = this;
    compareHeld(naive, this.#world, {
      violations: index.check(),
      dump: (key) => dumpLines(reader, index.openContext(key)),
      rankBlockCount: (slot) => index.rankBlockCount(slot),
      holderCount: index.stats().holderCount,
    });
  }
}

/** What an index says that it holds. */
export interface Held {
  readonly violations: readonly string[];
  dump(key: ContextKey): readonly string[];
  rankBlockCount(rankSlot: number): number;
  readonly holderCount: number;
}

/**
 * Compares everything that an index holds with its specification.
 *
 * @throws AssertionError at the first difference or violation.
 */
export function compareHeld(naive: NaivePrefixIndex, world: PrefixWorld, held: Held): void {
  const { violations } = held;
  assert(violations.length === 0, () => violations.join("; "));
  const blocksOf = new Map<string, number>();
  let holderCount = 0;
  for (const key of world.contexts) {
    const expected = naive.dump(naive.openContext(key));
    const actual = held.dump(key);
    const lineCount = Math.max(expected.length, actual.length);
    for (let i = 0; i < lineCount; i++)
      assert(actual[i] === expected[i], () => `dump: "${actual[i]}" instead of "${expected[i]}"`);
    holderCount += expected.length;
    const blocks = new Set(expected.map((line) => line.split(" ").slice(0, 2).join(" ")));
    for (const line of blocks) blocksOf.set(line.slice(17), (blocksOf.get(line.slice(17)) ?? 0) + 1);
  }
  for (const [slot, count] of blocksOf) {
    // A group's blocks are not the rank's.
    if (world.groups.length > 0) continue;
    const actual = held.rankBlockCount(Number(slot));
    assert(actual === count, () => `rank ${slot} holds ${String(actual)} blocks instead of ${String(count)}`);
  }
  const { holderCount: actual } = held;
  assert(actual === holderCount, () => `${String(actual)} holders instead of ${String(holderCount)}`);
}

/** What a context holds, as sorted lines "prefixHash rankSlot tier copies", like `NaivePrefixIndex.dump`. */
export function dumpLines(reader: PrefixReader, contextId: number): string[] {
  const out = new Uint32Array(DUMP_ROW_WORDS * DUMP_PAGE_ROWS);
  const lines: string[] = [];
  for (let cursor = 0; cursor >= 0; ) {
    const page = reader.dump(contextId, cursor, out);
    for (let i = 0; i < page.rows; i++) {
      const [low, high, ...rest] = out.subarray(i * DUMP_ROW_WORDS, (i + 1) * DUMP_ROW_WORDS);
      lines.push(`${toHex(low, high)} ${rest.join(" ")}`);
    }
    cursor = page.cursor;
  }
  return lines.sort();
}
