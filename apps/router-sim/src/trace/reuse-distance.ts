/**
 * The exact hits of LRU caches of *every* size, in one pass over the references. A reference's
 * stack distance is the number of distinct blocks used since its block was last used, itself
 * included. An LRU cache of C blocks holds the block if and only if the distance is at most C. A
 * *prefix* hit needs all blocks before it in the request as well. So the running maximum of the
 * distances is the least capacity with which this reference is a prefix hit.
 *
 *     time of use    1  2  3  4  5  6  7        a block's mark stands at its last use only;
 *     marks          ·  ·  1  ·  1  1  1        distance = marks after its own + 1, from a Fenwick tree: O(log n)
 *
 * D1: as many marks as distinct blocks. When the times run out, the marks move together to the front, in their order.
 * Memory: at most some 60 bytes a distinct block, for any number of references.
 *
 * It does not cover other policies of eviction than LRU, which have no such property.
 *
 * Source: R. L. Mattson and others, "Evaluation techniques for storage hierarchies", IBM Systems
 * Journal 9(2), 1970; the tree
 * after B. T. Bennett and V. J. Kruskal, "LRU stack processing", IBM J. Res. Dev. 19(4), 1975.
 */

/** Times before the first move; a power of two, as all sizes here. */
const INITIAL_TIMES = 65_536;
/** Slots of the first table of blocks. */
const INITIAL_SLOTS = 65_536;
const GOLDEN_RATIO_32 = 0x9e37_79b9;

/**
 * Block id → last time of use and the request that it was: open addressing, doubled when half full (a Map ends at 2²⁴
 * entries). Times are ≥ 1, so 0 says empty.
 */
class LastUses {
  #ids = new Uint32Array(INITIAL_SLOTS);
  #times = new Uint32Array(INITIAL_SLOTS);
  #requests = new Uint32Array(INITIAL_SLOTS);
  count = 0;

  /** @returns the block's last time, 0 when it was never used. */
  timeOf(id: number): number {
    return this.#times[this.#slotOf(id)] ?? 0;
  }

  /** @returns the number of the request that used the block last; 0 when none did. */
  requestOf(id: number): number {
    return this.#requests[this.#slotOf(id)] ?? 0;
  }

