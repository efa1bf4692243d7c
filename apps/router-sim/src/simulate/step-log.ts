/**
 * The changes of one engine step, as words. The log is written while the step runs, published when
 * it ends, and applied when the message arrives.
 *
 *     STORED    first, count, then the names of blocks first − 1 (when there is one) … first + count − 1
 *     OFFLOADED low, high
 *     REMOVED   tier, count, then the names; consecutive removals of one tier are one event, as an engine's step has them
 *     CLEARED
 */
import type { BlockListener } from "@kvsync/engine-sim";

import { NAME_WORDS } from "./block-naming.ts";

const STORED = 0;
const OFFLOADED = 1;
const REMOVED = 2;
const CLEARED = 3;

/** Takes what a log says, in its order. */
export interface StepLogReader {
  /**
   * @param words - names, shape [2 × (count + 1)] with the parent's first when there is one, [2 × count] without; valid during
   * the call.
   */
  stored(words: Uint32Array, count: number, hasParent: boolean): void;
  offloaded(low: number, high: number): void;
  /** @param words - names, shape [2 × count]; valid during the call. */
  removed(tier: 0 | 1, words: Uint32Array, count: number): void;
  cleared(): void;
}

/** A growing record of changes. */
export class StepLog implements BlockListener {
  #words = new Uint32Array(256);
  #length = 0;
  /** Where the last event begins, when it is a removal; −1 otherwise. */
  #openRemoval = -1;
  /** Events in it, as an engine would count them. */
  eventCount = 0;
  storedBlocks = 0;
  removedBlocks = 0;

  /** See BlockListener. */
  stored(words: Uint32Array, first: number, count: number): void {
    const from = first === 0 ? 0 : first - 1;
    const names = words.subarray(from * NAME_WORDS, (first + count) * NAME_WORDS);
    this.#reserve(3 + names.length);
    this.#begin(STORED);
    this.#put(first === 0 ? 0 : 1);
    this.#put(count);
    this.#words.set(names, this.#length);
    this.#length += names.length;
    this.storedBlocks += count;
  }

  /** See BlockListener. */
  offloaded(low: number, high: number): void {
    this.#reserve(3);
    this.#begin(OFFLOADED);
    this.#put(low);
    this.#put(high);
  }

  /** See BlockListener. */
  removed(tier: 0 | 1, low: number, high: number): void {
    this.#reserve(5);
    const open = this.#openRemoval;
    if (open >= 0 && this.#words[open + 1] === tier) this.#words[open + 2] = (this.#words[open + 2] ?? 0) + 1;
    else {
      this.#begin(REMOVED);
      this.#openRemoval = this.#length - 1;
      this.#put(tier);
      this.#put(1);
    }
    this.#put(low);
    this.#put(high);
    this.removedBlocks++;
  }

  /** Everything is gone. */
  cleared(): void {
    this.#reserve(1);
    this.#begin(CLEARED);
  }

  /** Empties it. */
  reset(): void {
    this.#length = 0;
    this.#openRemoval = -1;
    this.eventCount = 0;
    this.storedBlocks = 0;
    this.removedBlocks = 0;
  }

  /** What it says, for later. */
  copy(): Uint32Array {
    return this.#words.slice(0, this.#length);
  }

  /** Tells a reader what it says. */
  tell(reader: StepLogReader): void {
    readStepLog(this.#words.subarray(0, this.#length), reader);
  }

  #begin(kind: number): void {
    this.#openRemoval = -1;
    this.eventCount++;
    this.#put(kind);
  }

  #put(word: number): void {
    this.#words[this.#length++] = word;
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#words.length) return;
    const grown = new Uint32Array(2 * (this.#length + count));
    grown.set(this.#words.subarray(0, this.#length));
    this.#words = grown;
  }
}

/** Tells a reader what a log's `copy` says. */
export function readStepLog(words: Uint32Array, reader: StepLogReader): void {
  for (let at = 0; at < words.length; ) {
    const kind = words[at++];
    if (kind === STORED) {
      const hasParent = words[at] === 1;
      const count = words[at + 1] ?? 0;
      const end = at + 2 + (count + (hasParent ? 1 : 0)) * NAME_WORDS;
      reader.stored(words.subarray(at + 2, end), count, hasParent);
      at = end;
    } else if (kind === OFFLOADED) {
      reader.offloaded(words[at] ?? 0, words[at + 1] ?? 0);
      at += 2;
    } else if (kind === REMOVED) {
      const count = words[at + 1] ?? 0;
      const end = at + 2 + count * NAME_WORDS;
      reader.removed(words[at] === 0 ? 0 : 1, words.subarray(at + 2, end), count);
      at = end;
    } else reader.cleared();
  }
}
