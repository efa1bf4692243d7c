/**
 * The inside of an ingest thread: sockets, bounded queue, streams, one clock.
 *
 *   EngineConnection ─frames─▶┐                       ┌─▶ WorkerSync ──▶ index (shared memory)
 *                             ├─▶ IngestQueue ─slice──┤        │ actions
 *   ReplayRequests   ─frames─▶┘                       └─▶ board, metrics
 *        ▲───────────────────────────────────────────────────┘
 *
 * Invariants
 *  G1  A stream sees its live messages, and the coming and going of its connection, in the order they happened: all pass
 *      through one lane. Replayed messages and the failure of their request likewise.
 *  G2  Nothing runs longer than a slice, so that sockets, ticks and control get their turn while a storm is applied.
 *      A message that takes longer than a turn (work-turn.ts) is applied in parts, one part a slice; its stream is held
 *      back in the queue meanwhile, and the others go on.
 *  G3  A refused message is counted and its stream told, behind the messages that got in: it asks the engine again.
 *  G4  After `forget` has been answered nothing of the rank is in the index and nothing of it is in flight.
 *
 * The clock is milliseconds since the Unix epoch that never go back (clock.ts), so that times on the
 * board can be compared across threads.
 *
 * Not here: what messages mean (core), when to connect again (EngineConnection).
 */

import {
  EventBatchDecoder,
  HoldBudget,
  type IndexWriter,
  type PrefixIndex,
  type ReplayFailure,
  type StreamPosition,
  type SyncLimits,
  WorkerSync,
} from "@kvsync/core";
import { BACKPRESSURE_LEVELS, type MetricSlots } from "@kvsync/observability";

import { EngineConnection } from "../transport/engine-connection.ts";
import type { Frames, PublisherRefusal, Transport } from "../transport/transport.ts";
import type { LineGate } from "../log/line-gate.ts";
import type { SnapshotStream } from "../engine/followed-rank.ts";
import type { ThreadSpans } from "../telemetry/thread-spans.ts";
import { IngestGauges } from "./ingest-gauges.ts";
import { QUEUE_DROP_REASONS, type QueueDropReason } from "../board/drop-reasons.ts";
import { IngestQueue, type Lane, type QueueItem } from "./ingest-queue.ts";
import { MessageAtHand } from "./message-at-hand.ts";
import { type ReplayClient, ReplayRequests } from "./replay-requests.ts";
import type { BoardWriter } from "../board/stream-board.ts";
import { StreamFilter } from "./stream-filter.ts";
import { StreamMetrics } from "./stream-metrics.ts";
import { spanFactsOf, type StreamNames, StreamWatch } from "./stream-watch.ts";
import type { FollowedRank } from "../engine/followed-rank.ts";
import type { IngestSettings } from "./thread-messages.ts";
import { WorkTurn } from "./work-turn.ts";

/** Time of one slice at rest: short against a tick, long against reading the clock. */
const SLICE_MS = 4;
/** Time of one slice under back-pressure, when emptying the queue matters more than latency of ticks. */
const SLICE_MS_PRESSED = 12;
/** Longest time between two signs of life of a thread that has nothing to do. */
const BEAT_MS_MAX = 250;
/** Longest stretch of work on one message; half of a slice at rest. */
const TURN_MS = 2;
/** Items between two looks at the clock. */
const ITEMS_PER_CLOCK = 4;
/** Fill of the replay lane up to which further replays are begun. */
const REPLAY_FILL_MAX = 0.5;

/** Messages of other topics after which the log says so: an engine next to a busier one has been heard by then. */
const OTHER_TOPICS_LOGGED = 16;
/** What the log says of a publisher that connects where the daemon listens, and is turned away. */
const REFUSAL_TEXTS: Readonly<Record<PublisherRefusal, string>> = {
  second_publisher:
    "refused a second publisher at an engine's address: one engine connects to one address, so give each an entry and a port of its own",
  publisher_not_allowed: "refused a publisher whose address is outside of security.publisher_ranges",
};
/** As much of a topic as a line of the log shows. */
const TOPIC_BYTES_SHOWN = 256;

