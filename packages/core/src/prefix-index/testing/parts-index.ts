/**
 * Several indexes that are written as one, with their specification. Calls go to the part in which the rank is, and ranks move
 * between parts. The slots of groups are those that one index would give. Tests only: not part of the package's surface.
 */
import { assert } from "../../assert.ts";
import type { ReferenceHash } from "../../block-hash/testing/reference-hash.ts";
import {
  type ContextKey,
  type GroupKind,
  type GroupShape,
  type GroupStoreOutcome,
  HOLDER_SLOTS_MAX,
  type IndexScratch,
  type IndexWriter,
  RANK_SLOTS_MAX,
  type RepeatRule,
  type StoreOutcome,
  type Tier,
} from "../contract.ts";
import type { PrefixIndexOptions } from "../index-options.ts";
import { attachReader, type SharedIndexParts } from "../parts-reader.ts";
import { PrefixIndex } from "../prefix-index.ts";
import type { PrefixReader } from "../prefix-reader.ts";
import { RankHomes } from "../rank-homes.ts";
import { RankImport } from "../rank-rows.ts";
import { compareHeld, dumpLines } from "./index-pair.ts";
import { NaivePrefixIndex } from "./naive-prefix-index.ts";
import { type IndexCommand, matchText, type PrefixWorld } from "./prefix-world.ts";

interface OpenGroup {
  readonly rankSlot: number;
  /** In the part where the rank is. */
  slot: number;
}

/** See the header. Rank r begins in part r modulo the number of parts. */
export class PartsIndex implements IndexWriter {
  readonly parts: readonly PrefixIndex[];
  /** For readers in other threads. */
  readonly shared: SharedIndexParts;
  readonly reader: PrefixReader;
  readonly scratch: IndexScratch;
  readonly #homes = RankHomes.create();
  readonly #keys: ContextKey[] = [];
  readonly #groups = new Map<number, OpenGroup>();
  #last: PrefixIndex;

