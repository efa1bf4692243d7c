/**
 * One thread's way to the log: lines beyond the level or beyond the budget end here, before they
 * are formatted or sent.
 *
 *     line ─▶ level ─▶ budget ─▶ write (pino, or the main thread)
 *               │        │ spent
 *               ▼        ▼
 *            nothing   counted, and reported in one line a second
 *
 * The budget bounds the cost of the log. At a million events per second, level 3 would be a million
 * lines per second. They would delay lookups, since the main thread writes them. Important lines
 * have a budget of their own, so that details cannot displace them.
 */

import type { Counter } from "@kvsync/observability/slots";

import { TokenBucket } from "../token-bucket.ts";
import { LINE_LEVELS, type LineLevel, type LogLevel } from "./log-level.ts";
import type { LogLine } from "./log-line.ts";

/** Lines per second and thread, of errors to `info` and of details each: about 1 % of the main thread's time at 10 µs a line. */
export const LINES_PER_SECOND = 1000;
const SECOND_MS = 1000;

/** What a gate works with. */
export interface GateDependencies {
  readonly level: LogLevel;
  readonly write: (line: LogLine) => void;
  /** Lines beyond the budget. */
  readonly dropped: Counter;
  /** Milliseconds that never go back. */
  readonly now: () => number;
}

/** Lets lines of one thread through, or not. */
export class LineGate {
  readonly #dependencies: GateDependencies;
  readonly #level: LogLevel;
  readonly #details: TokenBucket;
  readonly #others: TokenBucket;
  /** Lines dropped since the last report. */
  #dropped = 0;
  /** Time of the first of them. */
  #firstDropMs = 0;

  /** @param dependencies - whose level, and where lines go. */
  constructor(dependencies: GateDependencies) {
    this.#dependencies = dependencies;
    this.#level = dependencies.level;
    const nowMs = dependencies.now();
    this.#details = new TokenBucket(LINES_PER_SECOND, LINES_PER_SECOND, nowMs);
    this.#others = new TokenBucket(LINES_PER_SECOND, LINES_PER_SECOND, nowMs);
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

  /** Writes a line, if it is to be. */
  readonly write = (line: LogLine): void => {
    if (!this.#level.isOn(line.level)) return;
    const nowMs = this.#dependencies.now();
    if (this.#dropped > 0) this.#report(nowMs);
    const budget = LINE_LEVELS[line.level] > LINE_LEVELS.info ? this.#details : this.#others;
    if (budget.take(nowMs)) {
      this.#dependencies.write(line);
      return;
    }
    if (this.#dropped === 0) this.#firstDropMs = nowMs;
    this.#dropped += 1;
    this.#dependencies.dropped.inc();
  };

  /** Reports dropped lines once a second has passed since the first of them. */
  #report(nowMs: number): void {
    if (nowMs - this.#firstDropMs < SECOND_MS) return;
    const facts = { lines: this.#dropped, per_second_max: LINES_PER_SECOND };
    this.#dropped = 0;
    this.#dependencies.write({
      level: "warn",
      event: "lines_left_out",
      message: "more lines than the log takes; some were left out",
      facts,
    });
  }
}
