/**
 * Stores whose parent is unknown, kept until the rank stores that parent (contract.ts S2). Bounded
 * in bytes over all ranks, in stores per rank, and in age: the store that waits longest most likely
 * waits for a lost block.
 *
 *     by parent   (context, rank, parent's engine hash) → stores that wait for it
 *     by block    (rank, tier, engine hash) → blocks left under this name, the one parked first to come first
 *     by rank     rank slot → its stores, the one parked first to come first
 *
 *  P1  A removed block is found by its whole name, and leaves in constant time. Neither depends on
 *      the number of blocks that share a part of the name, or the whole name.
 *  P2  A store whose last block was removed goes at once: nothing can come of it any more.
 *  P3  For bytes, the oldest store goes of the rank that takes most of them: a rank that parks without end displaces its own.
 *
 * Keys of the Maps are strings, since V8 hashes strings with a seed of the process, but numbers without one. None of them is
 * made of digits only: V8 hashes those by their value, too.
 *
 * Rare by nature: a gap in a stream, a worker that the daemon met in the middle of its life. Plain Maps, therefore.
 */
import { keyText } from "./context-table.ts";
import type { ContextKey, Tier } from "./contract.ts";

/** A store that waits. Its arrays are its own. */
export interface ParkedStore {
  /** Position in the order of parking, over all ranks. */
  readonly sequence: number;
  /** Caller's clock when it was parked. */
  readonly parkedMs: number;
  /** A key and no id: the context may be dropped while it is empty, and made again. */
  readonly context: ContextKey;
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
  /** One byte a block, 1: removed since, stays a hole. The park writes it. */
  readonly removed: Uint8Array;
}

/** Heap of a parked store beside its arrays' bytes, and of each of its blocks: as measured with stores of 1 to 64 blocks. */
const STORE_BYTES = 1024;
const BLOCK_BYTES = 192;

/** A block of a parked store, in the list of those with its name. */
interface ParkedBlock {
  readonly parked: Parked;
  readonly position: number;
  previous: ParkedBlock | null;
  next: ParkedBlock | null;
  /** End of the list; kept up to date at its first block only. */
  last: ParkedBlock;
}

interface Parked {
  readonly store: ParkedStore;
  readonly parentKey: string;
  readonly bytes: number;
  /** By position; null for removed ones. */
  readonly blocks: (ParkedBlock | null)[];
  blocksLeft: number;
}

interface ParkedRank {
  readonly stores: Map<ParkedStore, Parked>;
  bytes: number;
}

/** The park. */
export class ParkedStores {
  readonly #bytesMax: number;
  readonly #storesPerRankMax: number;
  readonly #byParent = new Map<string, Set<ParkedStore>>();
  readonly #byBlock = new Map<string, ParkedBlock>();
  readonly #byRank = new Map<number, ParkedRank>();
  /** Number and parked stores of each context that has any: names are long, keys should be short. */
  readonly #contexts = new Map<string, { readonly number: number; storeCount: number }>();
  /** In the order of parking. */
  readonly #all = new Set<ParkedStore>();
  #contextNumber = 0;
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

  /** Stores that a rank has parked. */
  storeCountOf(rankSlot: number): number {
    return this.#byRank.get(rankSlot)?.stores.size ?? 0;
  }

