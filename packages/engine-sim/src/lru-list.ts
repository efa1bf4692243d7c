/**
 * A queue of small integers in order of use, from which any can be taken out: two link columns and a sentinel.
 *
 *     next:  sentinel → oldest → … → newest → sentinel          prev: the same, backward
 *
 *  L1  Following `next` from the sentinel meets every member once; following `prev` meets the same, reversed.
 *  L2  An id that is no member has `next = prev = NOT_LISTED`.
 */
import { assert } from "@kvsync/core";

const NOT_LISTED = -1;

/** Ids 0 … capacity − 1 in order of use. Every operation is O(1) and allocates nothing. */
export class LruList {
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #sentinel: number;
  #size = 0;

  /** @param capacity - ids lie below it; 8 bytes each. The list starts empty. */
  constructor(capacity: number) {
    this.#sentinel = capacity;
    this.#next = new Int32Array(capacity + 1).fill(NOT_LISTED);
    this.#previous = new Int32Array(capacity + 1).fill(NOT_LISTED);
    this.#next[capacity] = capacity;
    this.#previous[capacity] = capacity;
  }

  /** Members. */
  get size(): number {
    return this.#size;
  }

  /** Whether `id` is a member. */
  has(id: number): boolean {
    return this.#next[id] !== NOT_LISTED;
  }

  /** Makes `id` the newest. It must not be a member. */
  push(id: number): void {
    assert(!this.has(id), () => `id ${id} is listed already`);
    const sentinel = this.#sentinel;
    const newest = this.#previous[sentinel] ?? sentinel;
    this.#next[newest] = id;
    this.#previous[id] = newest;
    this.#next[id] = sentinel;
    this.#previous[sentinel] = id;
    this.#size++;
  }

  /** Takes `id` out. It must be a member. */
  remove(id: number): void {
    assert(this.has(id), () => `id ${id} is not listed`);
    const before = this.#previous[id] ?? NOT_LISTED;
    const after = this.#next[id] ?? NOT_LISTED;
    this.#next[before] = after;
    this.#previous[after] = before;
    this.#next[id] = NOT_LISTED;
    this.#previous[id] = NOT_LISTED;
    this.#size--;
  }

  /** Takes the oldest out and returns it; −1 when the list is empty. */
  shift(): number {
    const oldest = this.#next[this.#sentinel] ?? this.#sentinel;
    if (oldest === this.#sentinel) return -1;
    this.remove(oldest);
    return oldest;
  }
}
