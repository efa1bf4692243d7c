/**
 * The last batches of a publisher, for replay: vLLM's deque of `buffer_steps` entries, as a ring.
 *
 *  H1  Entries are in the order they were added, the newest `capacity` of them.
 */

/** A message as it was sent. */
export interface SentBatch {
  readonly sequenceNumber: number;
  readonly payload: Uint8Array;
}

/** The replayable past of one publisher. */
export class ReplayHistory {
  readonly #capacity: number;
  #ring: (SentBatch | undefined)[] = [];
  #oldest = 0;
  #size = 0;

  /** @param capacity - batches kept; 0 keeps none. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Batches kept now. */
  get size(): number {
    return this.#size;
  }

  /** Adds the newest batch; the oldest goes when the ring is full. */
  add(batch: SentBatch): void {
    if (this.#capacity === 0) return;
    this.#ring[(this.#oldest + this.#size) % this.#capacity] = batch;
    if (this.#size < this.#capacity) this.#size++;
    else this.#oldest = (this.#oldest + 1) % this.#capacity;
  }

  /**
   * What a replay request gets.
   *
   * @param start - first sequence number wanted.
   * @returns batches numbered `start` or more, oldest first: a linear scan, as the engine's. A new array.
   */
  from(start: number): SentBatch[] {
    const wanted: SentBatch[] = [];
    for (let i = 0; i < this.#size; i++) {
      const batch = this.#ring[(this.#oldest + i) % this.#capacity];
      if (batch !== undefined && batch.sequenceNumber >= start) wanted.push(batch);
    }
    return wanted;
  }

  /** Forgets all but the newest `keep` batches. */
  truncate(keep: number): void {
    const kept = this.from(0).slice(Math.max(0, this.#size - keep));
    this.#ring = kept;
    this.#oldest = 0;
    this.#size = kept.length;
  }
}
