/**
 * Stores whose parent is unknown, kept until the rank stores that parent (contract.ts S2). Bounded in bytes over all ranks
 * and in stores per rank; the oldest goes first, since what waits longest most likely waits for something lost.
 *
 *     by parent   (context, rank, parent's engine hash) → stores that wait for it
 *     by rank     rank slot → its stores, the one parked first to come first
 *                          └→ by block: low word of an engine hash → stores with such a block left, in that order too
 *
 * A store whose last block was removed goes at once: nothing can come of it any more.
 *
 * Rare by nature: a gap in a stream, a worker that the daemon met in the middle of its life. Plain Maps, therefore.
 */
import type { Tier } from "./contract.ts";

/** A store that waits. Its arrays are its own. */
export interface ParkedStore {
  /** Position in the order of parking, over all ranks. */
  readonly sequence: number;
  readonly contextId: number;
  readonly rankSlot: number;
  readonly tier: Tier;
  readonly parentLow: number;
  readonly parentHigh: number;
  readonly blockCount: number;
  readonly tokens: Uint32Array;
  /** Shape [2 × blockCount], low then high. */
  readonly hashes: Uint32Array;
  /** Shape [2 × blockCount]; null when no block has any. */
  readonly extraDigests: Uint32Array | null;
  /** One byte a block, 1: removed since, stays a hole. */
  readonly removed: Uint8Array;
  /** Blocks that were not removed. The park counts it down. */
  blocksLeft: number;
}

/** Heap of a parked store beside its arrays' bytes, and of each of its blocks: as measured with stores of 1 to 64 blocks. */
const STORE_BYTES = 1024;
const BLOCK_BYTES = 112;

interface ParkedRank {
  readonly stores: Set<ParkedStore>;
  /** Low word of an engine hash → the stores that have it, once for each block left that has it. */
  readonly byBlock: Map<number, ParkedStore[]>;
}

/** The park. */
export class ParkedStores {
  readonly #bytesMax: number;
  readonly #storesPerRankMax: number;
  readonly #byParent = new Map<string, Set<ParkedStore>>();
  readonly #byRank = new Map<number, ParkedRank>();
  /** In the order of parking. */
  readonly #all = new Set<ParkedStore>();
  #bytes = 0;

  constructor(bytesMax: number, storesPerRankMax: number) {
    this.#bytesMax = bytesMax;
    this.#storesPerRankMax = storesPerRankMax;
  }

  /** Stores parked. */
  get storeCount(): number {
    return this.#all.size;
  }

  /** Bytes that they take. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Everything parked, in the order of parking. */
  stores(): IterableIterator<ParkedStore> {
    return this.#all.values();
  }

  /** Whether a rank has anything parked. */
  has(rankSlot: number): boolean {
    return this.#byRank.has(rankSlot);
  }

