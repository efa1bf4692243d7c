/**
 * Live decoded events of a rank, for those who watch it on the web page.
 *
 *     viewer ─▶ hello ─▶ events, each beat ─▶ gone, or bye
 *
 * Invariants
 *  W1  A viewer gets at most BEAT_EVENTS events a beat, the latest, and the number of the others.
 *  W2  A viewer with more than UNSENT_BYTES_MAX unsent bytes gets nothing, and later the number of the
 *      events that it missed.
 *  W3  At most WATCHES_MAX viewers watch; one more is refused with `too_many_viewers`.
 *  W4  A stream ends when its engine is followed no more, when the daemon stops, and after an hour.
 *  W5  Digits of a hash are sent to callers with admin scope alone.
 *
 * Events are of the ring in shared memory (board/event-tail.ts). Without a viewer nothing is written there.
 */

import { TIERS } from "@kvsync/core";

import { type RankTail, type TailEvent, WATCHES_MAX } from "../board/event-tail.ts";
import type { BoardReader } from "../board/stream-board.ts";
import type { RegisteredEngine, RegisteredRank } from "../engine/engine-directory.ts";
import type { EngineRegistry } from "../engine/engine-registry.ts";
import { BeatViewers } from "./beat-viewers.ts";
import { eventBytes, type Viewer } from "./live-stream.ts";

/** 200 events a second: what a person can still see go by. */
const BEAT_EVENTS = 50;
const UNSENT_BYTES_MAX = 64 * 1024;

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

/** A viewer's ring, and what it may see. */
interface EventsWanted {
  readonly seesHashes: boolean;
  readonly owner: RegisteredEngine;
  readonly tail: RankTail;
}

/** See the head of this file. */
export class EventStreams {
  readonly #sources: EventSources;
  readonly #viewers: BeatViewers<EventsWanted>;

  /** @param sources - board and engines. */
  constructor(sources: EventSources) {
    this.#sources = sources;
    const { now, registry } = sources;
    this.#viewers = new BeatViewers({
      maximum: WATCHES_MAX,
      refusal: `events are watched by ${WATCHES_MAX} viewers already; close one`,
      unsentBytesMax: UNSENT_BYTES_MAX,
      now,
      look: newEvents,
      endOf: ({ owner }) => (registry.engine(owner.engine.id) === owner ? null : "gone"),
      left: ({ tail }) => {
        tail.end();
      },
    });
  }

  /**
   * Refuses a viewer that there is no room for (W3).
   *
   * @throws ViewerError too_many_viewers.
   */
  check(): void {
    this.#viewers.check();
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
    const { board, now } = this.#sources;
    const tail = board.tail.watch(rank.rankSlot);
    if (tail === null) throw new Error("W3: each viewer has a ring");
    const hello = { engine: owner.engine.id, dp_rank: rank.dpRank, now: Math.round(now()) };
    return this.#viewers.add(viewer, { seesHashes, owner, tail }, hello);
  }

  /** Sends what came. */
  beat(): void {
    this.#viewers.beat();
  }

  /** Ends all streams. */
  stop(): void {
    this.#viewers.stop();
  }
}

/** W1 */
function newEvents({ tail, seesHashes }: EventsWanted): Buffer | null {
  const { events, leftOut } = tail.read(BEAT_EVENTS);
  if (events.length === 0 && leftOut === 0) return null;
  return eventBytes("events", {
    events: events.map((event) => sent(event, seesHashes)),
    left_out: leftOut,
  });
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
