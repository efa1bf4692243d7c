/**
 * Facts of an engine that its stores and removals show, although no event has a field for them.
 *
 *     first page named by its tokens alone     ▶ names that are content (content-hash.ts)
 *     a block goes, the one behind it stays    ▶ a window that is not announced (chain-sample.ts)
 *     two stores behind one block              ▶ no block is dropped for a drafter (drafter-proof.ts)
 *     a store of several blocks, or a second group ▶ every group has announced itself (S2)
 *
 * Invariants (engine-signs.test.ts)
 *  S1  A rank with one group and a kind on the wire is quiet after its first store of several blocks. Its later events are not
 *      shown to this class.
 *  S2  vLLM 0.33 matches inside of a larger Mamba block. Its main group can announce single blocks before the Mamba group
 *      announces any. A prompt's chunk of several blocks brings the group's state at its end in the same message. So a rank of
 *      which only single blocks came may have a group that is not known.
 *  S3  A fact that was shown holds until another engine begins: through AllBlocksCleared, snapshots and moves to another
 *      thread too.
 *
 * Not here: the effect on trust (event-applier.ts, A12, A15 to A17).
 *
 * Source: vLLM 0.33.0, v1/core/kv_cache_utils.py (partial_hash_hits_enabled), v1/core/sched/scheduler.py
 * (_mamba_block_aligned_split).
 */
import type { IndexWriter } from "../prefix-index/contract.ts";
import type { EventBatchDecoder } from "../wire/event-batch-decoder.ts";
import type { DecodedBlockStored } from "../wire/events.ts";
import type { CacheGroups, GroupPlace, HolderShape } from "./cache-groups.ts";
import { ChainSample } from "./chain-sample.ts";
import { isNamedByContent } from "./content-hash.ts";
import { DrafterProof } from "./drafter-proof.ts";

/** What was shown of an engine, as plain data. */
export interface SignsState {
  /** Whether it is known that a whole match is reused. */
  readonly reusesWholeMatch: boolean;
  /** Whether a store of several blocks or of a second group came. */
  readonly hasShownGroups: boolean;
  /** Whether the main group stored single blocks before that. */
  readonly hasStoredOne: boolean;
  /** Whether the engine stores parts of blocks; left out by snapshots of earlier versions. */
  readonly storesParts?: boolean | undefined;
}

/** The signs of one rank. */
export class EngineSigns {
  readonly #index: IndexWriter;
  readonly #decoder: EventBatchDecoder;
  readonly #groups: CacheGroups;
  readonly #drafter: DrafterProof;
  readonly #chain: ChainSample;
  #hasCheckedName = false;
  #hasShownGroups = false;
  #hasStoredOne = false;

  constructor(
    index: IndexWriter,
    decoder: EventBatchDecoder,
    groups: CacheGroups,
    rankSlot: number,
    dropsLastBlock: boolean | undefined,
  ) {
    this.#index = index;
    this.#decoder = decoder;
    this.#groups = groups;
    this.#drafter = new DrafterProof(index, dropsLastBlock);
    this.#chain = new ChainSample(index, rankSlot);
  }

  /** Whether the engine may drop the last block of a match, where that changes more than a block. */
  get isDrafterUnknown(): boolean {
    return !this.#drafter.isSettled && this.#groups.isHybrid;
  }

  /** Whether the engine may have a group that has not announced itself (S2). */
  get mayHideGroups(): boolean {
    return this.#hasStoredOne && !this.#hasShownGroups;
  }

