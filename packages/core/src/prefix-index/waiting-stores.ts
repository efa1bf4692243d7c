/**
 * The stores of one writer that wait for their parents: parked, found again, attached or given up.
 *
 *     ParkedStores (parked-stores.ts)         the stores, by parent, block and rank
 *     GivenUpParents (given-up-parents.ts)    parents of those that were given up
 *
 * A rank and its further groups are one *family*: a parent may be a block of any of them.
 *
 * Invariants
 *  F1  A store that is given up is counted as `park_limit` and reported to the listener. Its parent is kept until the
 *      rank is cleared.
 *  F2  What is parked has arrays of its own: scratch may be written over.
 */
import type { ContextKey, Tier } from "./contract.ts";
import { GivenUpParents } from "./given-up-parents.ts";
import type { ParkedRecord } from "./index-copy.ts";
import type { IndexReport } from "./index-report.ts";
import type { KernelExports } from "./kernel.ts";
import { type ParkedStore, ParkedStores } from "./parked-stores.ts";
import type { StoreRequest } from "./store-calls.ts";
import type { WriterScratch } from "./writer-memory.ts";

/** What a removal took out of the park: how many blocks, a byte for each block of the removal, and all its names. */
export interface ParkedRemoval {
  readonly count: number;
  readonly taken: Uint8Array;
  readonly hashes: Uint32Array;
}

/** Limits of the park. */
export interface ParkLimits {
  readonly parkedBytesMax: number;
  readonly parkedStoresPerRankMax: number;
  readonly parkedAgeMsMax: number;
}

/** The park of one writer. */
export class WaitingStores {
  readonly #kernel: KernelExports;
  readonly #scratch: WriterScratch;
  readonly #report: IndexReport;
  readonly #park: ParkedStores;
  readonly #givenUp = new GivenUpParents();
  readonly #ageMsMax: number;
  /** As `passTime` last said. */
  #nowMs = 0;
  #sequence = 0;
  #clearedCount = 0;

  constructor(kernel: KernelExports, scratch: WriterScratch, report: IndexReport, limits: ParkLimits) {
    this.#kernel = kernel;
    this.#scratch = scratch;
    this.#report = report;
    this.#park = new ParkedStores(limits.parkedBytesMax, limits.parkedStoresPerRankMax);
    this.#ageMsMax = limits.parkedAgeMsMax;
  }

  /** Stores that wait, of all ranks. */
  get storeCount(): number {
    return this.#park.storeCount;
  }

  /** Bytes that they take. */
  get bytes(): number {
    return this.#park.bytes;
  }

  /** Stores that were forgotten with their rank. */
  get clearedCount(): number {
    return this.#clearedCount;
  }

  /** Stores that wait, of a rank and its groups. */
  countOf(rankSlot: number): number {
    return this.#familyOf(rankSlot).reduce((count, slot) => count + this.#park.storeCountOf(slot), 0);
  }