  /**
   * Parks a store.
   *
   * @returns the stores that had to go for it, the oldest first; null when it is larger than the whole park, and nothing
   *   was changed.
   */
  park(store: ParkedStore): ParkedStore[] | null {
    if (bytesOf(store) > this.#bytesMax || this.#storesPerRankMax === 0) return null;
    const gone: ParkedStore[] = [];
    const ofRank = this.#byRank.get(store.rankSlot)?.stores ?? new Set();
    if (ofRank.size >= this.#storesPerRankMax) for (const oldest of firstOf(ofRank)) gone.push(oldest);
    for (const oldest of gone) this.remove(oldest);
    while (this.#bytes + bytesOf(store) > this.#bytesMax)
      for (const oldest of firstOf(this.#all)) {
        this.remove(oldest);
        gone.push(oldest);
      }
    this.#add(store);
    return gone;
  }

  /** Takes a store out of the park. */
  remove(store: ParkedStore): void {
    const rank = this.#byRank.get(store.rankSlot);
    const waiting = this.#byParent.get(parentKey(store));
    if (!this.#all.delete(store) || rank === undefined || waiting === undefined) return;
    this.#bytes -= bytesOf(store);
    rank.stores.delete(store);
    if (rank.stores.size === 0) this.#byRank.delete(store.rankSlot);
    else
      for (let i = 0; i < store.blockCount; i++)
        if (store.removed[i] === 0) forgetBlock(rank, store, store.hashes[2 * i]);
    waiting.delete(store);
    if (waiting.size === 0) this.#byParent.delete(parentKey(store));
  }

  /** The stores of a rank that wait for this parent, the one parked first to come first. */
  waitingFor(contextId: number, rankSlot: number, parentLow: number, parentHigh: number): ParkedStore[] {
    return [...(this.#byParent.get(parentKey({ contextId, rankSlot, parentLow, parentHigh })) ?? [])];
  }

  /**
   * Takes the first parked block of a rank with this tier and engine hash away. O(blocks of the store that has it).
   *
   * @param isEvery - takes all of them instead.
   * @returns whether there was one.
   */
  removeBlock(rankSlot: number, tier: Tier, low: number, high: number, isEvery: boolean): boolean {
    let isFound = false;
    for (;;) {
      const rank = this.#byRank.get(rankSlot);
      const candidates = rank?.byBlock.get(low);
      if (rank === undefined || candidates === undefined) return isFound;
      const found = firstBlock(candidates, tier, low, high);
      if (found === null) return isFound;
      isFound = true;
      const { store, position } = found;
      forgetBlock(rank, store, low);
      store.removed[position] = 1;
      store.blocksLeft -= 1;
      if (store.blocksLeft === 0) this.remove(store);
      if (!isEvery) return isFound;
    }
  }

  /** Takes all stores of a rank out; returns how many. */
  clearRank(rankSlot: number): number {
    const stores = [...(this.#byRank.get(rankSlot)?.stores ?? [])];
    for (const store of stores) this.remove(store);
    return stores.length;
  }

  /** Takes out the stores whose context is not among these; returns them. */
  keepContexts(contextIds: ReadonlySet<number>): ParkedStore[] {
    const gone = [...this.#all].filter((store) => !contextIds.has(store.contextId));
    for (const store of gone) this.remove(store);
    return gone;
  }

  #add(store: ParkedStore): void {
    this.#all.add(store);
    this.#bytes += bytesOf(store);
    const rank = this.#byRank.get(store.rankSlot) ?? {
      stores: new Set<ParkedStore>(),
      byBlock: new Map<number, ParkedStore[]>(),
    };
    this.#byRank.set(store.rankSlot, rank);
    rank.stores.add(store);
    for (let i = 0; i < store.blockCount; i++) {
      if (store.removed[i] === 1) continue;
      const low = store.hashes[2 * i];
      const stores = rank.byBlock.get(low);
      if (stores === undefined) rank.byBlock.set(low, [store]);
      else stores.push(store);
    }
    const key = parentKey(store);
    const waiting = this.#byParent.get(key) ?? new Set();
    this.#byParent.set(key, waiting.add(store));
  }
}

/** Where the first of these stores that has a block left under this tier and engine hash has it. */
function firstBlock(
  stores: readonly ParkedStore[],
  tier: Tier,
  low: number,
  high: number,
): { readonly store: ParkedStore; readonly position: number } | null {
  for (const store of stores) {
    if (store.tier !== tier) continue;
    const { blockCount, hashes, removed } = store;
    for (let i = 0; i < blockCount; i++)
      if (hashes[2 * i] === low && hashes[2 * i + 1] === high && removed[i] === 0)
        return { store, position: i };
  }
  return null;
}

/** Takes one mention of a store under a low word out. */
function forgetBlock(rank: ParkedRank, store: ParkedStore, low: number): void {
  const stores = rank.byBlock.get(low);
  if (stores === undefined) return;
  if (stores.length === 1) rank.byBlock.delete(low);
  else stores.splice(stores.indexOf(store), 1);
}

type ParentKey = Pick<ParkedStore, "contextId" | "rankSlot" | "parentLow" | "parentHigh">;

function parentKey({ contextId, rankSlot, parentLow, parentHigh }: ParentKey): string {
  return `${contextId} ${rankSlot} ${parentLow} ${parentHigh}`;
}

function bytesOf({ blockCount, tokens, hashes, extraDigests, removed }: ParkedStore): number {
  const arrays = tokens.byteLength + hashes.byteLength + removed.byteLength + (extraDigests?.byteLength ?? 0);
  return STORE_BYTES + BLOCK_BYTES * blockCount + arrays;
}

/** The first of a set, as a list of at most one. */
function firstOf(stores: ReadonlySet<ParkedStore>): ParkedStore[] {
  for (const store of stores) return [store];
  return [];
}
