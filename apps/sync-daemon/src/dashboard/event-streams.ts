/**
 * Live decoded events of a rank, for those who watch it on the web page.
 *
 *     viewer ─▶ hello ─▶ events, each BEAT_MS ─▶ gone, or bye
 *
 * Invariants
 *  W1  A viewer gets at most BEAT_EVENTS events a beat, the latest, and the number of the others.
 *  W2  A viewer with more than UNSENT_BYTES_MAX unsent bytes gets nothing, and later the number of the
 *      events that it missed.
 *  W3  At most WATCHES_MAX viewers watch; one more is refused with `too_many_viewers`.
 *  W4  A stream ends when its engine is followed no more, when the daemon stops, and after VIEWER_MS_MAX.
 *  W5  Digits of a hash are sent to callers with admin scope alone.
 *
 * Events are of the ring in shared memory (board/event-tail.ts). Without a viewer nothing is written there.
 */

import { TIERS } from "@kvsync/core";

import { type RankTail, type TailEvent, WATCHES_MAX } from "../board/event-tail.ts";
import type { BoardReader } from "../board/stream-board.ts";
import type { RegisteredEngine, RegisteredRank } from "../engine/engine-directory.ts";
import type { EngineRegistry } from "../engine/engine-registry.ts";
import { type Viewer, ViewerError } from "./live-stream.ts";

const BEAT_MS = 250;
/** 200 events a second: what a person can still see go by. */
const BEAT_EVENTS = 50;
const KEEP_ALIVE_BEATS = 60;
const UNSENT_BYTES_MAX = 64 * 1024;
/** A token that was withdrawn ends with it. */
const VIEWER_MS_MAX = 3_600_000;

/** An event as it is sent. */
interface SentEvent {
  readonly at: number;
  readonly seq: number | null;
  readonly lag_ms: number | null;
  readonly type: TailEvent["type"];
  readonly blocks: number;
  readonly applied: boolean;
  readonly reason: string | null;
  readonly tier: (typeof TIERS)[number] | null;
  readonly lora: string | null;
  /** First eight digits of its first block's hash (W5). */
  readonly hash?: string | null;
}

/** Whose events, and where they come from. */
export interface EventSources {
  readonly board: Pick<BoardReader, "tail">;
  readonly registry: Pick<EngineRegistry, "engine">;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
}

/** A viewer and the ring that it reads. */
interface Watching {
  readonly viewer: Viewer;
  readonly seesHashes: boolean;
  readonly owner: RegisteredEngine;
  readonly tail: RankTail;
  readonly untilMs: number;
  quietBeats: number;
}

/** See the head of this file. */
export class EventStreams {
  readonly #sources: EventSources;
  readonly #watching = new Set<Watching>();
  #timer: NodeJS.Timeout | null = null;

  /** @param sources - board and engines. */
  constructor(sources: EventSources) {
    this.#sources = sources;
  }

  /**
   * Refuses a viewer that there is no room for (W3).
   *
   * @throws ViewerError too_many_viewers.
   */
  check(): void {
    if (this.#watching.size >= WATCHES_MAX)
      throw new ViewerError(
        { code: "too_many_viewers", maximum: WATCHES_MAX },
        `events are watched by ${WATCHES_MAX} viewers already`,
      );
  }

  /**
   * Writes a rank's events to a viewer from now on.
   *
   * @param viewer - who watches.
   * @param owner - the engine.
   * @param rank - of it.
   * @param seesHashes - whether its caller has admin scope (W5).
   * @returns to be called when the viewer is gone.
   * @throws ViewerError too_many_viewers.
   */
  watch(viewer: Viewer, owner: RegisteredEngine, rank: RegisteredRank, seesHashes: boolean): () => void {
    this.check();
    const tail = this.#sources.board.tail.watch(rank.rankSlot);
    if (tail === null) throw new Error("W3: each viewer has a ring");
    const nowMs = this.#sources.now();
    const watching = { viewer, seesHashes, owner, tail, untilMs: nowMs + VIEWER_MS_MAX, quietBeats: 0 };
    this.#watching.add(watching);
    viewer.write(bytesOf("hello", { engine: owner.engine.id, dp_rank: rank.dpRank, now: Math.round(nowMs) }));
    this.#timer ??= setInterval(() => {
      this.beat();
    }, BEAT_MS).unref();
    return () => {
      this.#leave(watching);
    };
  }

  /** Sends what came. */
  beat(): void {
    const nowMs = this.#sources.now();
    for (const watching of [...this.#watching]) {
      const { viewer, owner, untilMs } = watching;
      if (this.#sources.registry.engine(owner.engine.id) !== owner) this.#dismiss(watching, "gone");
      else if (nowMs > untilMs) this.#dismiss(watching, "bye");
      else if (viewer.writableLength <= UNSENT_BYTES_MAX) this.#send(watching);
    }
  }

  /** Ends all streams. */
  stop(): void {
    for (const watching of [...this.#watching]) this.#dismiss(watching, "bye");
  }

  /** W1 */
  #send(watching: Watching): void {
    const { events, leftOut } = watching.tail.read(BEAT_EVENTS);
    if (events.length > 0 || leftOut > 0) {
      watching.quietBeats = 0;
      watching.viewer.write(
        bytesOf("events", {
          events: events.map((event) => sent(event, watching.seesHashes)),
          left_out: leftOut,
        }),
      );
    } else if (++watching.quietBeats >= KEEP_ALIVE_BEATS) {
      watching.quietBeats = 0;
      watching.viewer.write(Buffer.from(": keep-alive\n\n"));
    }
  }

  #dismiss(watching: Watching, event: "gone" | "bye"): void {
    watching.viewer.write(bytesOf(event, {}));
    watching.viewer.end();
    this.#leave(watching);
  }

  #leave(watching: Watching): void {
    watching.tail.end();
    this.#watching.delete(watching);
    if (this.#watching.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }
}

function sent(
  { atMs, sequenceNumber, lagMs, type, blocks, reason, tier, lora, hashHigh }: TailEvent,
  seesHashes: boolean,
): SentEvent {
  return {
    at: Math.round(atMs),
    seq: sequenceNumber,
    lag_ms: lagMs,
    type,
    blocks,
    applied: reason === null,
    reason,
    tier: tier === null ? null : TIERS[tier],
    lora,
    ...(seesHashes ? { hash: hashHigh === null ? null : digitsOf(hashHigh) } : {}),
  };
}

function digitsOf(word: number): string {
  return (word >>> 0).toString(16).padStart(8, "0");
}

function bytesOf(event: string, data: object): Buffer {
  return Buffer.from(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
}
