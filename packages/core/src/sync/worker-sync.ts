/**
 * One engine stream, followed: frames and clock readings in, index writes and requests for replay out. (Being filled in.)
 */
import type { EvictionReason, IndexWriter } from "../prefix-index/contract.ts";
import type { EventBatchDecoder } from "../wire/event-batch-decoder.ts";
import type { SyncSettings } from "./sync-settings.ts";
import {
  createSyncCounters,
  type ReplayFailure,
  type StreamState,
  type SyncAction,
  type SyncCounters,
  type SyncListener,
  type Trust,
} from "./sync-report.ts";

/** What a stream works with. Index and decoder may serve many streams of one thread. */
export interface SyncDependencies {
  readonly index: IndexWriter;
  /** Decodes into the index's scratch: `new EventBatchDecoder(index.scratch)`. */
  readonly decoder: EventBatchDecoder;
  readonly listener?: SyncListener | undefined;
}

/** Follows one (worker, DP rank). Pure: no clock, no sockets; `nowMs` never decreases from call to call. */
export class WorkerSync {
  readonly counters: SyncCounters = createSyncCounters();

  constructor(settings: SyncSettings, dependencies: SyncDependencies) {
    void settings;
    void dependencies;
  }

  /** What the stream is doing. */
  get state(): StreamState {
    throw new Error("not yet");
  }

  /** How far the index can be trusted about this rank, as of the last applied message. */
  get trust(): Trust {
    throw new Error("not yet");
  }

  /** Number of the last message applied to the index; null before the first. */
  get lastSequenceNumber(): number | null {
    throw new Error("not yet");
  }

  /** First number from which on nothing is missing from the index (0: all of it); null before the first message. */
  get historyFromSequenceNumber(): number | null {
    throw new Error("not yet");
  }

  /** When the last live message arrived, on the owner's clock; null before the first. */
  get lastEventAtMs(): number | null {
    throw new Error("not yet");
  }

  /** The engine's own wall clock in the last applied batch, Unix seconds; null before the first. */
  get lastBatchTimestampSeconds(): number | null {
    throw new Error("not yet");
  }

  /** When `tick` has something to do next; Infinity when nothing is planned. */
  get nextTickMs(): number {
    throw new Error("not yet");
  }

  /** The SUB socket is connected (again). */
  connected(nowMs: number): void {
    void nowMs;
  }

  /** The SUB socket lost its connection. */
  disconnected(nowMs: number): void {
    void nowMs;
  }

  /**
   * A live message, in the order of arrival.
   *
   * @param frames - topic, sequence number, payload; the stream keeps them while it holds the message.
   */
  liveMessage(frames: readonly Uint8Array[], nowMs: number): void {
    void frames;
    void nowMs;
  }

  /**
   * One answer to a request for replay, as the DEALER got it.
   *
   * @returns whether more of this attempt is wanted; false after its END, and for attempts that were given up.
   */
  replayMessage(attempt: number, frames: readonly Uint8Array[], nowMs: number): boolean {
    void attempt;
    void frames;
    void nowMs;
    return false;
  }

  /** The transport gave an attempt up: nothing heard for its timeout, no connection… */
  replayFailed(attempt: number, reason: ReplayFailure, nowMs: number): void {
    void attempt;
    void reason;
    void nowMs;
  }

  /** The owner's queue had to drop live messages of this stream. */
  messagesLost(nowMs: number): void {
    void nowMs;
  }

  /** The index forgot something of this rank (an EvictionListener named it). */
  indexEvicted(reason: EvictionReason): void {
    void reason;
  }

  /** Does what is due: call it at `nextTickMs` or a little later. */
  tick(nowMs: number): void {
    void nowMs;
  }

  /** Forgets the rank and asks for its whole history again. For operators. */
  resync(nowMs: number): void {
    void nowMs;
  }

  /** Forgets the rank, for good: the engine was taken off the fleet. The stream must not be used afterwards. */
  close(): void {
    return;
  }

  /** The next thing to do, or null. Poll it after every call. */
  takeAction(): SyncAction | null {
    return null;
  }
}
