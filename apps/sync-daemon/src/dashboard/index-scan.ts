/**
 * A walk over the whole index: how many ranks share a block, by context, and on which tiers each rank
 * has its blocks. The index counts neither as it goes.
 *
 *     asked ──due──▶ pages of each context, in slices of SLICE_MS ──▶ look, until the next
 *        └──not due──▶ the last look
 *
 * Bounds
 *  - No slice takes longer than SLICE_MS and a page. Requests are served between two slices.
 *  - After a walk, none begins for SPACING times as long as it took, and not for SPACING_MS_MIN. So
 *      it costs one percent of a core at most.
 *  - Without a question nothing runs.
 *
 * An entry that is written during a walk may be in it or not. Only main groups of ranks are counted.
 */

import { setImmediate as turn } from "node:timers/promises";

import { DUMP_ROW_WORDS, type PrefixReader, RANK_SLOTS_MAX, TIERS } from "@kvsync/core";

import type { RegisteredEngine } from "../engine/engine-directory.ts";
import type { EngineRegistry } from "../engine/engine-registry.ts";
import { ranksOf } from "./fleet-sums.ts";

/** Long against a page, short against a request. */
const SLICE_MS = 2;
/** Rows of a page: a tenth of a millisecond. */
const PAGE_ROWS = 4096;
const SPACING = 100;
const SPACING_MS_MIN = 2000;

/** Upper ends of the classes of holders; the last class has none. */
const HOLDER_CLASSES = [1, 2, 4, 8] as const;
/** Names of the classes. */
export const HOLDER_CLASS_NAMES = ["1", "2", "3-4", "5-8", "over_8"] as const;

/** Blocks by number of tier. */
export type TierCounts = readonly number[];

/** What a walk found. */
export interface IndexLook {
  /** When it ended, milliseconds since the Unix epoch. */
  readonly atMs: number;
  /** Blocks by class of holders, by id of the context. */
  readonly holders: ReadonlyMap<number, readonly number[]>;
  /** Tiers of a rank; null of one that came since. */
  readonly tiersOf: (owner: RegisteredEngine, rankSlot: number) => TierCounts | null;
}

/** Where it walks. */
export interface ScanSources {
  readonly reader: Pick<PrefixReader, "contexts" | "dump">;
  readonly registry: Pick<EngineRegistry, "engines">;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
}

/** Ranks that hold the block at hand. */
class BlockAtHand {
  readonly #classes: number[] = HOLDER_CLASS_NAMES.map(() => 0);
  #low = 0;
  #high = 0;
  #holders = 0;
  #lastSlot = -1;

  /** Takes a row of the dump: rows of a block come together, and of a block those of a rank. */
  add(low: number, high: number, slot: number): void {
    if (low !== this.#low || high !== this.#high || this.#lastSlot === -1) {
      this.#end();
      this.#low = low;
      this.#high = high;
      this.#holders = 0;
      this.#lastSlot = -1;
    }
    if (slot !== this.#lastSlot) this.#holders += 1;
    this.#lastSlot = slot;
  }

  /** Blocks by class, the last one among them. */
  done(): readonly number[] {
    this.#end();
    this.#holders = 0;
    return this.#classes;
  }

  #end(): void {
    if (this.#holders === 0) return;
    const found = HOLDER_CLASSES.findIndex((most) => this.#holders <= most);
    const i = found === -1 ? HOLDER_CLASSES.length : found;
    this.#classes[i] = (this.#classes[i] ?? 0) + 1;
  }
}

/** See the head of this file. */
export class IndexScan {
  readonly #sources: ScanSources;
  readonly #rows = new Uint32Array(PAGE_ROWS * DUMP_ROW_WORDS);
  #look: IndexLook | null = null;
  #running: Promise<IndexLook> | null = null;
  #dueMs = Number.NEGATIVE_INFINITY;

  /** @param sources - index and ranks. */
  constructor(sources: ScanSources) {
    this.#sources = sources;
  }

  /** The last look; null before the first. Begins the next one where it is due. */
  get latest(): IndexLook | null {
    void this.#start();
    return this.#look;
  }

  /** The last look; waits for the first. */
  async first(): Promise<IndexLook> {
    const next = this.#start();
    return this.#look ?? next;
  }

  #start(): Promise<IndexLook> {
    if (this.#running !== null) return this.#running;
    if (this.#look !== null && this.#sources.now() < this.#dueMs) return Promise.resolve(this.#look);
    this.#running = this.#walk().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #walk(): Promise<IndexLook> {
    const { reader, registry, now } = this.#sources;
    const owners = new Map([...ranksOf(registry)].map(([owner, { rankSlot }]) => [rankSlot, owner]));
    const tiers = new Float64Array(RANK_SLOTS_MAX * TIERS.length);
    const holders = new Map<number, readonly number[]>();
    let spentMs = 0;
    let sliceMs = performance.now();
    for (const { id } of reader.contexts()) {
      const block = new BlockAtHand();
      let cursor = 0;
      while (cursor >= 0) {
        const page = reader.dump(id, cursor, this.#rows);
        cursor = page.cursor;
        this.#count(page.rows, tiers, block);
        const tookMs = performance.now() - sliceMs;
        if (tookMs < SLICE_MS) continue;
        spentMs += tookMs;
        await turn();
        sliceMs = performance.now();
      }
      holders.set(id, block.done());
    }
    spentMs += performance.now() - sliceMs;
    const atMs = now();
    this.#dueMs = atMs + Math.max(SPACING_MS_MIN, spentMs * SPACING);
    const tiersOf = (owner: RegisteredEngine, rankSlot: number): TierCounts | null =>
      owners.get(rankSlot) === owner
        ? [...tiers.subarray(rankSlot * TIERS.length, (rankSlot + 1) * TIERS.length)]
        : null;
    this.#look = { atMs, holders, tiersOf };
    return this.#look;
  }

  #count(rowCount: number, tiers: Float64Array, block: BlockAtHand): void {
    const rows = this.#rows;
    for (let at = 0; at < rowCount * DUMP_ROW_WORDS; at += DUMP_ROW_WORDS) {
      const slot = rows[at + 2] ?? 0;
      if (slot >= RANK_SLOTS_MAX) continue;
      const tier = slot * TIERS.length + (rows[at + 3] ?? 0);
      tiers[tier] = (tiers[tier] ?? 0) + 1;
      block.add(rows[at] ?? 0, rows[at + 1] ?? 0, slot);
    }
  }
}
