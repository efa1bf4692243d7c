/**
 * The inside of an ingest thread: sockets, bounded queue, streams, one clock.
 *
 *   Dialer ─▶ EngineConnection ─┐                                    ┌─▶ WorkerSync ──▶ index (shared memory)
 *                                ├─▶ Stream ─▶ Intake (queue) ─slice──┤        │ actions
 *              ReplayRequests   ─┘                                    └─▶ board, metrics
 *                    ▲─────────────────────────────────────────────────────────┘
 *
 * Invariants
 *  G1  A stream gets its live messages and the news of its connection in the order in which they happened. All pass
 *      through one lane. So do replayed messages and the failure of their request.
 *  G2  Nothing runs longer than a slice, so that sockets, ticks and control get their turn under any load.
 *      A message that takes longer than a turn (work-turn.ts) is applied in parts, one part a slice. Its stream is held
 *      back in the queue meanwhile, and the others continue.
 *  G3  A refused message is counted, and its stream is notified behind the messages that got in: it asks the engine again.
 *  G4  After `forget` has been answered nothing of the rank is in the index and nothing of it is in flight.
 *  G5  A lent live message is applied where it was read, if it is short, its stream is live, and no message waits. Such messages of one turn of the event loop and the slice after it together take the time of one slice
 *      under back-pressure. Later messages wait in the queue.
 *  G6  Blocks may wait for their stream: those of a snapshot, and those of a rank that another worker did not take. A
 *      stream that continues with them has the losses to limits that they had meanwhile.
 *
 * The clock is milliseconds since the Unix epoch that never go back (clock.ts), so that times on the
 * board can be compared across threads.
 *
 * Not here: news of sockets (stream.ts), the way into the queue (intake.ts), and the order of dials
 * (dialer.ts). The meaning of messages is in core, the time of the next connection in
 * EngineConnection.
 */

import {
  EventBatchDecoder,
  type EvictionReason,
  HoldBudget,
  type IndexWriter,
  type PrefixIndex,
  type StreamPosition,
  type SyncLimits,
} from "@kvsync/core";
import type { MetricSlots } from "@kvsync/observability/slots";

import type { BoardWriter } from "../board/stream-board.ts";
import type { FollowedRank, SnapshotStream } from "../engine/followed-rank.ts";
import type { LineGate } from "../log/line-gate.ts";
import type { ThreadSpans } from "../telemetry/thread-spans.ts";
import type { EngineTransports } from "../transport/engine-transports.ts";
import type { Frames } from "../transport/transport.ts";
import { Dialer } from "./dialer.ts";
import { IngestGauges } from "./ingest-gauges.ts";
import { bytesOf, type Lane, type QueueItem } from "./ingest-queue.ts";
import { Intake, type Note } from "./intake.ts";
import { MessageJournal } from "./message-journal.ts";
import { ReplayRequests } from "./replay-requests.ts";
import { Stream, type StreamDependencies } from "./stream.ts";
import { spanFactsOf } from "./stream-watch.ts";
import type { IngestSettings } from "./thread-messages.ts";
import { WorkTurn } from "./work-turn.ts";

/** Time of one slice at rest: short against a tick, long against reading the clock. */
const SLICE_MS = 4;
/**
 * Time of one slice under back-pressure, when emptying the queue matters more than latency of ticks, and of one that began where
 * messages are read: a turn of the event loop reads all sockets, and what is not applied then has to be copied.
 */
const SLICE_MS_PRESSED = 12;
/** Longest time between two signs of life of a thread that has nothing to do. */
const BEAT_MS_MAX = 250;
/** Longest stretch of work on one message; half of a slice at rest. */
const TURN_MS = 2;
/** Longest message that is applied where it was read: 40 times a usual one. It cannot take long, whatever its events are. */
const APPLIED_NOW_BYTES_MAX = 8192;
/** Items between two looks at the clock. */
const ITEMS_PER_CLOCK = 4;
/** Fill of the replay lane up to which further replays are begun. */
const REPLAY_FILL_MAX = 0.5;

