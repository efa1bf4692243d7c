/**
 * A copy of a whole index, taken between two writes. Another thread reads it while the original
 * continues. The module also fills an empty index from such rows. Snapshots are made of these.
 *
 *     PrefixIndex.copy() ─▶ IndexCopy (memory, parked stores) ─post─▶ IndexCopyReader ─▶ rows, context by context
 *                                                                                           │
 *     PrefixIndex.importer() ─▶ IndexImport ◀───────────── rows, in the same order ─────────┘
 *
 *     row + 0   prefix hash u64 │ 8 engine block hash u64 │ 16 holder slot + (tier << 16) u32 │ 20 copies u32       little-endian
 *
 * Rows contain holders, not addresses: another version's kernel, or a kernel with other limits, can
 * read them.
 *
 * Not here: files, checksums and access to snapshots (the writer of snapshots has them).
 */
import { CONTEXT_RECORD_BYTES, type ContextSummary, listContexts, slotOf } from "./context-table.ts";
import { type ContextKey, GROUP_RULES, type GroupShape, type Tier } from "./contract.ts";
import { type HeldGroup, kindNumber, listGroups } from "./group-table.ts";
import { growTo, instantiateKernel, type KernelExports, type KernelMemory } from "./kernel.ts";
import {
  EVICTED,
  EXPORT_DONE,
  EXPORT_ROWS,
  EXPORT_ROWS_MIN,
  EXPORT_WORDS,
  HOLDER_SLOT_MASK,
  HOLDER_TIER_SHIFT,
  RANK_WORDS,
  ROW_BYTES,
  ROW_COPIES_BYTES,
  ROW_HOLDER_BYTES,
  ROW_NAME_BYTES,
  ROW_PREFIX_BYTES,
} from "./kernel-boundary.generated.ts";
import type { ParkedStore } from "./parked-stores.ts";

/** Bytes of a row. */
export const INDEX_ROW_BYTES: number = ROW_BYTES;
/** Bytes from the beginning of a row to its holder, a u32. */
export const INDEX_ROW_HOLDER: number = ROW_HOLDER_BYTES;
/** The same to its copies. */
export const INDEX_ROW_COPIES: number = ROW_COPIES_BYTES;

/** Rows read at a time: twice what one block may take. */
const PAGE_ROWS = 2 * EXPORT_ROWS_MIN;
/** A whole number of u64s, so that what follows is aligned. */
const CURSOR_BYTES = 8 * Math.ceil(EXPORT_WORDS / 2);
/** Rows of one rank and tier that are stored at a time. */
const RUN_BLOCKS = 4096;

/** A store that waits for its parent, with its context's key in place of the id. */
export interface ParkedRecord {
  readonly context: ContextKey;
  readonly rankSlot: number;
  readonly tier: Tier;
  readonly parentLow: number;
  readonly parentHigh: number;
  readonly tokens: Uint32Array;
  /** Shape [2 × blocks], low then high. */
  readonly hashes: Uint32Array;
  /** Shape [2 × blocks]; null when no block has any. */
  readonly extraDigests: Uint32Array | null;
  /** One byte a block, 1: removed since. */
  readonly removed: Uint8Array;
}

/** A group and the holder slot that it had. */
export interface RestoredGroup extends GroupShape {
  readonly slot: number;
}

/** A rank's main group. */
export type RestoredMainGroup = Pick<GroupShape, "index" | "kind" | "blockSize">;

/** What `PrefixIndex.copy` gives: structured-cloneable, the memory shared without copying again. */
export interface IndexCopy {
  /** The index's bytes, and behind them room that its reader works in. */
  readonly memory: KernelMemory;
  /** Of the index's memory, whole pages. */
  readonly bytes: number;
  /** Of the hashes in it. */
  readonly seed: bigint;
  readonly hasKeyedHashes: boolean;
  readonly parked: readonly ParkedRecord[];
}

/** Reads a copy. Nobody else may use its memory. */
export class IndexCopyReader {
  readonly #kernel: KernelExports;
  readonly #memory: KernelMemory;
  readonly #outAt: number;
  readonly #cursorAt: number;
  readonly #recordAt: number;