/** What happens to a stream between its messages. */
type Note =
  | { readonly kind: "connected" }
  | { readonly kind: "disconnected" }
  | { readonly kind: "lost" }
  /** Messages of another rank were applied: ranks share the socket. */
  | { readonly kind: "mixed" }
  | { readonly kind: "replay_failed"; readonly attempt: number; readonly failure: ReplayFailure };

/** What an ingest works with. */
export interface IngestDependencies {
  readonly transport: Transport;
  readonly index: IndexWriter & Pick<PrefixIndex, "passTime">;
  readonly board: BoardWriter;
  readonly metrics: MetricSlots;
  readonly log: LineGate;
  /** Null when tracing is off. */
  readonly spans: ThreadSpans | null;
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
  readonly #queue: IngestQueue<Stream, Note>;
  readonly #replays: ReplayRequests;
  readonly #streams = new Map<number, Stream>();
  readonly #dirty = new Set<Stream>();
  readonly #turn: WorkTurn;
  /** Streams with a message that is applied in part, the next one first. */
  readonly #unfinished = new Set<Stream>();
  readonly #loggedFields = new Set<string>();
  readonly #decoder: EventBatchDecoder;
  readonly #holdBudget: HoldBudget;
  readonly #gauges: IngestGauges;
  readonly #spans: ThreadSpans | null;
  #ticker: ReturnType<typeof setInterval> | null = null;
  #beater: ReturnType<typeof setInterval> | null = null;
  #sliceScheduled = false;
  #appliedMessages = 0;
  #wallClockSeconds = Date.now() / 1000;
  /** Whose live message was applied last, until its latency is noted, and when it had been received. */
  #timed: Stream | null = null;
  #timedFromMs = 0;
  #level = 0;
  #dialAllowance: number;
  #dialClockMs: number;

