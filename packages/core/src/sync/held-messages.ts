/**
 * Live messages that wait while a replay fills the gap before them: first in, first out. They are
 * bounded in count and bytes, and in bytes over all streams of a thread. A message that does not
 * fit is refused; the stream asks for it again later.
 */

/** Bytes that many streams may hold together. One per ingest thread. */
export class HoldBudget {
  #bytesLeft: number;

  /** @param bytes - how much may be held at a time by all who share this budget. */
  constructor(bytes: number) {
    this.#bytesLeft = bytes;
  }

  /** Takes `bytes`, or nothing and says false when they are not left. */
  take(bytes: number): boolean {
    if (bytes > this.#bytesLeft) return false;
    this.#bytesLeft -= bytes;
    return true;
  }

  /** Gives taken bytes back. */
  giveBack(bytes: number): void {
    this.#bytesLeft += bytes;
  }
}

/** A message that waits. */
export interface HeldMessage {
  readonly sequenceNumber: number;
  readonly payload: Uint8Array;
}

/** The waiting messages of one stream. Payloads are kept by reference. */
export class HeldMessages {
  readonly #countMax: number;
  readonly #bytesMax: number;
  readonly #budget: HoldBudget;
  #messages: HeldMessage[] = [];
  #bytes = 0;

  constructor(countMax: number, bytesMax: number, budget: HoldBudget) {
    this.#countMax = countMax;
    this.#bytesMax = bytesMax;
    this.#budget = budget;
  }

  /** How many wait. */
  get count(): number {
    return this.#messages.length;
  }

  /** Number of the one that came first; null when none waits. */
  get firstSequenceNumber(): number | null {
    return this.#messages[0]?.sequenceNumber ?? null;
  }

  /** Adds a message behind the others, or refuses it: false. */
  push(sequenceNumber: number, payload: Uint8Array): boolean {
    const bytes = payload.byteLength;
    if (this.#messages.length >= this.#countMax || this.#bytes + bytes > this.#bytesMax) return false;
    if (!this.#budget.take(bytes)) return false;
    this.#messages.push({ sequenceNumber, payload });
    this.#bytes += bytes;
    return true;
  }

  /** Hands all of them over, in order of arrival, and is empty. */
  takeAll(): readonly HeldMessage[] {
    const messages = this.#messages;
    this.#messages = [];
    this.#budget.giveBack(this.#bytes);
    this.#bytes = 0;
    return messages;
  }
}
