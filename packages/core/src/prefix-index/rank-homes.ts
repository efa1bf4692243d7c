/**
 * Which part of an index each rank is in, where several indexes are read as one (parts-reader.ts). The threads that write the parts
 * and those that read them share this memory.
 *
 *     word 0         number of changes so far
 *     from byte 4    one byte for each rank slot: the number of its part; 0 for a rank that was never placed
 *
 * Invariants (parts-reader.test.ts, parts-reader.concurrency.test.ts)
 *  H1  Lookups count all that a rank's home holds of it, and nothing that other parts hold of it.
 *  H2  A change raises word 0 after the byte is written, and before the part that the rank left is cleared. A lookup goes by one
 *      copy of all bytes, made at the number that word 0 had before, and by no other. So it has each rank from one part, and while
 *      the number stays, that part has the rank.
 *
 * The writer of the part that a rank goes to writes its byte. Ranks have one writer at a time, so two never write one byte.
 */
import { PARTS_MAX, RANK_SLOTS_MAX } from "./contract.ts";
import { assert } from "../assert.ts";

const BYTES_AT = 4;

/** See the header. */
export class RankHomes {
  /** To be attached by other threads. */
  readonly memory: SharedArrayBuffer;
  readonly #changes: Int32Array;
  readonly #parts: Uint8Array;

  private constructor(memory: SharedArrayBuffer) {
    this.memory = memory;
    this.#changes = new Int32Array(memory, 0, 1);
    this.#parts = new Uint8Array(memory, BYTES_AT, RANK_SLOTS_MAX);
  }

  /** All ranks are in part 0. */
  static create(): RankHomes {
    return new RankHomes(new SharedArrayBuffer(BYTES_AT + RANK_SLOTS_MAX));
  }

  /** Attaches to homes of this process. */
  static attach(memory: SharedArrayBuffer): RankHomes {
    return new RankHomes(memory);
  }

  /** The number of a rank's part. */
  of(rankSlot: number): number {
    return Atomics.load(this.#parts, rankSlot);
  }

  /** Changes so far. */
  get changes(): number {
    return Atomics.load(this.#changes, 0);
  }

  /** Copies the numbers of all ranks' parts. */
  copyTo(parts: Uint8Array): void {
    parts.set(this.#parts);
  }

  /** Makes a part a rank's home that has all of it, or of which no part has anything. What other parts have counts no more. */
  place(rankSlot: number, part: number): void {
    assert(part >= 0 && part < PARTS_MAX, () => `an index has no part ${part}`);
    Atomics.store(this.#parts, rankSlot, part);
    Atomics.add(this.#changes, 0, 1);
  }
}
