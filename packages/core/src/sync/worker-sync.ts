/**
 * One engine stream, followed: frames and clock readings in; index writes, requests for replay and
 * a measure of trust out. Best-effort delivery goes in. The result is equal to the engine's truth
 * or is marked as not equal.
 *
 *                     connected                    disconnected (from every state)
 *     connecting ───────────────┐                        │
 *                               ▼                        ▼
 *        ┌───────────────── replaying ◀─ 0 … ─┐     disconnected
 *        │ END, nothing       ▲   │           │          │ connected
 *        │ missing            │   │ failed    │ another  ▼
 *        ▼             a gap  │   ▼ thrice    └───── verifying ◀── numbers or times that go backward
 *      live ──────────────────┘ paused ──────────────────▲
 *        │ ▲                                              (from live)
 *        └─┘ probe, rebuild: asked for while live messages continue being applied
 *
 * replaying, verifying, paused and disconnected hold live messages; live applies them. Without a replay endpoint there are
 * only connecting, live and disconnected.
 *
 * Invariants (README.md gives the purpose of each; the tests carry the same numbers):
 *  Y1  Between two clears, messages are applied in consecutive order, each once. The number of an
 *      applied message is the last plus one.
 *  Y2  A replay asks from the last applied message inclusive (after a reconnect, from an older
 *      one). Nothing of it is applied before that message showed the same bytes. The first request
 *      of all asks from 0. While the publisher may be another one, nothing is applied.
 *  Y3  A message received before a replay is asked for is never applied: the replay contains it, or
 *      its publisher is gone.
 *  Y4  A message is gone permanently when several answers agree that it is missing (one answer,
 *      while the rank is empty). The rank is cleared and continues from the next message.
 *  Y5  Trust is `exact` or `partial` only if the index holds nothing that the applied messages took away. Below `exact` it
 *      has a reason (trust-rule.ts), and both are known without a search.
 *  Y6  Everything that waits is bounded, and every failure leads on: to another attempt, a pause, or continuing without.
 *      After every call a stream that is replaying or verifying has an attempt.
 *  Y7  A bad event costs itself, a bad message itself; the possible effect on the index is in the
 *      trust.
 *  Y8  A message may be applied in parts. While `isApplying`, the stream's position is that before
 *      the message. Its owner calls only `continueApplying` and `close`, and no other stream can
 *      continue from it.
 *
 * Other files have the attempt in progress (replay-attempt.ts), the times of an idle stream
 * (probe-schedule.ts), and the patience with failures (retry-schedule.ts). The identity of the
 * publisher is in publisher-fence.ts, the reported trust in stream-trust.ts. `check` returns the
 * violated invariants; the simulation calls it after every step.
 *
 * Not here: sockets, timers, threads. The owner calls `tick` at `nextTickMs`, polls `takeAction` after every call, and
 * transports. `nowMs` is any clock that does not go backward.
 *
 * Sources: vllm/distributed/kv_events.py @ b4e69e0a (the behavior of a publisher); llm-d-router
 * pkg/kvevents/zmq_subscriber.go @ ebab6879 (bounds of attempts).
 */
import { assert } from "../assert.ts";
import type { EvictionReason, IndexWriter } from "../prefix-index/contract.ts";
import type { EventBatchDecoder } from "../wire/event-batch-decoder.ts";
import { parseLiveFrames, parseReplayFrames } from "../wire/message.ts";
import { WireError } from "../wire/wire-error.ts";
import { Agreement } from "./agreement.ts";
import { peekTimestampSeconds } from "./batch-timestamp.ts";
import { type Applied, EventApplier, type EventAtHand, type Turn } from "./event-applier.ts";
import { type HeldMessage, HeldMessages, HoldBudget } from "./held-messages.ts";
import { ProbeSchedule } from "./probe-schedule.ts";
import { PublisherFence } from "./publisher-fence.ts";
import { type Purpose, type ReplayAttempt, ReplayAttempts } from "./replay-attempt.ts";
import { RetrySchedule } from "./retry-schedule.ts";
import type { StreamPosition } from "./stream-position.ts";
import { StreamTrust } from "./stream-trust.ts";
import {
  createSyncCounters,
  type ReplayFailure,
  type ReplayStatus,
  type StreamState,
  type SyncAction,
  type SyncCounters,
  type SyncListener,
} from "./sync-report.ts";
import { DEFAULT_SYNC_LIMITS, type SyncLimits, type SyncSettings } from "./sync-settings.ts";
import type { TrustLedger } from "./trust-ledger.ts";
import { EVICTIONS, type MessageDropReason, type Trust, type TrustReason } from "./trust-rule.ts";

/** What a stream works with. All of it may serve many streams of one thread. */
export interface SyncDependencies {
  readonly index: IndexWriter;
  /** Decodes into the index's scratch: `new EventBatchDecoder(index.scratch)`. */
  readonly decoder: EventBatchDecoder;
  readonly listener?: SyncListener | undefined;
  /** Bounds what all streams together hold; each has its own bound beside. */
  readonly holdBudget?: HoldBudget | undefined;
  /** Asked before each message. */
  readonly guard?: MessageGuard | undefined;
  /** Ends work on one message for now (Y8). Without it every message is applied in one go. */
  readonly turn?: Turn | undefined;
}

/** Knows the messages that must not be applied, and keeps a record of the one at hand. */
export interface MessageGuard {
  /**
   * A message is about to be applied.
   *
   * @param payload - borrowed during the call.
   * @returns false when it is to be passed over, as `set_aside`.
   */
  admits(sequenceNumber: number, payload: Uint8Array): boolean;
}

/** A message that is applied in parts (Y8), and what follows when all of it is. */
interface UnfinishedMessage {
  readonly sequenceNumber: number;
  readonly payload: Uint8Array;
  readonly lane: Lane;
  readonly then: Sequel;
}

