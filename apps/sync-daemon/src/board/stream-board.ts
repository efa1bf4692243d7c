/**
 * The state of the ingest thread and of each stream, in shared memory, so that a request never
 * waits for ingest.
 *
 *     Float64 cells   ┌ header of worker 0 … 15 ┬ row of rank slot 0 ┬ row of rank slot 1 ┬ …
 *                     └─────────────────────────┴────────────────────┴────────────────────┴──
 *     row   state · trust · connected · numbers … · counters (every number in core's SyncCounters, flattened) · queue drops
 *
 * Invariants
 *  B1  A writer writes the header of its worker and the row of the rank it is given, no other cell.
 *  B2  `lastSequenceNumber` of a row never runs ahead of the index: the ingest thread writes it
 *      after each call of the stream.
 *  B3  A row of zeros, which `clear` leaves, means that its rank is unknown.
 *  B4  A rank is `stale` where its row has `exact` or `partial` and its worker gave no heartbeat
 *      for HEARTBEAT_STALE_MS. The reason is `worker_stalled`: a worker that does not run removes
 *      no block either.
 *  B5  Trust and reason are one cell, so that a reader never gets the trust of one moment with the
 *      reason of another.
 *  B6  The row has the begin and the end of the latest time for which it was `exact`, however short
 *      that was.
 *
 * One worker follows a rank at a time. A cell is read whole, but the cells of a row may be a few
 * messages apart. Counters are written at the end of a slice.
 *
 * The ingest thread clears a row before it returns the slot, so that a new rank never shows its predecessor's trust.
 */

import {
  createSyncCounters,
  RANK_SLOTS_MAX,
  STREAM_STATES,
  type StreamState,
  type SyncCounters,
  type Trust,
  TRUST_REASON_NAMES,
  TRUST_REASONS,
  type TrustReason,
  type WorkerSync,
} from "@kvsync/core";

import { epochMs, sharedClockMs } from "../clock.ts";
import type { MessageIdentity } from "../message-identity.ts";
import { QUEUE_DROP_REASONS, type QueueDropReason } from "./drop-reasons.ts";
import { EVENT_TAIL_BYTES, EventTailReader, EventTailWriter } from "./event-tail.ts";
import { RANK_HISTORY_BYTES, RankHistoryReader, RankHistoryWriter } from "./rank-history.ts";

const NO_MESSAGE: MessageIdentity = { sequenceNumber: 0, timestampSeconds: 0, bytes: 0 };

/** Header cells. */
const HEADER = {
  appliedMessages: 0,
  depthLive: 1,
  depthReplay: 2,
  bytesLive: 3,
  bytesReplay: 4,
  backpressure: 5,
  heartbeatMs: 6,
  utilization: 7,
} as const;
/** Header cells behind those: the message that the worker is at. */
const AT_RANK_PLUS_ONE = 8;
const AT_SEQUENCE_NUMBER = 9;
const AT_TIMESTAMP = 10;
const AT_BYTES = 11;
const HEADER_CELLS = 16;
/** A worker beats four times a second and with every slice of work: eight beats missed in a row. */
export const HEARTBEAT_STALE_MS = 2000;
/** Most ingest workers: each has a header here, and a section of the journal. */
export const INGEST_WORKERS_MAX = 16;

/** Row cells before the counters. */
const STATE = 0;
/** Code of trust and reason (B5): 0 while nothing was written, then `exact`, then core's reasons in their order. */
const TRUST = 1;
const CONNECTED = 2;
const LAST_SEQUENCE_NUMBER = 3;
const HISTORY_FROM = 4;
const LAST_EVENT_AT_MS = 5;
/** Number of the worker that follows the rank, plus one; 0 while none does. */
const WORKER_PLUS_ONE = 6;
const TRUST_SINCE_MS = 7;
/** Begin and end of the latest time that the row said `exact`; 0 before the first, and while it lasts. */
const EXACT_SINCE_MS = 8;
const EXACT_UNTIL_MS = 9;
const COUNTERS = 10;