  constructor(count: number, options: PrefixIndexOptions) {
    this.parts = Array.from({ length: count }, (_, number) =>
      PrefixIndex.create({ ...options, part: { number, count } }),
    );
    [this.#last] = this.parts;
    this.scratch = this.#last.scratch;
    for (let slot = 0; slot < RANK_SLOTS_MAX; slot++) this.#homes.place(slot, slot % count);
    this.shared = { parts: this.parts.map((part) => part.shared), homes: this.#homes.memory };
    this.reader = attachReader(this.shared, { tokensMax: 8_192 });
  }

  /** Moves a rank to a part. */
  move(rankSlot: number, to: number): void {
    const from = this.#partOf(rankSlot);
    const target = this.parts[to];
    if (from === target) return;
    const rows = structuredClone(from.exportRank(rankSlot));
    const parked = from.takeParked(rankSlot);
    const importer = target.importer();
    const moving = RankImport.begin(importer, rows);
    assert(moving !== null, "there are slots for groups");
    while (moving.step());
    assert(moving.isWhole, "no limit takes anything");
    for (const record of parked)
      importer.park({ ...record, rankSlot: moving.slots.get(record.rankSlot) ?? record.rankSlot });
    for (const group of this.#groups.values())
      if (group.rankSlot === rankSlot) group.slot = moving.slots.get(group.slot) ?? group.slot;
    this.#homes.place(rankSlot, to);
    from.clearRank(rankSlot);
  }

  /** A key's position; the context is made in a part with the first store there. */
  openContext(key: ContextKey): number {
    const known = this.#keys.findIndex((one) => JSON.stringify(one) === JSON.stringify(key));
    if (known >= 0) return known;
    this.parts[0].openContext(key);
    return this.#keys.push(key) - 1;
  }

  /** See `IndexWriter.storeBlocks`. */
  storeBlocks(
    contextId: number,
    rankSlot: number,
    tier: Tier,
    blockCount: number,
    hasParent: boolean,
    low: number,
    high: number,
    hasExtra: boolean,
    repeats?: RepeatRule,
  ): StoreOutcome {
    const key = this.#keys[contextId];
    const part = this.#give(rankSlot, blockCount, blockCount * key.blockSize + key.lookahead);
    const id = part.openContext(key);
    return part.storeBlocks(id, rankSlot, tier, blockCount, hasParent, low, high, hasExtra, repeats);
  }

  /** See `IndexWriter.storeKnownBlocks`. */
  storeKnownBlocks(rankSlot: number, tier: Tier, blockCount: number): number {
    return this.#give(rankSlot, blockCount).storeKnownBlocks(rankSlot, tier, blockCount);
  }

  /** See `IndexWriter.removeBlocks`. */
  removeBlocks(holderSlot: number, tier: Tier, blockCount: number): number {
    return this.#give(holderSlot, blockCount).removeBlocks(this.#slotIn(holderSlot), tier, blockCount);
  }

  /** See `IndexWriter.clearRank`. */
  clearRank(rankSlot: number): void {
    this.#partOf(rankSlot).clearRank(rankSlot);
    for (const [slot, group] of this.#groups) if (group.rankSlot === rankSlot) this.#groups.delete(slot);
  }

  /** See `IndexWriter.openMainGroup`. */
  openMainGroup(rankSlot: number, blockSize: number, index?: number, kind?: GroupKind): void {
    this.#partOf(rankSlot).openMainGroup(rankSlot, blockSize, index, kind);
  }

  /** See `IndexWriter.openGroup`. */
  openGroup(rankSlot: number, group: GroupShape): number {
    const slot = this.#partOf(rankSlot).openGroup(rankSlot, group);
    let own = RANK_SLOTS_MAX;
    while (this.#groups.has(own)) own++;
    assert(slot >= 0 && own < HOLDER_SLOTS_MAX, "there are slots for groups");
    this.#groups.set(own, { rankSlot, slot });
    return own;
  }

  /** See `IndexWriter.storeGroupBlocks`. */
  storeGroupBlocks(
    contextId: number,
    groupSlot: number,
    tier: Tier,
    blockCount: number,
    stride: number,
    ...rest: readonly [boolean, boolean, number, number, boolean]
  ): GroupStoreOutcome {
    const key = this.#keys[contextId];
    const part = this.#give(groupSlot, blockCount, blockCount * stride * key.blockSize + key.lookahead);
    const [id, slot] = [part.openContext(key), this.#slotIn(groupSlot)];
    const outcome = part.storeGroupBlocks(id, slot, tier, blockCount, stride, ...rest);
    this.scratch.hashes.set(part.scratch.hashes.subarray(0, 2 * blockCount));
    return outcome;
  }

  /** See `IndexWriter.hasGivenUpParent`. */
  hasGivenUpParent(rankSlot: number, blockCount: number): boolean {
    return this.#give(rankSlot, blockCount).hasGivenUpParent(rankSlot, blockCount);
  }

  /** See `IndexWriter.hasBlock`. */
  hasBlock(contextId: number, rankSlot: number, low: number, high: number): boolean {
    const part = this.#partOf(rankSlot);
    return part.hasBlock(part.openContext(this.#keys[contextId]), rankSlot, low, high);
  }

  /** See `IndexWriter.noteHeld`. */
  noteHeld(holderSlot: number, tier: Tier, blockCount: number): void {
    this.#give(holderSlot, blockCount).noteHeld(this.#slotIn(holderSlot), tier, blockCount);
  }

  /** See `IndexWriter.hasParked`. */
  hasParked(rankSlot: number): boolean {
    return this.#partOf(rankSlot).hasParked(rankSlot);
  }

  /** See `IndexWriter.notes`. */
  get notes(): Uint8Array {
    return this.#last.notes;
  }

  /** See `IndexWriter.hasNotes`. */
  get hasNotes(): boolean {
    return this.#last.hasNotes;
  }

  /** See `IndexWriter.attachedRenames`. */
  get attachedRenames(): readonly number[] {
    return this.#last.attachedRenames;
  }

  /** See `IndexWriter.digestBytes`. */
  digestBytes(bytes: Uint8Array, out: Uint32Array, index: number): void {
    this.parts[0].digestBytes(bytes, out, index);
  }

  /** What a context holds, as `dumpLines` gives it, with the slots of groups that this class gave. */
  dump(key: ContextKey): string[] {
    const own = new Map([...this.#groups].map(([slot, group]) => [group.slot, slot]));
    const lines = dumpLines(this.reader, this.reader.findContext(key));
    return lines
      .map((line) => {
        const [hash, slot, ...rest] = line.split(" ");
        return [hash, own.get(Number(slot)) ?? slot, ...rest].join(" ");
      })
      .sort();
  }

  #partOf(rankSlot: number): PrefixIndex {
    return this.parts[this.#homes.of(rankSlot)];
  }

  #slotIn(holderSlot: number): number {
    return this.#groups.get(holderSlot)?.slot ?? holderSlot;
  }

  /** The part of a holder, with what the caller wrote in its scratch. */
  #give(holderSlot: number, blockCount: number, tokenCount = 0): PrefixIndex {
    const part = this.#partOf(this.#groups.get(holderSlot)?.rankSlot ?? holderSlot);
    const { tokens, hashes, extraDigests } = part.scratch;
    tokens.set(this.scratch.tokens.subarray(0, tokenCount));
    hashes.set(this.scratch.hashes.subarray(0, 2 * blockCount));
    extraDigests.set(this.scratch.extraDigests.subarray(0, 2 * blockCount));
    this.#last = part;
    return part;
  }
}

/** Several indexes that are read as one beside a fresh `NaivePrefixIndex`. */
export class PartsPair {
  readonly naive: NaivePrefixIndex;
  readonly index: PartsIndex;
  readonly #world: PrefixWorld;

  constructor(world: PrefixWorld, hash: ReferenceHash, count: number, options: PrefixIndexOptions) {
    this.#world = world;
    this.naive = new NaivePrefixIndex(hash);
    this.index = new PartsIndex(count, { ...options, keyedHashes: hash.isKeyed });
  }

  /**
   * Runs one command on both.
   *
   * @throws AssertionError when the answers differ.
   */
  run(command: IndexCommand): void {
    const { naive, index } = this;
    const world = this.#world;
    let [expected, actual] = ["", ""];
    if (command.kind === "matchTokens" || command.kind === "matchHashes") {
      const key = world.contexts[command.context];
      index.openContext(key);
      expected = matchText(world.match(naive, naive.openContext(key), command));
      actual = matchText(world.match(index.reader, index.reader.findContext(key), command));
    } else {
      expected = world.write(naive, command);
      actual = world.write(index, command);
    }
    assert(actual === expected, () => `${command.kind}: "${actual}" instead of "${expected}"`);
  }

  /**
   * Compares everything held.
   *
   * @throws AssertionError at the first difference or violation.
   */
  compareAll(): void {
    const { parts, reader } = this.index;
    compareHeld(this.naive, this.#world, {
      violations: parts.flatMap((part) => part.check()),
      dump: (key) => this.index.dump(key),
      rankBlockCount: (slot) => reader.rankBlockCount(slot),
      holderCount: parts.reduce((sum, part) => sum + part.stats().holderCount, 0),
    });
  }
}
