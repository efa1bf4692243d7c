/**
 * Where blocks of a fleet may be, so that the best match among thousands of engines is found without asking each.
 *
 *     cell = low word of a block's name mod cells │ copies │ engine that stored one last │
 *
 *  B1  A block without a copy in its cell is held by no engine. A cell is shared by several blocks, and a restart
 *      forgets no copies. So a copy proves nothing (held-blocks.test.ts "B1").
 *
 * A cell that is full stays full: a block with 65,535 copies is everywhere. Not here: the holders of a block, which
 * the engines know.
 */
import type { BlockListener } from "@kvsync/engine-sim";

import { NAME_WORDS } from "./block-naming.ts";

const COPIES_MAX = 0xffff;
/** Cells for each block that the fleet has room for. */
const CELLS_PER_BLOCK = 2;
const CELLS_MIN = 2 ** 10;
/** 64 million cells are 256 MB. Beyond, cells are shared by more blocks. */
const CELLS_MAX = 2 ** 26;

/** See the header. */
export class HeldBlocks {
  readonly #copies: Uint16Array;
  readonly #storedLast: Uint16Array;
  readonly #mask: number;

  /** @param blocksMax - that all engines have room for. */
  constructor(blocksMax: number) {
    let cells = CELLS_MIN;
    while (cells < CELLS_PER_BLOCK * blocksMax && cells < CELLS_MAX) cells *= 2;
    this.#copies = new Uint16Array(cells);
    this.#storedLast = new Uint16Array(cells);
    this.#mask = cells - 1;
  }

  /**
   * Follows what an engine stores and removes.
   *
   * @param engine - its position.
   * @param next - hears the same.
   */
  listener(engine: number, next: BlockListener): BlockListener {
    return {
      stored: (words, first, count) => {
        for (let block = first; block < first + count; block++)
          this.#add(words[block * NAME_WORDS] ?? 0, engine);
        next.stored(words, first, count);
      },
      offloaded: (low, high) => {
        this.#add(low, engine);
        next.offloaded(low, high);
      },
      removed: (tier, low, high) => {
        const cell = low & this.#mask;
        const copies = this.#copies[cell] ?? 0;
        if (copies < COPIES_MAX) this.#copies[cell] = Math.max(0, copies - 1);
        next.removed(tier, low, high);
      },
    };
  }

  /**
   * How many leading blocks any engine may hold, at most.
   *
   * @param words - names of a prompt's blocks, shape [2 × blocksMax].
   * @param blocksMax - how many count.
   */
  leading(words: Uint32Array, blocksMax: number): number {
    let blocks = 0;
    while (blocks < blocksMax && (this.#copies[(words[blocks * NAME_WORDS] ?? 0) & this.#mask] ?? 0) > 0)
      blocks += 1;
    return blocks;
  }

  /** An engine that stored a block in the cell of this one: probably one that holds it. */
  storedLast(low: number): number {
    return this.#storedLast[low & this.#mask] ?? 0;
  }

  #add(low: number, engine: number): void {
    const cell = low & this.#mask;
    this.#copies[cell] = Math.min(COPIES_MAX, (this.#copies[cell] ?? 0) + 1);
    this.#storedLast[cell] = engine;
  }
}
