/**
 * The physical KV blocks of the device: which are free, which are held by running requests, which bear a cached prefix.
 *
 *                allocate (evicts the name it had)          register
 *     free, unnamed ──────────────▶ held, unnamed ───────────────────▶ held, named
 *        ▲   free, named ◀──────────────────────────── release ──────────────┘
 *        │        └── retain (a hit) ──▶ held, named
 *        └ reset
 *
 *  P1  A block is in the free queue iff no request holds it.
 *  P2  A named block, free or held, is found under its engine hash; several may bear one (copies), oldest found first.
 *  P3  Free blocks are reused oldest first; a named one is announced as evicted, copy by copy, before it is reused.
 *  P4  Naming a free block does not happen; a name ends by eviction or reset only.
 *
 * As in vLLM, releasing a request's blocks from the last to the first makes the tail of a chain the first to be
 * evicted. Not here: vLLM's null block (it stands for blocks outside a sliding window).
 *
 * Source: vllm/v1/core/block_pool.py @ 002f3491 (get_new_blocks, touch, free_blocks, _maybe_evict_cached_block).
 */
import { assert } from "@kvsync/core";
import { BlockNames, type NameColumns } from "./block-names.ts";
import { CopyTable } from "./copy-table.ts";
import { LruList } from "./lru-list.ts";

/** The device's blocks. Every operation is O(1) (P2's chains apart) and allocates nothing. */
export class BlockPool {
  readonly blockCount: number;
  /** Columns by block id; meaningful where `isNamed`. */
  readonly names: BlockNames;
  readonly #onEvicted: (id: number) => void;
  readonly #holders: Uint32Array;
  readonly #named: Uint8Array;
  readonly #free: LruList;
  readonly #copies: CopyTable;

  /**
   * @param blockCount - physical blocks, all free and unnamed at first.
   * @param columns - optional columns of `names`.
   * @param onEvicted - called with a block whose name is about to end by eviction; `names` still has it.
   */
  constructor(blockCount: number, columns: NameColumns, onEvicted: (id: number) => void) {
    this.blockCount = blockCount;
    this.names = new BlockNames(blockCount, columns);
    this.#onEvicted = onEvicted;
    this.#holders = new Uint32Array(blockCount);
    this.#named = new Uint8Array(blockCount);
    this.#copies = new CopyTable(this.names.engineWords);
    this.#free = new LruList(blockCount);
    for (let id = 0; id < blockCount; id++) this.#free.push(id);
  }

  /** Blocks that no request holds. */
  get freeCount(): number {
    return this.#free.size;
  }

  /** Whether a block bears a cached prefix. */
  isNamed(id: number): boolean {
    return this.#named[id] === 1;
  }

  /** Whether no request holds the block. */
  isFree(id: number): boolean {
    return this.#holders[id] === 0;
  }

  /** The oldest block with that engine hash; −1 when none has it. */
  find(low: number, high: number): number {
    return this.#copies.find(low, high);
  }

  /** Takes the block unused for longest, evicting its name. There must be a free one (`freeCount`). */
  allocate(): number {
    const id = this.#free.shift();
    assert(id >= 0, "a block is allocated only when a free block exists");
    if (this.#named[id] === 1) {
      this.#onEvicted(id);
      this.#copies.remove(id);
      this.#named[id] = 0;
    }
    this.#holders[id] = 1;
    return id;
  }

  /** One more request holds a named block. */
  retain(id: number): void {
    assert(this.#named[id] === 1, () => `block ${id} is retained without a name`);
    const holders = this.#holders[id] ?? 0;
    if (holders === 0) this.#free.remove(id);
    this.#holders[id] = holders + 1;
  }

  /** One request fewer holds a block; the last makes it the newest of the free ones. */
  release(id: number): void {
    const holders = this.#holders[id] ?? 0;
    assert(holders > 0, () => `block ${id} is released without a holder`);
    this.#holders[id] = holders - 1;
    if (holders === 1) this.#free.push(id);
  }

  /** Names a held block by the engine hash that its column holds. */
  register(id: number): void {
    assert(this.#named[id] === 0, () => `P4: block ${id} is not named twice`);
    assert((this.#holders[id] ?? 0) > 0, () => `P4: block ${id} is held when it is named`);
    this.#named[id] = 1;
    this.#copies.add(id);
  }

  /**
   * Ends every name without announcing evictions.
   *
   * @returns false, and nothing happens, while any block is held.
   */
  reset(): boolean {
    if (this.#free.size !== this.blockCount) return false;
    this.#named.fill(0);
    this.#copies.clear();
    return true;
  }
}
