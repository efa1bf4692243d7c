/**
 * One rank being followed: its connection, its state machine, and what is counted and logged of both.
 *
 *     EngineConnection ─news, frames─▶┐                    ┌─▶ offer, note ─▶ Intake
 *                                     ├─▶ Stream ─ filter ─┤
 *     ReplayRequests ──frames, ends──▶┘                    └─▶ dropped: counted, logged once
 *
 * It passes messages on and applies none: the ingest does, when the queue returns them (ingest.ts).
 */

import {
  type EventBatchDecoder,
  type HoldBudget,
  type IndexWriter,
  type ReplayFailure,
  type SyncLimits,
  WorkerSync,
} from "@kvsync/core";
import { openLabel } from "@kvsync/observability/definition";
import type { MetricSlots } from "@kvsync/observability/slots";

import { QUEUE_DROP_REASONS, type QueueDropReason } from "../board/drop-reasons.ts";
import type { BoardWriter } from "../board/stream-board.ts";
import type { FollowedRank } from "../engine/followed-rank.ts";
import type { LineGate } from "../log/line-gate.ts";
import type { ThreadSpans } from "../telemetry/thread-spans.ts";
import { type ConnectionEvents, EngineConnection } from "../transport/engine-connection.ts";
import type { EngineTransports } from "../transport/engine-transports.ts";
import {
  type ConnectionEnd,
  type Frames,
  isViolation,
  type PublisherRefusal,
  type Transport,
  type Violation,
} from "../transport/transport.ts";
import type { Lane } from "./ingest-queue.ts";
import type { Intake, IntakeOwner } from "./intake.ts";
import { MessageAtHand } from "./message-at-hand.ts";
import type { MessageJournal } from "./message-journal.ts";
import type { ReplayClient } from "./replay-requests.ts";
import { StreamFilter } from "./stream-filter.ts";
import { StreamMetrics } from "./stream-metrics.ts";
import { type StreamNames, StreamWatch } from "./stream-watch.ts";
import type { WorkTurn } from "./work-turn.ts";

/** Messages of other topics after which the log says so: an engine next to a busier one has been heard by then. */
const OTHER_TOPICS_LOGGED = 16;
/** As much of a topic as a line of the log shows. */
const TOPIC_BYTES_SHOWN = 256;
/** What the log says of a publisher that connects where the daemon listens, and is turned away. */
const REFUSAL_TEXTS: Readonly<Record<PublisherRefusal, string>> = {
  second_publisher:
    "refused a second publisher at an engine's address: one engine connects to one address, so give each an entry and a port of its own",
  publisher_not_allowed: "refused a publisher whose address is outside of security.publisher_ranges",
  too_many_pending:
    "closed a connection at an engine's address because too many wait there: open handshakes and refused publishers; let a network policy admit only the engines",
};
const VIOLATION_TEXT =
  "ended the connection of a publisher that broke ZeroMQ's protocol before it was let in";

/** What all streams of a thread share. */
export interface StreamDependencies {
  readonly intake: Intake<Stream>;
  readonly transports: Pick<EngineTransports, "of">;
  readonly index: IndexWriter;
  readonly decoder: EventBatchDecoder;
  readonly holdBudget: HoldBudget;
  readonly turn: WorkTurn;
  readonly board: BoardWriter;
  readonly slots: MetricSlots;
  readonly log: LineGate;
  /** Null when tracing is off. */
  readonly spans: ThreadSpans | null;
  /** Null after a clean stop. */
  readonly journal: MessageJournal | null;
  /** Unknown fields that were logged, of all streams of the thread. */
  readonly loggedFields: Set<string>;
  /** Takes the unknown kinds of KV-cache groups of a rank. */
  readonly unknownKind: (rankSlot: number, kind: string) => void;
  readonly now: () => number;
  /** Good enough for how old a message is. */
  readonly wallClockSeconds: () => number;
  /** Jitter, 0 … 1. */
  readonly random: () => number;
  readonly syncLimits: Partial<SyncLimits> | undefined;
  readonly settings: {
    readonly worker: string;
    readonly reconnectMsMin: number;
    readonly reconnectMsMax: number;
  };
}

/** See the head of this file. */
export class Stream implements ReplayClient, ConnectionEvents, IntakeOwner {
  readonly rank: FollowedRank;
  /** How it is called in lines of the log. */
  readonly names: StreamNames;
  readonly sync: WorkerSync;
  readonly metrics: StreamMetrics;
  readonly watch: StreamWatch;
  readonly connection: EngineConnection;
  /** {@inheritDoc ReplayClient.transport} */
  readonly transport: Transport;
  readonly atHand: MessageAtHand;
  /** By position in QUEUE_DROP_REASONS. */
  readonly queueDrops = new Float64Array(QUEUE_DROP_REASONS.length);
  closed = false;
  /** A "lost" note lies in the queue. */
  lossNoted = false;
  /** Changes of rare counters that were shown; none yet. */
  #shownChanges = -1;
  #drops = 0;
  readonly #intake: Intake<Stream>;
  readonly #log: LineGate;
  readonly #filter: StreamFilter;
  /** Ranks that share the socket were logged. */
  #sharingLogged = false;
  /** Messages of longer topics before the first one of its own. */
  #otherTopics = 0;
  /** The current run of failed attempts has been logged. */
  #failureLogged = false;
  /** A violation at the replay socket has been logged; once a connection. */
  #violationLogged = false;
  /** A publisher that was turned away has been logged; once a connection. */
  #refusalLogged = false;

