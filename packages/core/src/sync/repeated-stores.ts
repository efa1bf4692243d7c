/**
 * What it means that an engine announces blocks that it holds already.
 *
 * vLLM announces a block for each physical copy, and one more time for each request that asks for a report
 * (`kv_cache_report_mode` of a request, vLLM 0.26 to 0.33): then `emit_cached_block_events` repeats the blocks that the
 * request reuses, from the root and with parent nil, and changes nothing. Nothing on the wire tells the two apart. What can
 * be said (vllm/v1/core/block_pool.py, kv_cache_manager.py @ 0.33.0):
 *
 *  - A report begins at the root, is for the device, comes as a map and names a group.
 *  - It holds only blocks that the engine has. A store from the root with a block that is not there is no report, as long
 *    as nothing is missing from the index.
 *  - A physical copy of a whole run from the root that is there comes from a request that did not look at the cache (prompt
 *    log probabilities, pooling), or looked before the run was there (remote prefill). Of one block alone it is common: a
 *    prompt that ends with its first block computes it again, and so does a short prompt whose output fills the block.
 *
 * So such a store adds no copy to the index. It is written into a ledger of uncertain copies (copy-ledger.ts), and removals
 * show how many there were.
 */
import {
  LAST_COPY,
  MISSING_BLOCK,
  REPEATED_BLOCK,
  type IndexWriter,
  type RepeatRule,
} from "../prefix-index/contract.ts";
import type { DecodedBlockStored } from "../wire/events.ts";
import { CopyLedger, type LedgerEntry } from "./copy-ledger.ts";
import type { ReportMode } from "./sync-settings.ts";

/** The repeated stores of one rank, and what they leave in doubt. */
export class RepeatedStores {
  readonly #index: IndexWriter;
  readonly #mode: ReportMode;
  readonly #ledger = new CopyLedger();

  constructor(index: IndexWriter, mode: ReportMode) {
    this.#index = index;
    this.#mode = mode;
  }

  /** Whether the engine may hold blocks that the index had to let go. */
  get isInDoubt(): boolean {
    return this.#ledger.openCount > 0;
  }

  /**
   * What the index is to do with blocks of a store on the device that are there already.
   *
   * @param isMap - whether the event came as a map.
   * @param mayMiss - whether blocks may be missing from the index, so that a report may look new.
   */
  ruleFor(event: DecodedBlockStored, isMap: boolean, mayMiss: boolean): RepeatRule {
    if (event.hasParent || event.groupIdx === null || !isMap || this.#mode === "delta") return "count";
    return mayMiss ? "skip_each" : "skip_all";
  }

  /**
   * Takes in a store that changed nothing, or whose repeated blocks were noted.
   *
   * @param isWhole - whether all its blocks were there.
   * @returns how many of its blocks were there, and how many of these the ledger had no room for.
   */
  noteRepeated(
    blockCount: number,
    isWhole: boolean,
  ): { readonly repeated: number; readonly untracked: number } {
    const { notes, scratch } = this.#index;
    const isReport = this.#mode === "full" && blockCount > 1;
    let repeated = 0;
    let untracked = 0;
    for (let i = 0; i < blockCount; i += 1) {
      if (!isWhole && (notes[i] & REPEATED_BLOCK) === 0) continue;
      repeated += 1;
      if (!isReport && !this.#ledger.note(scratch.hashes[2 * i], scratch.hashes[2 * i + 1])) untracked += 1;
    }
    return { repeated, untracked };
  }

  /** The blocks in the index's scratch have a copy on the device now. */
  noteStored(blockCount: number): void {
    if (!this.isInDoubt) return;
    const { hashes } = this.#index.scratch;
    for (let i = 0; i < blockCount; i += 1) this.#ledger.stored(hashes[2 * i], hashes[2 * i + 1]);
  }

  /**
   * Takes in a removal on the device that the index was given.
   *
   * @returns how many of the blocks that the index did not have were uncertain copies.
   */
  noteRemoved(blockCount: number): number {
    if (this.#ledger.isEmpty) return 0;
    const { notes, scratch } = this.#index;
    let taken = 0;
    for (let i = 0; i < blockCount; i += 1) {
      const low = scratch.hashes[2 * i];
      const high = scratch.hashes[2 * i + 1];
      if (notes[i] === LAST_COPY) this.#ledger.lastRemoved(low, high);
      else if (notes[i] === MISSING_BLOCK && this.#ledger.missingRemoved(low, high)) taken += 1;
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
