/**
 * From an engine's block hash to the blocks that bear it: open addressing over block ids, whose
 * hashes are in a column outside. Blocks of one hash (physical copies) form a chain, oldest first,
 * of which the table has the head:
 *
 *     cells:   … │ −1 │ id │ −1 │ …          cell = low word of the hash, linear probing
 *                       └─▶ nextCopy[id] ─▶ nextCopy[…] ─▶ −1
 *
 *  C1  Every probe from a member's home cell to its own passes no empty cell (deletion shifts cells back).
 *  C2  Ids of one chain have one hash; heads have distinct ones.
 *
 * Names are compared by their 64-bit form, as the wire does it; the odds that two of 10⁸ digests share it are 1 in 3,700.
 */
import { assert } from "@kvsync/core";

const EMPTY = -1;

/** Blocks by engine hash. O(1), allocates nothing. */
export class CopyTable {
  readonly #words: Uint32Array;
  readonly #cells: Int32Array;
  readonly #mask: number;
  readonly #nextCopy: Int32Array;

  /** @param words - hashes of the blocks, shape [2 × blocks], low then high; owned by the caller, read by the table. */
  constructor(words: Uint32Array) {
    const blockCount = words.length / 2;
    // At most half full, so that probes stay short.
    let size = 2;
    while (size < blockCount * 2) size *= 2;
    this.#words = words;
    this.#cells = new Int32Array(size).fill(EMPTY);
    this.#mask = size - 1;
    this.#nextCopy = new Int32Array(blockCount).fill(EMPTY);
  }

  /** The oldest block of that hash; −1 when there is none. */
  find(low: number, high: number): number {
    return this.#cells[this.#cellOf(low, high)] ?? EMPTY;
  }

  /** The next younger block of the same hash; −1 after the last. */
  nextCopy(id: number): number {
    return this.#nextCopy[id] ?? EMPTY;
  }

  /** Adds a block under the hash in its words, as the youngest copy. It must not be in the table. */
  add(id: number): void {
    const cell = this.#cellOf(this.#words[id * 2] ?? 0, this.#words[id * 2 + 1] ?? 0);
    const nextCopy = this.#nextCopy;
    nextCopy[id] = EMPTY;
    let copy = this.#cells[cell] ?? EMPTY;
    if (copy === EMPTY) {
      this.#cells[cell] = id;
      return;
    }
    for (;;) {
      assert(copy !== id, () => `block ${id} is in the table already`);
      const next = nextCopy[copy] ?? EMPTY;
      if (next === EMPTY) break;
      copy = next;
    }
    nextCopy[copy] = id;
  }

  /** Takes a block out; its words must still hold its hash. */
  remove(id: number): void {
    const cell = this.#cellOf(this.#words[id * 2] ?? 0, this.#words[id * 2 + 1] ?? 0);
    const nextCopy = this.#nextCopy;
    const head = this.#cells[cell] ?? EMPTY;
    const after = nextCopy[id] ?? EMPTY;
    nextCopy[id] = EMPTY;
    if (head === id) {
      if (after === EMPTY) this.#emptyCell(cell);
      else this.#cells[cell] = after;
      return;
    }
    let copy = head;
    while (copy !== EMPTY && nextCopy[copy] !== id) copy = nextCopy[copy] ?? EMPTY;
    assert(copy !== EMPTY, () => `block ${id} is not in the table`);
    nextCopy[copy] = after;
  }

  /** Takes every block out. */
  clear(): void {
    this.#cells.fill(EMPTY);
    this.#nextCopy.fill(EMPTY);
  }

  // The cell that holds the hash's head, or the empty one where it would go.
  #cellOf(low: number, high: number): number {
    const cells = this.#cells;
    const words = this.#words;
    const mask = this.#mask;
    let cell = low & mask;
    for (;;) {
      const id = cells[cell] ?? EMPTY;
      if (id === EMPTY || (words[id * 2] === low && words[id * 2 + 1] === high)) return cell;
      cell = (cell + 1) & mask;
    }
  }

  // Closes the hole by moving back whatever would no longer be reached across it (C1).
  #emptyCell(hole: number): void {
    const cells = this.#cells;
    const words = this.#words;
    const mask = this.#mask;
    let cell = hole;
    for (;;) {
      cell = (cell + 1) & mask;
      const id = cells[cell] ?? EMPTY;
      if (id === EMPTY) break;
      const home = (words[id * 2] ?? 0) & mask;
      if (((cell - home) & mask) >= ((cell - hole) & mask)) {
        cells[hole] = id;
        hole = cell;
      }
    }
    cells[hole] = EMPTY;
  }
}
