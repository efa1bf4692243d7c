/**
 * Where workers stand still while one of them copies the index that all write to.
 *
 *     word 0   how many stand still
 *     word 1   1: they may continue
 *     word 2   1: one went on by itself, since it had stood for too long
 *
 *  B1  A worker that continues by itself says so before it writes again. A copy during which nobody had said so is of one moment.
 *
 * Works between threads that block on it; nothing is said by message while they stand.
 */

/** See the header; made by the main thread, for one snapshot. */
export interface SnapshotBarrier {
  readonly memory: SharedArrayBuffer;
  /** How many have to stand. The worker that copies is not among them. */
  readonly others: number;
}

const STANDING = 0;
const MAY_GO = 1;
const WENT = 2;
const WORDS = 3;

/**
 * Makes a barrier.
 *
 * @param others - workers that have to stand still.
 */
export function makeBarrier(others: number): SnapshotBarrier {
  return { memory: new SharedArrayBuffer(4 * WORDS), others };
}

/**
 * Stands still until it may go on, or for the longest time. Blocks the thread.
 *
 * @param barrier - of this snapshot.
 * @param msMax - after which the worker goes on by itself.
 */
export function standStill({ memory }: SnapshotBarrier, msMax: number): void {
  const words = new Int32Array(memory);
  Atomics.add(words, STANDING, 1);
  Atomics.notify(words, STANDING);
  if (Atomics.wait(words, MAY_GO, 0, msMax) === "timed-out") Atomics.store(words, WENT, 1);
}

/**
 * Waits for the others. Blocks the thread.
 *
 * @param barrier - of this snapshot.
 * @param msMax - most time to wait.
 * @returns whether all stand still.
 */
export function othersStand({ memory, others }: SnapshotBarrier, msMax: number): boolean {
  const words = new Int32Array(memory);
  const overdueMs = performance.now() + msMax;
  for (let standing = Atomics.load(words, STANDING); standing < others; ) {
    const leftMs = overdueMs - performance.now();
    if (leftMs <= 0) return false;
    Atomics.wait(words, STANDING, standing, leftMs);
    standing = Atomics.load(words, STANDING);
  }
  return true;
}

/**
 * Lets the others go on.
 *
 * @param barrier - of this snapshot.
 * @returns whether those that stood have stood until now (B1).
 */
export function letGo({ memory }: SnapshotBarrier): boolean {
  const words = new Int32Array(memory);
  const stoodUntilNow = Atomics.load(words, WENT) === 0;
  Atomics.store(words, MAY_GO, 1);
  Atomics.notify(words, MAY_GO);
  return stoodUntilNow;
}