  /**
   * @param rank - its slot is free.
   * @param dependencies - of the thread.
   */
  constructor(rank: FollowedRank, dependencies: StreamDependencies) {
    const { intake, board, slots, log, settings, now, random } = dependencies;
    const { workerId: pod, model, dpRank } = rank;
    this.rank = rank;
    this.names = { pod, model, dp_rank: dpRank };
    this.#intake = intake;
    this.#log = log;
    this.#filter = new StreamFilter(dpRank, rank.sharedSocket, rank.topic);
    const passed = (sequenceNumber: number): void => {
      this.#passedOver(sequenceNumber);
    };
    this.atHand = new MessageAtHand(rank, board, passed, dependencies.journal);
    this.metrics = new StreamMetrics(
      {
        pod: openLabel("pod", pod),
        model: openLabel("model", model),
        ingestWorker: openLabel("worker", settings.worker),
      },
      slots,
      dependencies.wallClockSeconds,
    );
    const { spans, loggedFields } = dependencies;
    const unknownKind = (kind: string): void => {
      dependencies.unknownKind(rank.rankSlot, kind);
    };
    this.watch = new StreamWatch(
      this.metrics,
      {
        log,
        spans,
        loggedFields,
        now,
        unknownKind,
        board,
        rankSlot: rank.rankSlot,
      },
      this.names,
      () => this.sync.lastSequenceNumber,
      () => this.sync.eventAtHand,
    );
    this.sync = new WorkerSync(
      {
        rankSlot: rank.rankSlot,
        model,
        dpRank,
        hasReplay: rank.replayEndpoint !== null,
        reportMode: rank.reportMode,
        dropsLastBlock: rank.dropsLastBlock ?? undefined,
        startedAtMs: now(),
        resumeFrom: rank.resumeFrom ?? undefined,
        limits: dependencies.syncLimits,
      },
      {
        index: dependencies.index,
        decoder: dependencies.decoder,
        listener: this.watch,
        holdBudget: dependencies.holdBudget,
        turn: dependencies.turn,
        guard: this.atHand,
      },
    );
    const { endpoint, topic, bind, curveServerKey } = rank;
    this.transport = dependencies.transports.of(curveServerKey);
    const { reconnectMsMin: waitMsMin, reconnectMsMax: waitMsMax } = settings;
    this.connection = new EngineConnection(
      { endpoint, topic, bind, waitMsMin, waitMsMax },
      { transport: this.transport, now, random },
      this,
    );
  }

  /** Events applied so far. */
  get eventsApplied(): number {
    const { BlockStored, BlockRemoved, AllBlocksCleared } = this.sync.counters.eventsApplied;
    return BlockStored + BlockRemoved + AllBlocksCleared;
  }

  /** {@inheritDoc ReplayClient.replayEndpoint} */
  get replayEndpoint(): string {
    return this.rank.replayEndpoint ?? "";
  }

  /**
   * Counts a message that is dropped before it is applied.
   *
   * @param reason - why.
   */
  dropped(reason: QueueDropReason): void {
    const position = QUEUE_DROP_REASONS.indexOf(reason);
    this.queueDrops[position] = (this.queueDrops[position] ?? 0) + 1;
    this.#drops += 1;
    this.metrics.rejected(reason);
  }

