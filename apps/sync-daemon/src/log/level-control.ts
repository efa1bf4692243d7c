/**
 * Changes the log's level while the daemon runs, permanently or for a time. A time limit ends level
 * 4 even when the operator forgets to reset it.
 */

import { z } from "zod";

import { LOG_LEVEL_MAX, type LogLevel } from "./log-level.ts";

/** Longest time for which a level can be borrowed. */
const BORROW_SECONDS_MAX = 86_400;

const LEVEL_EXPECTED = `an integer from 0 to ${LOG_LEVEL_MAX}`;
const SECONDS_EXPECTED = `seconds, a number from 1 to ${BORROW_SECONDS_MAX}`;

/** Body of a change. */
export const logLevelBody = z.strictObject({
  level: z.int(LEVEL_EXPECTED).min(0, LEVEL_EXPECTED).max(LOG_LEVEL_MAX, LEVEL_EXPECTED),
  seconds: z
    .number(SECONDS_EXPECTED)
    .min(1, SECONDS_EXPECTED)
    .max(BORROW_SECONDS_MAX, SECONDS_EXPECTED)
    .optional()
    .describe(
      "After so long the configured level holds again; absent: the change stays until the daemon stops.",
    ),
});

/** Where the level stands. */
export interface LevelState {
  readonly level: number;
  /** The one that the settings ask for, to which a borrowed one goes back. */
  readonly configured_level: number;
  /** ISO time at which it goes back; null when it stays. */
  readonly until: string | null;
}

/** Owns a level's changes. */
export class LevelControl {
  readonly #level: LogLevel;
  readonly #configured: number;
  readonly #now: () => number;
  #timer: NodeJS.Timeout | null = null;
  #untilMs: number | null = null;

  /**
   * @param level - as configured.
   * @param now - milliseconds since the Unix epoch.
   */
  constructor(level: LogLevel, now: () => number) {
    this.#level = level;
    this.#configured = level.current;
    this.#now = now;
  }

  /** Where it stands. */
  state(): LevelState {
    return {
      level: this.#level.current,
      configured_level: this.#configured,
      until: this.#untilMs === null ? null : new Date(this.#untilMs).toISOString(),
    };
  }

  /**
   * Changes the level.
   *
   * @param level - 0 … LOG_LEVEL_MAX.
   * @param seconds - after which it goes back to the configured one; null for never.
   */
  set(level: number, seconds: number | null): void {
    this.stop();
    this.#level.set(level);
    if (seconds === null) return;
    this.#untilMs = this.#now() + seconds * 1000;
    this.#timer = setTimeout(() => {
      this.set(this.#configured, null);
    }, seconds * 1000);
    this.#timer.unref();
  }

  /** Leaves the level as it is, also when it was borrowed. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#untilMs = null;
  }
}
