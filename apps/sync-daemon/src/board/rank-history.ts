/**
 * The latest history of each rank's stream, in shared memory: changes of state and trust, gaps with
 * how they ended, and restarts of the publisher. The ingest thread records them where they happen.
 *
 *     Float64 cells of a rank   ┌ count │ 64 × (at, state and trust) ┬ count │ 32 × (at, from, what, seconds) ┐
 *                               └───────┴────────────────────────────┴───────┴────────────────────────────────┘
 *
 * Invariants
 *  H1  A list has the latest TURNS_MAX changes, or INCIDENTS_MAX incidents, oldest first. None is
 *      sampled: a change that lasted a microsecond is there.
 *  H2  A reader never shows an entry that is half written, or one that was overwritten while it was read.
 *  H3  `clear` leaves nothing of a rank for the next one in its slot.
 *
 * The writer writes an entry, then the count. A reader reads the count before and after.
 */

import {
  RANK_SLOTS_MAX,
  REPLAY_STATUSES,
  type ReplayStatus,
  STREAM_STATES,
  type StreamState,
  type Trust,
  TRUST_LEVELS,
} from "@kvsync/core";

/** Changes of state and trust that are kept of a rank. */
export const TURNS_MAX = 64;
/** Gaps and restarts that are kept of a rank. */
export const INCIDENTS_MAX = 32;

const TURN_CELLS = 2;
const INCIDENT_CELLS = 4;
const TURNS = 1;
const INCIDENT_COUNT = TURNS + TURNS_MAX * TURN_CELLS;
const INCIDENTS = INCIDENT_COUNT + 1;
const RANK_CELLS = INCIDENTS + INCIDENTS_MAX * INCIDENT_CELLS;

/** Above every state and trust: a turn's code is state × TRUST_STRIDE + trust. */
const TRUST_STRIDE = 8;
/** A gap's code is messages × OUTCOMES + outcome; a restart's is RESTART. */
const OUTCOMES = 8;
const OPEN = 0;
const RESTART = -1;

/** Bytes of shared memory for all ranks; 8.5 MB, of which only followed ranks' are touched. */
export const RANK_HISTORY_BYTES = RANK_SLOTS_MAX * RANK_CELLS * Float64Array.BYTES_PER_ELEMENT;

/** A change of a stream's state or trust. */
export interface Turn {
  /** Milliseconds since the Unix epoch. */
  readonly atMs: number;
  readonly state: StreamState;
  readonly trust: Trust;
}

/** Messages that did not arrive. */
export interface Gap {
  readonly kind: "gap";
  /** Milliseconds since the Unix epoch. */
  readonly atMs: number;
  /** Number of the first message that is missing. */
  readonly from: number;
  readonly messages: number;
  /** How the replay for it ended; null while none has. */
  readonly outcome: ReplayStatus | null;
  /** From the gap to that end; null while there is none. */
  readonly seconds: number | null;
}

/** Another publisher than before. */
export interface Restart {
  readonly kind: "restart";
  readonly atMs: number;
}

/** The ingest thread's side. */
export class RankHistoryWriter {
  readonly #cells: Float64Array;

  /** @param memory - of RANK_HISTORY_BYTES. */
  constructor(memory: Float64Array) {
    this.#cells = memory;
  }

