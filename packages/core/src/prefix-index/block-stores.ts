/**
 * Stores as callers mean them. A store opens its context again if that was dropped meanwhile. It is parked if its parent
 * is unknown. It attaches the stores that waited for its blocks.
 *
 *     nothing waits   kernel ─▶ outcome
 *     else            pass over what waits (`skip_each`) ─▶ kernel ─▶ attach children, theirs, … ─▶ scratch as it was
 *
 * Invariants
 *  B1  Every store counts under one outcome.
 *  B2  What waits is attached whole and in the order of parking (contract.ts S2).
 *  B3  After a store, `hashes` and `notes` are the caller's, also after attached stores.
 *  B4  A context that another writer drops meanwhile is opened again, at most REOPEN_MAX times a store. A store that waited
 *      in it waits on.
 */
import {
  type ContextKey,
  LOOKAHEAD_MAX,
  REPEATED_BLOCK,
  type RepeatRule,
  type StoreOutcome,
  type Tier,
} from "./contract.ts";
import type { OpenContexts } from "./open-contexts.ts";
import type { ParkedStore } from "./parked-stores.ts";
import type { StoreCalls, StoreRequest } from "./store-calls.ts";
import type { WaitingStores } from "./waiting-stores.ts";
import { STORE_BLOCKS_MAX, STORE_TOKENS_MAX, type WriterScratch } from "./writer-memory.ts";

/** Times that a store opens its context again; contexts that are dropped faster are too few by far. */
const REOPEN_MAX = 8;
const TOKENS_MAX = STORE_TOKENS_MAX + LOOKAHEAD_MAX;

