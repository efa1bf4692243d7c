/**
 * The physical blocks that all groups share, and which of them bear a cached prefix.
 *
 *     take (evicts its names) ┌────────────────────────────────────────────┐
 *     free queue ────────────▶│ held by requests │ ─ name ─▶ held and named │
 *      front ▲  ▲ back        └──────┬──────────────────────────┬──────────┘
 *            │  └────── named ───────┼──────────────────────────┘ last holder leaves
 *            └───────── unnamed ─────┘
 *
 *  M1  A block is in the free queue iff no request holds it; block 0, the null block, never is.
 *  M2  A key (group, name) leads to every block that bears it, the oldest first; a lookup finds that one.
 *  M3  A block has one name, and may have more of other prefixes that end inside it.
 *  M4  Names end when the block is taken for something else or promoted from a shorter to a whole
 *      prefix, or with a reset. Each end of a name is announced, a reset as a whole.
 *  M5  A released block without a name is the next to be reused, a named one the last.
 *
 * Source: vllm/v1/core/block_pool.py, kv_cache_utils.py (FreeKVCacheBlockQueue), 0.33.0.
 */
import { assert } from "@kvsync/core";
import { at } from "./at.ts";

/** The block that stands for what a window has left behind. */
export const NULL_BLOCK = 0;

/** What the pool announces. */
export type RemovalListener = (group: number, name: number) => void;

interface PoolBlock {
  holders: number;
  /** Its first key; −1 for none. */
  key: number;
  /** Tokens that `key` covers. */
  keyTokens: number;
  readonly others: Set<number>;
  next: number;
  previous: number;
}

/** The pool. Plain objects: it models behaviour, not speed. */
export class KvBlockPool {
  readonly #blocks: PoolBlock[];
  readonly #groupCount: number;
  readonly #bearers = new Map<number, number[]>();
  readonly #onRemoved: RemovalListener;
  #freeCount = 0;

