/**
 * The meaning of a store that announces blocks which the engine holds already.
 *
 * vLLM announces a block for each physical copy. It announces it one more time for each request
 * that asks for a report (`kv_cache_report_mode` of a request, vLLM 0.26 to 0.33). Then
 * `emit_cached_block_events` repeats the blocks that the request reuses, from the root and with
 * parent nil, and changes nothing. The events do not distinguish the two. The known facts
 * (vllm/v1/core/block_pool.py, kv_cache_manager.py @ 0.33.0):
 *
 *  - A report begins at the root, is for the device, comes as a map and names a group.
 *  - It announces the blocks of a hit, whose end all groups of the rank allow. Where a group does
 *    not, the store is a copy, as long as nothing is missing from the index (report-proof.ts).
 *  - It leaves out no block of its tokens. A store of fewer blocks than its tokens fill is a copy.
 *  - A physical copy of reusable blocks comes from a request that did not look at the cache (prompt
 *    log probabilities, pooling). It also comes from a request that looked before the run was there
 *    (remote prefill). Copies of the shortest prefix that all groups allow are common. A prompt
 *    that ends with it computes it again, and so does a short prompt whose output fills the block.
 *
 * So such a store adds no copy to the index. It is written into a ledger of uncertain copies
 * (copy-ledger.ts), and removals show their number.
 */
import {
  HELD_BLOCK,
  LAST_COPY,
  MISSING_BLOCK,
  REPEATED_BLOCK,
  type IndexWriter,
  type RepeatRule,
} from "../prefix-index/contract.ts";
import type { DecodedBlockStored } from "../wire/events.ts";
import type { CacheGroups } from "./cache-groups.ts";
import { CopyLedger, type LedgerEntry } from "./copy-ledger.ts";
import { canBeReport } from "./report-proof.ts";
import type { ReportMode } from "./sync-settings.ts";

/** How many blocks of a store were there, and how many of these the ledger had no room for. */
export interface Repeated {
  readonly repeated: number;
  readonly untracked: number;
}

/** The repeated stores of one rank, and what they leave in doubt. */
export class RepeatedStores {
  readonly #index: IndexWriter;
  readonly #groups: CacheGroups;
  readonly #mode: ReportMode;
  readonly #ledger = new CopyLedger();

  constructor(index: IndexWriter, groups: CacheGroups, mode: ReportMode) {
    this.#index = index;
    this.#groups = groups;
    this.#mode = mode;
  }

  /** Whether the engine may hold blocks that the index had to let go. */
  get isInDoubt(): boolean {
    return this.#ledger.openCount > 0;
  }

  /** Whether a store on the device looks like a report, whatever is held. */
  looksLikeReport(event: DecodedBlockStored, isMap: boolean): boolean {
    const { hasParent, groupIdx, tokenCount, blockCount, blockSize } = event;
    if (hasParent || groupIdx === null || !isMap || this.#mode === "delta") return false;
    return tokenCount === blockCount * blockSize;
  }

  /**
   * What the index is to do with blocks of a main group's store on the device that are there already.
   *
   * @param mayMiss - whether blocks may be missing from the index otherwise than by a doubt of this ledger.
   */
  ruleFor(event: DecodedBlockStored, isMap: boolean, mayMiss: boolean): RepeatRule {
    if (!this.looksLikeReport(event, isMap)) return "count";
    if (mayMiss) return "skip_each";
    if (!this.isInDoubt) return "skip_all";
    return this.canBeReport(event) ? "skip_each" : "count";
  }

  /** Whether a store from the root may be a report, where the index misses nothing but what is in doubt here. */
  canBeReport({ blockSize, blockCount }: DecodedBlockStored): boolean {
    const { hashes } = this.#index.scratch;
    return canBeReport(this.#index, this.#groups.holders(), blockSize, blockCount, (slot, i) =>
      this.#ledger.isOpen(slot, hashes[2 * i], hashes[2 * i + 1]),
    );
  }

  /**
   * Takes in a main group's store that changed nothing, or whose repeated blocks were noted.
   *
   * @param slot - of the main group.
   * @param isWhole - whether all its blocks were there.
   */
  noteRepeated(slot: number, blockCount: number, isWhole: boolean): Repeated {
    const { notes, scratch } = this.#index;
    // EAGLE makes a prompt of two blocks compute both again, and other groups may do so with any prompt.
    const isReport = this.#mode === "full" && blockCount > 2 && this.#groups.holders().length === 1;
    let repeated = 0;
    let untracked = 0;
    for (let i = 0; i < blockCount; i += 1) {
      if (!isWhole && (notes[i] & REPEATED_BLOCK) === 0) continue;
      repeated += 1;
      if (isReport) continue;
      if (!this.#ledger.note(slot, scratch.hashes[2 * i], scratch.hashes[2 * i + 1], true)) untracked += 1;
    }
    return { repeated, untracked };
  }

  /** Takes in another group's store that may be a report. It may name blocks that the group has let go: they are open. */
  noteUncertain(slot: number, blockCount: number): Repeated {
    const { notes, scratch } = this.#index;
    this.#index.noteHeld(slot, 0, blockCount);
    let untracked = 0;
    for (let i = 0; i < blockCount; i += 1) {
      const isHeld = notes[i] === HELD_BLOCK;
      if (!this.#ledger.note(slot, scratch.hashes[2 * i], scratch.hashes[2 * i + 1], isHeld)) untracked += 1;
    }
    return { repeated: blockCount, untracked };
  }

  /** The blocks in the index's scratch have, or are about to get, a copy on the device. */
  noteStored(slot: number, blockCount: number): void {
    if (!this.isInDoubt) return;
    const { hashes } = this.#index.scratch;
    for (let i = 0; i < blockCount; i += 1) this.#ledger.stored(slot, hashes[2 * i], hashes[2 * i + 1]);
  }

  /**
   * Takes in a removal on the device that the index was given.
   *
   * @returns how many of the blocks that the index did not have were uncertain copies.
   */
  noteRemoved(slot: number, blockCount: number): number {
    if (this.#ledger.isEmpty) return 0;
    const { notes, scratch } = this.#index;
    let taken = 0;
    for (let i = 0; i < blockCount; i += 1) {
      const low = scratch.hashes[2 * i];
      const high = scratch.hashes[2 * i + 1];
      if (notes[i] === LAST_COPY) this.#ledger.lastRemoved(slot, low, high);
      else if (notes[i] === MISSING_BLOCK && this.#ledger.missingRemoved(slot, low, high)) taken += 1;
    }
    return taken;
  }

  /** Forgets everything: the rank is empty. */
  clear(): void {
    this.#ledger.clear();
  }

  /** Everything as plain data; null when it is too much to be kept. */
  state(): LedgerEntry[] | null {
    return this.#ledger.entries();
  }

  /** Takes over what another one had. */
  restore(entries: readonly LedgerEntry[]): void {
    this.#ledger.restore(entries);
  }
}