  /** Whether a store or removal needs not be shown (S1). */
  get isQuiet(): boolean {
    return (
      this.#hasShownGroups &&
      this.#hasCheckedName &&
      this.#chain.isOver &&
      (this.#drafter.isSettled || !this.#groups.isHybrid)
    );
  }

  /** A message begins. */
  begin(): void {
    this.#drafter.begin();
  }

  /**
   * Blocks are about to be stored on the device: tokens and names are in the index's scratch, whose notes are overwritten.
   *
   * @param isFirstKnown - asks whether any group of the rank has the first of them.
   * @returns whether the engine names pages by their content alone.
   */
  noteStore(event: DecodedBlockStored, place: GroupPlace, isFirstKnown: () => boolean): boolean {
    if (event.lookahead > 0 && event.kvCacheSpecKind !== null) this.#drafter.settle();
    this.#noteGroups(event, place);
    if (this.isDrafterUnknown && this.#drafter.watches(this.#watched(place.contextBlockSize), place.slot)) {
      this.#drafter.noteStore(event, isFirstKnown, event.tokenCount === event.blockCount * event.blockSize);
    }
    return !this.#hasCheckedName && this.#isContentName(event);
  }

  /** Blocks of the main group were stored on the device, in this context. */
  noteStored(event: DecodedBlockStored, contextId: number): void {
    if (this.#chain.isOver) return;
    if (event.kvCacheSpecKind !== null || this.#decoder.isMapEvent) this.#chain.end();
    else {
      const { blockCount, hasParent, parentLow, parentHigh } = event;
      this.#chain.noteStored(contextId, blockCount, hasParent, parentLow, parentHigh);
    }
  }

  /** Something is held beyond the device. */
  noteBelowDevice(): void {
    this.#chain.end();
  }

  /** Blocks were removed from the device. */
  noteRemoved(slot: number, blockCount: number, isMain: boolean): void {
    this.#drafter.noteRemoved(slot, blockCount);
    if (isMain && !this.#chain.isOver) this.#chain.noteRemoved(blockCount);
  }

  /** At the end of a message: whether it showed a window that was not announced. */
  findsWindow(): boolean {
    return this.#chain.isWaiting && this.#chain.findsHole();
  }

  /** The rank is empty; the engine is the same or another one (S3). */
  clear(isSameEngine: boolean): void {
    this.#chain.clear();
    this.#drafter.clear();
    if (isSameEngine) return;
    this.#drafter.reset();
    this.#hasCheckedName = false;
    this.#hasShownGroups = false;
    this.#hasStoredOne = false;
  }

  /** Everything as plain data. */
  state(): SignsState {
    return {
      reusesWholeMatch: this.#drafter.isSettled,
      hasShownGroups: this.#hasShownGroups,
      hasStoredOne: this.#hasStoredOne,
      storesParts: this.#drafter.isImpossible,
    };
  }

  /** Takes over what another one had. */
  restore({ reusesWholeMatch, hasShownGroups, hasStoredOne, storesParts }: SignsState): void {
    if (reusesWholeMatch) this.#drafter.settle();
    if (storesParts === true) this.#drafter.giveUp();
    this.#hasShownGroups = hasShownGroups;
    this.#hasStoredOne = hasStoredOne;
  }

  /** The engine stores parts of blocks, which it can match. */
  noteParts(): void {
    this.#drafter.giveUp();
  }

  /**
   * The group to be watched: the one that vLLM announces first, of those whose matches can end at each block. What a later
   * group stores is known from the first.
   */
  #watched(contextBlockSize: number): number {
    let first: HolderShape | null = null;
    for (const holder of this.#groups.holders()) {
      if (holder.rule === "last" || holder.blockSize !== contextBlockSize) continue;
      if (first === null || holder.index < first.index) first = holder;
    }
    return first?.slot ?? -1;
  }

  /** S2 */
  #noteGroups({ blockCount, kvCacheSpecKind }: DecodedBlockStored, { isMain }: GroupPlace): void {
    if (this.#hasShownGroups) return;
    if (!isMain || blockCount > 1 || kvCacheSpecKind === null || !this.#decoder.isWideMapEvent)
      this.#hasShownGroups = true;
    else this.#hasStoredOne = true;
  }

  #isContentName(event: DecodedBlockStored): boolean {
    const { tokens, hashes } = this.#index.scratch;
    const { blockCount, blockSize, tokenCount, groupIdx, medium } = event;
    this.#hasCheckedName = true;
    const isPage = blockCount === 1 && tokenCount === blockSize && groupIdx === null && medium === null;
    return isPage && !this.#decoder.isMapEvent && isNamedByContent(event, tokens, hashes);
  }
}
