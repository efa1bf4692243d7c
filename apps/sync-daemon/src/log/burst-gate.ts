/**
 * Lines about single engines, bounded per event. When a fleet restarts, a thousand engines have the
 * same news within a second. A person needs the first of these lines, and their number.
 *
 *     line ─▶ bucket of its event ─▶ LineGate
 *               │ empty
 *               ▼
 *            counted ─▶ `lines_left_out` with the event and the count, at the next tick that is due
 *
 * Invariants
 *  U1  Of one event at most BURST_LINES_MAX + BURST_LINES_PER_SECOND · t lines pass in any t seconds.
 *  U2  Each line that is left out is in exactly one report and in the counter of dropped lines. A
 *      report is due REPORT_FIRST_MS after the first of them, also when no other line follows.
 *  U3  Another event's lines do not take the place of this one's.
 *
 * The levels above 1 pass, within the gate's own limit. Events are codes in our own source, so that
 * their number is bounded by it.
 */

import type { Counter } from "@kvsync/observability/slots";

import { TokenBucket } from "../token-bucket.ts";
import type { LineGate } from "./line-gate.ts";
import { LINE_LEVELS } from "./log-level.ts";
import type { LogLine } from "./log-line.ts";

/** Lines of one event and thread at once. */
export const BURST_LINES_MAX = 20;
/** And those that may follow. */
export const BURST_LINES_PER_SECOND = 2;
/** Time from the first line that is left out to the report: what a restart of a whole fleet says comes together. */
const REPORT_FIRST_MS = 1000;
/** Time between two reports of one event. */
const REPORT_MS = 10_000;

/** What a burst gate writes to. */
export interface BurstDependencies {
  readonly gate: Pick<LineGate, "verbosity" | "isOn" | "write">;
  /** Lines left out. */
  readonly dropped: Counter;
  /** Milliseconds that never go back. */
  readonly now: () => number;
}

interface Burst {
  readonly bucket: TokenBucket;
  /** Since the last report. */
  leftOut: number;
  reportDueMs: number;
}

/** Lets lines of one thread through, event by event. Its owner calls `tick`. */
export class BurstGate {
  readonly #dependencies: BurstDependencies;
  readonly #bursts = new Map<string, Burst>();

  /** @param dependencies - where lines go. */
  constructor(dependencies: BurstDependencies) {
    this.#dependencies = dependencies;
  }

  /** The level as a number, for loops that ask it of every event. */
  get verbosity(): number {
    return this.#dependencies.gate.verbosity;
  }

  /** Writes a line, if it is to be. */
  readonly write = (line: LogLine): void => {
    const { gate, dropped, now } = this.#dependencies;
    if (!gate.isOn(line.level)) return;
    if (LINE_LEVELS[line.level] > LINE_LEVELS.info) {
      gate.write(line);
      return;
    }
    const nowMs = now();
    const burst = this.#burstOf(line.event, nowMs);
    if (burst.bucket.take(nowMs)) {
      gate.write(line);
      return;
    }
    if (burst.leftOut === 0) burst.reportDueMs = Math.max(burst.reportDueMs, nowMs + REPORT_FIRST_MS);
    burst.leftOut += 1;
    dropped.inc();
  };

  /** Reports what was left out, where it is time to. */
  tick(): void {
    const nowMs = this.#dependencies.now();
    for (const [event, burst] of this.#bursts) {
      if (burst.leftOut === 0 || nowMs < burst.reportDueMs) continue;
      const facts = {
        of_event: event,
        lines: burst.leftOut,
        burst_max: BURST_LINES_MAX,
        per_second_max: BURST_LINES_PER_SECOND,
      };
      burst.leftOut = 0;
      burst.reportDueMs = nowMs + REPORT_MS;
      const message =
        "many engines had the same news at once, and some of these lines were left out. /api/v1/kv-sync/health counts the streams";
      this.#dependencies.gate.write({ level: "warn", event: "lines_left_out", message, facts });
    }
  }

  #burstOf(event: string, nowMs: number): Burst {
    const found = this.#bursts.get(event);
    if (found !== undefined) return found;
    const bucket = new TokenBucket(BURST_LINES_PER_SECOND, BURST_LINES_MAX, nowMs);
    const burst = { bucket, leftOut: 0, reportDueMs: Number.NEGATIVE_INFINITY };
    this.#bursts.set(event, burst);
    return burst;
  }
}
