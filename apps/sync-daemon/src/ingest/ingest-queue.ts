/**
 * The bounded queue between sockets and index: two lanes, in each of them a line for every stream.
 *
 *   sockets ──offer──▶ │ live    a ░░░░░░  │ ──take──▶ streams, each in its turn
 *                      │         b ░       │
 *                      │ replay  a ░░      │
 *
 * Invariants
 *  Q1  A lane holds at most its limit of messages and of bytes; further messages are refused with a
 *      reason.
 *  Q2  Notes (a connection came, went, messages were lost, a replay failed) keep their place among
 *      the messages of their stream. They take no room and are never refused: there is at most one
 *      of each kind per change of a connection.
 *  Q3  Lanes take turns, so that neither a burst of live messages nor a long replay starves the
 *      other. A replay unblocks a stream, and live messages held meanwhile fill a bounded buffer in
 *      it.
 *
 *  Q4  The streams of a lane take turns, message by message. A stream that is held back keeps its
 *      place and its messages, and they still count.
 *  Q5  A stream's share of a lane is at most SHARE times the room that is left in it. So a stream
 *      that floods the lane leaves room for the others.
 *
 * Back-pressure is the fuller of the four ratios (messages and bytes, by lane). A level is left only below
 * `RELEASE` of the ratio that entered it, so that it does not flutter.
 */

import { copyFrames } from "@kvsync/core";
import type { LANES } from "@kvsync/observability/kvsync/label-domains";

import type { QueueDropReason } from "../board/drop-reasons.ts";

/** Where a message came from. */
export type Lane = (typeof LANES)[number];

/** Ratio of a limit at which each level begins; the position is the level. */
const LEVEL_RATIOS = [0, 0.5, 0.8, 0.95] as const;
/** Fraction of a level's ratio below which it ends. */
const RELEASE = 0.9;
/** One stream alone gets 8/9 of a lane, two of them 16/17 together. */
const SHARE = 8;
/** Taken items are cut off an array once so many lie at its head, which makes taking O(1) on average. */
const COMPACT_AT = 1024;

/** Most messages and bytes per lane, and bytes per message. */
export interface QueueLimits {
  readonly messages: Readonly<Record<Lane, number>>;
  readonly bytes: Readonly<Record<Lane, number>>;
  readonly messageBytes: number;
}

/** A message waiting. */
interface QueuedMessage<Owner> {
  readonly kind: "message";
  readonly owner: Owner;
  readonly frames: readonly Uint8Array[];
  readonly bytes: number;
  readonly receivedAtMs: number;
  /** The replay attempt it answers; 0 in the live lane. */
  readonly attempt: number;
}

/** Something that happened to a stream between its messages. */
interface QueuedNote<Owner, Note> {
  readonly kind: "note";
  readonly owner: Owner;
  readonly note: Note;
}

/** What `take` returns. */
export type QueueItem<Owner, Note> = QueuedMessage<Owner> | QueuedNote<Owner, Note>;

/** First in first out; O(1) on average. */
class Fifo<Value> {
  #values: (Value | undefined)[] = [];
  #head = 0;

  get isEmpty(): boolean {
    return this.#head >= this.#values.length;
  }

  push(value: Value): void {
    this.#values.push(value);
  }

  shift(): Value | undefined {
    const value = this.#values[this.#head];
    if (value === undefined) return undefined;
    this.#values[this.#head] = undefined;
    this.#head += 1;
    if (this.#head >= COMPACT_AT && this.#head * 2 >= this.#values.length) {
      this.#values = this.#values.slice(this.#head);
      this.#head = 0;
    }
    return value;
  }

  /** Takes a value out wherever it stands. O(length). */
  remove(value: Value): void {
    this.#values = this.#values.slice(this.#head).filter((one) => one !== value);
    this.#head = 0;
  }
}

/** What waits of one stream in one lane. */
interface Line<Owner, Note> {
  readonly items: Fifo<QueueItem<Owner, Note>>;
  messages: number;
  bytes: number;
  /** Whether its owner stands in the lane's ring. */
  isInRing: boolean;
}

interface LaneState<Owner, Note> {
  readonly lines: Map<Owner, Line<Owner, Note>>;
  /** Owners with something to take, the next one first. */
  readonly ring: Fifo<Owner>;
  messages: number;
  bytes: number;
}

/**
 * @typeParam Owner - whose message it is.
 * @typeParam Note - what may be noted between messages.
 */
