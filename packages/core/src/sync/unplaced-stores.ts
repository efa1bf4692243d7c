/**
 * Stores of KV-cache groups whose blocks no group of the rank has yet (A1 of event-applier.ts).
 *
 *     store without usable tokens ─▶ placed by name ─▶ the rest waits here ─▶ end of the message, or a removal
 *                                                                                     │ placed by name, or lost
 *
 * Invariants
 *  U1  At most UNPLACED_BLOCKS_MAX blocks of a rank wait. A block that does not fit is lost at
 *      once, and `keep` returns false.
 *  U2  Placing leaves the names in the index's scratch as they were: a removal that is being applied has its own there.
 *
 * Not here: when to place, and the meaning of a loss (event-applier.ts).
 */
import type { ContextKey, IndexWriter, Tier } from "../prefix-index/contract.ts";

/** Blocks that may wait for the end of a message to be placed: a long prompt's, in one group. */
export const UNPLACED_BLOCKS_MAX = 65_536;

/** Blocks of a group that no group of the rank has yet. */
interface UnplacedStore {
  readonly context: ContextKey;
  readonly tier: Tier;
  readonly slot: number;
  /** Shape [2 × blocks], low then high. */
  readonly hashes: Uint32Array;
}

/** Called once a store that waited: how many of its blocks were placed, and how many no group has. */
export type Placed = (placed: number, lost: number) => void;

/** The waiting stores of one rank. */
export class UnplacedStores {
  readonly #index: IndexWriter;
  readonly #rankSlot: number;
  #stores: UnplacedStore[] = [];
  #blockCount = 0;

  constructor(index: IndexWriter, rankSlot: number) {
    this.#index = index;
    this.#rankSlot = rankSlot;
  }

  /** Whether nothing waits. */
  get isEmpty(): boolean {
    return this.#stores.length === 0;
  }

  /** Keeps the first blocks in the index's scratch; false when there is no room (U1). */
  keep(context: ContextKey, tier: Tier, slot: number, blockCount: number): boolean {
    if (this.#blockCount + blockCount > UNPLACED_BLOCKS_MAX) return false;
    const hashes = this.#index.scratch.hashes.slice(0, 2 * blockCount);
    this.#stores.push({ context, tier, slot, hashes });
    this.#blockCount += blockCount;
    return true;
  }

  /** Places everything, now that more of the message was applied. */
  placeAll(done: Placed): void {
    const waiting = this.#stores;
    this.clear();
    const { scratch } = this.#index;
    // U2
    const kept = scratch.hashes.slice(0, 2 * Math.max(...waiting.map(({ hashes }) => hashes.length / 2)));
    for (const store of waiting) {
      const blockCount = store.hashes.length / 2;
      const lost = this.#place(store, blockCount);
      done(blockCount - lost, lost);
    }
    scratch.hashes.set(kept);
  }

  /** Forgets everything: the rank is empty. */
  clear(): void {
    this.#stores = [];
    this.#blockCount = 0;
  }

  /** Returns how many of the blocks no group has. */
  #place({ context, tier, slot, hashes }: UnplacedStore, blockCount: number): number {
    const index = this.#index;
    index.scratch.hashes.set(hashes);
    const contextId = index.openContext(context, this.#rankSlot);
    const { outcome, unplacedCount } = index.storeGroupBlocks(
      contextId,
      slot,
      tier,
      blockCount,
      1,
      false,
      false,
      0,
      0,
      false,
    );
    return outcome === "stored" ? unplacedCount : blockCount;
  }
}
