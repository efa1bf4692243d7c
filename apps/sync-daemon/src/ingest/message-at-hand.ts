/**
 * The message that a stream works on: shown on the board while it does, so that the main thread can say
 * what a worker died of; and passed over when a process died of it before (set-aside.ts).
 */
import { type MessageGuard, peekTimestampSeconds } from "@kvsync/core";

import type { BoardWriter } from "../board/stream-board.ts";
import type { FollowedRank } from "../engine/followed-rank.ts";

/** One stream's guard. */
export class MessageAtHand implements MessageGuard {
  readonly #rank: FollowedRank;
  readonly #board: BoardWriter;
  readonly #passed: (sequenceNumber: number) => void;
  readonly #message = { sequenceNumber: 0, timestampSeconds: 0, bytes: 0 };

  /**
   * @param rank - whose messages, and which of them are set aside.
   * @param board - of this worker.
   * @param passed - is told of each message that is passed over.
   */
  constructor(rank: FollowedRank, board: BoardWriter, passed: (sequenceNumber: number) => void) {
    this.#rank = rank;
    this.#board = board;
    this.#passed = passed;
  }

  /** {@inheritDoc MessageGuard.admits} */
  admits(sequenceNumber: number, payload: Uint8Array): boolean {
    const message = this.#message;
    message.sequenceNumber = sequenceNumber;
    message.timestampSeconds = peekTimestampSeconds(payload);
    message.bytes = payload.byteLength;
    if (this.#rank.setAside !== undefined && this.#isSetAside()) {
      this.#passed(sequenceNumber);
      return false;
    }
    this.show();
    return true;
  }

  /** Shows the message again, before another part of it is applied. */
  show(): void {
    this.#board.at(this.#rank.rankSlot, this.#message);
  }

  #isSetAside(): boolean {
    const { sequenceNumber, timestampSeconds, bytes } = this.#message;
    const known = this.#rank.setAside?.find((one) => one.sequenceNumber === sequenceNumber);
    if (known?.bytes !== bytes) return false;
    // A payload that does not begin like a batch has no timestamp, before and after.
    return Object.is(known.timestampSeconds, timestampSeconds);
  }
}