  /**
   * @param settings - of this thread.
   * @param dependencies - network, index, clock, and where things are told.
   */
  constructor(settings: IngestSettings, dependencies: IngestDependencies) {
    this.#settings = settings;
    this.#dependencies = dependencies;
    this.#queue = new IngestQueue(settings.queue);
    this.#replays = new ReplayRequests(
      dependencies.transport,
      {
        running: settings.replaysMax,
        patience: { firstMs: settings.replayTimeoutMs, nextMs: settings.replayStallMs },
      },
      () => this.#queue.fill("replay") < REPLAY_FILL_MAX,
      dependencies.now,
    );
    this.#decoder = new EventBatchDecoder(dependencies.index.scratch, {
      payloadBytesMax: settings.queue.messageBytes,
    });
    this.#turn = new WorkTurn(TURN_MS, dependencies.now);
    this.#holdBudget = new HoldBudget(settings.holdBytesMax);
    this.#gauges = new IngestGauges(settings, dependencies.metrics);
    this.#dialAllowance = settings.dials.burst;
    this.#dialClockMs = dependencies.now();
    this.#spans = dependencies.spans;
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
    for (const stream of this.#streams.values()) stream.connection.close();
    this.#dependencies.transport.close();
  }

  /**
   * Begins to follow a rank.
   *
   * @param rank - its slot is free.
   */
  follow(rank: FollowedRank): void {
    const { metrics, index, log, now } = this.#dependencies;
    const names = namesOf(rank);
    const streamMetrics = new StreamMetrics(
      { pod: rank.workerId, model: rank.model, ingestWorker: this.#settings.worker },
      metrics,
      () => this.#wallClockSeconds,
    );
    const lastNumber = (): number | null => stream.sync.lastSequenceNumber;
    const atHand = new MessageAtHand(rank, this.#dependencies.board, (sequenceNumber) => {
      const message = "passes over a message during which the process ended before";
      const facts = { ...names, sequence_number: sequenceNumber };
      log.write({ level: "warn", event: "message_passed_over", message, facts });
    });
    const stream: Stream = new Stream(rank, {
      ingest: this,
      atHand,
      metrics: streamMetrics,
      watch: new StreamWatch(
        streamMetrics,
        { ...this.#dependencies, loggedFields: this.#loggedFields },
        names,
        lastNumber,
      ),
      connect: (own) => this.#connection(rank, own),
      sync: (listener) =>
        new WorkerSync(
          {
            rankSlot: rank.rankSlot,
            model: rank.model,
            dpRank: rank.dpRank,
            hasReplay: rank.replayEndpoint !== null,
            reportMode: rank.reportMode,
            dropsLastBlock: rank.dropsLastBlock,
            startedAtMs: now(),
            resumeFrom: rank.resumeFrom ?? undefined,
            limits: this.#dependencies.syncLimits,
          },
          {
            index,
            decoder: this.#decoder,
            listener,
            holdBudget: this.#holdBudget,
            turn: this.#turn,
            guard: atHand,
          },
        ),
    });
    this.#streams.set(rank.rankSlot, stream);
    log.write({ level: "info", event: "rank_followed", message: "follows a rank", facts: names });
    this.#after(stream);
    this.#dialDue(now());
  }

  /**
   * Stops following a rank and clears it from the index (G4).
   *
   * @param rankSlot - a followed one.
   */
  forget(rankSlot: number): void {
    const stream = this.#streams.get(rankSlot);
    if (stream === undefined) {
      // Of a snapshot, and nobody has come to follow it.
      this.#dependencies.index.clearRank(rankSlot);
      return;
    }
    this.#streams.delete(rankSlot);
    this.#dirty.delete(stream);
    this.#unfinished.delete(stream);
    this.#queue.letGo(stream);
    stream.connection.close();
    this.#replays.abandonAll(stream);
    stream.closed = true;
    stream.sync.close();
    stream.metrics.release();
    this.#dependencies.board.clear(rankSlot);
    const facts = namesOf(stream.rank);
    this.#dependencies.log.write({
      level: "info",
      event: "rank_forgotten",
      message: "follows a rank no more",
      facts,
    });
  }

  /**
   * Dials a rank without waiting, within the limit on dials, if it is not connected.
   *
   * @param rankSlot - one that is not followed is passed over.
   */
  redial(rankSlot: number): void {
    this.#streams.get(rankSlot)?.connection.redial();
    this.#dialDue(this.#dependencies.now());
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
    this.#streams.delete(rankSlot);
    this.#dirty.delete(stream);
    stream.connection.close();
    this.#replays.abandonAll(stream);
    stream.closed = true;
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
  evicted(reason: Parameters<WorkerSync["indexEvicted"]>[0], rankSlots: readonly number[]): void {
    for (const slot of rankSlots) {
      const stream = this.#streams.get(slot);
      if (stream === undefined) continue;
      stream.sync.indexEvicted(reason);
      this.#dirty.add(stream);
    }
    this.#schedule();
  }

  /**
   * Puts a message into the queue, or counts why not (G3).
   *
   * @param lane - where it came from.
   * @param stream - whose it is.
   * @param frames - kept until applied.
   * @param attempt - of the replay; 0 for live.
   * @returns whether it got in.
   */
  offer(lane: Lane, stream: Stream, frames: Frames, attempt: number): boolean {
    const refusal = this.#queue.offer(lane, stream, frames, this.#dependencies.now(), attempt);
    this.#schedule();
    this.#noteLevel();
    if (refusal === null) return true;
    stream.refused(refusal);
    this.#dirty.add(stream);
    // A lost replay message is told by the failure of its request; of live ones the stream hears once, in its place.
    if (lane === "live" && !stream.lossNoted) {
      stream.lossNoted = true;
      this.#queue.note("live", stream, { kind: "lost" });
    }
    return false;
  }

  /**
   * Tells a stream's own messages from those of other ranks that share its socket.
   *
   * @param lane - where the message came from.
   * @param stream - whose socket it came through.
   * @param frames - the message.
   * @returns false for one that is another rank's.
   */
  isOwn(lane: Lane, stream: Stream, frames: Frames): boolean {
    const { filter, rank } = stream;
    const { verdict, mustBegin } = filter.judge(lane, frames);
    if (mustBegin) this.note(lane, stream, { kind: "mixed" });
    if (verdict === "own") return true;
    if (verdict === "other_topic") {
      this.#refuseTopic(stream, frames);
      return false;
    }
    if (verdict === "unnamed_dp_rank" || !filter.isDeclared) {
      stream.refused(verdict);
      this.#dirty.add(stream);
      this.#schedule();
    }
    if (filter.hasFoundSharing && !stream.sharingLogged) {
      stream.sharingLogged = true;
      const message = `several DP ranks publish through one socket; of them DP rank ${filter.ownRank ?? rank.dpRank} is followed and the others' messages are dropped: set shared_socket: true and dp_size in the engine's entry`;
      const facts = { ...namesOf(rank), endpoint: rank.endpoint, reason: verdict };
      this.#dependencies.log.write({ level: "warn", event: "ranks_share_socket", message, facts });
    }
    return false;
  }

  /** W5: counted while the entry's own topic was not heard, and logged once it looks like half a topic. */
  #refuseTopic(stream: Stream, frames: Frames): void {
    const { filter, rank } = stream;
    if (filter.ownTopicHeard) return;
    stream.refused("other_topic");
    this.#dirty.add(stream);
    this.#schedule();
    stream.otherTopics += 1;
    if (stream.otherTopics !== OTHER_TOPICS_LOGGED) return;
    const heard = new TextDecoder().decode(frames[0]?.subarray(0, TOPIC_BYTES_SHOWN));
    const message = `messages of the topic ${JSON.stringify(heard)} are dropped, and none of ${JSON.stringify(rank.topic)} came: topic in the engine's entry is the engine's whole topic`;
    const facts = { ...namesOf(rank), endpoint: rank.endpoint, reason: "other_topic" };
    this.#dependencies.log.write({ level: "warn", event: "topic_not_published", message, facts });
  }

  /**
   * Notes something in its place among a stream's messages (G1).
   *
   * @param lane - where.
   * @param stream - whose it is.
   * @param note - what.
   */
  note(lane: Lane, stream: Stream, note: Note): void {
    this.#queue.note(lane, stream, note);
    this.#schedule();
  }

  #connection(rank: FollowedRank, stream: Stream): EngineConnection {
    const { log } = this.#dependencies;
    const facts = { ...namesOf(rank), endpoint: rank.endpoint };
    return new EngineConnection(
      {
        endpoint: rank.endpoint,
        topic: rank.topic,
        bind: rank.bind,
        waitMsMin: this.#settings.reconnectMsMin,
        waitMsMax: this.#settings.reconnectMsMax,
      },
      this.#dependencies,
      {
        connected: () => {
          stream.filter.connected();
          stream.metrics.connected();
          log.write({ level: "info", event: "engine_connected", message: "connected to an engine", facts });
          this.note("live", stream, { kind: "connected" });
        },
        disconnected: () => {
          stream.refusalLogged = false;
          stream.metrics.disconnected();
          log.write({
            level: "warn",
            event: "engine_disconnected",
            message: "lost an engine's connection",
            facts,
          });
          this.note("live", stream, { kind: "disconnected" });
        },
        failed: (reason) => {
          stream.metrics.connectionFailed(reason);
          if (stream.failureLogged) return;
          stream.failureLogged = true;
          const message = rank.bind
            ? "cannot listen for an engine; trying again with growing pauses"
            : "cannot connect to an engine; trying again with growing pauses";
          log.write({ level: "warn", event: "engine_unreachable", message, facts: { ...facts, reason } });
        },
        refused: (reason, address) => {
          stream.metrics.publisherRefused(reason);
          if (stream.refusalLogged) return;
          stream.refusalLogged = true;
          const message = REFUSAL_TEXTS[reason];
          log.write({
            level: "warn",
            event: "publisher_refused",
            message,
            facts: { ...facts, reason, address },
          });
        },
        message: (frames) => {
          if (this.isOwn("live", stream, frames)) this.offer("live", stream, frames, 0);
        },
      },
    );
  }

  #schedule(): void {
    if (this.#sliceScheduled) return;
    this.#sliceScheduled = true;
    setImmediate(() => {
      this.#slice();
    });
  }

  #slice(): void {
    this.#sliceScheduled = false;
    const { now } = this.#dependencies;
    const deadline = now() + (this.#level === 0 ? SLICE_MS : SLICE_MS_PRESSED);
    // Good enough for how old a message is: read once a slice.
    this.#wallClockSeconds = Date.now() / 1000;
    do {
      for (let i = 0; i < ITEMS_PER_CLOCK; i++) {
        const taken = this.#queue.take();
        if (taken === null) break;
        this.#applyItem(taken.lane, taken.item);
      }
    } while (!this.#queue.isEmpty && now() < deadline);
    this.#noteLatency(now());
    for (const stream of this.#unfinished) {
      this.#continue(stream);
      break;
    }
    this.#replays.startWaiting();
    this.#tell();
    if (!this.#queue.isEmpty || this.#unfinished.size > 0) this.#schedule();
  }

  /** One more turn for a message that is applied in part (G2). */
  #continue(stream: Stream): void {
    const nowMs = this.#dependencies.now();
    this.#dependencies.board.beat();
    this.#unfinished.delete(stream);
    this.#turn.begin(nowMs);
    stream.atHand.show();
    if (stream.sync.continueApplying(nowMs)) this.#queue.letGo(stream);
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
    else {
      stream.metrics.taken(lane);
      const waitedMs = nowMs - item.receivedAtMs;
      this.#gauges.wait(lane, waitedMs / 1000);
      if (this.#dependencies.log.isOn("detail")) this.#tellTaken(stream, lane, item.frames, waitedMs);
      const isTraced = this.#spans !== null && this.#spans.isNext();
      const eventsBefore = isTraced ? eventsOf(stream) : 0;
      if (lane === "live") {
        stream.sync.liveMessage(item.frames, nowMs);
        this.#timed = stream;
        this.#timedFromMs = item.receivedAtMs;
      } else if (!stream.sync.replayMessage(item.attempt, item.frames, nowMs)) {
        this.#replays.abandon(stream, item.attempt);
      }
      if (isTraced) this.#traceApplied(stream, { lane, waitedMs, startMs: nowMs, eventsBefore });
      this.#appliedMessages += 1;
      this.#gauges.applied();
    }
    this.#after(stream);
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
      ...spanFactsOf(namesOf(stream.rank)),
      "kvsync.lane": lane,
      "kvsync.queue_wait_seconds": waitedMs / 1000,
      "kvsync.sequence_number": stream.sync.lastSequenceNumber ?? -1,
      "kvsync.events": eventsOf(stream) - eventsBefore,
    };
    this.#spans?.finished({
      name: "ingest.apply",
      startMs,
      endMs: this.#dependencies.now(),
      facts,
      error: null,
    });
  }

  #tellTaken({ rank }: Stream, lane: Lane, frames: Frames, waitedMs: number): void {
    const bytes = frames.reduce((sum, frame) => sum + frame.byteLength, 0);
    const facts = { ...namesOf(rank), lane, frames: frames.length, bytes, waited_ms: waitedMs };
    const message = "takes a message out of the queue";
    this.#dependencies.log.write({ level: "detail", event: "message_taken", message, facts });
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
        stream.failureLogged = false;
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
      this.#queue.holdBack(stream);
      this.#schedule();
    }
    this.#dependencies.board.position(stream.rank.rankSlot, stream.sync, stream.connection.connected);
    this.#dirty.add(stream);
  }

  #tick(): void {
    const nowMs = this.#dependencies.now();
    this.#dialDue(nowMs);
    this.#dependencies.index.passTime(nowMs);
    for (const stream of this.#streams.values()) {
      if (stream.sync.nextTickMs > nowMs) continue;
      this.#turn.begin(this.#dependencies.now());
      stream.sync.tick(nowMs);
      this.#after(stream);
    }
    this.#replays.startWaiting();
    this.#gauges.ticked(nowMs);
    this.#gauges.utilization(nowMs);
    this.#tell();
  }

  #dialDue(nowMs: number): void {
    const { perSecond, burst } = this.#settings.dials;
    const earned = ((nowMs - this.#dialClockMs) / 1000) * perSecond;
    this.#dialAllowance = Math.min(burst, this.#dialAllowance + earned);
    this.#dialClockMs = nowMs;
    for (const [rankSlot, stream] of this.#streams) {
      if (this.#dialAllowance < 1) return;
      if (!stream.connection.isDue(nowMs)) continue;
      this.#dialAllowance -= 1;
      // To the end of the queue: or a thousand engines that are down would use up the allowance before the others' turn.
      this.#streams.delete(rankSlot);
      this.#streams.set(rankSlot, stream);
      stream.connection.dial();
    }
  }

  /** Brings board and gauges up to date. */
  #tell(): void {
    const { board } = this.#dependencies;
    for (const stream of this.#dirty) {
      board.counters(stream.rank.rankSlot, stream.sync.counters, stream.queueDrops);
    }
    this.#dirty.clear();
    this.#noteLevel();
    this.#gauges.queue(this.#queue);
    board.header({
      appliedMessages: this.#appliedMessages,
      depthLive: this.#queue.depth("live"),
      depthReplay: this.#queue.depth("replay"),
      bytesLive: this.#queue.bytes("live"),
      bytesReplay: this.#queue.bytes("replay"),
      backpressure: this.#level,
      utilization: this.#gauges.share,
    });
    board.beat();
  }

  #noteLevel(): void {
    const level = this.#queue.level();
    if (level === this.#level) return;
    this.#level = level;
    const name = BACKPRESSURE_LEVELS[level] ?? "overloaded";
    this.#gauges.levelEntered(name);
    const facts = {
      backpressure: name,
      live: this.#queue.depth("live"),
      replay: this.#queue.depth("replay"),
    };
    const severity = level > 1 ? "warn" : "info";
    this.#dependencies.log.write({
      level: severity,
      event: "backpressure",
      message: "back-pressure changed",
      facts,
    });
  }
}

