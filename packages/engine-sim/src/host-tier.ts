/**
 * Blocks offloaded to the host's memory: a cache of its own capacity, least recently used first out, one copy per hash.
 *
 *  H1  A hash is in the tier at most once.
 *  H2  A full tier announces an eviction before it takes a new block.
 */
import { assert } from "@kvsync/core";

import { BlockNames, type NameColumns } from "./block-names.ts";
import { CopyTable } from "./copy-table.ts";
import { LruList } from "./lru-list.ts";

/** The host's blocks. Every operation is O(1). */
export class HostTier {
  readonly capacity: number;
  readonly names: BlockNames;
  readonly #onEvicted: (id: number) => void;
  readonly #used: LruList;
  readonly #unused: number[] = [];
  readonly #table: CopyTable;

  /**
   * @param capacity - blocks; 0 for a tier that holds nothing.
   * @param columns - optional columns of `names`, as the device's.
   * @param onEvicted - called with a slot whose block is about to go; `names` still has it.
   */
  constructor(capacity: number, columns: NameColumns, onEvicted: (id: number) => void) {
    this.capacity = capacity;
    this.names = new BlockNames(capacity, columns);
    this.#onEvicted = onEvicted;
    this.#used = new LruList(capacity);
    this.#table = new CopyTable(this.names.engineWords);
    this.clear();
  }

  /** Whether a slot holds a block. */
  isNamed(id: number): boolean {
    return this.#used.has(id);
  }

  /** The slot of that engine hash; −1 when the tier lacks it. */
  find(low: number, high: number): number {
    return this.#table.find(low, high);
  }

  /** Marks a slot as used just now. */
  touch(id: number): void {
    this.#used.remove(id);
    this.#used.push(id);
  }

  /**
   * Copies a device block in.
   *
   * @returns the slot; −1 when there was nothing to do: the tier has that hash (now its newest), or no capacity.
   */
  offload(source: BlockNames, id: number): number {
    if (this.capacity === 0) return -1;
    const low = source.engineWords[id * 2] ?? 0;
    const high = source.engineWords[id * 2 + 1] ?? 0;
    const present = this.find(low, high);
    if (present >= 0) {
      this.touch(present);
      return -1;
    }
    const slot = this.#unused.pop() ?? this.#evictOldest();
    this.names.copyFrom(source, id, slot);
    assert(this.find(low, high) < 0, "H1: a hash is in the tier at most once");
    this.#table.add(slot);
    this.#used.push(slot);
    return slot;
  }

  /** Empties the tier without announcing evictions. */
  clear(): void {
    this.#table.clear();
    while (this.#used.shift() >= 0);
    this.#unused.length = 0;
    for (let id = this.capacity - 1; id >= 0; id--) this.#unused.push(id);
  }

  #evictOldest(): number {
    const slot = this.#used.shift();
    this.#onEvicted(slot);
    this.#table.remove(slot);
    return slot;
  }
}