/** Names in SyncCounters, each with the names of its group; null for a number. */
const COUNTER_GROUPS: readonly (readonly [key: string, inner: readonly string[] | null])[] = Object.entries(
  createSyncCounters(),
).map(([key, value]: [string, unknown]) => [
  key,
  typeof value === "number" ? null : Object.keys(value as object),
]);
/** Paths of every number in SyncCounters: `["gaps"]`, `["faults", "truncated"]`, … in a fixed order. */
const COUNTER_PATHS: readonly (readonly string[])[] = COUNTER_GROUPS.flatMap(([key, inner]) =>
  inner === null ? [[key]] : inner.map((name) => [key, name]),
);
const QUEUE_DROPS = COUNTERS + COUNTER_PATHS.length;
const ROW_CELLS = QUEUE_DROPS + QUEUE_DROP_REASONS.length;
const BOARD_CELLS = INGEST_WORKERS_MAX * HEADER_CELLS + RANK_SLOTS_MAX * ROW_CELLS;

/** Cells of the counters of one name, or of one name in a group of them. */
function cellsOf(key: string, inner?: string): readonly number[] {
  return COUNTER_PATHS.flatMap(([name, second], i) =>
    name === key && (inner === undefined || second === inner) ? [COUNTERS + i] : [],
  );
}

const [STORED = 0] = cellsOf("eventsApplied", "BlockStored");
const [REMOVED = 0] = cellsOf("eventsApplied", "BlockRemoved");
const [CLEARED = 0] = cellsOf("eventsApplied", "AllBlocksCleared");
const [MESSAGES = 0] = cellsOf("messagesApplied");
const [BLOCKS_STORED = 0] = cellsOf("blocksApplied", "BlockStored");
const [BLOCKS_REMOVED = 0] = cellsOf("blocksApplied", "BlockRemoved");
const GAPS = cellsOf("gaps");
const MISSED = cellsOf("missedMessages");
const REPLAYS = cellsOf("replaysRequested");
const RESTARTS = cellsOf("restarts");
const FAULTS = cellsOf("faults");
const DROP_CELLS: readonly (readonly [reason: string, cell: number])[] = [
  ...COUNTER_PATHS.flatMap(([name, reason = ""], i): (readonly [string, number])[] =>
    name === "eventsDropped" || name === "messagesDropped" ? [[reason, COUNTERS + i]] : [],
  ),
  ...QUEUE_DROP_REASONS.map((reason, i) => [reason, QUEUE_DROPS + i] as const),
];
/** Each reason once: events and messages share some. */
export const NOT_APPLIED_REASONS: readonly string[] = [...new Set(DROP_CELLS.map(([reason]) => reason))];
const DROP_POSITIONS = DROP_CELLS.map(([reason]) => NOT_APPLIED_REASONS.indexOf(reason));

/** Numbers of the ingest thread as a whole. `heartbeatMs` is of the shared clock. */
export type BoardHeader = Readonly<Record<keyof typeof HEADER, number>>;

/** One stream as the board shows it. */
export interface StreamStatus {
  readonly state: StreamState;
  readonly trust: Trust;
  /** Why not further; null exactly for `exact`. */
  readonly trustReason: TrustReason | null;
  /** Since when both are so, milliseconds since the Unix epoch; null before a worker follows the rank. */
  readonly trustSinceMs: number | null;
  /** When the worker last had the rank as `exact`, milliseconds since the Unix epoch (B6); null before the first time. */
  readonly lastExact: ExactTime | null;
  readonly connected: boolean;
  /** Whether the rank's worker has stopped (B4); `trust` reckons with it. */
  readonly workerStalled: boolean;
  /** Number of the last message applied to the index; null before the first. */
  readonly lastSequenceNumber: number | null;
  /** First number from which on the index reflects the publisher without loss; null before the first message. */
  readonly historyFromSequenceNumber: number | null;
  /** Milliseconds since the Unix epoch; null before the first message. */
  readonly lastEventAtMs: number | null;
}