/** What an ingest works with. */
export interface IngestDependencies {
  readonly transports: Pick<EngineTransports, "of" | "close">;
  readonly index: IndexWriter & Pick<PrefixIndex, "passTime">;
  readonly board: BoardWriter;
  readonly metrics: MetricSlots;
  readonly log: LineGate;
  /** Null when tracing is off. */
  readonly spans: ThreadSpans | null;
  /** Takes the unknown kinds of KV-cache groups of a rank. */
  readonly unknownKind: (rankSlot: number, kind: string) => void;
  /** Milliseconds since the epoch, never going back. */
  readonly now: () => number;
  /** Jitter, 0 … 1. */
  readonly random: () => number;
  /** Replaces single limits of core's state machine, for tests. */
  readonly syncLimits?: Partial<SyncLimits> | undefined;
}

/** Follows ranks: everything that an ingest thread does, except being one. */
export class Ingest {
  readonly #settings: IngestSettings;
  readonly #dependencies: IngestDependencies;
  readonly #intake: Intake<Stream>;
  readonly #replays: ReplayRequests;
  readonly #dialer: Dialer;
  readonly #streams = new Map<number, Stream>();
  /** By rank slot without a stream, the limits that took blocks of it (G6). */
  readonly #lostBefore = new Map<number, Set<EvictionReason>>();
  readonly #turn: WorkTurn;
  /** Streams with a message that is applied in part, the next one first. */
  readonly #unfinished = new Set<Stream>();
  readonly #gauges: IngestGauges;
  readonly #shared: StreamDependencies;
  /** Null after a clean stop. */
  readonly #journal: MessageJournal | null;
  readonly #appliedNowBytesMax: number;
  #ticker: ReturnType<typeof setInterval> | null = null;
  #beater: ReturnType<typeof setInterval> | null = null;
  #sliceScheduled = false;
  /** When the slice at hand is over; null before its first message. */
  #sliceEndMs: number | null = null;
  #appliedMessages = 0;
  #wallClockSeconds = Date.now() / 1000;
  /** Whose live message was applied last, until its latency is noted, and when it had been received. */
  #timed: Stream | null = null;
  #timedFromMs = 0;

