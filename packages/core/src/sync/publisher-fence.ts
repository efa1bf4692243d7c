/**
 * Is this still the publisher we followed? The protocol has no epoch: a restarted engine counts
 * from 0 again, and may have passed our last number before we detect it. So we keep digests of a
 * few messages that we applied. A replay that begins at one of them proves its publisher by the
 * same bytes (every batch begins with its own wall-clock time).
 *
 *     applied     … ───●──────────────●─────────●──────▶ time
 *                    anchor         newer      last
 *                    └─ 1 to 2 anchor ages ago ─┘
 *
 * `last` fences gaps and probes. A reconnect is fenced at the anchor, which is older. The reason:
 * the news of the reconnect may arrive after some messages of the new connection. If one of these
 * continued our count by chance, it has been applied, and `last` would vouch for the wrong
 * publisher. The anchor is older than any such delay. A history that no longer reaches back to it
 * is vouched for by a younger mark that is older than such a delay too (F3).
 *
 * Invariants
 *  F1  Kept digests are of messages that were applied, from the publisher that the rank was last begun with.
 *  F2  anchor ≤ newer ≤ last; none is kept only when nothing was applied.
 *  F3  A message proves its publisher when it is the one that was asked for, or was applied an anchor age before the first
 *      suspicion.
 */
import type { BytesDigester } from "../block-hash/extra-keys.ts";

/** Bytes of a payload that are digested, its length beside them. The time of the batch is within the first ten. */
const FENCE_BYTES_MAX = 1024;

/** A message that was applied, by number and digest. −1 while there is none. */
interface Mark {
  sequenceNumber: number;
  low: number;
  high: number;
  atMs: number;
}

/** What a fence keeps, to be kept elsewhere for a while; times on the owner's clock. */
export interface FenceMarks {
  readonly anchor: Readonly<Mark>;
  readonly newer: Readonly<Mark>;
  readonly last: Readonly<Mark>;
}

/**
 * Digests of applied messages, to recognise their publisher by. Most messages are never compared: of the last one the bytes
 * are kept, and digested when they are needed. Allocates at most a view per message.
 */
export class PublisherFence {
  readonly #digester: BytesDigester;
  readonly #anchorAgeMs: number;
  readonly #words = new Uint32Array(2);
  readonly #anchor = createMark();
  readonly #newer = createMark();
  /** Read by `#last`: its digest may be missing. */
  readonly #latest = createMark();
  /** What of the last message is digested, `#headBytes` of it; −1 when that is done. Made with the first message. */
  #head: Uint8Array | null = null;
  #headBytes = -1;
  #payloadBytes = 0;
  readonly #asked = createMark();
  #provesUpToMs = -Infinity;

  /** @param anchorAgeMs - least age of the message that a reconnected publisher is asked for. */
  constructor(digester: BytesDigester, anchorAgeMs: number) {
    this.#digester = digester;
    this.#anchorAgeMs = anchorAgeMs;
  }