/** A time for which a rank was exact. */
export interface ExactTime {
  readonly sinceMs: number;
  /** Null while it lasts. */
  readonly untilMs: number | null;
}

/** A stream's status with all its counters. */
export interface StreamReport extends StreamStatus {
  readonly counters: SyncCounters;
  readonly queueDrops: Readonly<Record<QueueDropReason, number>>;
}

/** Events of a stream that were applied, by what they did. */
export interface EventCounts {
  readonly stored: number;
  readonly removed: number;
  readonly cleared: number;
}

/** The figures of a stream that are watched second by second. */
export interface StreamFigures {
  /** Number of the last message applied; null before the first. */
  readonly sequenceNumber: number | null;
  readonly gaps: number;
  readonly missed: number;
  readonly replays: number;
  readonly restarts: number;
  readonly faults: number;
  readonly drops: number;
}

/** Trust with its reason. */
export interface RankTrust {
  readonly trust: Trust;
  /** Null exactly for `exact`. */
  readonly reason: TrustReason | null;
}

const EXACT_CODE = 1;
const FIRST_REASON_CODE = 2;
/** What each code means; shared objects, so that reading trust allocates nothing. */
const RANK_TRUSTS: readonly RankTrust[] = [
  rankTrust("not_connected"),
  { trust: "exact", reason: null },
  ...TRUST_REASON_NAMES.map(rankTrust),
];
const CODE_OF_REASON: ReadonlyMap<TrustReason, number> = new Map(
  TRUST_REASON_NAMES.map((reason, i) => [reason, FIRST_REASON_CODE + i]),
);
const STALLED = rankTrust("worker_stalled");

function rankTrust(reason: TrustReason): RankTrust {
  return { trust: TRUST_REASONS[reason].trust, reason };
}

const UNKNOWN_STREAM: StreamStatus = {
  state: "connecting",
  trust: "unknown",
  trustReason: "not_connected",
  trustSinceMs: null,
  lastExact: null,
  connected: false,
  workerStalled: false,
  lastSequenceNumber: null,
  historyFromSequenceNumber: null,
  lastEventAtMs: null,
};

/**
 * Memory for a board, the ranks' histories and the tails of events behind it; about 3, 8.5 and 0.2 MB,
 * of which the system gives what is touched.
 *
 * @returns zeroed shared memory, to be attached by both threads.
 */
export function createBoardMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(
    BOARD_CELLS * Float64Array.BYTES_PER_ELEMENT + RANK_HISTORY_BYTES + EVENT_TAIL_BYTES,
  );
}

/** The ingest thread's side. */
export class BoardWriter {
  readonly #cells: Float64Array;
  readonly #header: number;
  readonly #workerNumber: number;
  readonly #now: () => number;
  /** What happened to the ranks. */
  readonly history: RankHistoryWriter;
  /** Events of the ranks that are watched. */
  readonly tail: EventTailWriter;

  /**
   * @param memory - from `createBoardMemory`.
   * @param workerNumber - below INGEST_WORKERS_MAX.
   * @param now - the clock that the reader reads too.
   */
  constructor(memory: SharedArrayBuffer, workerNumber: number, now: () => number = sharedClockMs) {
    this.#cells = new Float64Array(memory, 0, BOARD_CELLS);
    this.history = new RankHistoryWriter(historyCells(memory));
    this.tail = new EventTailWriter(tailCells(memory));
    this.#header = workerNumber * HEADER_CELLS;
    this.#workerNumber = workerNumber;
    this.#now = now;
    this.beat();
  }

