/**
 * Watches the signs of life of the ingest workers and the picker from the main thread. It gives up
 * on a thread that does not come back.
 *
 *     silent > HEARTBEAT_STALE_MS ──▶ told `stalled`   (trust and readiness follow by themselves)
 *     a beat again                ──▶ told `resumed`
 *     silent for the limit        ──▶ `lost`, once: the process ends with EXIT_WORKER_STALLED
 *
 * Why the process and not the worker alone: an ingest worker that is terminated may hold the index's
 * lock. Or it has written half of a change. The others would wait for that lock without end, or read what the
 * half change left. A new process rebuilds everything from its snapshot and the engines' histories.
 *
 * Invariants
 *  W1  Only time during which this watch itself ran counts. After the whole process was stopped
 *      (SIGSTOP, a frozen container) a worker gets the full limit again.
 *
 * Not here: the trust of the ranks (board/stream-board.ts B4), readiness (health/readiness.ts).
 */
import { HEARTBEAT_STALE_MS } from "../board/stream-board.ts";

/** Exit code of a process one of whose threads did not come back. */
export const EXIT_WORKER_STALLED = 3;

const LOOK_MS = 250;
/** Most time that counts between two looks (W1). */
const COUNTED_MS_MAX = 2 * LOOK_MS;

interface Watched {
  heartbeatMs: number;
  /** Time without a beat that counts. */
  silentMs: number;
  isReported: boolean;
}

/** Where the beats are. */
interface Beats {
  /** The clock of the beats. */
  now(): number;
  /** Of all threads that have started, in the order of their numbers. */
  workers(): readonly { readonly heartbeatMs: number }[];
}

/** Who hears. */
interface StallListener {
  /** A thread is given up; called at most once. */
  readonly lost: (worker: number, silentMs: number) => void;
  readonly told: (news: "stalled" | "resumed", worker: number, silentSeconds: number) => void;
}

/** See the header. */
export class StallWatch {
  readonly #board: Beats;
  readonly #limitMs: number;
  readonly #listener: StallListener;
  readonly #watched = new Map<number, Watched>();
  #lookedMs: number;
  #timer: NodeJS.Timeout | null = null;
  #isOver = false;

  /**
   * @param board - with the threads' beats; its clock is this watch's clock.
   * @param limitMs - silence after which a thread is given up.
   * @param listener - hears of it.
   */
  constructor(board: Beats, limitMs: number, listener: StallListener) {
    this.#board = board;
    this.#limitMs = limitMs;
    this.#listener = listener;
    this.#lookedMs = board.now();
  }

  /** Looks from now on, several times a second. */
  start(): void {
    this.#timer = setInterval(() => {
      this.look();
    }, LOOK_MS);
  }

  /** Ends the clock. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Looks once. */
  look(): void {
    const nowMs = this.#board.now();
    const countedMs = Math.min(nowMs - this.#lookedMs, COUNTED_MS_MAX);
    this.#lookedMs = nowMs;
    for (const [number, { heartbeatMs }] of this.#board.workers().entries()) {
      const watched = this.#watched.get(number);
      if (watched === undefined) {
        this.#watched.set(number, { heartbeatMs, silentMs: 0, isReported: false });
      } else if (watched.heartbeatMs === heartbeatMs) {
        watched.silentMs += countedMs;
        this.#silent(number, watched);
      } else {
        if (watched.isReported) this.#say("resumed", number, watched);
        Object.assign(watched, { heartbeatMs, silentMs: 0, isReported: false });
      }
    }
  }

  #silent(number: number, watched: Watched): void {
    if (watched.silentMs > HEARTBEAT_STALE_MS && !watched.isReported) {
      watched.isReported = true;
      this.#say("stalled", number, watched);
    }
    if (watched.silentMs < this.#limitMs || this.#isOver) return;
    this.#isOver = true;
    this.#listener.lost(number, watched.silentMs);
  }

  #say(news: "stalled" | "resumed", number: number, { silentMs }: Watched): void {
    this.#listener.told(news, number, Math.round(silentMs / 100) / 10);
  }
}