/** How a message came. */
type Lane = "live" | "replay";

/** What follows a message: nothing, or what a stream does after a live or a replayed one. */
type Sequel = "nothing" | "live" | "replayed";

/** No message yet. Sequence numbers begin at 0, so that the one after it is the first. */
const NONE = -1;
/** What agreeing answers lacked, when it was the proof of their publisher. */
const PROOF = -2;

/** Follows one (worker, DP rank). */
export class WorkerSync {
  /** Running totals, the stream's own object. */
  readonly counters: SyncCounters = createSyncCounters();
  #rareChanges = 0;
  readonly #hasReplay: boolean;
  /** False also where the engine's replay proved useless, until a rebuild hears from it. */
  #usesReplay: boolean;
  readonly #dpRank: number;
  readonly #limits: SyncLimits;
  readonly #listener: SyncListener;
  readonly #guard: MessageGuard | undefined;
  readonly #applier: EventApplier;
  readonly #fence: PublisherFence;
  readonly #held: HeldMessages;
  readonly #absences: Agreement;
  readonly #shortEnds: Agreement;

  readonly #attempts: ReplayAttempts;
  readonly #probes: ProbeSchedule;
  readonly #retries: RetrySchedule;
  /** Every reason that holds; the applier's, which adds losses. The condition at hand is the stream's own. */
  readonly #doubts: TrustLedger;
  readonly #trust: StreamTrust;

  #state: StreamState = "connecting";
  #stateSinceMs: number | null = null;
  /** Why the index has not caught up with the publisher since the rank was last begun; null once it has. */
  #unsynced: TrustReason | null = "first_history";
  #last = NONE;
  /** Number of the message that the rank was last begun with. */
  #begunAt = 0;
  /** The latest live number, whatever became of it; it goes back when the publisher's count does. */
  #lastSeen = NONE;
  /** Whether the next live message begins the rank, whatever its number. */
  #beginsAnywhere = false;
  /** Whether a live message was applied since the connection was made, and nothing has put its publisher in doubt since. */
  #hasHeardLive = false;
  /** Whether a replay ever brought a message: then the engine keeps some, and a publisher without our last is another. */
  #hasShownHistory = false;
  /** Since when the publisher may be another one; null while it is not in doubt. Nothing is applied meanwhile (Y2). */
  #suspectSinceMs: number | null = null;
  /** When messages began to arrive without news of a connection. */
  #unannouncedSinceMs = Infinity;

  #unfinished: UnfinishedMessage | null = null;
  /** Held messages that are being applied, the next one last; null when that is done. */
  #draining: HeldMessage[] | null = null;

  #lastEventAtMs: number | null = null;
  #lastTimestampSeconds: number | null = null;
  /** Rank that this publisher's last batch named. */
  #batchRank: number | null = null;

  constructor(settings: SyncSettings, dependencies: SyncDependencies) {
    const limits = { ...DEFAULT_SYNC_LIMITS, ...settings.limits };
    const { index, decoder, turn, listener = {} } = dependencies;
    const { holdBudget = new HoldBudget(limits.heldBytesMax) } = dependencies;
    this.#hasReplay = settings.hasReplay;
    this.#usesReplay = settings.hasReplay;
    this.#dpRank = settings.dpRank;
    this.#limits = limits;
    this.#listener = listener;
    this.#guard = dependencies.guard;
    this.#applier = new EventApplier(settings, { index, decoder, listener, turn, counters: this.counters });
    this.#doubts = this.#applier.doubts;
    this.#trust = new StreamTrust(this.#doubts, listener, settings.startedAtMs ?? Number.NaN);
    this.#fence = new PublisherFence(index, limits.anchorAgeMs);
    this.#held = new HeldMessages(limits.heldMessagesMax, limits.heldBytesMax, holdBudget);
    this.#absences = new Agreement(limits.absentAttemptsMax);
    this.#shortEnds = new Agreement(limits.absentAttemptsMax);
    this.#attempts = new ReplayAttempts(limits);
    this.#probes = new ProbeSchedule(limits);
    this.#retries = new RetrySchedule(limits);
    if (settings.resumeFrom !== undefined) this.#resume(settings.resumeFrom);
  }

  /** What waits for a connection after this is a stream that lost it: its publisher has to prove itself. */
  #resume(position: StreamPosition): void {
    const { lastSequenceNumber, begunAt, lastBatchTimestampSeconds, fence, suspectSinceMs, applier } =
      position;
    this.#last = lastSequenceNumber;
    this.#begunAt = begunAt;
    this.#lastTimestampSeconds = lastBatchTimestampSeconds;
    this.#fence.restore(fence);
    this.#applier.restore(applier, lastSequenceNumber);
    this.#unsynced = null;
    this.#suspectSinceMs = suspectSinceMs ?? fence.last.atMs;
    if (this.#applier.mayOverReport) this.#probes.rebuildAt(0);
    this.#settle(this.#trust.nowMs);
  }