  /**
   * Parks a store.
   *
   * @returns the stores that had to go for it; null when it is larger than the whole park, and nothing was changed.
   */
  park(store: ParkedStore): ParkedStore[] | null {
    const bytes = bytesOf(store);
    if (bytes > this.#bytesMax || this.#storesPerRankMax === 0) return null;
    const gone: ParkedStore[] = [];
    if (this.storeCountOf(store.rankSlot) >= this.#storesPerRankMax)
      gone.push(...this.#removeOldest(this.#byRank.get(store.rankSlot)));
    while (this.#bytes + bytes > this.#bytesMax) gone.push(...this.#removeOldest(this.#largestRank()));
    this.#add(store, bytes);
    return gone;
  }

  /** Takes a store out of the park. */
  remove(store: ParkedStore): void {
    const rank = this.#byRank.get(store.rankSlot);
    const parked = rank?.stores.get(store);
    if (rank === undefined || parked === undefined) return;
    this.#all.delete(store);
    this.#bytes -= parked.bytes;
    rank.bytes -= parked.bytes;
    rank.stores.delete(store);
    if (rank.stores.size === 0) this.#byRank.delete(store.rankSlot);
    for (const block of parked.blocks) if (block !== null) this.#unlink(block);
    const waiting = this.#byParent.get(parked.parentKey);
    waiting?.delete(store);
    if (waiting?.size === 0) this.#byParent.delete(parked.parentKey);
    const name = keyText(store.context);
    const context = this.#contexts.get(name);
    if (context !== undefined && --context.storeCount === 0) this.#contexts.delete(name);
  }

  /** The stores of a rank that wait for this parent, the one parked first to come first. */
  waitingFor(context: ContextKey, rankSlot: number, parentLow: number, parentHigh: number): ParkedStore[] {
    const number = this.#contexts.get(keyText(context))?.number;
    if (number === undefined) return [];
    return [...(this.#byParent.get(parentKeyOf(number, rankSlot, parentLow, parentHigh)) ?? [])];
  }

  /** Whether a rank has a parked block with this tier and engine hash. O(1). */
  hasBlock(rankSlot: number, tier: Tier, low: number, high: number): boolean {
    return this.#byBlock.has(blockKeyOf(rankSlot, tier, low, high));
  }

  /**
   * Takes the first parked block of a rank with this tier and engine hash away. O(1).
   *
   * @returns whether there was one.
   */
  removeBlock(rankSlot: number, tier: Tier, low: number, high: number): boolean {
    const first = this.#byBlock.get(blockKeyOf(rankSlot, tier, low, high));
    if (first === undefined) return false;
    const { parked, position } = first;
    this.#unlink(first);
    parked.blocks[position] = null;
    parked.store.removed[position] = 1;
    parked.blocksLeft -= 1;
    if (parked.blocksLeft === 0) this.remove(parked.store);
    return true;
  }

  /** Takes all stores of a rank out; returns how many. */
  clearRank(rankSlot: number): number {
    const stores = [...(this.#byRank.get(rankSlot)?.stores.keys() ?? [])];
    for (const store of stores) this.remove(store);
    return stores.length;
  }

  /** Takes out the stores that were parked before a moment of the caller's clock; returns them. */
  expire(beforeMs: number): ParkedStore[] {
    const gone: ParkedStore[] = [];
    for (const store of this.#all) {
      if (store.parkedMs >= beforeMs) break;
      gone.push(store);
      this.remove(store);
    }
    return gone;
  }

  #add(store: ParkedStore, bytes: number): void {
    const name = keyText(store.context);
    const context = this.#contexts.get(name) ?? { number: this.#contextNumber++, storeCount: 0 };
    this.#contexts.set(name, context);
    context.storeCount += 1;
    const parentKey = parentKeyOf(context.number, store.rankSlot, store.parentLow, store.parentHigh);
    const parked: Parked = { store, parentKey, bytes, blocks: [], blocksLeft: 0 };
    for (let position = 0; position < store.blockCount; position++) {
      const isLeft = store.removed[position] === 0;
      parked.blocks.push(isLeft ? this.#link(parked, position) : null);
      if (isLeft) parked.blocksLeft += 1;
    }
    this.#all.add(store);
    this.#bytes += bytes;
    const rank = this.#byRank.get(store.rankSlot) ?? { stores: new Map<ParkedStore, Parked>(), bytes: 0 };
    this.#byRank.set(store.rankSlot, rank);
    rank.stores.set(store, parked);
    rank.bytes += bytes;
    const waiting = this.#byParent.get(parentKey) ?? new Set();
    this.#byParent.set(parentKey, waiting.add(store));
  }

  #link(parked: Parked, position: number): ParkedBlock {
    const { rankSlot, tier, hashes } = parked.store;
    const key = blockKeyOf(rankSlot, tier, hashes[2 * position], hashes[2 * position + 1]);
    const first = this.#byBlock.get(key);
    const previous = first?.last ?? null;
    const block = { parked, position, previous, next: null } as unknown as ParkedBlock;
    block.last = block;
    if (first === undefined || previous === null) {
      this.#byBlock.set(key, block);
    } else {
      previous.next = block;
      first.last = block;
    }
    return block;
  }

  #unlink(block: ParkedBlock): void {
    const { parked, position, previous, next } = block;
    if (next !== null) next.previous = previous;
    if (previous !== null && next !== null) {
      previous.next = next;
      return;
    }
    const { rankSlot, tier, hashes } = parked.store;
    const key = blockKeyOf(rankSlot, tier, hashes[2 * position], hashes[2 * position + 1]);
    if (previous !== null) {
      // It was the last one.
      previous.next = null;
      const first = this.#byBlock.get(key);
      if (first !== undefined) first.last = previous;
    } else if (next === null) {
      this.#byBlock.delete(key);
    } else {
      next.last = block.last;
      this.#byBlock.set(key, next);
    }
  }

  /** O(ranks with parked stores). */
  #largestRank(): ParkedRank | undefined {
    let largest: ParkedRank | undefined;
    for (const rank of this.#byRank.values())
      if (largest === undefined || rank.bytes > largest.bytes) largest = rank;
    return largest;
  }

  #removeOldest(rank: ParkedRank | undefined): ParkedStore[] {
    for (const store of rank?.stores.keys() ?? []) {
      this.remove(store);
      return [store];
    }
    return [];
  }
}

function blockKeyOf(rankSlot: number, tier: Tier, low: number, high: number): string {
  // The tier's code, 0 to 3, is no digit's.
  return String.fromCharCode(tier, rankSlot, low >>> 16, low & 0xffff, high >>> 16, high & 0xffff);
}

function parentKeyOf(context: number, rankSlot: number, low: number, high: number): string {
  return `${context} ${String.fromCharCode(rankSlot, low >>> 16, low & 0xffff, high >>> 16, high & 0xffff)}`;
}

function bytesOf({ blockCount, tokens, hashes, extraDigests, removed }: ParkedStore): number {
  const arrays = tokens.byteLength + hashes.byteLength + removed.byteLength + (extraDigests?.byteLength ?? 0);
  return STORE_BYTES + BLOCK_BYTES * blockCount + arrays;
}
