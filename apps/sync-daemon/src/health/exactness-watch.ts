/**
 * Logs for the person on call that a stream is no longer exact, and that it is exact again. Each has
 * one line, for any reason and any worker.
 *
 *     board, LOOK_MS ─┬─▶ was exact since the last line, now not ─▶ `stream_not_exact`   (reason, how long it had been exact)
 *                     └─▶ reported as not exact, now exact       ─▶ `stream_exact_again` (how long it was not)
 *
 * Invariants
 *  K1  A stream that was never exact in this process has no line: it has lost nothing.
 *  K2  The two lines of a stream alternate, the first one is `stream_not_exact`.
 *  K3  A stream that keeps losing has one such line in REPORT_AGAIN_MS, with the number of losses since
 *      the last one. If it is not exact at the end of that time, it has one then.
 *  K4  The state of a stream ends with its engine.
 *
 * It looks at the board and not at the news of streams. So a worker that has stopped counts, and a
 * stream that moves between workers is one stream. A loss that begins and ends between two looks is
 * counted in the next line and has none of its own; `trust_changed` has it. LineGate bounds the
 * lines of a whole fleet.
 *
 * Both lines are warnings, so that a filter which shows the beginning shows the end too.
 */

import type { BoardReader, StreamStatus } from "../board/stream-board.ts";
import type { EngineRegistry } from "../engine/engine-registry.ts";
import type { LineGate } from "../log/line-gate.ts";

/** Time between two looks. A look takes about a microsecond per stream. */
const LOOK_MS = 250;
/** Least time between two lines that say that one stream is not exact. */
export const REPORT_AGAIN_MS = 30_000;

/** What it looks at, and where it reports. */
export interface ExactnessSources {
  readonly registry: Pick<EngineRegistry, "engines">;
  readonly board: Pick<BoardReader, "status">;
  readonly log: Pick<LineGate, "write" | "tick">;
  /** Milliseconds since the Unix epoch, as on the board. */
  readonly now: () => number;
}

/** Names of a stream in its lines. */
interface Names {
  readonly pod: string;
  readonly model: string;
  readonly dp_rank: number;
}

/** One stream, as of the last look. */
interface Watched {
  /** Begin of the time that it was exact the last time; null before the first (K1). */
  exactSinceMs: number | null;
  /** Whether the end of that time was counted as a loss. */
  isLost: boolean;
  lostMs: number;
  /** Losses since the last line about one. */
  losses: number;
  /** Whether the last line said that it is not exact (K2). */
  isReported: boolean;
  reportedMs: number;
}

/** Watches all streams. */
export class ExactnessWatch {
  readonly #sources: ExactnessSources;
  #streams = new Map<string, Watched>();
  #timer: NodeJS.Timeout | null = null;

  /** @param sources - engines, their status, and the log. */
  constructor(sources: ExactnessSources) {
    this.#sources = sources;
  }

  /** Looks from now on. */
  start(): void {
    this.#timer = setInterval(() => {
      this.look();
    }, LOOK_MS);
    this.#timer.unref();
  }

  /** Ends the clock. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Looks once. */
  look(): void {
    const { registry, board, log, now } = this.#sources;
    const nowMs = now();
    const streams = new Map<string, Watched>();
    for (const { engine, ranks } of registry.engines()) {
      for (const { dpRank, rankSlot } of ranks) {
        const key = `${engine.id} ${dpRank}`;
        const watched = this.#streams.get(key) ?? neverExact();
        streams.set(key, watched);
        const names = { pod: engine.id, model: engine.model, dp_rank: dpRank };
        this.#judge(watched, board.status(rankSlot), names, nowMs);
      }
    }
    this.#streams = streams;
    log.tick();
  }

  #judge(watched: Watched, status: StreamStatus, names: Names, nowMs: number): void {
    const { trust, trustSinceMs, lastExact } = status;
    if (lastExact === null) return;
    if (lastExact.sinceMs !== watched.exactSinceMs) {
      // The end of the time before lies between the looks, and was not seen.
      if (watched.exactSinceMs !== null && !watched.isLost) watched.losses += 1;
      watched.exactSinceMs = lastExact.sinceMs;
      watched.isLost = false;
    }
    if (trust === "exact") {
      if (watched.isReported) this.#reportExact(watched, trustSinceMs ?? nowMs, names);
      watched.isLost = false;
      return;
    }
    if (!watched.isLost) {
      watched.isLost = true;
      watched.losses += 1;
      // A worker that has stopped has not ended it on the board.
      watched.lostMs = lastExact.untilMs ?? trustSinceMs ?? nowMs;
    }
    if (!watched.isReported && nowMs - watched.reportedMs >= REPORT_AGAIN_MS)
      this.#reportLost(watched, status, names, nowMs);
  }

  #reportLost(watched: Watched, status: StreamStatus, names: Names, nowMs: number): void {
    const { trust, trustReason: reason, state, connected } = status;
    const exact_seconds = secondsBetween(watched.exactSinceMs ?? watched.lostMs, watched.lostMs);
    const facts = { ...names, trust, reason, state, connected, exact_seconds, losses: watched.losses };
    this.#sources.log.write("stream_not_exact", facts);
    watched.isReported = true;
    watched.reportedMs = nowMs;
    watched.losses = 0;
  }

  #reportExact(watched: Watched, sinceMs: number, names: Names): void {
    const not_exact_seconds = secondsBetween(watched.lostMs, sinceMs);
    this.#sources.log.write("stream_exact_again", { ...names, trust: "exact", not_exact_seconds });
    watched.isReported = false;
  }
}

function neverExact(): Watched {
  return {
    exactSinceMs: null,
    isLost: false,
    lostMs: 0,
    losses: 0,
    isReported: false,
    reportedMs: Number.NEGATIVE_INFINITY,
  };
}

function secondsBetween(fromMs: number, toMs: number): number {
  return Math.max(0, Math.round((toMs - fromMs) / 100) / 10);
}
