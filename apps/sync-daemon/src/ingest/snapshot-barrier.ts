/**
 * The barrier at which workers pause while one of them copies the index that all write to.
 *
 *     word 0   number of paused workers
 *     word 1   1: they may continue
 *     word 2   1: one continued by itself, since it had paused for too long
 *
 *  B1  A worker that continues by itself sets word 2 before it writes again. A copy during which
 *      word 2 stayed 0 is of one moment.
 *
 * Works between threads that block on it; no messages are sent while they pause.
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
