/**
 * How much is logged, as one word of shared memory that every thread looks at and the main thread alone writes.
 *
 *     PUT /api/v1/log-level ─▶ LogLevel.set ─▶ word ◀── isOn(level) ── main thread, ingest threads
 *                                   └─ a while later, if asked so: back to the level of the settings
 *
 * Invariants
 *  V1  Callers ask `isOn` before they make a line: a line that is switched off costs one load and a
 *      comparison.
 *  V2  Warnings and errors are not asked about: they are written at every level.
 *
 * The load is not atomic. Another thread reads a change at its next call, since memory is coherent
 * and no loop caches the value. An atomic load would cost several times as much and order nothing
 * that matters here.
 */

import { LINE_LEVELS, type LineLevel } from "@kvsync/observability/signals/log-event";

/** Everything is written. */
export const LOG_LEVEL_MAX = 5;

/** The level of one process, seen from one of its threads. */
export class LogLevel {
  /** To be handed to other threads, which `attach` to it. */
  readonly memory: SharedArrayBuffer;
  readonly #word: Int32Array;

  private constructor(memory: SharedArrayBuffer) {
    this.memory = memory;
    this.#word = new Int32Array(memory);
  }

  /**
   * Makes one.
   *
   * @param level - to begin with, 0 … LOG_LEVEL_MAX.
   * @returns the level, of which the caller's thread is the only writer.
   */
  static create(level: number): LogLevel {
    const made = new LogLevel(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
    made.set(level);
    return made;
  }

  /**
   * Looks at another thread's.
   *
   * @param memory - of the one that was made.
   */
  static attach(memory: SharedArrayBuffer): LogLevel {
    return new LogLevel(memory);
  }

  /** 0 … LOG_LEVEL_MAX. */
  get current(): number {
    return this.#word[0] ?? 0;
  }

  /**
   * Whether lines of a level are written; a nanosecond, allocates nothing.
   *
   * @param level - of the line.
   */
  isOn(level: LineLevel): boolean {
    return (this.#word[0] ?? 0) >= LINE_LEVELS[level];
  }

  /**
   * Changes it for all threads.
   *
   * @param level - 0 … LOG_LEVEL_MAX.
   */
  set(level: number): void {
    Atomics.store(this.#word, 0, level);
  }
}
