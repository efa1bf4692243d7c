/**
 * Selects the messages of a socket that belong to one stream. Several engines may publish through
 * one socket, distinguished by their topics, and several DP ranks, distinguished by
 * `data_parallel_rank` in the batch. Each has its own numbering.
 *
 *     live message ─▶ the entry names a topic and the message has another? ─yes─▶ other_topic
 *     message ─┬─ ranks are known to share the socket ─▶ its rank is ours? ─▶ own │ other_dp_rank │ unnamed_dp_rank
 *              └─ they are not ─▶ continues the numbering? ─yes─▶ own
 *                                   └─no─▶ names another rank than the messages before? ─no─▶ own
 *                                            └─yes─▶ they share it: from now on as above
 *
 * Invariants
 *  W1  When ranks share a socket, a stream gets the messages of its own rank and no others. It
 *      never takes two ranks for a publisher that begins again repeatedly.
 *  W2  A socket of one rank is never filtered, for any rank in its messages: the entry decides the
 *      owner.
 *  W3  While ranks are not known to share the socket, only messages that do not continue the
 *      numbering are examined, and the few after each. A rank that is one message ahead continues
 *      the other rank's numbering every time.
 *  W4  Where a message of another rank may have been let through, the stream begins again. Numbers
 *      begin at 0. So on a socket that was read from 0 on, another rank's first message never
 *      continues.
 *  W5  A stream whose entry names a topic gets live messages of that very topic: a subscription is
 *      a prefix and brings longer topics too. Those are no loss after a message of the stream's own
 *      topic arrived; before, the entry may hold half a topic.
 *
 * Replies to replay requests are not judged by topic: an engine answers with its own messages, some versions without a topic.
 *
 * Sources: AMD-AGI/Infera#121, ai-dynamo/dynamo#7209 (ranks behind one relay).
 */

import { peekDataParallelRank } from "@kvsync/core";

import type { Frames } from "../transport/transport.ts";

/** Where a message came from: each lane has numbers of its own. */
type FilterLane = "live" | "replay";

/** What a message is to the stream. */
export type Verdict = "own" | "other_dp_rank" | "unnamed_dp_rank" | "other_topic";

const SEQUENCE_BYTES = 8;
const TWO_32 = 4_294_967_296;
/** Messages looked into after one that does not continue the numbering (W3). */
const LOOKS_AFTER = 4;

/** The filter of one stream. */
export class StreamFilter {
  readonly #isDeclared: boolean;
  readonly #dpRank: number;
  /** Rank that is let through, once ranks share the socket; null while they do not. */
  #ownRank: number | null;
  /** Rank of the messages let through so far; null before one that names a rank. */
  #seenRank: number | null = null;
  readonly #last: Record<FilterLane, number> = { live: -1, replay: -1 };
  readonly #isFromZero: Record<FilterLane, boolean> = { live: false, replay: false };
  #looksLeft = 0;
  /** UTF-8; empty when every topic is the stream's. */
  readonly #topic: Uint8Array;
  #ownTopicHeard = false;

  /**
   * @param dpRank - of the stream.
   * @param isShared - whether the entry says that ranks share the socket.
   * @param topic - of the entry; empty for all.
   */
  constructor(dpRank: number, isShared: boolean, topic: string) {
    this.#topic = new TextEncoder().encode(topic);
    this.#dpRank = dpRank;
    this.#isDeclared = isShared;
    this.#ownRank = isShared ? dpRank : null;
  }

  /** Whether ranks share the socket though no entry says so. */
  get hasFoundSharing(): boolean {
    return this.#ownRank !== null && !this.#isDeclared;
  }

  /** Whether the entry says that ranks share the socket: then other ranks' messages are nobody's loss. */
  get isDeclared(): boolean {
    return this.#isDeclared;
  }

  /** Whether a message of the entry's very topic came: then longer topics are other engines'. */
  get ownTopicHeard(): boolean {
    return this.#ownTopicHeard;
  }

  /** Rank whose messages are let through; null while all are. */
  get ownRank(): number | null {
    return this.#ownRank;
  }

  /** Another publisher may be at the socket from now on. */
  connected(): void {
    if (!this.#isDeclared) this.#ownRank = null;
    this.#seenRank = null;
    this.#last.live = -1;
    this.#last.replay = -1;
    this.#looksLeft = 0;
  }

  /**
   * Judges one message.
   *
   * @param lane - where it came from.
   * @param frames - as received; what cannot be read is left to the stream.
   * @returns whose it is, and whether messages of another rank were let through before, so that the stream has to begin anew.
   */
  judge(lane: FilterLane, frames: Frames): { readonly verdict: Verdict; readonly mustBegin: boolean } {
    if (lane === "live" && this.#topic.length > 0) {
      if (!isSame(frames[0], this.#topic)) return OTHER_TOPIC;
      this.#ownTopicHeard = true;
    }
    const payload = frames.at(-1);
    const number = numberOf(frames.at(-2));
    if (payload === undefined || payload.byteLength === 0 || number === null) return OWN;
    if (this.#ownRank !== null) return byRank(peekDataParallelRank(payload), this.#ownRank);
    if (!this.#isWorthALook(lane, number)) return OWN;
    const rank = peekDataParallelRank(payload);
    if (rank === null) return OWN;
    const seen = this.#seenRank;
    this.#seenRank = rank;
    if (seen === null || seen === rank) return OWN;
    // Two ranks that are both not the entry's: the one that was there first.
    this.#ownRank = rank === this.#dpRank ? rank : seen;
    return { ...byRank(rank, this.#ownRank), mustBegin: this.#ownRank !== seen || !this.#isFromZero[lane] };
  }

  /** W3 */
  #isWorthALook(lane: FilterLane, number: number): boolean {
    const last = this.#last[lane];
    this.#last[lane] = number;
    if (last < 0) this.#isFromZero[lane] = number === 0;
    if (number !== last + 1 || last < 0) this.#looksLeft = LOOKS_AFTER;
    if (this.#looksLeft === 0) return false;
    this.#looksLeft -= 1;
    return true;
  }
}

const OWN = { verdict: "own", mustBegin: false } as const;
const OTHER = { verdict: "other_dp_rank", mustBegin: false } as const;
const UNNAMED = { verdict: "unnamed_dp_rank", mustBegin: false } as const;

const OTHER_TOPIC = { verdict: "other_topic", mustBegin: false } as const;

/** Of a frame that begins with `topic`, as the subscription's prefix has it. */
function isSame(frame: Uint8Array | undefined, topic: Uint8Array): boolean {
  return frame?.byteLength === topic.byteLength;
}

function byRank(rank: number | null, own: number): typeof OWN | typeof OTHER | typeof UNNAMED {
  if (rank === null) return UNNAMED;
  return rank === own ? OWN : OTHER;
}

function numberOf(frame: Uint8Array | undefined): number | null {
  if (frame?.byteLength !== SEQUENCE_BYTES) return null;
  let high = 0;
  for (let at = 0; at < 4; at += 1) high = high * 256 + (frame[at] ?? 0);
  let low = 0;
  for (let at = 4; at < SEQUENCE_BYTES; at += 1) low = low * 256 + (frame[at] ?? 0);
  return high * TWO_32 + low;
}