export class IngestQueue<Owner, Note> {
  readonly #limits: QueueLimits;
  readonly #lanes: Readonly<Record<Lane, LaneState<Owner, Note>>> = {
    live: emptyLane(),
    replay: emptyLane(),
  };
  readonly #heldBack = new Set<Owner>();
  #turn: Lane = "replay";
  #level = 0;

  /** @param limits - of this queue. */
  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  /**
   * Appends a message.
   *
   * @param lane - where to.
   * @param owner - whose it is.
   * @param frames - kept when it is taken in; copied then, when they are lent.
   * @param receivedAtMs - the clock.
   * @param attempt - of the replay; 0 for live.
   * @param areLent - whether the frames are valid during the call only.
   * @returns null when it was taken in, otherwise why not.
   */
  offer(
    lane: Lane,
    owner: Owner,
    frames: readonly Uint8Array[],
    receivedAtMs: number,
    attempt: number,
    areLent = false,
  ): QueueDropReason | null {
    const state = this.#lanes[lane];
    const bytes = bytesOf(frames);
    if (bytes > this.#limits.messageBytes) return "message_too_large";
    if (state.messages >= this.#limits.messages[lane]) return "queue_messages";
    if (state.bytes + bytes > this.#limits.bytes[lane]) return "queue_bytes";
    const line = state.lines.get(owner);
    if (line !== undefined) {
      if (line.messages > SHARE * (this.#limits.messages[lane] - state.messages)) return "queue_messages";
      if (line.bytes > SHARE * (this.#limits.bytes[lane] - state.bytes)) return "queue_bytes";
    }
    const kept = areLent ? copyFrames(frames) : frames;
    const item = { kind: "message", owner, frames: kept, bytes, receivedAtMs, attempt } as const;
    const own = this.#push(state, owner, item);
    own.messages += 1;
    own.bytes += bytes;
    state.messages += 1;
    state.bytes += bytes;
    return null;
  }

  #push(state: LaneState<Owner, Note>, owner: Owner, item: QueueItem<Owner, Note>): Line<Owner, Note> {
    const line = state.lines.get(owner) ?? { items: new Fifo(), messages: 0, bytes: 0, isInRing: false };
    state.lines.set(owner, line);
    line.items.push(item);
    if (!line.isInRing && !this.#heldBack.has(owner)) enterRing(state, owner, line);
    return line;
  }

  /**
   * Appends a note (Q2).
   *
   * @param lane - where to.
   * @param owner - whose it is.
   * @param note - what happened.
   */
  note(lane: Lane, owner: Owner, note: Note): void {
    this.#push(this.#lanes[lane], owner, { kind: "note", owner, note });
  }

  /**
   * Takes the next item, of the lane whose turn it is if it has one.
   *
   * @returns the item and its lane; null when both are empty.
   */
  take(): { readonly lane: Lane; readonly item: QueueItem<Owner, Note> } | null {
    const other: Lane = this.#turn === "live" ? "replay" : "live";
    const lane = isEmpty(this.#lanes[this.#turn]) ? other : this.#turn;
    this.#turn = lane === "live" ? "replay" : "live";
    const state = this.#lanes[lane];
    const owner = state.ring.shift();
    const line = owner === undefined ? undefined : state.lines.get(owner);
    const item = line?.items.shift();
    if (owner === undefined || line === undefined || item === undefined) return null;
    line.isInRing = false;
    if (item.kind === "message") {
      line.messages -= 1;
      line.bytes -= item.bytes;
      state.messages -= 1;
      state.bytes -= item.bytes;
    }
    if (line.items.isEmpty) state.lines.delete(owner);
    else enterRing(state, owner, line);
    return { lane, item };
  }

  /**
   * Gives nothing of a stream until `letGo` (Q4). O(streams that wait).
   *
   * @param owner - whose messages stay.
   */
  holdBack(owner: Owner): void {
    this.#heldBack.add(owner);
    for (const state of Object.values(this.#lanes)) {
      const line = state.lines.get(owner);
      if (line?.isInRing !== true) continue;
      line.isInRing = false;
      state.ring.remove(owner);
    }
  }

  /**
   * Ends `holdBack`: the stream goes to the end of the ring.
   *
   * @param owner - one that is not held back is left as it is.
   */
  letGo(owner: Owner): void {
    if (!this.#heldBack.delete(owner)) return;
    for (const state of Object.values(this.#lanes)) {
      const line = state.lines.get(owner);
      if (line !== undefined && !line.isInRing) enterRing(state, owner, line);
    }
  }

  /** True when nothing can be taken. */
  get isEmpty(): boolean {
    return isEmpty(this.#lanes.live) && isEmpty(this.#lanes.replay);
  }

  /** True when nothing waits, and no stream is held back. */
  get isIdle(): boolean {
    return this.#heldBack.size === 0 && this.isEmpty;
  }

  /**
   * Messages waiting.
   *
   * @param lane - which.
   * @returns their number.
   */
  depth(lane: Lane): number {
    return this.#lanes[lane].messages;
  }

  /**
   * Bytes waiting.
   *
   * @param lane - which.
   * @returns their sum, without the bookkeeping around them.
   */
  bytes(lane: Lane): number {
    return this.#lanes[lane].bytes;
  }

  /**
   * How full a lane is.
   *
   * @param lane - which.
   * @returns 0 … 1, of messages or of bytes, whichever is more.
   */
  fill(lane: Lane): number {
    const { messages, bytes } = this.#lanes[lane];
    return Math.max(messages / this.#limits.messages[lane], bytes / this.#limits.bytes[lane]);
  }

  /**
   * The back-pressure level now.
   *
   * @returns 0 normal, 1 warning, 2 critical, 3 overloaded.
   */
  level(): number {
    const ratio = Math.max(this.fill("live"), this.fill("replay"));
    while (this.#level < LEVEL_RATIOS.length - 1 && ratio >= (LEVEL_RATIOS[this.#level + 1] ?? 1))
      this.#level += 1;
    while (this.#level > 0 && ratio < (LEVEL_RATIOS[this.#level] ?? 0) * RELEASE) this.#level -= 1;
    return this.#level;
  }
}

/**
 * Length of a message.
 *
 * @param frames - of it.
 * @returns bytes of all of them.
 */
export function bytesOf(frames: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const frame of frames) bytes += frame.byteLength;
  return bytes;
}

function emptyLane<Owner, Note>(): LaneState<Owner, Note> {
  return { lines: new Map(), ring: new Fifo(), messages: 0, bytes: 0 };
}

function isEmpty<Owner, Note>(state: LaneState<Owner, Note>): boolean {
  return state.ring.isEmpty;
}

function enterRing<Owner, Note>(state: LaneState<Owner, Note>, owner: Owner, line: Line<Owner, Note>): void {
  line.isInRing = true;
  state.ring.push(owner);
}