/** Events that a stream has applied so far. */
function eventsOf({ sync }: Stream): number {
  const { BlockStored, BlockRemoved, AllBlocksCleared } = sync.counters.eventsApplied;
  return BlockStored + BlockRemoved + AllBlocksCleared;
}

/** How a rank is called in lines of the log. */
function namesOf({ workerId, model, dpRank }: FollowedRank): StreamNames {
  return { pod: workerId, model, dp_rank: dpRank };
}

/** One rank being followed. */
class Stream implements ReplayClient {
  readonly rank: FollowedRank;
  readonly sync: WorkerSync;
  readonly metrics: StreamMetrics;
  readonly watch: StreamWatch;
  readonly connection: EngineConnection;
  readonly filter: StreamFilter;
  /** Ranks that share the socket were logged. */
  sharingLogged = false;
  /** Messages of longer topics before the first one of its own. */
  otherTopics = 0;
  readonly atHand: MessageAtHand;
  /** By position in QUEUE_DROP_REASONS. */
  readonly queueDrops = new Float64Array(QUEUE_DROP_REASONS.length);
  closed = false;
  /** A "lost" note lies in the queue. */
  lossNoted = false;
  /** The current run of failed attempts has been logged. */
  failureLogged = false;
  /** A publisher that was turned away has been logged; once a connection. */
  refusalLogged = false;
  readonly #ingest: Ingest;