  /** @param copy - the only reader of it is this one. */
  constructor({ memory, bytes }: IndexCopy) {
    this.#memory = memory;
    this.#kernel = instantiateKernel(memory);
    // Not from the kernel's heap, which would take more with each index that is copied to the same memory.
    this.#outAt = bytes;
    this.#cursorAt = this.#outAt + PAGE_ROWS * INDEX_ROW_BYTES;
    this.#recordAt = this.#cursorAt + CURSOR_BYTES;
    growTo(memory, this.#recordAt + CONTEXT_RECORD_BYTES);
  }

  /** The contexts there are, in no particular order. */
  contexts(): ContextSummary[] {
    return listContexts(this.#kernel, this.#memory, -1, this.#recordAt);
  }

  /**
   * Everything that a context holds.
   *
   * @returns pages of whole rows; each is valid until the next.
   */
  *rows(contextId: number): Generator<Uint8Array> {
    const cursor = new Uint32Array(this.#memory.buffer, this.#cursorAt, EXPORT_WORDS);
    cursor.fill(0);
    while (cursor[EXPORT_DONE] === 0) {
      this.#kernel.indexExport(slotOf(contextId), this.#cursorAt, this.#outAt, PAGE_ROWS);
      if (cursor[EXPORT_ROWS] > 0)
        yield new Uint8Array(this.#memory.buffer, this.#outAt, cursor[EXPORT_ROWS] * INDEX_ROW_BYTES);
    }
  }

  /** The KV-cache groups of a rank, its main one first. */
  groups(rankSlot: number): HeldGroup[] {
    return listGroups(this.#kernel, this.#memory, rankSlot);
  }

  /**
   * The contexts that a rank has stored to.
   *
   * @returns their ids, the one last stored to last: in this order `IndexImport.order` wants them.
   */
  rankContexts(rankSlot: number): number[] {
    const bySlot = new Map(this.contexts().map(({ id }) => [slotOf(id), id] as const));
    const count = this.#kernel.rankContexts(rankSlot, this.#outAt);
    const slots = Array.from(new Uint32Array(this.#memory.buffer, this.#outAt, count));
    return slots.reverse().flatMap((slot) => bySlot.get(slot) ?? []);
  }
}

/** What an import works on; `PrefixIndex.importer` gives it. */
export interface ImportTarget {
  readonly kernel: KernelExports;
  /** Shape [2 × RUN_BLOCKS] at least each: prefix hashes and engine block hashes of a run. */
  readonly prefixes: Uint32Array;
  readonly hashes: Uint32Array;
  /** Its group slots are `first`, `first + step` … */
  readonly groupSlots: { readonly first: number; readonly step: number };
  openContext(key: ContextKey): number;
  /** Parks a store; false when it does not fit. */
  park(store: Omit<ParkedStore, "sequence" | "parkedMs">): boolean;
  /** Tells the listener what limits took. */
  evicted(): void;
}

/** A run being gathered: rows of one rank slot and tier. */
interface Run {
  count: number;
  readonly prefixes: Uint32Array;
  readonly hashes: Uint32Array;
}

/** Fills an index with rows of another. Copies count while it does; who follows the ranks says afterwards whether they do. */
export class IndexImport {
  readonly #target: ImportTarget;
  readonly #incomplete = new Set<number>();

  /** @param target - an index whose ranks named in rows are empty. */
  constructor(target: ImportTarget) {
    this.#target = target;
  }

  /** Rank slots of which limits left something out. */
  get incompleteRanks(): ReadonlySet<number> {
    return this.#incomplete;
  }

  /**
   * Stores rows.
   *
   * @param context - of all of them.
   * @param rows - whole rows, in the order in which they were read.
   * @param isWanted - whether a rank slot's rows are wanted; others are passed over.
   * @returns the number of rows stored.
   */
  add(context: ContextKey, rows: Uint8Array, isWanted: (rankSlot: number) => boolean): number {
    const slot = slotOf(this.#target.openContext(context));
    const runs = new Map<number, Run>();
    const view = new DataView(rows.buffer, rows.byteOffset, rows.byteLength);
    let stored = 0;
    for (let at = 0; at < rows.byteLength; at += INDEX_ROW_BYTES) {
      const holder = view.getUint32(at + ROW_HOLDER_BYTES, true);
      if (!isWanted(holderSlotOf(holder))) continue;
      stored += 1;
      let run = runs.get(holder);
      if (run === undefined) {
        run = {
          count: 0,
          prefixes: new Uint32Array(2 * RUN_BLOCKS),
          hashes: new Uint32Array(2 * RUN_BLOCKS),
        };
        runs.set(holder, run);
      }
      const copies = view.getUint32(at + ROW_COPIES_BYTES, true);
      for (let copy = 0; copy < copies; copy++) {
        run.prefixes[2 * run.count] = view.getUint32(at + ROW_PREFIX_BYTES, true);
        run.prefixes[2 * run.count + 1] = view.getUint32(at + ROW_PREFIX_BYTES + 4, true);
        run.hashes[2 * run.count] = view.getUint32(at + ROW_NAME_BYTES, true);
        run.hashes[2 * run.count + 1] = view.getUint32(at + ROW_NAME_BYTES + 4, true);
        run.count += 1;
        if (run.count === RUN_BLOCKS) this.#flush(slot, holder, run);
      }
    }
    for (const [holder, run] of runs) this.#flush(slot, holder, run);
    return stored;
  }

  /** Opens the groups of a rank under the holder slots that its rows name. Before `add`. */
  groups(rankSlot: number, main: RestoredMainGroup | null, groups: readonly RestoredGroup[]): void {
    const { kernel } = this.#target;
    if (main !== null) kernel.rankMain(rankSlot, main.blockSize, main.index, kindNumber(main.kind));
    for (const { slot, index, rule, kind, windowTokens, blockSize } of groups) {
      const numbers = [GROUP_RULES[rule], kindNumber(kind)] as const;
      kernel.rankGroupAt(slot, rankSlot, index, ...numbers, windowTokens, blockSize);
    }
  }

  /**
   * Opens the groups of a rank under slots of this index. Before `add`.
   *
   * @returns their slots in the order of `groups`; null when there are too few: then the caller clears the rank.
   */
  openGroups(
    rankSlot: number,
    main: RestoredMainGroup | null,
    groups: readonly GroupShape[],
  ): readonly number[] | null {
    const { kernel, groupSlots } = this.#target;
    this.groups(rankSlot, main, []);
    const slots: number[] = [];
    for (const { index, rule, kind, windowTokens, blockSize } of groups) {
      const numbers = [GROUP_RULES[rule], kindNumber(kind)] as const;
      const { first, step } = groupSlots;
      const slot = kernel.rankGroup(rankSlot, index, ...numbers, windowTokens, blockSize, first, step);
      if (slot === 0) return null;
      slots.push(slot);
    }
    return slots;
  }

  /** Whether limits left out or took nothing of a rank, which was empty before. */
  isWhole(rankSlot: number): boolean {
    const { kernel } = this.#target;
    const lost = new Uint32Array(
      this.#target.hashes.buffer,
      kernel.rankLossesAt(),
      RANK_WORDS * rankSlot + 1,
    );
    return !this.#incomplete.has(rankSlot) && lost[RANK_WORDS * rankSlot] === 0;
  }

  /** Says in which order a rank has stored to contexts: the last one is what its removals mean first. */
  order(rankSlot: number, contexts: readonly ContextKey[]): void {
    for (const context of contexts)
      this.#target.kernel.rankContextFirst(slotOf(this.#target.openContext(context)), rankSlot);
  }

  /** Parks a store as it was parked; call in the order in which they were. */
  park(record: ParkedRecord): void {
    // Its own, since removals are noted in it: the record may be parked elsewhere, too.
    const removed = record.removed.slice();
    if (!this.#target.park({ ...record, blockCount: removed.length, removed }))
      this.#incomplete.add(this.#target.kernel.holderOwner(record.rankSlot));
  }

  #flush(slot: number, holder: number, run: Run): void {
    if (run.count === 0) return;
    const { kernel, prefixes, hashes } = this.#target;
    prefixes.set(run.prefixes.subarray(0, 2 * run.count));
    hashes.set(run.hashes.subarray(0, 2 * run.count));
    const rankSlot = holderSlotOf(holder);
    const outcome = kernel.indexImport(
      slot,
      rankSlot,
      holderTierOf(holder),
      run.count,
      prefixes.byteOffset,
      hashes.byteOffset,
    );
    run.count = 0;
    if (outcome % EVICTED !== 0) this.#incomplete.add(kernel.holderOwner(rankSlot));
    if ((outcome & EVICTED) !== 0) this.#target.evicted();
  }
}

/** The slot in a row's holder. */
export function holderSlotOf(holder: number): number {
  return holder & HOLDER_SLOT_MASK;
}

/** The tier in a row's holder. */
export function holderTierOf(holder: number): number {
  return holder >>> HOLDER_TIER_SHIFT;
}