  /**
   * Where the stream stands, for whoever copies its blocks at the same moment.
   *
   * @param nowMs - that moment: later news of a connection may tell that the publisher was another one by then.
   * @returns plain data, the caller's; null when the index is not yet what the publisher ever held, or when its publisher
   *   could not prove itself afterwards.
   */
  position(nowMs: number): StreamPosition | null {
    if (!this.#usesReplay || this.#unsynced !== null || this.#beginsAnywhere || this.#last === NONE)
      return null;
    if (this.isApplying) return null;
    return {
      lastSequenceNumber: this.#last,
      begunAt: this.#begunAt,
      lastBatchTimestampSeconds: this.#lastTimestampSeconds,
      fence: this.#fence.marks(),
      suspectSinceMs: this.#suspectSinceMs ?? nowMs,
      applier: this.#applier.state(),
    };
  }

  /** What the stream is doing. */
  get state(): StreamState {
    return this.#state;
  }

  /** Since when, on the owner's clock; null before the first change. */
  get stateSinceMs(): number | null {
    return this.#stateSinceMs;
  }

  /** How far the index can be trusted about this rank, as of the last applied message. */
  get trust(): Trust {
    return this.#trust.trust;
  }

  /** Why not further; null exactly for `exact`. */
  get trustReason(): TrustReason | null {
    return this.#trust.reason;
  }

  /** Since when both are so, on the owner's clock; null before the first call that brings a reading of it. */
  get trustSinceMs(): number | null {
    const { sinceMs } = this.#trust;
    return Number.isNaN(sinceMs) ? null : sinceMs;
  }

  /** The event that the listener is being called for; null where the call is about no one event. It is made at each call. */
  get eventAtHand(): EventAtHand | null {
    return this.#applier.eventAtHand;
  }

  /** Number of the last message applied to the index; null before the first. */
  get lastSequenceNumber(): number | null {
    return this.#last === NONE ? null : this.#last;
  }

  /** First number from which on nothing is missing from the index (0: all of it); null while that is not known. */
  get historyFromSequenceNumber(): number | null {
    if (this.#beginsAnywhere || (this.#last === NONE && this.#unsynced !== null)) return null;
    return this.#applier.historyFrom;
  }

  /** When the last message arrived, live or in a replay, on the owner's clock; null before the first. */
  get lastEventAtMs(): number | null {
    return this.#lastEventAtMs;
  }

  /** The engine's own wall clock in the last applied batch, Unix seconds; null before the first. */
  get lastBatchTimestampSeconds(): number | null {
    return this.#lastTimestampSeconds;
  }

  /** Live messages that wait for a replay at the moment. */
  get heldCount(): number {
    return this.#held.count;
  }

  /** Whether a message is applied in part (Y8): `continueApplying` has to be called. */
  get isApplying(): boolean {
    return this.#unfinished !== null;
  }

  /** When `tick` has something to do next; Infinity when nothing is planned. */
  get nextTickMs(): number {
    if (this.isApplying) return Infinity;
    const attempt = this.#attempts.current;
    if (attempt !== null) return attempt.giveUpMs;
    switch (this.#state) {
      case "paused":
        return this.#retries.pausedUntilMs;
      case "live":
        return this.#probes.dueMs(this.#usesReplay);
      case "connecting":
      case "disconnected":
        return this.#unannouncedSinceMs + this.#limits.connectGraceMs;
      case "replaying":
      case "verifying":
        return Infinity;
    }
  }

  /** The SUB socket is connected (again). Messages of the new connection may be handed in before or after. */
  connected(nowMs: number): void {
    this.#unannouncedSinceMs = Infinity;
    this.#retries.reset();
    // What was seen before may have been another publisher's.
    this.#lastSeen = NONE;
    this.#hasHeardLive = false;
    if (this.#usesReplay) {
      this.#ask(this.#last === NONE ? "history" : "verify", nowMs);
    } else {
      // Without replay a publisher cannot prove that it is the same one, and what it said meanwhile is lost: begin afresh.
      // What waits may come from either side of the break, and mixed it would be a lie.
      if (this.#state !== "connecting") this.#dropHeld("before_restart");
      this.#beginAnywhere(nowMs);
      if (this.#hasReplay) this.#probes.rebuildAt(nowMs + this.#limits.firstProbeMs);
    }
    this.#settle(nowMs);
  }

  /** The SUB socket lost its connection. */
  disconnected(nowMs: number): void {
    this.#abandonAttempt();
    // Nothing that waits would ever be applied (Y3), and the thread's other streams share the room it takes.
    this.#dropHeld(this.#usesReplay ? "covered_by_replay" : "before_restart");
    this.#unannouncedSinceMs = Infinity;
    this.#suspectSinceMs ??= nowMs;
    this.#setState("disconnected", nowMs);
    this.#settle(nowMs);
  }

  /**
   * A live message, in the order of arrival.
   *
   * @param frames - topic, sequence number, payload. While the message is held, its payload must not be overwritten.
   */
  liveMessage(frames: readonly Uint8Array[], nowMs: number): void {
    this.#assertIdle();
    const message = this.#parse(parseLiveFrames, frames);
    if (message === null) {
      // It took a number that we cannot read. The next message shows the gap; a probe does if none comes.
      this.#suspectLoss(nowMs + this.#limits.lossProbeMs);
    } else {
      const { sequenceNumber, payload } = message;
      const wentBackwards = sequenceNumber <= this.#lastSeen;
      this.#lastSeen = sequenceNumber;
      this.#lastEventAtMs = nowMs;
      if (this.#state === "live") this.#takeLive(sequenceNumber, payload, wentBackwards, nowMs);
      else this.#hold(sequenceNumber, payload, wentBackwards, nowMs);
    }
    this.#settle(nowMs);
  }

  /** The owner has sent the request of an attempt: from now on its publisher is waited for, no longer a slot. */
  replayStarted(attempt: number, nowMs: number): void {
    const current = this.#attempts.current;
    if (current?.number === attempt) current.start(nowMs);
  }

  /**
   * One answer to a request for replay, as the DEALER got it.
   *
   * @returns whether more of this attempt is wanted; false after its END, and for attempts that were given up.
   */
  replayMessage(attempt: number, frames: readonly Uint8Array[], nowMs: number): boolean {
    this.#assertIdle();
    const current = this.#attempts.current;
    if (current?.number !== attempt) {
      this.#dropMessage("late_replay");
      return false;
    }
    current.answered(nowMs);
    const reply = this.#parse(parseReplayFrames, frames);
    // A reply that cannot be read leaves a hole, which the next one shows.
    if (reply === null) return true;
    if (reply.kind === "end") this.#endReplay(current, nowMs);
    else {
      current.heard(reply.sequenceNumber, nowMs);
      this.#takeReplayed(current, reply.sequenceNumber, reply.payload, nowMs);
    }
    this.#settle(nowMs);
    return this.#attempts.current === current;
  }

  /**
   * Goes on with the message that is applied in part (Y8), and with held ones behind it.
   *
   * @returns whether the stream takes other calls again.
   */
  continueApplying(nowMs: number): boolean {
    const message = this.#unfinished;
    assert(message !== null, () => "no message is applied in part");
    const applied = this.#applier.proceed();
    if (applied !== "unfinished") {
      this.#unfinished = null;
      const { sequenceNumber, payload, lane, then } = message;
      this.#finish(sequenceNumber, payload, lane, then, applied, nowMs);
      this.#drain(nowMs);
    }
    this.#settle(nowMs);
    return !this.isApplying;
  }

  /** The transport gave an attempt up: nothing heard for its timeout, no connection, no slot. */
  replayFailed(attempt: number, reason: ReplayFailure, nowMs: number): void {
    const current = this.#attempts.current;
    if (current?.number !== attempt) return;
    this.#attempts.end();
    this.#failAttempt(current, reason, nowMs);
    this.#settle(nowMs);
  }

  /**
   * Changes of counters other than `messagesApplied`, `eventsApplied` and `blocksApplied`, which every message changes. While
   * it stays, so do they.
   */
  get rareChanges(): number {
    return this.#rareChanges + this.#applier.rareChanges;
  }

  /** The owner's queue had to drop live messages of this stream. */
  messagesLost(nowMs: number): void {
    this.counters.queueLosses += 1;
    this.#rareChanges += 1;
    this.#suspectLoss(nowMs);
    this.tick(nowMs);
  }

  /** The index forgot something of this rank (an EvictionListener named it). Safe inside the index's call. */
  indexEvicted(reason: EvictionReason): void {
    this.counters.indexEvictions[reason] += 1;
    this.#rareChanges += 1;
    if (reason === "park_limit") this.#applier.noteGivenUp();
    else this.#applier.lose(EVICTIONS[reason].reason);
    this.#reportTrust(this.#trust.nowMs);
  }

  /** Does what is due: call it at `nextTickMs` or a little later. */
  tick(nowMs: number): void {
    const attempt = this.#attempts.current;
    if (nowMs < this.nextTickMs) {
      this.#settle(nowMs);
      return;
    }
    if (attempt !== null) {
      this.#attempts.abandon();
      this.#failAttempt(attempt, "silent", nowMs);
    } else if (this.#state === "live") {
      this.#ask(this.#probes.purposeAt(nowMs), nowMs);
    } else if (this.#state === "paused") {
      this.#ask(this.#last === NONE ? "history" : "verify", nowMs);
    } else {
      this.connected(nowMs);
    }
    this.#settle(nowMs);
  }

  /** Forgets the rank and asks for its whole history again, or begins with the next message. For operators. */
  resync(nowMs: number): void {
    if (this.#state !== "connecting" && this.#state !== "disconnected") {
      this.#usesReplay = this.#hasReplay;
      if (this.#usesReplay) this.#ask("history", nowMs);
      else this.#beginAnywhere(nowMs);
    }
    this.#settle(nowMs);
  }

  /**
   * Ends this stream without touching its blocks, so that another one goes on from where it stands.
   *
   * @returns that; null when it cannot be gone on from, and then nothing has changed.
   */
  handOver(nowMs: number): StreamPosition | null {
    // Where nothing is in doubt, what was applied up to now is its publisher's: a connection that is given up has no late news.
    const position = this.position(nowMs + this.#limits.anchorAgeMs);
    if (position === null) return null;
    this.#abandonAttempt();
    this.#dropHeld("covered_by_replay");
    this.#setState("disconnected", nowMs);
    this.#settle(nowMs);
    return position;
  }

  /** Forgets the rank for good: the engine left the fleet. The stream must not be used afterwards, but for its action. */
  close(): void {
    this.#abandonAttempt();
    this.#held.takeAll();
    this.#draining = null;
    this.#unfinished = null;
    this.#applier.beginAt(0, false);
    this.#leaveSync("first_history");
    this.#reportTrust(this.#trust.nowMs);
  }

  /** The next thing to do, or null. Poll it after every call until it says null. */
  takeAction(): SyncAction | null {
    return this.#attempts.takeAction();
  }

  /**
   * What of the numbered does not hold at the moment, in words; for tests, between two calls.
   *
   * @returns empty when all of it holds.
   */
  check(): string[] {
    const claims: readonly (readonly [boolean, string])[] = [
      [this.#last >= this.#begunAt - 1, "Y1: the last message is not before the first"],
      [this.#state !== "live" || this.#suspectSinceMs === null, "Y2: live, and its publisher in doubt"],
      [this.#state !== "live" || this.isApplying || this.#held.count === 0, "Y3: live, and messages wait"],
      [(this.trustReason === null) === (this.trust === "exact"), "Y5: a reason exactly below exact"],
      [this.trustReason === this.#doubts.reason, "Y5: the reported state is the ledger's"],
      [this.trust !== "exact" || this.#state === "live", "Y5: exact only while live"],
      [this.#hasAttemptIfNeeded(), "Y6: replaying or verifying, and no attempt"],
      [this.#state === "live" || this.#held.count <= this.#limits.heldMessagesMax, "Y6: too many wait"],
      [
        this.#held.count === 0 || this.isApplying || this.nextTickMs < Infinity,
        "Y6: messages wait for nothing",
      ],
      [this.#state !== "paused" || this.nextTickMs < Infinity, "Y6: a pause without end"],
      [!this.isApplying || this.position(0) === null, "Y8: a position amid a message"],
    ];
    return claims.filter(([holds]) => !holds).map(([, claim]) => claim);
  }

  // ── live messages ──────────────────────────────────────────────────────────────────────────────────────────────

  #hold(sequenceNumber: number, payload: Uint8Array, wentBackwards: boolean, nowMs: number): void {
    const attempt = this.#attempts.current;
    if (wentBackwards && attempt !== null) attempt.wentBackwards = true;
    if (this.#state === "connecting" || this.#state === "disconnected") {
      this.#unannouncedSinceMs = Math.min(this.#unannouncedSinceMs, nowMs);
    }
    if (!this.#held.push(sequenceNumber, payload)) {
      this.#dropMessage("hold_full");
      return;
    }
    this.counters.heldMessages += 1;
    this.#rareChanges += 1;
  }

  #takeLive(sequenceNumber: number, payload: Uint8Array, wentBackwards: boolean, nowMs: number): void {
    if (this.#beginsAnywhere) this.#beginAt(sequenceNumber);
    const expected = this.#last + 1;
    if (sequenceNumber < expected) {
      this.#takeOld(sequenceNumber, payload, wentBackwards, nowMs);
    } else if (sequenceNumber > expected) {
      this.#noteGap(sequenceNumber - expected);
      if (this.#usesReplay) {
        this.#dropMessage("covered_by_replay");
        this.#ask(this.#last === NONE ? "history" : "gap", nowMs);
      } else {
        // What was lost cannot be had again, and may have been removals (Y4).
        this.#beginWith(sequenceNumber, payload, nowMs);
      }
    } else if (this.#isEarlierThanLast(payload)) {
      this.#doubtPublisher(sequenceNumber, payload, nowMs);
    } else {
      this.#apply(sequenceNumber, payload, "live", "live", nowMs);
    }
  }

  #tookLive(nowMs: number): void {
    this.#hasHeardLive = true;
    this.#probes.heardLive(this.#usesReplay, nowMs);
  }

  /** A number that was applied before: a replay has overtaken the live stream, or this is another publisher. */
  #takeOld(sequenceNumber: number, payload: Uint8Array, wentBackwards: boolean, nowMs: number): void {
    const compared = this.#fence.compare(sequenceNumber, payload);
    // One publisher's live numbers only grow, and none of its batches is later than its last one.
    const isOvertaken = compared === "not_kept" && !wentBackwards && !this.#isLaterThanLast(payload);
    if (compared === "same" || isOvertaken) this.#dropMessage("duplicate");
    else if (compared === "other" && this.#usesReplay) this.#restart(nowMs, sequenceNumber);
    else this.#doubtPublisher(sequenceNumber, payload, nowMs);
  }

  #doubtPublisher(sequenceNumber: number, payload: Uint8Array, nowMs: number): void {
    if (!this.#usesReplay) {
      this.#noteRestart();
      this.#beginWith(sequenceNumber, payload, nowMs);
      return;
    }
    this.#dropMessage("covered_by_replay");
    this.#hasHeardLive = false;
    this.#verifyInTime(nowMs);
  }

  /** Verifies at once, or after a pause when that was done just before: a confused publisher must not cause a storm. */
  #verifyInTime(nowMs: number): void {
    const untilMs = this.#retries.doubted(nowMs);
    if (untilMs > nowMs) this.#pause(untilMs, nowMs);
    else this.#ask(this.#last === NONE ? "history" : "verify", nowMs);
  }

  #drainHeld(nowMs: number): void {
    this.#draining = [...this.#held.takeAll()].reverse();
    this.#drain(nowMs);
  }

  /** Goes on with what was held, up to a message that is applied in part (Y8). */
  #drain(nowMs: number): void {
    const messages = this.#draining;
    if (messages === null) return;
    while (!this.isApplying && messages.length > 0) this.#takeHeld(messages.pop()!, nowMs);
    if (this.isApplying) return;
    this.#draining = null;
    if (this.#state !== "live" || !this.#usesReplay || this.#beginsAnywhere) return;
    if (this.#lastSeen <= this.#last) return;
    // Some did not fit while the replay ran.
    this.#noteGap(this.#lastSeen - this.#last);
    this.#ask(this.#last === NONE ? "history" : "gap", nowMs);
  }

  #takeHeld({ sequenceNumber, payload }: HeldMessage, nowMs: number): void {
    // A replay was asked for in between: it covers the rest (Y3).
    if (this.#state === "live") this.#takeLive(sequenceNumber, payload, false, nowMs);
    else this.#dropMessage("covered_by_replay");
  }

  // ── replayed messages ──────────────────────────────────────────────────────────────────────────────────────────

  #takeReplayed(attempt: ReplayAttempt, sequenceNumber: number, payload: Uint8Array, nowMs: number): void {
    this.#hasShownHistory = true;
    if (attempt.purpose === "rebuild" && !this.#beginRebuild(attempt, sequenceNumber, nowMs)) return;
    const compared = this.#fence.compare(sequenceNumber, payload);
    if (compared === "other") {
      this.#restart(nowMs, NONE);
      return;
    }
    if (compared === "same" && this.#fence.proves(sequenceNumber)) {
      attempt.isProven = true;
      this.#suspectSinceMs = null;
    }
    // Up to the last one they are the proof that was asked for.
    if (sequenceNumber <= this.#last) return;
    const expected = this.#last + 1;
    if (!attempt.isProven) {
      this.#missInReplay(attempt, PROOF, sequenceNumber, payload, nowMs);
    } else if (sequenceNumber > expected) {
      this.#missInReplay(attempt, expected, sequenceNumber, payload, nowMs);
    } else {
      attempt.appliedCount += 1;
      this.#apply(sequenceNumber, payload, "replay", "replayed", nowMs);
    }
  }

  #tookReplayed(nowMs: number): void {
    const attempt = this.#attempts.current;
    if (attempt === null || !this.#hasJoined(attempt)) return;
    this.#attempts.abandon();
    this.#noteReplayEnd("completed");
    this.#complete(attempt, nowMs);
  }

  /** Whether what waits continues what was applied: then neither the rest of the answer nor its END is needed. */
  #hasJoined(attempt: ReplayAttempt): boolean {
    const first = this.#held.firstSequenceNumber;
    return first !== null && first <= this.#last + 1 && this.#last >= attempt.target;
  }

  /** The answer went on to `sequenceNumber` without what was expected: asked again, or gone for good (Y4). */
  #missInReplay(
    attempt: ReplayAttempt,
    missing: number,
    sequenceNumber: number,
    payload: Uint8Array,
    nowMs: number,
  ): void {
    // With nothing to lose one answer settles it; asking again would cost the engine its whole history once more.
    const hasNothing = this.#last === NONE;
    if (!hasNothing && !this.#absences.isSettledBy(missing)) {
      this.#askAgain(attempt, nowMs);
      return;
    }
    this.#lastSeen = NONE;
    if (missing === PROOF) {
      // It has more than what comes behind our last message, and none of that tells whose it is.
      this.#ask("history", nowMs);
      return;
    }
    this.#setState("replaying", nowMs);
    this.#leaveSync("history_lost");
    attempt.beginsRank();
    this.#beginAt(sequenceNumber);
    attempt.appliedCount += 1;
    this.#apply(sequenceNumber, payload, "replay", "nothing", nowMs);
  }

  #endReplay(attempt: ReplayAttempt, nowMs: number): void {
    this.#attempts.end();
    this.#noteReplayEnd("completed");
    // Nothing was kept, or nothing came since the loss: a later rebuild may find more.
    if (attempt.purpose === "rebuild") return;
    if (!attempt.isProven) {
      if (!this.#absences.isSettledBy(PROOF)) this.#askAgain(attempt, nowMs);
      // It has not even what it said on this connection: it keeps nothing (buffer_steps 0).
      else if (this.#hasHeardLive && !this.#hasShownHistory) this.#goOnWithoutHistory(nowMs);
      else this.#restart(nowMs, attempt.target);
      return;
    }
    if (this.#last < attempt.target) {
      if (!this.#shortEnds.isSettledBy(this.#last)) {
        this.#askAgain(attempt, nowMs);
        return;
      }
      if (this.#last === NONE) {
        // It publishes, and yet keeps nothing.
        this.#goOnWithoutHistory(nowMs);
        return;
      }
      // The publisher insists that it has said no more: what was seen beyond came from one before it.
      if (this.#lastSeen === attempt.target) this.#lastSeen = this.#last;
    }
    this.#complete(attempt, nowMs);
  }

  #complete(attempt: ReplayAttempt, nowMs: number): void {
    const isProbe = attempt.purpose === "probe";
    const hasFound = attempt.appliedCount > 0;
    this.#retries.reset();
    this.#absences.reset();
    this.#shortEnds.reset();
    if (attempt.wentBackwards) {
      this.#verifyInTime(nowMs);
      return;
    }
    this.#unsynced = null;
    this.#suspectSinceMs = null;
    if (isProbe && hasFound) this.#noteGap(attempt.appliedCount);
    const by = !isProbe ? "replay" : hasFound ? "probe" : "vain_probe";
    this.#probes.synced(by, attempt.isLossSuspected, nowMs);
    this.#setState("live", nowMs);
    this.#drainHeld(nowMs);
  }

  #failAttempt(attempt: ReplayAttempt, reason: ReplayFailure, nowMs: number): void {
    this.counters.replayFailures[reason] += 1;
    this.#rareChanges += 1;
    this.#noteReplayEnd("failed");
    if (attempt.purpose === "probe" && attempt.appliedCount > 0) {
      // It has found a lost tail and was cut short in it: what is left is a gap like any other, and not to be waited for.
      this.#noteGap(attempt.appliedCount);
      this.#askAgain(attempt, nowMs);
      return;
    }
    if (attempt.purpose === "probe") {
      this.#probes.probeFailed(nowMs);
      return;
    }
    if (attempt.purpose === "rebuild") return;
    if (this.#isCaughtUp(attempt)) {
      this.#complete(attempt, nowMs);
      return;
    }
    const untilMs = this.#retries.failed(reason, attempt.appliedCount > 0, nowMs);
    if (untilMs === Infinity) this.#goOnWithoutHistory(nowMs);
    else if (untilMs > nowMs) this.#pause(untilMs, nowMs);
    else this.#askAgain(attempt, nowMs);
  }

  /** Whether only the END is missing: everything known to exist was applied, and what waits continues it. */
  #isCaughtUp(attempt: ReplayAttempt): boolean {
    if (!attempt.isProven || !attempt.hasHeard || this.#last < attempt.target) return false;
    if (this.#held.firstSequenceNumber === null) return this.#shortEnds.isSettledBy(this.#last);
    return this.#hasJoined(attempt);
  }

  // ── requests ───────────────────────────────────────────────────────────────────────────────────────────────────

  #ask(purpose: Purpose, nowMs: number): void {
    this.#abandonAttempt();
    if (purpose === "history") this.#beginHistory();
    if (purpose === "probe") {
      this.counters.probes += 1;
      this.#rareChanges += 1;
      this.#probes.probed(nowMs);
    } else if (purpose === "rebuild") {
      this.#probes.planRebuild(nowMs);
    } else {
      this.#dropHeld("covered_by_replay");
      this.#setState(purpose === "verify" ? "verifying" : "replaying", nowMs);
    }
    const plan = {
      purpose,
      from: this.#firstWanted(purpose, nowMs),
      target: this.#lastSeen,
      isProven: this.#last === NONE,
    };
    this.#attempts.begin(plan, nowMs);
    this.counters.replaysRequested += 1;
    this.#rareChanges += 1;
  }

  #firstWanted(purpose: Purpose, nowMs: number): number {
    if (purpose === "rebuild") {
      return this.#applier.mayOverReport ? this.#applier.overReportsSince + 1 : 0;
    }
    if (this.#last === NONE) return 0;
    if (purpose !== "verify") return this.#fence.askLast();
    this.#suspectSinceMs ??= nowMs;
    return this.#fence.askAnchor(this.#suspectSinceMs);
  }

  #askAgain(attempt: ReplayAttempt, nowMs: number): void {
    if (this.#last === NONE) this.#ask("history", nowMs);
    else this.#ask(attempt.isProven ? "gap" : "verify", nowMs);
  }

  #abandonAttempt(): void {
    if (this.#attempts.current === null) return;
    this.#attempts.abandon();
    this.#noteReplayEnd("abandoned");
  }

  #pause(untilMs: number, nowMs: number): void {
    this.#abandonAttempt();
    this.#retries.pauseUntil(untilMs);
    this.#setState("paused", nowMs);
  }

  // ── beginnings ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Clears the rank and expects this message next. From 0 on it is the publisher's whole history. */
  #beginAt(sequenceNumber: number): void {
    this.#applier.beginAt(sequenceNumber, sequenceNumber === 0);
    this.#forgetPublisher();
    this.#last = sequenceNumber - 1;
    this.#begunAt = sequenceNumber;
    if (sequenceNumber === 0) return;
    this.counters.historyLosses += 1;
    this.#rareChanges += 1;
    this.#listener.historyLost?.(sequenceNumber);
  }

  /** Clears the rank and applies a live message as its first, where there is no replay to ask. */
  #beginWith(sequenceNumber: number, payload: Uint8Array, nowMs: number): void {
    this.#beginAt(sequenceNumber);
    this.#probes.beginsLive();
    this.#apply(sequenceNumber, payload, "live", "nothing", nowMs);
  }

  /** Clears the rank and takes the next live message as its first. */
  #beginAnywhere(nowMs: number): void {
    this.#abandonAttempt();
    this.#applier.beginAt(0, false);
    this.#forgetPublisher();
    this.#beginsAnywhere = true;
    this.#unsynced = null;
    this.#probes.beginsAnywhere();
    this.#setState("live", nowMs);
    this.#drainHeld(nowMs);
  }

  /** The engine's replay is of no use: rather a little cache knowledge than none (Y6), and another try later. */
  #goOnWithoutHistory(nowMs: number): void {
    this.#retries.reset();
    this.#usesReplay = false;
    this.#probes.planRebuild(nowMs);
    this.#beginAnywhere(nowMs);
  }

  /** Clears the rank for the rebuild's first message, if what follows is worth it. */
  #beginRebuild(attempt: ReplayAttempt, sequenceNumber: number, nowMs: number): boolean {
    this.#usesReplay = true;
    if (sequenceNumber >= this.#begunAt && !this.#applier.mayOverReport && !this.#beginsAnywhere) {
      // What we have reaches as far back.
      this.#probes.cancelRebuild();
      this.#abandonAttempt();
      return false;
    }
    attempt.beginsRank();
    this.#setState("replaying", nowMs);
    this.#leaveSync("rebuilding");
    this.#beginAt(sequenceNumber);
    return true;
  }

  /**
   * Another publisher speaks: what the rank held is gone, and so is what waits. Its history is asked for at once, or after a
   * pause when the last restart was found just before.
   *
   * @param seen - a live number that it has said, which its history must reach; −1 when none is known.
   */
  #restart(nowMs: number, seen: number): void {
    this.#noteRestart();
    this.#dropHeld("before_restart");
    this.#absences.reset();
    this.#shortEnds.reset();
    this.#lastSeen = seen;
    const untilMs = this.#retries.restarted(nowMs);
    if (untilMs > nowMs) {
      this.#beginHistory();
      this.#pause(untilMs, nowMs);
    } else {
      this.#ask("history", nowMs);
    }
    this.#leaveSync("engine_restarted");
  }

  /** Clears the rank for the publisher's whole history. */
  #beginHistory(): void {
    this.#applier.beginAt(0, true);
    this.#forgetPublisher();
    if (this.#unsynced === null) this.#leaveSync("first_history");
  }

  #forgetPublisher(): void {
    this.#last = NONE;
    this.#begunAt = 0;
    this.#fence.reset();
    this.#batchRank = null;
    this.#suspectSinceMs = null;
    this.#beginsAnywhere = false;
    this.#lastTimestampSeconds = null;
  }

  // ── the rest ───────────────────────────────────────────────────────────────────────────────────────────────────

  #apply(sequenceNumber: number, payload: Uint8Array, lane: Lane, then: Sequel, nowMs: number): void {
    assert(sequenceNumber === this.#last + 1, "Y1: a message that is applied continues the last one");
    assert(this.#suspectSinceMs === null, "Y2: nothing is applied while its publisher is in doubt");
    // A live message noted its arrival itself: it may have been held since.
    if (lane === "replay") {
      assert(
        this.#attempts.current?.isProven === true,
        "Y2: a replay is applied once its publisher is proven",
      );
      this.#lastEventAtMs = nowMs;
    }
    const applied = this.#applyOrPass(sequenceNumber, payload);
    if (applied === "unfinished") this.#unfinished = { sequenceNumber, payload, lane, then };
    else this.#finish(sequenceNumber, payload, lane, then, applied, nowMs);
  }

  #applyOrPass(sequenceNumber: number, payload: Uint8Array): Applied {
    if (this.#guard?.admits(sequenceNumber, payload) !== false)
      return this.#applier.apply(sequenceNumber, payload);
    this.#dropMessage("set_aside");
    return this.#applier.setAside(sequenceNumber);
  }

  #finish(
    sequenceNumber: number,
    payload: Uint8Array,
    lane: Lane,
    then: Sequel,
    header: Exclude<Applied, "unfinished">,
    nowMs: number,
  ): void {
    this.#last = sequenceNumber;
    this.#fence.note(sequenceNumber, payload, nowMs);
    if (header !== null) {
      this.counters.messagesApplied += 1;
      const { dataParallelRank, eventCount, timestampSeconds } = header;
      if (dataParallelRank !== this.#batchRank && dataParallelRank !== null) this.#noteRank(dataParallelRank);
      if (dataParallelRank !== this.#dpRank && dataParallelRank !== null) this.#noteOtherRank();
      this.#lastTimestampSeconds = timestampSeconds;
      this.#listener.messageApplied?.(lane, eventCount, timestampSeconds);
    }
    if (this.#applier.mayOverReport) {
      const isNew = this.#applier.overReportsSince === sequenceNumber;
      if (this.#hasReplay) this.#probes.rebuildAfterLoss(isNew, nowMs);
    } else if (this.#usesReplay) {
      this.#probes.cancelRebuild();
    }
    if (then === "live") this.#tookLive(nowMs);
    else if (then === "replayed") this.#tookReplayed(nowMs);
  }

  #assertIdle(): void {
    assert(this.#unfinished === null, "Y8: a message is applied in part; the next message has to wait");
  }

  /** Engines number ranks over all their nodes, so that one other number is harmless; two are two publishers. */
  #noteRank(dataParallelRank: number): void {
    if (this.#batchRank !== null && !Object.is(this.#batchRank, dataParallelRank)) {
      this.#applier.lose("mixed_dp_ranks");
    }
    this.#batchRank = dataParallelRank;
  }

  #suspectLoss(probeDueMs: number): void {
    if (this.#beginsAnywhere) return;
    const attempt = this.#attempts.current;
    if (attempt !== null) attempt.isLossSuspected = true;
    this.#probes.suspectLoss(probeDueMs);
  }

  #isEarlierThanLast(payload: Uint8Array): boolean {
    const last = this.#lastTimestampSeconds;
    return last !== null && peekTimestampSeconds(payload) < last - this.#limits.clockToleranceSeconds;
  }

  #isLaterThanLast(payload: Uint8Array): boolean {
    const last = this.#lastTimestampSeconds;
    return last !== null && peekTimestampSeconds(payload) > last;
  }

  #parse<Parsed>(
    parser: (frames: readonly Uint8Array[]) => Parsed,
    frames: readonly Uint8Array[],
  ): Parsed | null {
    try {
      return parser(frames);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.counters.faults[error.code] += 1;
      this.#rareChanges += 1;
      this.#listener.messageDropped?.(error.code);
      return null;
    }
  }

  #dropMessage(reason: MessageDropReason): void {
    this.counters.messagesDropped[reason] += 1;
    this.#rareChanges += 1;
    this.#listener.messageDropped?.(reason);
  }