  /**
   * Shows which message the worker is at, for whoever has to say what it died of; some nanoseconds.
   *
   * @param rankSlot - whose it is; null between two messages.
   * @param message - its number, batch timestamp and length.
   */
  at(rankSlot: number | null, message: MessageIdentity = NO_MESSAGE): void {
    const cells = this.#cells;
    cells[this.#header + AT_SEQUENCE_NUMBER] = message.sequenceNumber;
    cells[this.#header + AT_TIMESTAMP] = message.timestampSeconds;
    cells[this.#header + AT_BYTES] = message.bytes;
    cells[this.#header + AT_RANK_PLUS_ONE] = rankSlot === null ? 0 : rankSlot + 1;
  }

  /** Shows that the worker runs; tens of nanoseconds. To be called between any two pieces of work. */
  beat(): void {
    this.#cells[this.#header + HEADER.heartbeatMs] = this.#now();
  }

  /**
   * Makes a row say that its rank is unknown (B3).
   *
   * @param rankSlot - the row.
   */
  clear(rankSlot: number): void {
    const row = rowOf(rankSlot);
    this.#cells.fill(0, row, row + ROW_CELLS);
    this.history.clear(rankSlot);
  }

  /**
   * Writes what a lookup depends on; tens of nanoseconds.
   *
   * @param rankSlot - the row.
   * @param sync - the stream.
   * @param connected - whether its socket is.
   */
  position(rankSlot: number, sync: WorkerSync, connected: boolean): void {
    const cells = this.#cells;
    const row = rowOf(rankSlot);
    cells[row + STATE] = STREAM_STATES.indexOf(sync.state);
    const reason = sync.trustReason;
    const sinceMs = sync.trustSinceMs ?? Number.NaN;
    const wasExact = cells[row + TRUST] === EXACT_CODE;
    if (wasExact !== (reason === null)) {
      cells[row + (wasExact ? EXACT_UNTIL_MS : EXACT_SINCE_MS)] = sinceMs;
      if (!wasExact) cells[row + EXACT_UNTIL_MS] = 0;
    }
    cells[row + TRUST] = reason === null ? EXACT_CODE : (CODE_OF_REASON.get(reason) ?? 0);
    cells[row + TRUST_SINCE_MS] = sinceMs;
    cells[row + CONNECTED] = connected ? 1 : 0;
    cells[row + WORKER_PLUS_ONE] = this.#workerNumber + 1;
    cells[row + LAST_SEQUENCE_NUMBER] = sync.lastSequenceNumber ?? Number.NaN;
    cells[row + HISTORY_FROM] = sync.historyFromSequenceNumber ?? Number.NaN;
    cells[row + LAST_EVENT_AT_MS] = sync.lastEventAtMs ?? Number.NaN;
  }

  /**
   * Writes all counters of a stream; some hundreds of nanoseconds, and nothing is allocated.
   *
   * @param rankSlot - the row.
   * @param counters - the stream's.
   * @param queueDrops - by position in QUEUE_DROP_REASONS.
   */
  counters(rankSlot: number, counters: SyncCounters, queueDrops: Float64Array): void {
    const cells = this.#cells;
    let cell = rowOf(rankSlot) + COUNTERS;
    const values = counters as unknown as Readonly<Record<string, number | Readonly<Record<string, number>>>>;
    for (const [key, inner] of COUNTER_GROUPS) {
      const value = values[key];
      if (typeof value === "object" && inner !== null)
        for (const name of inner) cells[cell++] = value[name] ?? 0;
      else cells[cell++] = Number(value);
    }
    cells.set(queueDrops, cell);
  }

  /**
   * Writes the counters that an ordinary message changes (core's `WorkerSync.rareChanges`); tens of nanoseconds.
   *
   * @param rankSlot - the row, which `counters` has written.
   * @param counters - the stream's.
   */
  messageCounters(rankSlot: number, { messagesApplied, eventsApplied, blocksApplied }: SyncCounters): void {
    const cells = this.#cells;
    const row = rowOf(rankSlot);
    cells[row + MESSAGES] = messagesApplied;
    cells[row + STORED] = eventsApplied.BlockStored;
    cells[row + REMOVED] = eventsApplied.BlockRemoved;
    cells[row + CLEARED] = eventsApplied.AllBlocksCleared;
    cells[row + BLOCKS_STORED] = blocksApplied.BlockStored;
    cells[row + BLOCKS_REMOVED] = blocksApplied.BlockRemoved;
  }

  /**
   * Writes numbers of the thread.
   *
   * @param values - all of them.
   */
  header(values: Omit<BoardHeader, "heartbeatMs">): void {
    const cells = this.#cells;
    const at = this.#header;
    cells[at + HEADER.appliedMessages] = values.appliedMessages;
    cells[at + HEADER.depthLive] = values.depthLive;
    cells[at + HEADER.depthReplay] = values.depthReplay;
    cells[at + HEADER.bytesLive] = values.bytesLive;
    cells[at + HEADER.bytesReplay] = values.bytesReplay;
    cells[at + HEADER.backpressure] = values.backpressure;
    cells[at + HEADER.utilization] = values.utilization;
  }
}

/** The reading side, any thread. */
export class BoardReader {
  readonly #cells: Float64Array;
  readonly #now: () => number;
  /** What happened to the ranks. */
  readonly history: RankHistoryReader;
  /** Events of the ranks that are watched. */
  readonly tail: EventTailReader;

  /**
   * @param memory - from `createBoardMemory`.
   * @param now - the clock that the writers read too.
   */
  constructor(memory: SharedArrayBuffer, now: () => number = sharedClockMs) {
    this.#cells = new Float64Array(memory, 0, BOARD_CELLS);
    this.history = new RankHistoryReader(historyCells(memory));
    this.tail = new EventTailReader(tailCells(memory));
    this.#now = now;
  }

  /** The board's clock: read it once for many ranks and hand it to `trust`. */
  now(): number {
    return this.#now();
  }

  /**
   * A stream's trust and its reason (B4, B5); a few nanoseconds.
   *
   * @param rankSlot - a followed slot.
   * @param nowMs - from `now`.
   * @returns a shared object.
   */
  trust(rankSlot: number, nowMs: number = this.#now()): RankTrust {
    const own = RANK_TRUSTS[this.#cells[rowOf(rankSlot) + TRUST] ?? 0] ?? STALLED;
    const mayBeLowered = own.trust === "exact" || own.trust === "partial";
    return mayBeLowered && this.isStalled(rankSlot, nowMs) ? STALLED : own;
  }

  /**
   * Since when a stream's trust and reason are what they are.
   *
   * @param rankSlot - a followed slot.
   * @param reason - as `trust` said.
   * @param nowMs - from `now`.
   * @returns milliseconds since the Unix epoch; NaN before a worker follows the rank.
   */
  trustSinceMs(rankSlot: number, reason: TrustReason | null, nowMs: number = this.#now()): number {
    const row = rowOf(rankSlot);
    if (reason === STALLED.reason) {
      const worker = (this.#cells[row + WORKER_PLUS_ONE] ?? 0) - 1;
      return epochMs() - this.silentMs(worker, nowMs) + HEARTBEAT_STALE_MS;
    }
    const sinceMs = this.#cells[row + TRUST_SINCE_MS] ?? 0;
    return sinceMs === 0 ? Number.NaN : sinceMs;
  }

  /**
   * Whether the worker that follows a rank has stopped: no sign of life for HEARTBEAT_STALE_MS.
   *
   * @param rankSlot - false for one that no worker follows.
   * @param nowMs - from `now`.
   */
  isStalled(rankSlot: number, nowMs: number = this.#now()): boolean {
    const worker = this.#cells[rowOf(rankSlot) + WORKER_PLUS_ONE] ?? 0;
    return worker !== 0 && this.silentMs(worker - 1, nowMs) > HEARTBEAT_STALE_MS;
  }

  /**
   * How long ago a worker showed a sign of life.
   *
   * @param workerNumber - of a worker that has started.
   * @param nowMs - from `now`.
   * @returns milliseconds.
   */
  silentMs(workerNumber: number, nowMs: number = this.#now()): number {
    return nowMs - (this.#cells[workerNumber * HEADER_CELLS + HEADER.heartbeatMs] ?? 0);
  }

  /**
   * The message that a worker is at, or was at when it ended.
   *
   * @param workerNumber - of a worker.
   * @returns null between two messages.
   */
  messageAt(workerNumber: number): { readonly rankSlot: number; readonly message: MessageIdentity } | null {
    const cell = (i: number): number => this.#cells[workerNumber * HEADER_CELLS + i] ?? 0;
    const rankPlusOne = cell(AT_RANK_PLUS_ONE);
    if (rankPlusOne === 0) return null;
    const message = {
      sequenceNumber: cell(AT_SEQUENCE_NUMBER),
      timestampSeconds: cell(AT_TIMESTAMP),
      bytes: cell(AT_BYTES),
    };
    return { rankSlot: rankPlusOne - 1, message };
  }

  /**
   * The workers that have started and show no sign of life.
   *
   * @returns their numbers; empty when all is well.
   */
  stalledWorkers(): number[] {
    const nowMs = this.#now();
    return Array.from({ length: INGEST_WORKERS_MAX }, (_, i) => i).filter(
      (i) => this.worker(i).heartbeatMs > 0 && this.silentMs(i, nowMs) > HEARTBEAT_STALE_MS,
    );
  }

  /**
   * When a stream's last message arrived.
   *
   * @param rankSlot - a followed slot.
   * @returns milliseconds since the Unix epoch; NaN before the first message.
   */
  lastEventAtMs(rankSlot: number): number {
    const ms = this.#cells[rowOf(rankSlot) + LAST_EVENT_AT_MS] ?? 0;
    return ms === 0 ? Number.NaN : ms;
  }

  /**
   * A stream's status.
   *
   * @param rankSlot - a followed slot.
   * @returns a fresh object.
   */
  status(rankSlot: number): StreamStatus {
    const row = rowOf(rankSlot);
    const cells = this.#cells;
    if (cells[row + TRUST] === 0) return UNKNOWN_STREAM;
    const { trust, reason } = this.trust(rankSlot);
    return {
      state: STREAM_STATES[cells[row + STATE] ?? 0] ?? "connecting",
      trust,
      trustReason: reason,
      trustSinceMs: orNull(this.trustSinceMs(rankSlot, reason)),
      lastExact: this.#lastExact(row),
      connected: cells[row + CONNECTED] === 1,
      workerStalled: this.isStalled(rankSlot),
      lastSequenceNumber: orNull(cells[row + LAST_SEQUENCE_NUMBER]),
      historyFromSequenceNumber: orNull(cells[row + HISTORY_FROM]),
      lastEventAtMs: orNull(cells[row + LAST_EVENT_AT_MS]),
    };
  }

  #lastExact(row: number): ExactTime | null {
    const sinceMs = this.#cells[row + EXACT_SINCE_MS] ?? 0;
    const untilMs = this.#cells[row + EXACT_UNTIL_MS] ?? 0;
    return sinceMs === 0 ? null : { sinceMs, untilMs: untilMs === 0 ? null : untilMs };
  }

  /**
   * A stream's status and counters; microseconds.
   *
   * @param rankSlot - a followed slot.
   * @returns a fresh object.
   */
  report(rankSlot: number): StreamReport {
    const row = rowOf(rankSlot);
    const counters = createSyncCounters();
    COUNTER_PATHS.forEach(([key = "", inner], i) => {
      const value = this.#cells[row + COUNTERS + i] ?? 0;
      const target = counters as unknown as Record<string, number | Record<string, number>>;
      const nested = target[key];
      if (inner === undefined) target[key] = value;
      else if (typeof nested === "object") nested[inner] = value;
    });
    const queueDrops = Object.fromEntries(
      QUEUE_DROP_REASONS.map((reason, i) => [reason, this.#cells[row + QUEUE_DROPS + i] ?? 0]),
    ) as Record<QueueDropReason, number>;
    return { ...this.status(rankSlot), counters, queueDrops };
  }

  /**
   * Events of a stream that were applied; some nanoseconds.
   *
   * @param rankSlot - a followed slot.
   * @returns a fresh object.
   */
  events(rankSlot: number): EventCounts {
    const row = rowOf(rankSlot);
    return {
      stored: this.#cells[row + STORED] ?? 0,
      removed: this.#cells[row + REMOVED] ?? 0,
      cleared: this.#cells[row + CLEARED] ?? 0,
    };
  }

  /**
   * Figures of a stream; a tenth of `report`.
   *
   * @param rankSlot - a followed slot.
   * @returns a fresh object.
   */
  figures(rankSlot: number): StreamFigures {
    const row = rowOf(rankSlot);
    const sum = (cells: readonly number[]): number => {
      let total = 0;
      for (const cell of cells) total += this.#cells[row + cell] ?? 0;
      return total;
    };
    let drops = 0;
    for (const [, cell] of DROP_CELLS) drops += this.#cells[row + cell] ?? 0;
    return {
      sequenceNumber: this.#cells[row + TRUST] === 0 ? null : orNull(this.#cells[row + LAST_SEQUENCE_NUMBER]),
      gaps: sum(GAPS),
      missed: sum(MISSED),
      replays: sum(REPLAYS),
      restarts: sum(RESTARTS),
      faults: sum(FAULTS),
      drops,
    };
  }

  /**
   * Adds a stream's drops to sums by reason.
   *
   * @param rankSlot - a followed slot.
   * @param sums - by position in NOT_APPLIED_REASONS.
   */
  addDrops(rankSlot: number, sums: Float64Array): void {
    const row = rowOf(rankSlot);
    for (const [i, [, cell]] of DROP_CELLS.entries()) {
      const position = DROP_POSITIONS[i] ?? 0;
      sums[position] = (sums[position] ?? 0) + (this.#cells[row + cell] ?? 0);
    }
  }

  /**
   * Numbers of one worker.
   *
   * @param workerNumber - of a worker.
   * @returns a fresh object; zeros before it has started.
   */
  worker(workerNumber: number): BoardHeader {
    const first = workerNumber * HEADER_CELLS;
    return Object.fromEntries(
      Object.entries(HEADER).map(([key, cell]) => [key, this.#cells[first + cell] ?? 0]),
    ) as unknown as BoardHeader;
  }

  /**
   * Numbers of all workers that have started.
   *
   * @returns in the order of their numbers.
   */
  workers(): BoardHeader[] {
    const all = Array.from({ length: INGEST_WORKERS_MAX }, (_, i) => this.worker(i));
    return all.filter(({ heartbeatMs }) => heartbeatMs > 0);
  }

  /**
   * Messages applied by all workers.
   *
   * @returns the sum.
   */
  appliedMessages(): number {
    return this.workers().reduce((sum, { appliedMessages }) => sum + appliedMessages, 0);
  }
}

function historyCells(memory: SharedArrayBuffer): Float64Array {
  const bytes = Float64Array.BYTES_PER_ELEMENT;
  return new Float64Array(memory, BOARD_CELLS * bytes, RANK_HISTORY_BYTES / bytes);
}

function tailCells(memory: SharedArrayBuffer): Float64Array {
  return new Float64Array(memory, BOARD_CELLS * Float64Array.BYTES_PER_ELEMENT + RANK_HISTORY_BYTES);
}

function rowOf(rankSlot: number): number {
  return INGEST_WORKERS_MAX * HEADER_CELLS + rankSlot * ROW_CELLS;
}

function orNull(value: number | undefined): number | null {
  return value === undefined || Number.isNaN(value) ? null : value;
}
