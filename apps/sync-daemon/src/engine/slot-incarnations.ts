/**
 * How often each rank slot was given up, in shared memory. Another thread's list of engines may be late, and its slots
 * may belong to other ranks already.
 *
 *     main: registry.remove ─▶ end(slot) ─▶ ingest clears the slot ─▶ registry.register gives it again ─▶ ingest writes it
 *     another thread: lookup in the index ─▶ of(slot) as in its list? ─▶ yes: the rank's own; no: nobody's
 *
 *  I1  A slot's number changes before anything of its next rank is written (directory-copy.test.ts "I1").
 *
 * So a thread reads the index first, and the number after it. When its list has the same number, it has read the listed
 * rank's blocks or nothing.
 *
 * Not here: the owners of slots (engine-registry.ts).
 */

import { RANK_SLOTS_MAX } from "@kvsync/core";

/** See the header. */
export class SlotIncarnations {
  /** To be posted to other threads. */
  readonly memory: SharedArrayBuffer;
  readonly #numbers: Uint32Array;

  /** @param memory - of another thread's; new without. */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(4 * RANK_SLOTS_MAX)) {
    this.memory = memory;
    this.#numbers = new Uint32Array(memory);
  }

  /**
   * The number of a slot's present rank.
   *
   * @param rankSlot - any slot.
   */
  of(rankSlot: number): number {
    return Atomics.load(this.#numbers, rankSlot);
  }

  /** A slot is its rank's no longer. By the registry alone. */
  end(rankSlot: number): void {
    Atomics.add(this.#numbers, rankSlot, 1);
  }
}