  /** Remembers an applied message. */
  note(sequenceNumber: number, payload: Uint8Array, nowMs: number): void {
    this.#keepHead(payload);
    this.#latest.sequenceNumber = sequenceNumber;
    this.#latest.atMs = nowMs;
    if (this.#anchor.sequenceNumber < 0) {
      copyMark(this.#last, this.#anchor);
      copyMark(this.#last, this.#newer);
    } else if (nowMs - this.#newer.atMs >= this.#anchorAgeMs || nowMs < this.#newer.atMs) {
      // A mark of the future was kept by a process whose clock was ahead: waiting for its time would hold the anchor until no
      // history reaches it.
      copyMark(this.#newer, this.#anchor);
      copyMark(this.#last, this.#newer);
    }
  }

  /** What is kept; the caller's. */
  marks(): FenceMarks {
    return { anchor: { ...this.#anchor }, newer: { ...this.#newer }, last: { ...this.#last } };
  }

  /** Goes on from what another fence kept (F1 is the caller's promise). */
  restore({ anchor, newer, last }: FenceMarks): void {
    copyMark(anchor, this.#anchor);
    copyMark(newer, this.#newer);
    copyMark(last, this.#latest);
    this.#headBytes = -1;
    this.#asked.sequenceNumber = -1;
  }

  /** Forgets all: another publisher, or a stretch of history that does not connect with what was applied. */
  reset(): void {
    for (const mark of [this.#anchor, this.#newer, this.#latest, this.#asked]) mark.sequenceNumber = -1;
    this.#headBytes = -1;
  }

  /**
   * Has a replay begin at the last message, and remembers that one for its answers.
   *
   * @returns its number.
   */
  askLast(): number {
    copyMark(this.#last, this.#asked);
    this.#provesUpToMs = Infinity;
    return this.#asked.sequenceNumber;
  }

  /**
   * Has a replay begin at the anchor, and remembers that one for its answers.
   *
   * @param suspectSinceMs - when the publisher was first suspected of being another one; nothing was applied since.
   * @returns its number.
   */
  askAnchor(suspectSinceMs: number): number {
    copyMark(this.#anchor, this.#asked);
    this.#provesUpToMs = suspectSinceMs - this.#anchorAgeMs;
    return this.#asked.sequenceNumber;
  }

  /**
   * Compares a message with what was kept of its number.
   *
   * @returns whether it is the one we applied, another one, or of a number that nothing is kept of.
   */
  compare(sequenceNumber: number, payload: Uint8Array): "same" | "other" | "not_kept" {
    const mark = this.#find(sequenceNumber);
    if (mark === null) return "not_kept";
    this.#digest(headOf(payload), payload.byteLength);
    return mark.low === this.#words[0] && mark.high === this.#words[1] ? "same" : "other";
  }

  /** Whether a message that compared as the same proves its publisher (F3). */
  proves(sequenceNumber: number): boolean {
    if (sequenceNumber === this.#asked.sequenceNumber) return true;
    const mark = this.#find(sequenceNumber);
    return mark !== null && mark.atMs <= this.#provesUpToMs;
  }

  #find(sequenceNumber: number): Mark | null {
    if (sequenceNumber === this.#latest.sequenceNumber) return this.#last;
    if (sequenceNumber === this.#asked.sequenceNumber) return this.#asked;
    if (sequenceNumber === this.#newer.sequenceNumber) return this.#newer;
    if (sequenceNumber === this.#anchor.sequenceNumber) return this.#anchor;
    return null;
  }

  /** The last message's mark, digested. */
  get #last(): Mark {
    const latest = this.#latest;
    if (this.#headBytes >= 0 && this.#head !== null) {
      this.#digest(this.#head.subarray(0, this.#headBytes), this.#payloadBytes);
      latest.low = this.#words[0];
      latest.high = this.#words[1];
      this.#headBytes = -1;
    }
    return latest;
  }

  #keepHead(payload: Uint8Array): void {
    const head = headOf(payload);
    this.#head ??= new Uint8Array(FENCE_BYTES_MAX);
    this.#head.set(head);
    this.#headBytes = head.byteLength;
    this.#payloadBytes = payload.byteLength;
  }

  #digest(head: Uint8Array, payloadBytes: number): void {
    this.#digester.digestBytes(head, this.#words, 0);
    this.#words[0] ^= payloadBytes;
  }
}

function headOf(payload: Uint8Array): Uint8Array {
  return payload.byteLength <= FENCE_BYTES_MAX ? payload : payload.subarray(0, FENCE_BYTES_MAX);
}

function createMark(): Mark {
  return { sequenceNumber: -1, low: 0, high: 0, atMs: 0 };
}

function copyMark(from: Readonly<Mark>, to: Mark): void {
  to.sequenceNumber = from.sequenceNumber;
  to.low = from.low;
  to.high = from.high;
  to.atMs = from.atMs;
}