  /**
   * @param settings - of this thread.
   * @param dependencies - network, index, clock, and where things are told.
   */
  constructor(settings: IngestSettings, dependencies: IngestDependencies) {
    const { index, metrics, now } = dependencies;
    this.#settings = settings;
    this.#dependencies = dependencies;
    this.#gauges = new IngestGauges(settings, metrics);
    this.#turn = new WorkTurn(TURN_MS, now);
    this.#appliedNowBytesMax = Math.min(APPLIED_NOW_BYTES_MAX, settings.queue.messageBytes);
    this.#dialer = new Dialer(settings.dials, now());
    this.#intake = new Intake(settings.queue, {
      gauges: this.#gauges,
      log: dependencies.log,
      now,
      wake: () => {
        this.#schedule();
      },
      applyNow: (stream, frames) => this.#applyNow(stream, frames),
    });
    this.#replays = new ReplayRequests(
      {
        running: settings.replaysMax,
        patience: { firstMs: settings.replayTimeoutMs, nextMs: settings.replayStallMs },
      },
      () => this.#intake.queue.fill("replay") < REPLAY_FILL_MAX,
      now,
    );
    const { journal, workerNumber } = settings;
    this.#journal =
      journal === null ? null : new MessageJournal(journal, workerNumber, dependencies.log.write);
    this.#shared = {
      ...dependencies,
      journal: this.#journal,
      settings,
      slots: metrics,
      intake: this.#intake,
      turn: this.#turn,
      decoder: new EventBatchDecoder(index.scratch, { payloadBytesMax: settings.queue.messageBytes }),
      holdBudget: new HoldBudget(settings.holdBytesMax),
      loggedFields: new Set(),
      wallClockSeconds: () => this.#wallClockSeconds,
      syncLimits: dependencies.syncLimits,
    };
  }

  /** Starts the clock. */
  start(): void {
    this.#ticker = setInterval(() => {
      this.#tick();
    }, this.#settings.tickMs);
    this.#beater = setInterval(() => {
      this.#dependencies.board.beat();
    }, BEAT_MS_MAX);
    this.#tick();
  }

  /** Closes everything; the index keeps what it has. */
  stop(): void {
    if (this.#ticker !== null) clearInterval(this.#ticker);
    this.#ticker = null;
    if (this.#beater !== null) clearInterval(this.#beater);
    this.#beater = null;
    for (const stream of this.#streams.values()) {
      stream.connection.close();
      this.#replays.abandonAll(stream);
    }
    this.#dependencies.transports.close();
    this.#journal?.close();
  }

  /**
   * Begins to follow a rank.
   *
   * @param rank - its slot is free.
   */
  follow(rank: FollowedRank): void {
    const stream = new Stream(rank, this.#shared);
    this.#streams.set(rank.rankSlot, stream);
    for (const reason of this.#lostBefore.get(rank.rankSlot) ?? []) stream.sync.indexEvicted(reason);
    this.#lostBefore.delete(rank.rankSlot);
    this.#dialer.add(stream.connection);
    this.#dependencies.log.write("rank_followed", stream.names);
    this.#after(stream);
    this.#dialer.dialDue(this.#dependencies.now());
  }

  /**
   * Stops following a rank and clears it from the index (G4).
   *
   * @param rankSlot - a followed one.
   */
  forget(rankSlot: number): void {
    const stream = this.#streams.get(rankSlot);
    if (stream === undefined) {
      // Of a snapshot, before its engine came, or of a rank that is another worker's now.
      this.#lostBefore.delete(rankSlot);
      this.#dependencies.index.clearRank(rankSlot);
      return;
    }
    this.#unfinished.delete(stream);
    this.#intake.queue.letGo(stream);
    this.#close(stream);
    stream.sync.close();
    stream.metrics.release();
    this.#dependencies.board.clear(rankSlot);
    this.#dependencies.log.write("rank_forgotten", stream.names);
  }

  /** Hears and dials no more. Its metrics are to be released behind this: another series may get their places. */
  #close(stream: Stream): void {
    if (this.#timed === stream) this.#noteLatency(this.#dependencies.now());
    this.#streams.delete(stream.rank.rankSlot);
    this.#intake.dirty.delete(stream);
    this.#dialer.remove(stream.connection);
    stream.connection.close();
    this.#replays.abandonAll(stream);
    stream.closed = true;
  }

  /**
   * Dials a rank without waiting, within the limit on dials, if it is not connected.
   *
   * @param rankSlot - one that is not followed is passed over.
   */
  redial(rankSlot: number): void {
    this.#streams.get(rankSlot)?.connection.redial();
    this.#dialer.dialDue(this.#dependencies.now());
  }

  /**
   * Stops following a rank and leaves its blocks, so that another worker goes on.
   *
   * @param rankSlot - a followed one.
   * @returns where it stands; null when it cannot be gone on from now, and then it is followed as before.
   */
  release(rankSlot: number): StreamPosition | null {
    const stream = this.#streams.get(rankSlot);
    const position = stream?.sync.handOver(this.#dependencies.now()) ?? null;
    if (stream === undefined || position === null) return null;
    this.#close(stream);
    this.#dependencies.board.position(rankSlot, stream.sync, false);
    stream.metrics.release();
    return position;
  }

  /**
   * Where every stream stands, for a snapshot.
   *
   * @returns those that a snapshot can go on from; belongs to the caller.
   */
  positions(): SnapshotStream[] {
    const positions: SnapshotStream[] = [];
    const nowMs = this.#dependencies.now();
    for (const { rank, sync } of this.#streams.values()) {
      const position = sync.position(nowMs);
      if (position === null) continue;
      const { rankSlot, workerId, model, dpRank, endpoint, topic, reportMode } = rank;
      positions.push({ rankSlot, workerId, model, dpRank, endpoint, topic, reportMode, position });
    }
    return positions;
  }

  /**
   * The index forgot something of these ranks because of its own limits.
   *
   * @param reason - which limit.
   * @param rankSlots - whose blocks.
   */
  evicted(reason: EvictionReason, rankSlots: readonly number[]): void {
    for (const slot of rankSlots) {
      const stream = this.#streams.get(slot);
      if (stream === undefined) {
        this.#lostBefore.set(slot, (this.#lostBefore.get(slot) ?? new Set()).add(reason));
        continue;
      }
      stream.sync.indexEvicted(reason);
      // Another stream's message may have done it.
      this.#dependencies.board.position(slot, stream.sync, stream.connection.connected);
      this.#intake.changed(stream);
    }
  }

  #schedule(): void {
    if (this.#sliceScheduled) return;
    this.#sliceScheduled = true;
    setImmediate(() => {
      this.#slice();
    });
  }

  /** The first work of a slice begins. Returns when the slice has to end. */
  #beginSlice(nowMs: number, sliceMs: number): number {
    const endMs = nowMs + sliceMs;
    this.#sliceEndMs = endMs;
    // Good enough for how old a message is: read once a slice.
    this.#wallClockSeconds = Date.now() / 1000;
    this.#dependencies.board.beat();
    return endMs;
  }

  /** G5 */
  #applyNow(stream: Stream, frames: Frames): boolean {
    if (stream.sync.state !== "live" || bytesOf(frames) > this.#appliedNowBytesMax) return false;
    const nowMs = this.#dependencies.now();
    if (nowMs >= (this.#sliceEndMs ?? this.#beginSlice(nowMs, SLICE_MS_PRESSED))) return false;
    this.#schedule();
    this.#noteLatency(nowMs);
    this.#turn.beginWhole();
    this.#applyMessage(stream, "live", frames, 0, nowMs, nowMs);
    this.#after(stream);
    return true;
  }

  #slice(): void {
    this.#sliceScheduled = false;
    const { now } = this.#dependencies;
    const sliceMs = this.#intake.level === 0 ? SLICE_MS : SLICE_MS_PRESSED;
    const deadline = this.#sliceEndMs ?? this.#beginSlice(now(), sliceMs);
    do {
      for (let i = 0; i < ITEMS_PER_CLOCK; i++) {
        const taken = this.#intake.queue.take();
        if (taken === null) break;
        this.#applyItem(taken.lane, taken.item);
      }
    } while (!this.#intake.queue.isEmpty && now() < deadline);
    this.#noteLatency(now());
    for (const stream of this.#unfinished) {
      this.#continue(stream);
      break;
    }
    this.#replays.startWaiting();
    this.#tell();
    this.#sliceEndMs = null;
    if (!this.#intake.queue.isEmpty || this.#unfinished.size > 0) this.#schedule();
  }

  /** One more turn for a message that is applied in part (G2). */
  #continue(stream: Stream): void {
    const nowMs = this.#dependencies.now();
    this.#dependencies.board.beat();
    this.#unfinished.delete(stream);
    this.#turn.begin(nowMs);
    stream.atHand.show();
    if (stream.sync.continueApplying(nowMs)) this.#intake.queue.letGo(stream);
    this.#after(stream);
  }

  #applyItem(lane: Lane, item: QueueItem<Stream, Note>): void {
    const stream = item.owner;
    this.#dependencies.board.beat();
    if (stream.closed) return;
    const nowMs = this.#dependencies.now();
    this.#noteLatency(nowMs);
    this.#turn.begin(nowMs);
    if (item.kind === "note") this.#applyNote(stream, item.note, nowMs);
    else this.#applyMessage(stream, lane, item.frames, item.attempt, item.receivedAtMs, nowMs);
    this.#after(stream);
  }

  #applyMessage(
    stream: Stream,
    lane: Lane,
    frames: Frames,
    attempt: number,
    receivedAtMs: number,
    nowMs: number,
  ): void {
    stream.metrics.taken(lane);
    const waitedMs = nowMs - receivedAtMs;
    this.#gauges.wait(lane, waitedMs / 1000);
    if (this.#dependencies.log.isOn("detail")) this.#tellTaken(stream, lane, frames, waitedMs);
    const isTraced = this.#dependencies.spans?.isNext() === true;
    const eventsBefore = isTraced ? stream.eventsApplied : 0;
    if (lane === "live") {
      stream.sync.liveMessage(frames, nowMs);
      this.#timed = stream;
      this.#timedFromMs = receivedAtMs;
    } else if (!stream.sync.replayMessage(attempt, frames, nowMs)) {
      this.#replays.abandon(stream, attempt);
    }
    if (isTraced) this.#traceApplied(stream, { lane, waitedMs, startMs: nowMs, eventsBefore });
    this.#appliedMessages += 1;
    this.#gauges.applied();
  }

  #traceApplied(
    stream: Stream,
    item: {
      readonly lane: Lane;
      readonly waitedMs: number;
      readonly startMs: number;
      readonly eventsBefore: number;
    },
  ): void {
    const { lane, waitedMs, startMs, eventsBefore } = item;
    const facts = {
      ...spanFactsOf(stream.names),
      "kvsync.lane": lane,
      "kvsync.queue_wait_seconds": waitedMs / 1000,
      "kvsync.sequence_number": stream.sync.lastSequenceNumber ?? -1,
      "kvsync.events": stream.eventsApplied - eventsBefore,
    };
    this.#dependencies.spans?.finished({
      name: "ingest.apply",
      startMs,
      endMs: this.#dependencies.now(),
      facts,
      error: null,
    });
  }

  #tellTaken({ names }: Stream, lane: Lane, frames: Frames, waitedMs: number): void {
    const facts = { ...names, lane, frames: frames.length, bytes: bytesOf(frames), waited_ms: waitedMs };
    this.#dependencies.log.write("message_taken", facts);
  }

  /** The live message before this moment was dealt with by now: one reading of the clock serves both. */
  #noteLatency(nowMs: number): void {
    this.#timed?.metrics.applied((nowMs - this.#timedFromMs) / 1000);
    this.#timed = null;
  }

  #applyNote(stream: Stream, note: Note, nowMs: number): void {
    switch (note.kind) {
      case "connected":
        stream.sync.connected(nowMs);
        stream.connectionHeard();
        break;
      case "disconnected":
        stream.sync.disconnected(nowMs);
        break;
      case "lost":
        stream.lossNoted = false;
        stream.sync.messagesLost(nowMs);
        break;
      case "mixed":
        stream.sync.resync(nowMs);
        break;
      case "replay_failed":
        stream.sync.replayFailed(note.attempt, note.failure, nowMs);
        break;
    }
  }

  /** Does what the stream asks for, and shows where it stands. */
  #after(stream: Stream): void {
    this.#dependencies.board.at(null);
    for (let action = stream.sync.takeAction(); action !== null; action = stream.sync.takeAction()) {
      if (action.kind === "abandon_replay") this.#replays.abandon(stream, action.attempt);
      else {
        stream.watch.replayRequested(action.from);
        this.#replays.request(stream, action.attempt, action.from);
      }
    }
    if (stream.sync.isApplying) {
      this.#unfinished.add(stream);
      this.#intake.queue.holdBack(stream);
      this.#schedule();
    }
    this.#dependencies.board.position(stream.rank.rankSlot, stream.sync, stream.connection.connected);
    this.#intake.dirty.add(stream);
  }

  #tick(): void {
    const nowMs = this.#dependencies.now();
    this.#dialer.dialDue(nowMs);
    this.#dependencies.index.passTime(nowMs);
    for (const stream of this.#streams.values()) {
      if (stream.sync.nextTickMs > nowMs) continue;
      this.#turn.begin(this.#dependencies.now());
      stream.sync.tick(nowMs);
      this.#after(stream);
    }
    this.#journal?.tick(nowMs);
    this.#replays.startWaiting();
    this.#gauges.ticked(nowMs);
    this.#gauges.utilization(nowMs);
    this.#dependencies.log.tick();
    this.#tell();
  }

  /** Brings board and gauges up to date. */
  #tell(): void {
    const { board } = this.#dependencies;
    this.#journal?.rest();
    for (const stream of this.#intake.dirty) stream.showCounters(board);
    this.#intake.dirty.clear();
    this.#intake.noteLevel();
    const { queue, level: backpressure } = this.#intake;
    this.#gauges.queue(queue);
    board.header({
      appliedMessages: this.#appliedMessages,
      depthLive: queue.depth("live"),
      depthReplay: queue.depth("replay"),
      bytesLive: queue.bytes("live"),
      bytesReplay: queue.bytes("replay"),
      backpressure,
      utilization: this.#gauges.share,
    });
    board.beat();
  }
}