  /**
   * Brings the counters of its row up to date. Rare ones are many, and are written only when one of them has changed.
   *
   * @param board - of the thread.
   */
  showCounters(board: BoardWriter): void {
    const { rankSlot } = this.rank;
    const changes = this.sync.rareChanges + this.#drops;
    if (changes === this.#shownChanges) board.messageCounters(rankSlot, this.sync.counters);
    else board.counters(rankSlot, this.sync.counters, this.queueDrops);
    this.#shownChanges = changes;
  }

  /** The state machine has heard of the connection: the next run of failures is a new one. */
  connectionHeard(): void {
    this.#failureLogged = false;
  }

  // ── what its replays bring ─────────────────────────────────────────────────────────────────────────────────────

  /** {@inheritDoc ReplayClient.replayStarted} */
  replayStarted(attempt: number, nowMs: number): void {
    this.sync.replayStarted(attempt, nowMs);
  }

  /** {@inheritDoc ReplayClient.replayReceived} */
  replayReceived(attempt: number, frames: Frames): boolean {
    if (!this.#isOwn("replay", frames)) return true;
    return this.#intake.offer("replay", this, frames, attempt);
  }

  /** {@inheritDoc ReplayClient.replayEndedEarly} */
  replayEndedEarly(attempt: number, failure: ReplayFailure, violation?: Violation, detail?: string): void {
    if (violation !== undefined) this.#replayViolated(violation, detail ?? "");
    this.#intake.note("replay", this, { kind: "replay_failed", attempt, failure });
  }

  // ── what its connection brings ─────────────────────────────────────────────────────────────────────────────────

  /** {@inheritDoc ConnectionEvents.connected} */
  connected(): void {
    this.#filter.connected();
    this.#violationLogged = false;
    this.metrics.connected();
    this.#log.write("engine_connected", this.#place);
    this.#intake.note("live", this, { kind: "connected" });
  }

  /** {@inheritDoc ConnectionEvents.disconnected} */
  disconnected(reason: ConnectionEnd, detail?: string): void {
    this.#refusalLogged = false;
    this.metrics.disconnected(reason);
    this.#log.write("engine_disconnected", { ...this.#place, reason, ...shown(detail) });
    this.#intake.note("live", this, { kind: "disconnected" });
  }

  /** {@inheritDoc ConnectionEvents.failed} */
  failed(reason: ConnectionEnd, detail?: string): void {
    this.metrics.connectionFailed(reason);
    if (this.#failureLogged) return;
    this.#failureLogged = true;
    const text = this.rank.bind
      ? "cannot listen for an engine; trying again with growing pauses"
      : "cannot connect to an engine; trying again with growing pauses";
    this.#log.write("engine_unreachable", { ...this.#place, reason, ...shown(detail) }, { text });
  }

  /** {@inheritDoc ConnectionEvents.refused} */
  refused(reason: PublisherRefusal | Violation, address: string, detail?: string): void {
    this.metrics.publisherRefused(reason);
    if (this.#refusalLogged) return;
    this.#refusalLogged = true;
    const text = isViolation(reason) ? VIOLATION_TEXT : REFUSAL_TEXTS[reason];
    this.#log.write("publisher_refused", { ...this.#place, reason, address, ...shown(detail) }, { text });
  }

  /** {@inheritDoc ConnectionEvents.message} */
  message(frames: Frames, areLent: boolean): void {
    if (!this.#isOwn("live", frames)) return;
    if (areLent) this.#intake.offerLent(this, frames);
    else this.#intake.offer("live", this, frames, 0);
  }

  /** Tells its own messages from those of other ranks that share its socket. */
  #isOwn(lane: Lane, frames: Frames): boolean {
    const { verdict, mustBegin } = this.#filter.judge(lane, frames);
    if (mustBegin) this.#intake.note(lane, this, { kind: "mixed" });
    if (verdict === "own") return true;
    if (verdict === "other_topic") {
      this.#refuseTopic(frames);
      return false;
    }
    if (verdict === "unnamed_dp_rank" || !this.#filter.isDeclared) {
      this.dropped(verdict);
      this.#intake.changed(this);
    }
    if (this.#filter.hasFoundSharing && !this.#sharingLogged) {
      this.#sharingLogged = true;
      const own = this.#filter.ownRank ?? this.rank.dpRank;
      const text = `several DP ranks publish through one socket. DP rank ${own} is followed, and the messages of the others are dropped. Set shared_socket: true and dp_size in the engine's entry`;
      this.#log.write("ranks_share_socket", { ...this.#place, reason: verdict }, { text });
    }
    return false;
  }

  /** W5: counted while the entry's own topic was not heard, and logged once it looks like half a topic. */
  #refuseTopic(frames: Frames): void {
    if (this.#filter.ownTopicHeard) return;
    this.dropped("other_topic");
    this.#intake.changed(this);
    this.#otherTopics += 1;
    if (this.#otherTopics !== OTHER_TOPICS_LOGGED) return;
    const heard = new TextDecoder().decode(frames[0]?.subarray(0, TOPIC_BYTES_SHOWN));
    const text = `messages of the topic ${JSON.stringify(heard)} are dropped, and none of ${JSON.stringify(this.rank.topic)} came: topic in the engine's entry is the engine's whole topic`;
    this.#log.write("topic_not_published", { ...this.#place, reason: "other_topic" }, { text });
  }

  /** The engine sent at its replay socket what ended the connection; logged once until its events are connected again. */
  #replayViolated(reason: Violation, detail: string): void {
    this.metrics.violation("replay", reason);
    if (this.#violationLogged) return;
    this.#violationLogged = true;
    this.#log.write("replay_violation", { ...this.names, endpoint: this.replayEndpoint, reason, detail });
  }

  #passedOver(sequenceNumber: number): void {
    this.#log.write("message_passed_over", { ...this.names, sequence_number: sequenceNumber });
  }

  /** Whose connection it is, in lines of the log. */
  get #place(): StreamNames & { readonly endpoint: string } {
    return { ...this.names, endpoint: this.rank.endpoint };
  }
}

/** A detail for the log, when there is one. */
function shown(detail: string | undefined): { readonly detail?: string } {
  return detail === undefined ? {} : { detail };
}