  setTime(id: number, time: number): void {
    const slot = this.#slotOf(id);
    if (this.#times[slot] === 0) this.count += 1;
    this.#ids[slot] = id;
    this.#times[slot] = time;
    if (2 * this.count > this.#ids.length) this.#grow();
  }

  setRequest(id: number, request: number): void {
    this.#requests[this.#slotOf(id)] = request;
  }

  #slotOf(id: number): number {
    const [ids, times, mask] = [this.#ids, this.#times, this.#ids.length - 1];
    // The product's highest bits are the best mixed ones; there are as many as a slot's number has.
    let slot = Math.imul(id, GOLDEN_RATIO_32) >>> Math.clz32(mask);
    while (times[slot] !== 0 && ids[slot] !== id) slot = (slot + 1) & mask;
    return slot;
  }

  #grow(): void {
    const [ids, times, requests] = [this.#ids, this.#times, this.#requests];
    this.#ids = new Uint32Array(2 * ids.length);
    this.#times = new Uint32Array(2 * ids.length);
    this.#requests = new Uint32Array(2 * ids.length);
    for (let i = 0; i < ids.length; i++) {
      const [id = 0, time = 0] = [ids[i], times[i]];
      if (time === 0) continue;
      const slot = this.#slotOf(id);
      this.#ids[slot] = id;
      this.#times[slot] = time;
      this.#requests[slot] = requests[i] ?? 0;
    }
  }
}

/** See the header. */
export class ReuseDistances {
  readonly #lastUses = new LastUses();
  /** Fenwick tree over times 1 … length − 1. */
  #tree = new Uint32Array(INITIAL_TIMES);
  /** Which block was used at a time. */
  #idAt = new Uint32Array(INITIAL_TIMES);
  #time = 0;
  /** At c: prefix hits that need exactly c blocks of cache. */
  #hitsNeeding = new Float64Array(INITIAL_TIMES);
  #hits = 0;
  #references = 0;
  #requests = 0;

  /** References taken. */
  get references(): number {
    return this.#references;
  }

  /** Distinct blocks seen. */
  get distinctBlocks(): number {
    return this.#lastUses.count;
  }

  /**
   * Takes the next request's blocks, in order.
   *
   * @param ids - u32 block ids.
   * @returns how many leading ones had been seen before, and in which request last (from 0; null when none had been).
   */
  take(ids: readonly number[]): { readonly seenBlocks: number; readonly lastRequest: number | null } {
    let needed = 0;
    let seenLeading = 0;
    let lastRequest: number | null = null;
    for (const id of ids) {
      const request = this.#lastUses.requestOf(id);
      const distance = this.#use(id);
      this.#lastUses.setRequest(id, this.#requests);
      if (distance === 0) needed = Number.POSITIVE_INFINITY;
      if (needed === Number.POSITIVE_INFINITY) continue;
      lastRequest = request;
      seenLeading += 1;
      needed = Math.max(needed, distance);
      this.#count(needed);
    }
    this.#references += ids.length;
    this.#hits += seenLeading;
    this.#requests += 1;
    return { seenBlocks: seenLeading, lastRequest };
  }

  /**
   * Reads the share of references that are prefix hits.
   *
   * @param capacities - in blocks; Infinity for a cache without limit.
   * @returns shares in 0 … 1, in the order of `capacities`; all 0 when nothing was taken. O(distinct blocks).
   */
  hitShares(capacities: readonly number[]): readonly number[] {
    const sums = new Float64Array(this.#hitsNeeding.length);
    let sum = 0;
    this.#hitsNeeding.forEach((hits, capacity) => {
      sum += hits;
      sums[capacity] = sum;
    });
    return capacities.map((capacity) => {
      const hits = sums[Math.min(Math.floor(capacity), sums.length - 1)] ?? 0;
      return this.#references === 0 ? 0 : hits / this.#references;
    });
  }

  /**
   * Reads how large a cache has to be.
   *
   * @param share - of the prefix hits of a cache without limit, 0 … 1.
   * @returns the least capacity in blocks that hits so much; 0 when there are no hits at all. O(distinct blocks).
   */
  capacityFor(share: number): number {
    let sum = 0;
    for (let capacity = 0; capacity < this.#hitsNeeding.length; capacity++) {
      sum += this.#hitsNeeding[capacity] ?? 0;
      if (sum >= share * this.#hits) return capacity;
    }
    return this.#hitsNeeding.length;
  }

  #count(capacity: number): void {
    if (capacity >= this.#hitsNeeding.length) {
      const grown = new Float64Array(2 ** Math.ceil(Math.log2(capacity + 1)));
      grown.set(this.#hitsNeeding);
      this.#hitsNeeding = grown;
    }
    this.#hitsNeeding[capacity] = (this.#hitsNeeding[capacity] ?? 0) + 1;
  }

  /** @returns the stack distance, 0 for a block never seen. */
  #use(id: number): number {
    if (this.#time + 1 >= this.#tree.length) this.#moveTogether();
    const last = this.#lastUses.timeOf(id);
    const distance = last === 0 ? 0 : this.#lastUses.count - this.#marksUpTo(last) + 1;
    if (last !== 0) this.#mark(last, -1);
    this.#time += 1;
    this.#mark(this.#time, 1);
    this.#idAt[this.#time] = id;
    this.#lastUses.setTime(id, this.#time);
    return distance;
  }

  #mark(time: number, change: 1 | -1): void {
    const tree = this.#tree;
    for (let i = time; i < tree.length; i += i & -i) tree[i] = (tree[i] ?? 0) + change;
  }

  #marksUpTo(time: number): number {
    const tree = this.#tree;
    let sum = 0;
    for (let i = time; i > 0; i -= i & -i) sum += tree[i] ?? 0;
    return sum;
  }

  /** Gives the blocks the times 1 … count, in the order of their last uses, with at least as many times free after them. */
  #moveTogether(): void {
    const kept = new Uint32Array(this.#lastUses.count);
    let count = 0;
    for (let time = 1; time <= this.#time; time++) {
      const id = this.#idAt[time] ?? 0;
      if (this.#lastUses.timeOf(id) === time) kept[count++] = id;
    }
    let times = this.#tree.length;
    while (times < 2 * (count + 1)) times *= 2;
    this.#tree = new Uint32Array(times);
    this.#idAt = new Uint32Array(times);
    this.#time = 0;
    for (const id of kept) {
      this.#time += 1;
      this.#idAt[this.#time] = id;
      this.#lastUses.setTime(id, this.#time);
      this.#tree[this.#time] = 1;
    }
    // The tree from its leaves in one sweep: each node adds itself to its parent.
    for (let i = 1; i < times; i++) {
      const parent = i + (i & -i);
      if (parent < times) this.#tree[parent] = (this.#tree[parent] ?? 0) + (this.#tree[i] ?? 0);
    }
  }
}