  #dropHeld(reason: MessageDropReason): void {
    for (let left = this.#held.takeAll().length; left > 0; left -= 1) this.#dropMessage(reason);
  }

  #noteOtherRank(): void {
    this.counters.dpRankMismatches += 1;
    this.#rareChanges += 1;
  }

  #noteGap(missedMessages: number): void {
    this.counters.gaps += 1;
    this.#rareChanges += 1;
    this.counters.missedMessages += missedMessages;
    this.#listener.gapFound?.(missedMessages);
  }

  #noteRestart(): void {
    this.counters.restarts += 1;
    this.#rareChanges += 1;
    if (this.#usesReplay) this.#probes.cancelRebuild();
    this.#probes.restarted();
    this.#listener.restarted?.();
  }

  #noteReplayEnd(status: ReplayStatus): void {
    this.counters.replayEnds[status] += 1;
    this.#rareChanges += 1;
    this.#listener.replayEnded?.(status);
  }

  #setState(state: StreamState, nowMs: number): void {
    const previous = this.#state;
    if (state === previous) return;
    this.#state = state;
    this.#stateSinceMs = nowMs;
    this.#listener.stateChanged?.(state, previous);
  }

  /** The rank was cleared and is not what its publisher holds until a replay has filled it. */
  #leaveSync(reason: TrustReason): void {
    this.#unsynced = reason;
  }

  /** The one reason that the stream's situation is, if any. */
  #conditionNow(): TrustReason | null {
    const isConnected = this.#state !== "connecting" && this.#state !== "disconnected";
    if (this.#unsynced !== null) return isConnected ? this.#unsynced : "not_connected";
    switch (this.#state) {
      case "live":
        return null;
      case "replaying":
        return "gap";
      case "verifying":
        return "verifying";
      case "paused":
        return "replay_paused";
      case "disconnected":
        return "disconnected";
      case "connecting":
        return "resumed";
    }
  }

  /** Ends every call: what follows from it is in the trust, and something leads on (Y6). */
  #settle(nowMs: number): void {
    assert(this.#hasAttemptIfNeeded(), "Y6: a stream that is replaying or verifying has an attempt");
    this.#reportTrust(nowMs);
  }

  #hasAttemptIfNeeded(): boolean {
    return (this.#state !== "replaying" && this.#state !== "verifying") || this.#attempts.current !== null;
  }

  #reportTrust(nowMs: number): void {
    const { isLossSuspected, haveProbesFailed } = this.#probes;
    this.#trust.report(this.#conditionNow(), isLossSuspected, haveProbesFailed, nowMs);
  }
}