  /**
   * Leaves nothing of a rank (H3).
   *
   * @param rankSlot - of the rank.
   */
  clear(rankSlot: number): void {
    const first = rankSlot * RANK_CELLS;
    // A rank without a past has untouched pages, and keeps them.
    if (this.#cells[first] !== 0 || this.#cells[first + INCIDENT_COUNT] !== 0)
      this.#cells.fill(0, first, first + RANK_CELLS);
  }

  /**
   * Records that a stream has another state or trust.
   *
   * @param rankSlot - of the rank.
   * @param atMs - since the Unix epoch.
   * @param state - from now on.
   * @param trust - from now on.
   */
  turned(rankSlot: number, atMs: number, state: StreamState, trust: Trust): void {
    const cells = this.#cells;
    const first = rankSlot * RANK_CELLS;
    const count = cells[first] ?? 0;
    const code = STREAM_STATES.indexOf(state) * TRUST_STRIDE + TRUST_LEVELS.indexOf(trust);
    const at = first + TURNS + (count % TURNS_MAX) * TURN_CELLS;
    cells[at] = atMs;
    cells[at + 1] = code;
    cells[first] = count + 1;
  }

  /**
   * Records a gap.
   *
   * @param rankSlot - of the rank.
   * @param atMs - since the Unix epoch.
   * @param from - first message that is missing.
   * @param messages - that are missing.
   */
  gap(rankSlot: number, atMs: number, from: number, messages: number): void {
    this.#incident(rankSlot, atMs, from, messages * OUTCOMES + OPEN);
  }

  /**
   * Records that another publisher was found.
   *
   * @param rankSlot - of the rank.
   * @param atMs - since the Unix epoch.
   */
  restarted(rankSlot: number, atMs: number): void {
    this.#incident(rankSlot, atMs, 0, RESTART);
  }

  /**
   * Gives every open gap of a rank its end.
   *
   * @param rankSlot - of the rank.
   * @param atMs - since the Unix epoch.
   * @param outcome - of the replay.
   */
  replayEnded(rankSlot: number, atMs: number, outcome: ReplayStatus): void {
    const cells = this.#cells;
    const first = rankSlot * RANK_CELLS;
    const count = cells[first + INCIDENT_COUNT] ?? 0;
    for (let i = Math.max(0, count - INCIDENTS_MAX); i < count; i++) {
      const at = first + INCIDENTS + (i % INCIDENTS_MAX) * INCIDENT_CELLS;
      const code = cells[at + 2] ?? RESTART;
      if (code === RESTART || code % OUTCOMES !== OPEN) continue;
      // The time first: a reader takes it only with an outcome (H2).
      cells[at + 3] = (atMs - (cells[at] ?? atMs)) / 1000;
      cells[at + 2] = code + 1 + REPLAY_STATUSES.indexOf(outcome);
    }
  }

  #incident(rankSlot: number, atMs: number, from: number, code: number): void {
    const cells = this.#cells;
    const first = rankSlot * RANK_CELLS;
    const count = cells[first + INCIDENT_COUNT] ?? 0;
    const at = first + INCIDENTS + (count % INCIDENTS_MAX) * INCIDENT_CELLS;
    cells[at] = atMs;
    cells[at + 1] = from;
    cells[at + 2] = code;
    cells[at + 3] = 0;
    cells[first + INCIDENT_COUNT] = count + 1;
  }
}

/** The reading side, any thread. */
export class RankHistoryReader {
  readonly #cells: Float64Array;

  /** @param memory - of RANK_HISTORY_BYTES. */
  constructor(memory: Float64Array) {
    this.#cells = memory;
  }

  /**
   * How much was recorded of a rank so far; grows with each change and incident. A few nanoseconds.
   *
   * @param rankSlot - of the rank.
   */
  recorded(rankSlot: number): number {
    const first = rankSlot * RANK_CELLS;
    return (this.#cells[first] ?? 0) + (this.#cells[first + INCIDENT_COUNT] ?? 0);
  }

  /**
   * The latest changes of a rank (H1).
   *
   * @param rankSlot - of the rank.
   * @returns oldest first; empty before the first.
   */
  turns(rankSlot: number): Turn[] {
    return this.#entries(rankSlot * RANK_CELLS, TURNS, TURNS_MAX, TURN_CELLS, (at): Turn => {
      const code = this.#cells[at + 1] ?? 0;
      return {
        atMs: this.#cells[at] ?? 0,
        state: STREAM_STATES[Math.floor(code / TRUST_STRIDE)] ?? "connecting",
        trust: TRUST_LEVELS[code % TRUST_STRIDE] ?? "unknown",
      };
    });
  }

  /**
   * The latest gaps and restarts of a rank (H1).
   *
   * @param rankSlot - of the rank.
   * @returns oldest first; empty before the first.
   */
  incidents(rankSlot: number): (Gap | Restart)[] {
    const count = rankSlot * RANK_CELLS + INCIDENT_COUNT;
    return this.#entries(count, 1, INCIDENTS_MAX, INCIDENT_CELLS, (at): Gap | Restart => {
      const code = this.#cells[at + 2] ?? RESTART;
      const atMs = this.#cells[at] ?? 0;
      if (code === RESTART) return { kind: "restart", atMs };
      const outcome = REPLAY_STATUSES[(code % OUTCOMES) - 1] ?? null;
      const seconds = outcome === null ? null : (this.#cells[at + 3] ?? 0);
      const messages = Math.floor(code / OUTCOMES);
      return { kind: "gap", atMs, from: this.#cells[at + 1] ?? 0, messages, outcome, seconds };
    });
  }

  /** Entries of a ring whose count is at `count` and whose first entry `offset` cells behind it (H2). */
  #entries<Entry>(
    count: number,
    offset: number,
    max: number,
    width: number,
    read: (at: number) => Entry,
  ): Entry[] {
    const cells = this.#cells;
    const until = cells[count] ?? 0;
    const from = Math.max(0, until - max);
    const found = Array.from({ length: until - from }, (_, i) =>
      read(count + offset + ((from + i) % max) * width),
    );
    // The one that is being written now may be the oldest that was read; a slot that was cleared has none.
    const after = cells[count] ?? 0;
    if (after < until) return [];
    return after === until && until < max ? found : found.slice(Math.max(0, after + 1 - max - from));
  }
}
