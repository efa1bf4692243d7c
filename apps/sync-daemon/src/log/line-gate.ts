/**
 * One thread's way to the log: lines beyond the level or beyond a limit end here, before they are
 * formatted or sent.
 *
 *     event ─▶ level ─▶ limit of the event ─▶ limit of the thread ─▶ write (pino, or the main thread)
 *                │          │ reached             │ reached
 *                ▼          └──────────┬──────────┘
 *             nothing              counted, and reported in a line of its limit when that is due
 *
 * The limits are observability's LINE_BOUNDS. They bound the cost of the log: at a million events
 * per second, level 3 would be a million lines per second. They would delay lookups, since the main
 * thread writes them. An event that a peer can cause has a limit of its own, so that no peer fills
 * the log. When a fleet restarts, a thousand engines have the same news within a second. A person
 * needs the first of these lines, and their number.
 *
 * Invariants
 *  G1  In any t seconds a thread writes at most burst + perSecond · t lines of each limit. The
 *      limit `peer` is one for each event.
 *  G2  Each line that is on is written, or counted under the limit that it met and in exactly one
 *      report. The report is due REPORT_FIRST_MS after the first such line, also when no line follows.
 *  G3  A fatal line is always written.
 */

import { type EventCode, eventOf } from "@kvsync/observability/kvsync/log-events";
import {
  LINE_BOUNDS,
  LINE_LEVELS,
  type LineBound,
  type LineLevel,
} from "@kvsync/observability/signals/log-event";
import type { Counter } from "@kvsync/observability/slots";

import { TokenBucket } from "../token-bucket.ts";
import type { LogLevel } from "./log-level.ts";
import { type Added, levelOf, lineOf, type LogLine, type WriteEvent } from "./log-line.ts";

/** Time from the first line that is left out to the report: the news of a whole fleet come together. */
const REPORT_FIRST_MS = 1000;
/** Time between two reports of one limit. */
const REPORT_MS = 10_000;

/** What a gate works with. */
export interface GateDependencies {
  /** Name of the thread, in lines of events that every thread writes. */
  readonly thread: string;
  readonly level: LogLevel;
  readonly write: (line: LogLine) => void;
  /** Lines beyond each limit. */
  readonly dropped: Readonly<Record<LineBound, Counter>>;
  /** Milliseconds that never go back. */
  readonly now: () => number;
}

/** A limit in use. */
class Limit {
  readonly bound: LineBound;
  /** The event that it is about; null for all of a thread. */
  readonly ofEvent: EventCode | null;
  readonly bucket: TokenBucket;
  /** Lines since the last report. */
  leftOut = 0;
  reportDueMs = Number.NEGATIVE_INFINITY;

  constructor(bound: LineBound, ofEvent: EventCode | null, nowMs: number) {
    const { perSecond, burst } = LINE_BOUNDS[bound];
    this.bound = bound;
    this.ofEvent = ofEvent;
    this.bucket = new TokenBucket(perSecond, burst, nowMs);
  }
}

/** Lets lines of one thread through, or not. The thread calls `tick`. */
export class LineGate {
  readonly #dependencies: GateDependencies;
  readonly #level: LogLevel;
  readonly #details: Limit;
  readonly #thread: Limit;
  /** Of events that a peer can cause: one for each code that was written. */
  readonly #peers = new Map<EventCode, Limit>();
  /** Limits with lines to report; nearly always empty. */
  readonly #reached = new Set<Limit>();

  /** @param dependencies - whose level, and where lines go. */
  constructor(dependencies: GateDependencies) {
    this.#dependencies = dependencies;
    this.#level = dependencies.level;
    const nowMs = dependencies.now();
    this.#details = new Limit("details", null, nowMs);
    this.#thread = new Limit("thread", null, nowMs);
  }

  /** The level as a number, for loops that ask it of every event: half a nanosecond instead of five. */
  get verbosity(): number {
    return this.#level.current;
  }

  /**
   * Whether lines of a level are written at all. To be asked before making a line that may come often.
   *
   * @param level - of the line.
   */
  isOn(level: LineLevel): boolean {
    return this.#level.isOn(level);
  }

  /** Writes an event, if it is to be written. */
  readonly write: WriteEvent = (code, facts, ...more: readonly unknown[]) => {
    const added = more[0] as Added | undefined;
    const level = levelOf(code, added);
    if (!this.#level.isOn(level)) return;
    const { thread, write, now } = this.#dependencies;
    const nowMs = now();
    const limit = this.#limitReached(code, level, nowMs);
    if (limit === null) write(lineOf(thread, code, facts, added));
    else this.#leaveOut(limit, nowMs);
  };

  /** Reports what was left out, where that is due. */
  tick(): void {
    const { thread, write, now } = this.#dependencies;
    const nowMs = now();
    for (const limit of this.#reached) {
      if (nowMs < limit.reportDueMs) continue;
      const { bound, ofEvent: of_event, leftOut: lines } = limit;
      const { perSecond: per_second_max, burst: burst_max } = LINE_BOUNDS[bound];
      const facts = { bound, of_event, lines, burst_max, per_second_max };
      limit.leftOut = 0;
      limit.reportDueMs = nowMs + REPORT_MS;
      this.#reached.delete(limit);
      write(lineOf(thread, "lines_left_out", facts, undefined));
    }
  }

  /** The limit that a line meets; null when there is room for it. */
  #limitReached(code: EventCode, level: LineLevel, nowMs: number): Limit | null {
    if (level === "fatal") return null;
    if (LINE_LEVELS[level] > LINE_LEVELS.info) return this.#details.bucket.take(nowMs) ? null : this.#details;
    if (eventOf(code).cause === "peer") {
      const own = this.#peers.get(code) ?? new Limit("peer", code, nowMs);
      this.#peers.set(code, own);
      if (!own.bucket.take(nowMs)) return own;
    }
    return this.#thread.bucket.take(nowMs) ? null : this.#thread;
  }

  #leaveOut(limit: Limit, nowMs: number): void {
    if (limit.leftOut === 0) limit.reportDueMs = Math.max(limit.reportDueMs, nowMs + REPORT_FIRST_MS);
    limit.leftOut += 1;
    this.#reached.add(limit);
    this.#dependencies.dropped[limit.bound].inc();
  }
}