  constructor(
    rank: FollowedRank,
    parts: {
      readonly ingest: Ingest;
      readonly atHand: MessageAtHand;
      readonly metrics: StreamMetrics;
      readonly watch: StreamWatch;
      readonly connect: (stream: Stream) => EngineConnection;
      readonly sync: (listener: StreamWatch) => WorkerSync;
    },
  ) {
    this.rank = rank;
    this.filter = new StreamFilter(rank.dpRank, rank.sharedSocket, rank.topic);
    this.#ingest = parts.ingest;
    this.atHand = parts.atHand;
    this.metrics = parts.metrics;
    this.watch = parts.watch;
    this.sync = parts.sync(parts.watch);
    this.connection = parts.connect(this);
  }

  get replayEndpoint(): string {
    return this.rank.replayEndpoint ?? "";
  }

  replayStarted(attempt: number, nowMs: number): void {
    this.sync.replayStarted(attempt, nowMs);
  }

  replayReceived(attempt: number, frames: Frames): boolean {
    if (!this.#ingest.isOwn("replay", this, frames)) return true;
    return this.#ingest.offer("replay", this, frames, attempt);
  }

  replayEndedEarly(attempt: number, failure: ReplayFailure): void {
    this.#ingest.note("replay", this, { kind: "replay_failed", attempt, failure });
  }

  refused(reason: QueueDropReason): void {
    const position = QUEUE_DROP_REASONS.indexOf(reason);
    this.queueDrops[position] = (this.queueDrops[position] ?? 0) + 1;
    this.metrics.rejected(reason);
  }
}
