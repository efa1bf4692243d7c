/**
 * The message that a stream works on. The board shows it meanwhile, so that the main thread can
 * report during which message a worker died. A message during which a process died before is passed
 * over (set-aside.ts). After a run that was killed, the message is also written to a file
 * (message-journal.ts).
 */
import { type MessageGuard, peekTimestampSeconds } from "@kvsync/core";

import type { BoardWriter } from "../board/stream-board.ts";
import type { FollowedRank } from "../engine/followed-rank.ts";
import { MessageJournal } from "./message-journal.ts";

/** One stream's guard. */
export class MessageAtHand implements MessageGuard {
  readonly #rank: FollowedRank;
  readonly #board: BoardWriter;
  readonly #passed: (sequenceNumber: number) => void;
  readonly #journal: MessageJournal | null;
  /** Null when the journal is not written. */
  readonly #record: Buffer | null;
  readonly #message = { sequenceNumber: 0, timestampSeconds: 0, bytes: 0 };

  /**
   * @param rank - whose messages, and which of them are set aside.
   * @param board - of this worker.
   * @param passed - is told of each message that is passed over.
   * @param journal - of this worker; null after a clean stop.
   */
  constructor(
    rank: FollowedRank,
    board: BoardWriter,
    passed: (sequenceNumber: number) => void,
    journal: MessageJournal | null,
  ) {
    this.#rank = rank;
    this.#board = board;
    this.#passed = passed;
    this.#journal = journal;
    this.#record = journal === null ? null : MessageJournal.record(rank);
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
    if (this.#record !== null) this.#journal?.at(this.#record, this.#message);
  }

  #isSetAside(): boolean {
    const { sequenceNumber, timestampSeconds, bytes } = this.#message;
    const known = this.#rank.setAside?.find((one) => one.sequenceNumber === sequenceNumber);
    if (known?.bytes !== bytes) return false;
    // A payload that does not begin like a batch has no timestamp, before and after.
    const [one, other] = [known.timestampSeconds, timestampSeconds];
    return one === other || (Number.isNaN(one) && Number.isNaN(other));
  }
}
