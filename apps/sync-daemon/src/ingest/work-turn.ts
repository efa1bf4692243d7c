/**
 * Limits the time that one stream may work on one message without a pause. The rest of the message
 * is applied in later turns. So a message costs the other streams of its worker a part of the time,
 * never all.
 *
 *   begin ─▶ event ─▶ event ─▶ … ─▶ isOver: the clock is read at every EVENTS_PER_CLOCK-th event
 *
 * One event is never cut: it is bounded by core's limits (262,144 blocks, 65,536 extra keys), tens of
 * milliseconds.
 */
import type { Turn } from "@kvsync/core";

/** Events between two looks at the clock: a look costs as much as an event of one block. */
const EVENTS_PER_CLOCK = 8;

/** The turn of whichever stream works now. One per ingest. */
export class WorkTurn implements Turn {
  readonly #now: () => number;
  readonly #turnMs: number;
  #endMs = 0;
  #eventsLeft = 0;

  /**
   * @param turnMs - length of a turn.
   * @param now - a clock in milliseconds.
   */
  constructor(turnMs: number, now: () => number) {
    this.#turnMs = turnMs;
    this.#now = now;
  }

  /**
   * A stream begins to work.
   *
   * @param nowMs - the clock.
   */
  begin(nowMs: number): void {
    this.#endMs = nowMs + this.#turnMs;
    this.#eventsLeft = EVENTS_PER_CLOCK;
  }

  /** A stream begins to work on what is bounded by its size: this turn does not end before. */
  beginWhole(): void {
    this.#eventsLeft = Infinity;
  }

  /** {@inheritDoc Turn.isOver} */
  isOver(): boolean {
    this.#eventsLeft -= 1;
    if (this.#eventsLeft > 0) return false;
    this.#eventsLeft = EVENTS_PER_CLOCK;
    return this.#now() >= this.#endMs;
  }
}