  /** The family of a holder slot; `null` when none of it is parked. */
  familyOf(slot: number): readonly number[] | null {
    const family = this.#familyOf(slot);
    return family.some((one) => this.#park.storeCountOf(one) > 0) ? family : null;
  }

  /** The holder slots of the rank that a holder slot belongs to, its main group's first. */
  #familyOf(slot: number): number[] {
    const family = [this.#kernel.holderOwner(slot)];
    for (let next = this.#kernel.groupNext(family[0]); next !== 0; next = this.#kernel.groupNext(next))
      family.push(next);
    return family;
  }

  /** Parks the run in scratch; false when it does not fit. */
  parkScratch(context: ContextKey, request: StoreRequest, hasSkips: boolean): boolean {
    const { tokens, hashes, extraDigests, skips } = this.#scratch;
    const { rankSlot, tier, blockCount, parentLow, parentHigh, hasExtra } = request;
    return this.park({
      context,
      rankSlot,
      tier,
      parentLow: parentLow >>> 0,
      parentHigh: parentHigh >>> 0,
      blockCount,
      tokens: tokens.slice(0, blockCount * context.blockSize + context.lookahead),
      hashes: hashes.slice(0, 2 * blockCount),
      extraDigests: hasExtra ? extraDigests.slice(0, 2 * blockCount) : null,
      removed: hasSkips ? skips.slice(0, blockCount) : new Uint8Array(blockCount),
    });
  }

  /** Parks a store behind those that wait already; false when it does not fit. */
  park(store: Omit<ParkedStore, "sequence" | "parkedMs">): boolean {
    return this.parkAgain({ ...store, sequence: this.#sequence++, parkedMs: this.#nowMs });
  }

  /** Parks a store at the place that it had; false when it does not fit. */
  parkAgain(store: ParkedStore): boolean {
    const gone = this.#park.park(store);
    if (gone !== null) this.giveUp(gone);
    return gone !== null;
  }

  /** Takes out what waits for these names, low then high: of a removed block (a byte each) nothing waits. */
  takeWaitingFor(
    context: ContextKey,
    family: readonly number[],
    names: Uint32Array,
    removed: Uint8Array | null,
  ): ParkedStore[] {
    const waiting: ParkedStore[] = [];
    for (const slot of family)
      for (let i = 0; i < names.length / 2 && this.#park.storeCountOf(slot) > 0; i++) {
        if (removed?.[i] === 1) continue;
        for (const store of this.#park.waitingFor(context, slot, names[2 * i], names[2 * i + 1])) {
          this.#park.remove(store);
          waiting.push(store);
        }
      }
    return waiting;
  }

  /** Marks the blocks in scratch that wait with a parked store as not to be stored; whether there are any. */
  skipParked(rankSlot: number, tier: Tier, blockCount: number): boolean {
    const { hashes, skips } = this.#scratch;
    let isAny = false;
    for (let i = 0; i < blockCount; i++) {
      const isParked = this.#park.hasBlock(rankSlot, tier, hashes[2 * i], hashes[2 * i + 1]);
      skips[i] = Number(isParked);
      isAny ||= isParked;
    }
    return isAny;
  }

  /**
   * Takes what waits under the names in scratch out of the park, once a name; the names left move to the front.
   *
   * @returns `null` when the rank has nothing there.
   */
  removeNamed(rankSlot: number, tier: Tier, blockCount: number): ParkedRemoval | null {
    if (this.#park.storeCount === 0 || this.#park.storeCountOf(rankSlot) === 0) return null;
    const { hashes } = this.#scratch;
    const taken = new Uint8Array(blockCount);
    const before = hashes.slice(0, 2 * blockCount);
    let kept = 0;
    for (let i = 0; i < blockCount; i++) {
      const [low, high] = [hashes[2 * i], hashes[2 * i + 1]];
      if (this.#park.removeBlock(rankSlot, tier, low, high)) {
        taken[i] = 1;
        continue;
      }
      hashes[2 * kept] = low;
      hashes[2 * kept + 1] = high;
      kept++;
    }
    return { count: blockCount - kept, taken, hashes: before };
  }

  /** Gives up what waited too long; `nowMs` is of any clock that does not go back. */
  passTime(nowMs: number): void {
    this.#nowMs = nowMs;
    this.giveUp(this.#park.expire(nowMs - this.#ageMsMax));
  }

  /** Counts stores as lost, and remembers their parents. */
  giveUp(stores: readonly ParkedStore[]): void {
    if (stores.length === 0) return;
    const blockCount = stores.reduce((sum, store) => sum + store.blockCount, 0);
    const ranks = new Set<number>();
    for (const { rankSlot, parentLow, parentHigh } of stores) {
      const owner = this.#kernel.holderOwner(rankSlot);
      ranks.add(owner);
      this.#givenUp.add(owner, parentLow, parentHigh);
    }
    this.#report.countEvicted("park_limit", blockCount, [...ranks]);
  }

  /** Whether a store that was given up waited for one of the names in scratch; seldom also for others. O(blocks). */
  hasGivenUpParent(rankSlot: number, blockCount: number): boolean {
    return this.#givenUp.hasAny(rankSlot, this.#scratch.hashes, blockCount);
  }

  /** Forgets what waits of a rank and its groups, and what was given up. */
  clearRank(rankSlot: number): void {
    for (const slot of this.#familyOf(rankSlot)) this.#clearedCount += this.#park.clearRank(slot);
    this.#givenUp.clearRank(rankSlot);
  }

  /** What waits, in the order of parking; it stays. */
  records(): ParkedRecord[] {
    return [...this.#park.stores()].map(recordOf);
  }

  /** What waits of a rank and its groups, in the order of parking; it goes. */
  takeRank(rankSlot: number): ParkedRecord[] {
    const family = this.#familyOf(rankSlot);
    const stores = [...this.#park.stores()].filter((store) => family.includes(store.rankSlot));
    for (const slot of family) this.#park.clearRank(slot);
    return stores.map(recordOf);
  }
}

function recordOf(store: ParkedStore): ParkedRecord {
  const { context, rankSlot, tier, parentLow, parentHigh, tokens, hashes, extraDigests } = store;
  // Removals go on being noted in the store's own; nothing else of it changes.
  const removed = store.removed.slice();
  return { context, rankSlot, tier, parentLow, parentHigh, tokens, hashes, extraDigests, removed };
}