/** The stores of one writer. */
export class BlockStores {
  readonly #scratch: WriterScratch;
  readonly #contexts: OpenContexts;
  readonly #calls: StoreCalls;
  readonly #waiting: WaitingStores;
  #attachedCount = 0;
  readonly #countByOutcome: Record<StoreOutcome, number> = {
    stored: 0,
    parked: 0,
    repeated: 0,
    rejected_park_full: 0,
    rejected_memory_limit: 0,
    rejected_too_many_blocks: 0,
  };

  constructor(scratch: WriterScratch, contexts: OpenContexts, calls: StoreCalls, waiting: WaitingStores) {
    this.#scratch = scratch;
    this.#contexts = contexts;
    this.#calls = calls;
    this.#waiting = waiting;
  }

  /** Stores asked for, by outcome. */
  get countByOutcome(): Readonly<Record<StoreOutcome, number>> {
    return { ...this.#countByOutcome };
  }

  /** Parked stores whose parent came. */
  get attachedCount(): number {
    return this.#attachedCount;
  }

  /**
   * Stores the run in scratch.
   *
   * @param hasSkips - whether `scratch.skips` says which of its blocks are not to be stored.
   */
  store(
    contextId: number,
    rankSlot: number,
    tier: Tier,
    blockCount: number,
    hasParent: boolean,
    parentLow: number,
    parentHigh: number,
    hasExtra: boolean,
    hasSkips: boolean,
    repeats: RepeatRule,
  ): StoreOutcome {
    const { blockSize, lookahead } = this.#contexts.keyOf(contextId);
    const isFitting = blockCount <= STORE_BLOCKS_MAX && blockCount * blockSize + lookahead <= TOKENS_MAX;
    let first: StoreOutcome | "gone" | null = null;
    if (isFitting && this.#waiting.storeCount === 0) {
      first = this.#calls.store(
        contextId,
        rankSlot,
        tier,
        blockCount,
        hasParent,
        parentLow,
        parentHigh,
        hasExtra,
        hasSkips ? this.#scratch.skipsAt : 0,
        repeats,
      );
      if (first === "stored") {
        this.#countByOutcome.stored++;
        return first;
      }
    }
    if (!isFitting) return this.#counted("rejected_too_many_blocks");
    const request = { contextId, rankSlot, tier, blockCount, hasParent, parentLow, parentHigh, hasExtra };
    return this.#counted(
      first === null
        ? this.#storeBesideWaiting(request, hasSkips, repeats)
        : this.#settle(first, request, hasSkips, hasSkips, repeats),
    );
  }

  #counted(outcome: StoreOutcome): StoreOutcome {
    this.#countByOutcome[outcome]++;
    return outcome;
  }

  #storeBesideWaiting(request: StoreRequest, hasSkips: boolean, repeats: RepeatRule): StoreOutcome {
    const { contextId, rankSlot, tier, blockCount } = request;
    const key = this.#contexts.keyOf(contextId);
    const family = this.#waiting.familyOf(rankSlot);
    if (family === null) return this.#settle(null, request, hasSkips, hasSkips, repeats);
    const { hashes, notes, skips } = this.#scratch;
    // The kernel leaves the hashes alone, but attaching writes the next store's over them.
    const names = hashes.slice(0, 2 * blockCount);
    const isPassing =
      !hasSkips && repeats === "skip_each" && this.#waiting.skipParked(rankSlot, tier, blockCount);
    // A block that is left out is no parent: what waits for it keeps its place in the park.
    const leftOut = hasSkips || isPassing ? skips.slice(0, blockCount) : null;
    const outcome = this.#settle(null, request, hasSkips || isPassing, hasSkips, repeats);
    if (outcome !== "stored") return outcome;
    if (isPassing) this.#noteSkipped(blockCount);
    const noted = notes.slice(0, blockCount);
    this.#attachChildren(key, family, names, leftOut);
    hashes.set(names);
    notes.set(noted);
    return outcome;
  }

  /**
   * Brings a store to its end: `first` is what came of it so far, `null` before the first call.
   *
   * @param isSkipping - whether `scratch.skips` counts for the store.
   * @param hasSkips - whether it counts for what is parked.
   */
  #settle(
    first: StoreOutcome | "gone" | null,
    request: StoreRequest,
    isSkipping: boolean,
    hasSkips: boolean,
    repeats: RepeatRule,
  ): StoreOutcome {
    const { contextId, rankSlot, tier, blockCount, hasParent, parentLow, parentHigh, hasExtra } = request;
    const key = this.#contexts.keyOf(contextId);
    let outcome = first;
    for (let attempt = 0; attempt <= REOPEN_MAX; attempt++) {
      if (outcome !== null && outcome !== "gone") break;
      outcome = this.#calls.store(
        // Dropped by another writer between opening and storing.
        outcome === null ? contextId : this.#contexts.open(key, rankSlot),
        rankSlot,
        tier,
        blockCount,
        hasParent,
        parentLow,
        parentHigh,
        hasExtra,
        isSkipping ? this.#scratch.skipsAt : 0,
        repeats,
      );
    }
    if (outcome === null || outcome === "gone") return "rejected_memory_limit";
    if (outcome !== "parked" || this.#waiting.parkScratch(key, request, hasSkips)) return outcome;
    return "rejected_park_full";
  }

  #noteSkipped(blockCount: number): void {
    const { notes, skips } = this.#scratch;
    for (let i = 0; i < blockCount; i++) if (skips[i] === 1) notes[i] |= REPEATED_BLOCK;
    this.#calls.setNoted();
  }

  /** Attaches what waits for these blocks, the store parked first to come first. */
  #attachChildren(
    context: ContextKey,
    family: readonly number[],
    names: Uint32Array,
    leftOut: Uint8Array | null,
  ): void {
    const ready = this.#waiting.takeWaitingFor(context, family, names, leftOut);
    sortLastFirst(ready);
    while (ready.length > 0) {
      const store = ready.pop()!;
      if (!this.#attach(store)) continue;
      const children = this.#waiting.takeWaitingFor(context, family, store.hashes, store.removed);
      if (children.length === 0) continue;
      for (const child of children) ready.push(child);
      sortLastFirst(ready);
    }
  }

  /** False when the parent is gone again, by a limit: then the store is parked anew. */
  #attach(store: ParkedStore): boolean {
    const { tokens, hashes, extraDigests, skips } = this.#scratch;
    tokens.set(store.tokens);
    hashes.set(store.hashes);
    skips.set(store.removed);
    if (store.extraDigests !== null) extraDigests.set(store.extraDigests);
    const { context, rankSlot, tier, blockCount, parentLow, parentHigh } = store;
    const hasExtra = store.extraDigests !== null;
    const run = { rankSlot, tier, blockCount, hasParent: true, parentLow, parentHigh, hasExtra };
    let outcome: StoreOutcome | "gone" = "gone";
    for (let attempt = 0; attempt <= REOPEN_MAX && outcome === "gone"; attempt++)
      outcome = this.#calls.attach({ contextId: this.#contexts.open(context, rankSlot), ...run });
    if (outcome === "stored") this.#attachedCount++;
    else if (outcome !== "parked" || !this.#waiting.parkAgain(store)) this.#waiting.giveUp([store]);
    return outcome === "stored";
  }
}

/** The one to come first is the last: it is popped. */
function sortLastFirst(stores: ParkedStore[]): void {
  stores.sort((one, other) => other.sequence - one.sequence);
}
