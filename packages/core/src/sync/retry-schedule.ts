/**
 * The patience of a stream with its publisher: attempts that fail, pauses that grow, publishers in
 * doubt and restarts.
 *
 *     failed, failed, failed ─▶ pause 1 s ─▶ … ─▶ pause 8 s ─▶ without history
 *     doubt ─▶ at once, the next one pauseMs later        restart ─▶ at once, the next one after 1, 2, 4 … 30 s
 *
 * No message of the peer brings requests faster than these times (Y6 in worker-sync.ts).
 */
import type { ReplayFailure } from "./sync-report.ts";
import type { SyncLimits } from "./sync-settings.ts";

/** See the head of this file. */
export class RetrySchedule {
  readonly #limits: SyncLimits;
  #failures = 0;
  #pauses = 0;
  #pausedUntilMs = 0;
  /** Earliest time of the next verification out of doubt. */
  #nextDoubtMs = 0;
  /** Earliest time of the next request after a restart, and how long the one after that will have to wait. */
  #nextRestartMs = -Infinity;
  #restartPauseMs = 0;

  constructor(limits: SyncLimits) {
    this.#limits = limits;
  }

  /** When the present pause ends, or the last one did. */
  get pausedUntilMs(): number {
    return this.#pausedUntilMs;
  }

  /** Pauses until then. */
  pauseUntil(untilMs: number): void {
    this.#pausedUntilMs = untilMs;
  }

  /** A new connection, or an attempt that brought the stream up to date: nothing counts that failed before. */
  reset(): void {
    this.#failures = 0;
    this.#pauses = 0;
  }

  /**
   * An attempt failed.
   *
   * @param reason - a refusal is our own lack of room and does not count; the owner starts the next one when there is room.
   * @param hasApplied - whether it brought something.
   * @returns until when to pause; −Infinity to ask again at once, Infinity to go on without history.
   */
  failed(reason: ReplayFailure, hasApplied: boolean, nowMs: number): number {
    // What comes before a violation earns no patience for the next one.
    if (hasApplied && reason !== "violation") this.reset();
    else if (reason !== "refused") this.#failures += 1;
    if (this.#failures < this.#limits.failedAttemptsMax) return -Infinity;
    this.#failures = 0;
    this.#pauses += 1;
    const { pauseMs, pauseMsMax, pausesMax } = this.#limits;
    if (this.#pauses > pausesMax) return Infinity;
    return nowMs + Math.min(pauseMs * 2 ** (this.#pauses - 1), pauseMsMax);
  }

  /** The publisher is in doubt. Returns until when to pause before it is verified; −Infinity for at once. */
  doubted(nowMs: number): number {
    if (nowMs < this.#nextDoubtMs) return this.#nextDoubtMs;
    this.#nextDoubtMs = nowMs + this.#limits.pauseMs;
    return -Infinity;
  }

  /**
   * Another publisher speaks: a publisher with two faces must not cause a storm.
   *
   * @returns until when to pause before its history is asked for; −Infinity for at once.
   */
  restarted(nowMs: number): number {
    const { pauseMs, pauseMsMax } = this.#limits;
    const dueMs = this.#nextRestartMs;
    const isCalm = nowMs >= dueMs + pauseMsMax;
    this.#failures = 0;
    this.#restartPauseMs = isCalm ? pauseMs : Math.min(2 * this.#restartPauseMs, pauseMsMax);
    this.#nextRestartMs = Math.max(nowMs, dueMs) + this.#restartPauseMs;
    return nowMs >= dueMs ? -Infinity : dueMs;
  }
}
