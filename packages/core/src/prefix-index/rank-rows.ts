/**
 * All that an index holds of one rank. Its only writer reads it between two calls, and another writer puts it into its index. So a
 * rank moves between two parts of an index that are read as one (parts-reader.ts).
 *
 *     part 0 ──exportRank──▶ RankRows ─post─▶ importRank ──▶ part 1 ─▶ RankHomes.place ─▶ part 0 clears the rank
 *
 * Rows are those of a snapshot (index-copy.ts). Stores that wait for parents are not among them: they go with the stream.
 *
 * Invariants (prefix-index.model.test.ts, parts-reader.test.ts)
 *  E1  An index that imports the rows answers for the rank as the one that they were read from.
 *  E2  An import that limits or missing group slots cut short is not whole, and its caller clears the rank there.
 */
import { type ContextSummary, slotOf } from "./context-table.ts";
import type { ContextKey } from "./contract.ts";
import { type HeldGroup, listGroups } from "./group-table.ts";
import { holderSlotOf, INDEX_ROW_BYTES, INDEX_ROW_HOLDER, type IndexImport } from "./index-copy.ts";
import type { KernelExports, KernelMemory } from "./kernel.ts";
import { EXPORT_DONE, EXPORT_ROWS, EXPORT_ROWS_MIN, EXPORT_WORDS } from "./kernel-boundary.generated.ts";

/** Rows that are read at a time: more than one block may take. */
const PAGE_ROWS = 2 * EXPORT_ROWS_MIN;

/** Structured-cloneable. */
export interface RankRows {
  readonly rankSlot: number;
  /** The main group first, which has the rank's slot. */
  readonly groups: readonly HeldGroup[];
  /** Whole rows of one holder and context each, in the order in which they have to be put in. */
  readonly pages: readonly RankPage[];
  /** For each holder, the contexts that it stored to, the last one last. */
  readonly orders: readonly HolderOrder[];
}

/** Rows of one context. */
interface RankPage {
  readonly context: ContextKey;
  readonly rows: Uint8Array;
}

interface HolderOrder {
  readonly holderSlot: number;
  readonly contexts: readonly ContextKey[];
}

/** Where `readRank` reads, and memory of the caller's to read to. */
export interface RankSource {
  readonly kernel: KernelExports;
  readonly memory: KernelMemory;
  readonly contexts: readonly ContextSummary[];
  /** Address of `PAGE_ROWS` rows: a writer has room for tokens there. */
  readonly outAt: number;
  /** Address of `EXPORT_WORDS` words. */
  readonly cursorAt: number;
}

/** Reads a rank. O(blocks of the contexts that it is in). */
export function readRank(source: RankSource, rankSlot: number): RankRows {
  const { kernel, memory, contexts, outAt } = source;
  const bySlot = new Map(contexts.map(({ id, key }) => [slotOf(id), key] as const));
  const groups = listGroups(kernel, memory, rankSlot);
  const holders = [rankSlot, ...groups.flatMap(({ slot, isMain }) => (isMain ? [] : [slot]))];
  const orders = holders.map((holderSlot) => {
    const count = kernel.rankContexts(holderSlot, outAt);
    const slots = Array.from(new Uint32Array(memory.buffer, outAt, count)).reverse();
    return { holderSlot, slots };
  });
  const pages = orders.flatMap(({ holderSlot, slots }) =>
    slots.flatMap((slot) => {
      const context = bySlot.get(slot);
      if (context === undefined) return [];
      return [...readHolder(source, slot, holderSlot)].map((rows) => ({ context, rows }));
    }),
  );
  return {
    rankSlot,
    groups,
    pages,
    orders: orders.map(({ holderSlot, slots }) => ({
      holderSlot,
      contexts: slots.flatMap((slot) => bySlot.get(slot) ?? []),
    })),
  };
}

/** Pages of a holder's rows in a context, each the caller's. */
function* readHolder(
  { kernel, memory, outAt, cursorAt }: RankSource,
  slot: number,
  holderSlot: number,
): Generator<Uint8Array> {
  const cursor = new Uint32Array(memory.buffer, cursorAt, EXPORT_WORDS);
  cursor.fill(0);
  while (cursor[EXPORT_DONE] === 0) {
    kernel.indexExportHolder(slot, holderSlot, cursorAt, outAt, PAGE_ROWS);
    if (cursor[EXPORT_ROWS] > 0)
      yield Uint8Array.from(new Uint8Array(memory.buffer, outAt, cursor[EXPORT_ROWS] * INDEX_ROW_BYTES));
  }
}

/** Puts a rank's rows into an index, page by page, so that its writer can do other things in between. */
export class RankImport {
  /** Holder slots of the rank's groups here, by those that the rows have. */
  readonly slots: ReadonlyMap<number, number>;
  readonly #target: IndexImport;
  readonly #rows: RankRows;
  #next = 0;

  private constructor(target: IndexImport, rows: RankRows, slots: ReadonlyMap<number, number>) {
    this.#target = target;
    this.#rows = rows;
    this.slots = slots;
  }

  /**
   * Opens the rank's groups.
   *
   * @param target - an index without anything of the rank.
   * @returns null when it has no slots left for the groups (E2).
   */
  static begin(target: IndexImport, rows: RankRows): RankImport | null {
    const main = rows.groups.find(({ isMain }) => isMain) ?? null;
    const others = rows.groups.filter(({ isMain }) => !isMain);
    const opened = target.openGroups(rows.rankSlot, main, others);
    if (opened === null) return null;
    return new RankImport(target, rows, new Map(others.map(({ slot }, i) => [slot, opened[i]] as const)));
  }

  /** Puts in one more page. False when none is left: then the rank is as it was, or `isWhole` is false. */
  step(): boolean {
    const { pages } = this.#rows;
    if (this.#next < pages.length) {
      const { context, rows } = pages[this.#next];
      this.#next += 1;
      this.#target.add(context, this.#renamed(rows), () => true);
      return true;
    }
    for (const { holderSlot, contexts } of this.#rows.orders)
      this.#target.order(this.slots.get(holderSlot) ?? holderSlot, contexts);
    return false;
  }

  /** Whether no limit of this index took or left out anything of the rank. */
  get isWhole(): boolean {
    return this.#target.isWhole(this.#rows.rankSlot);
  }

  #renamed(rows: Uint8Array): Uint8Array {
    if (this.slots.size === 0) return rows;
    const view = new DataView(rows.buffer, rows.byteOffset, rows.byteLength);
    for (let at = INDEX_ROW_HOLDER; at < rows.byteLength; at += INDEX_ROW_BYTES) {
      const holder = view.getUint32(at, true);
      const old = holderSlotOf(holder);
      view.setUint32(at, holder - old + (this.slots.get(old) ?? old), true);
    }
    return rows;
  }
}

/** Rows in all pages. */
export function rowCount({ pages }: RankRows): number {
  return pages.reduce((sum, { rows }) => sum + rows.byteLength / INDEX_ROW_BYTES, 0);
}
