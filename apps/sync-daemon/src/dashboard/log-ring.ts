/**
 * The latest lines of the log, in memory, for the web page.
 *
 *     line of any thread ─▶ written to standard output
 *                      └──▶ ring of LINES_MAX ─▶ GET /api/v1/logs
 *
 * Invariants
 *  R1  The ring has the latest LINES_MAX lines, each with a number that is one more than the last.
 *  R2  A line longer than LINE_CHARACTERS_MAX is kept without its facts, which are null then.
 *
 * Lines are those that the log has. Lines that its level and limits leave out are not here either.
 */

import { LINE_LEVELS, severityOf } from "@kvsync/observability/signals/log-event";

import type { LogLine } from "../log/log-line.ts";

/** Lines that are kept. */
export const LINES_MAX = 1000;
/** Length of a line as it is kept. */
export const LINE_CHARACTERS_MAX = 4096;

/** Severities as log stores know them, the gravest first. */
export const SEVERITIES = ["fatal", "error", "warn", "info", "debug"] as const;

/** A line as it is answered. */
export interface KeptLine {
  readonly n: number;
  readonly time: string;
  readonly level: (typeof SEVERITIES)[number];
  /** The number of its level, from 0 to 5. */
  readonly verbosity: number;
  readonly component: string;
  readonly event: string;
  readonly message: string;
  /** Null when the line was too long (R2). */
  readonly facts: Readonly<Record<string, unknown>> | null;
}

/** Which lines are wanted. */
export interface LineFilter {
  /** Lines after this number. */
  readonly after: number;
  /** The least grave. */
  readonly level: (typeof SEVERITIES)[number];
  readonly event?: string | undefined;
  /** An engine: the fact `pod`. */
  readonly pod?: string | undefined;
  /** The latest of them. */
  readonly limit: number;
}

/** See the head of this file. */
export class LogRing {
  readonly #lines: KeptLine[] = [];
  readonly #now: () => number;
  #count = 0;

  /** @param now - milliseconds since the Unix epoch. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Number of the latest line; 0 before the first. */
  get last(): number {
    return this.#count;
  }

  /** Keeps a line (R1, R2). */
  add({ level, component, event, message, facts, trace }: LogLine): void {
    this.#count += 1;
    const all = { ...facts, ...trace };
    const kept = {
      n: this.#count,
      time: new Date(this.#now()).toISOString(),
      level: severityOf(level),
      verbosity: Math.max(0, LINE_LEVELS[level]),
      component,
      event,
      message: message.slice(0, LINE_CHARACTERS_MAX),
    };
    const isShort = message.length + JSON.stringify(all).length <= LINE_CHARACTERS_MAX;
    this.#lines[(this.#count - 1) % LINES_MAX] = { ...kept, facts: isShort ? all : null };
  }

  /**
   * Lines that a filter takes.
   *
   * @param filter - after which number, how grave, about what.
   * @returns oldest first.
   */
  lines({ after, level, event, pod, limit }: LineFilter): KeptLine[] {
    const most = SEVERITIES.indexOf(level);
    const found: KeptLine[] = [];
    for (let n = this.#count; n > Math.max(after, this.#count - LINES_MAX); n--) {
      const line = this.#lines[(n - 1) % LINES_MAX];
      if (line === undefined || found.length === limit) break;
      if (SEVERITIES.indexOf(line.level) > most) continue;
      if (event !== undefined && line.event !== event) continue;
      if (pod !== undefined && line.facts?.["pod"] !== pod) continue;
      found.push(line);
    }
    return found.reverse();
  }
}