  constructor(blockCount: number, groupCount: number, onRemoved: RemovalListener) {
    this.#groupCount = groupCount;
    this.#onRemoved = onRemoved;
    this.#blocks = Array.from({ length: blockCount + 1 }, () => ({
      holders: 0,
      key: -1,
      keyTokens: 0,
      others: new Set<number>(),
      next: -1,
      previous: -1,
    }));
    const sentinel = at(this.#blocks, blockCount);
    sentinel.next = blockCount;
    sentinel.previous = blockCount;
    for (let id = 1; id < blockCount; id += 1) this.#insert(id, blockCount);
  }

  /** Blocks that no request holds. */
  get freeCount(): number {
    return this.#freeCount;
  }

  /** The block that a lookup finds; −1 when none bears the key (M2). */
  find(group: number, name: number): number {
    return this.#bearers.get(this.keyOf(group, name))?.[0] ?? -1;
  }

  /** Whether a block is in the free queue. */
  isFree(id: number): boolean {
    return id !== NULL_BLOCK && at(this.#blocks, id).holders === 0;
  }

  /** The first key of a block; −1 for none. */
  keyOfBlock(id: number): number {
    return at(this.#blocks, id).key;
  }

  /** Tokens that `keyOfBlock` covers. */
  keyTokensOfBlock(id: number): number {
    return at(this.#blocks, id).keyTokens;
  }

  /** One number for a group and a name. */
  keyOf(group: number, name: number): number {
    return name * this.#groupCount + group;
  }

  /** Takes the front of the free queue. There must be enough. */
  take(count: number): number[] {
    assert(count <= this.#freeCount, "no more blocks are taken than are free");
    const sentinel = this.#blocks.length - 1;
    return Array.from({ length: count }, () => {
      const id = at(this.#blocks, sentinel).next;
      this.#unlink(id);
      this.removeNames(id);
      at(this.#blocks, id).holders = 1;
      return id;
    });
  }

  /** One more request holds these blocks. */
  hold(ids: readonly number[]): void {
    for (const id of ids) {
      if (id === NULL_BLOCK) continue;
      const block = at(this.#blocks, id);
      if (block.holders === 0) this.#unlink(id);
      block.holders += 1;
    }
  }

  /** One request fewer holds these blocks, which are in the order in which they shall be reused (M5). */
  release(ids: readonly number[]): void {
    const idle: number[] = [];
    for (const id of ids) {
      if (id === NULL_BLOCK) continue;
      const block = at(this.#blocks, id);
      assert(block.holders > 0, () => `block ${id} is released without a holder`);
      block.holders -= 1;
      if (block.holders === 0) idle.push(id);
    }
    const sentinel = this.#blocks.length - 1;
    const front = at(this.#blocks, sentinel).next;
    for (const id of idle) if (at(this.#blocks, id).key < 0) this.#insert(id, front);
    for (const id of idle) if (at(this.#blocks, id).key >= 0) this.#insert(id, sentinel);
  }

  /** Gives a block a name, unless it has it. */
  name(group: number, name: number, id: number, tokens: number): void {
    const key = this.keyOf(group, name);
    const block = at(this.#blocks, id);
    if (this.#bears(key, id)) return;
    if (block.key < 0) {
      block.key = key;
      block.keyTokens = tokens;
    } else block.others.add(key);
    const bearers = this.#bearers.get(key);
    if (bearers === undefined) this.#bearers.set(key, [id]);
    else bearers.push(id);
  }

  /** Whether a block bears a name. */
  bears(group: number, name: number, id: number): boolean {
    return this.#bears(this.keyOf(group, name), id);
  }

  /** Ends every name of a block and announces it. */
  removeNames(id: number): void {
    for (const key of this.#takeNames(id))
      this.#onRemoved(key % this.#groupCount, Math.floor(key / this.#groupCount));
  }

  /** Hands the names of a block over to one without names; nothing is announced. */
  moveNames(from: number, to: number): void {
    const tokens = at(this.#blocks, from).keyTokens;
    for (const key of this.#takeNames(from))
      this.name(key % this.#groupCount, Math.floor(key / this.#groupCount), to, tokens);
  }

  /** Ends all names, silently; false while a request holds a block. */
  reset(): boolean {
    if (this.#freeCount !== this.#blocks.length - 2) return false;
    this.#bearers.clear();
    for (const block of this.#blocks) {
      block.key = -1;
      block.keyTokens = 0;
      block.others.clear();
    }
    return true;
  }

  /** M1 to M3, walked. For tests. */
  check(): void {
    const sentinel = this.#blocks.length - 1;
    const free = new Set<number>();
    for (let id = at(this.#blocks, sentinel).next; id !== sentinel; id = at(this.#blocks, id).next)
      free.add(id);
    assert(free.size === this.#freeCount, "M1: the free queue has the stated length");
    for (let id = 1; id < sentinel; id += 1)
      assert(free.has(id) === (at(this.#blocks, id).holders === 0), () => `M1: block ${id}`);
    assert(!free.has(NULL_BLOCK), "M1: the null block is never free");
    for (const [key, ids] of this.#bearers) {
      assert(ids.length > 0 && new Set(ids).size === ids.length, "M2: bearers are listed once");
      for (const id of ids) {
        const { key: first, others } = at(this.#blocks, id);
        assert(first === key || others.has(key), () => `M2: block ${id} has its names`);
      }
    }
    for (const [id, { key, others }] of this.#blocks.entries())
      for (const name of key < 0 ? [] : [key, ...others])
        assert(this.#bears(name, id), () => `M3: block ${id} is found by its names`);
  }

  #bears(key: number, id: number): boolean {
    return this.#bearers.get(key)?.includes(id) ?? false;
  }

  #takeNames(id: number): number[] {
    const block = at(this.#blocks, id);
    if (block.key < 0) return [];
    const keys = [block.key, ...block.others];
    for (const key of keys) {
      const bearers = this.#bearers.get(key);
      assert(bearers?.includes(id) === true, () => `M2: block ${id} bears what it is named`);
      bearers.splice(bearers.indexOf(id), 1);
      if (bearers.length === 0) this.#bearers.delete(key);
    }
    block.key = -1;
    block.keyTokens = 0;
    block.others.clear();
    return keys;
  }

  #insert(id: number, before: number): void {
    const block = at(this.#blocks, id);
    block.next = before;
    block.previous = at(this.#blocks, before).previous;
    at(this.#blocks, block.previous).next = id;
    at(this.#blocks, before).previous = id;
    this.#freeCount += 1;
  }

  #unlink(id: number): void {
    const { next, previous } = at(this.#blocks, id);
    at(this.#blocks, previous).next = next;
    at(this.#blocks, next).previous = previous;
    this.#freeCount -= 1;
  }
}
