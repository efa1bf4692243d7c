/**
 * The verdict on the main group's last store from the root: a copy for certain, or maybe a report
 * (repeated-stores.ts).
 *
 * vLLM announces the same blocks for each group, in the order of their numbers. So a later group's
 * store in the same message, with the same name at its end, has the verdict of the main group's.
 *
 * Invariant
 *  V1  `isCertain` is true only for a run that ends with the very name of the main group's last one, in its message.
 */

/** The last name of one store, and what it was. */
export class RootVerdict {
  #low = 0;
  #high = 0;
  #isCertain = false;

  /** The main group's store from the root of these names, low then high. */
  note(hashes: Uint32Array, blockCount: number, isCertain: boolean): void {
    this.#low = hashes[2 * blockCount - 2];
    this.#high = hashes[2 * blockCount - 1];
    this.#isCertain = isCertain;
  }

  /** Whether a later group's store of these names is a copy, since the main group's was. */
  isCertain(hashes: Uint32Array, blockCount: number): boolean {
    const isSameRun = this.#low === hashes[2 * blockCount - 2] && this.#high === hashes[2 * blockCount - 1];
    return this.#isCertain && isSameRun;
  }

  /** A message begins: nothing is known of its stores. */
  forget(): void {
    this.#isCertain = false;
  }
}
