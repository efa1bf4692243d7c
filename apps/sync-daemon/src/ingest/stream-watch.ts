/**
 * The only listener of a stream: metrics get all of its events, the log the lines of its level.
 *
 *     core's WorkerSync ─▶ StreamWatch ─┬─▶ StreamMetrics (always)
 *                                       ├─▶ LineGate      (asked first, so that a line that is off is never made)
 *                                       ├─▶ rank history  (changes of state and trust, gaps, restarts; always)
 *                                       ├─▶ event tail    (events, while somebody watches the rank)
 *                                       ├─▶ ThreadSpans   (each replay that brought something or failed; null when tracing is off)
 *                                       └─▶ main thread   (unknown kinds of KV-cache groups, for its answers)
 *
 * | verbosity | lines |
 * | --- | --- |
 * | 1 | restarts of a publisher, lost history, ranks set aside (once until a restart), changes of trust, unknown fields (each once) |
 * | 2 | each message applied, with the sum of its events; messages dropped, gaps, replays, changes of a trust's reason |
 * | 3 | each event applied or dropped |
 * | 5 | changes of the stream's state |
 *
 * No line holds tokens or hashes: core does not hand them out.
 */

import {
  type EventAtHand,
  type DropReason,
  type EventType,
  type FieldOwner,
  RANK_BLOCK_SIZES_MAX,
  type ReplayStatus,
  type StreamState,
  type SyncListener,
  type Trust,
  type TrustReason,
} from "@kvsync/core";
import { LINE_LEVELS } from "@kvsync/observability/signals/log-event";

import type { BoardWriter } from "../board/stream-board.ts";
import { KIND_CHARACTERS_MAX } from "../board/unknown-kinds.ts";
import type { LineGate } from "../log/line-gate.ts";
import type { ThreadSpans } from "../telemetry/thread-spans.ts";
import type { StreamMetrics } from "./stream-metrics.ts";

// Bound here: an imported table is looked up anew at every event.
const { summary: SUMMARY, event: EVENT, debug: DEBUG } = LINE_LEVELS;

/** Unknown fields that a thread logs; the counter goes on. As many names as the decoder gives, at each place. */
const LOGGED_FIELDS_MAX = 128;

/** Whose stream it is, in every line. */
export type StreamNames = Readonly<Record<"pod" | "model", string>> & { readonly dp_rank: number };

/** What a watch tells to, beside metrics. */
export interface WatchDependencies {
  readonly log: Pick<LineGate, "verbosity" | "write">;
  /** Null when tracing is off. */
  readonly spans: ThreadSpans | null;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
  /** Unknown fields that were logged, of all streams of the thread: a fleet of newer engines says each once. */
  readonly loggedFields: Set<string>;
  /** Takes each kind of KV-cache group that no rule is known for, at most KIND_CHARACTERS_MAX characters of it. */
  readonly unknownKind: (kind: string) => void;
  /** Gets what happens to the stream, under its slot. */
  readonly board: Pick<BoardWriter, "history" | "tail">;
  readonly rankSlot: number;
}

/** A replay under way. */
interface OpenReplay {
  readonly startMs: number;
  readonly from: number;
  messages: number;
}

/** A stream's listener. */
export class StreamWatch implements SyncListener {
  readonly #metrics: StreamMetrics;
  readonly #dependencies: WatchDependencies;
  readonly #log: WatchDependencies["log"];
  readonly #names: StreamNames;
  readonly #tail: BoardWriter["tail"];
  readonly #rankSlot: number;
  readonly #now: () => number;
  readonly #sequenceNumber: () => number | null;
  readonly #eventAtHand: () => EventAtHand | null;
  /** Of the message at hand. */
  #blocks = 0;
  #replay: OpenReplay | null = null;
  #isSetAside = false;
  #state: StreamState = "connecting";
  #trust: Trust = "unknown";

  /**
   * @param metrics - of the stream.
   * @param dependencies - log and spans of this thread.
   * @param names - whose stream it is.
   * @param sequenceNumber - of the message applied last.
   * @param eventAtHand - the event that this listener is called for.
   */
  constructor(
    metrics: StreamMetrics,
    dependencies: WatchDependencies,
    names: StreamNames,
    sequenceNumber: () => number | null,
    eventAtHand: () => EventAtHand | null,
  ) {
    this.#metrics = metrics;
    this.#dependencies = dependencies;
    this.#log = dependencies.log;
    this.#names = names;
    this.#tail = dependencies.board.tail;
    this.#rankSlot = dependencies.rankSlot;
    this.#now = dependencies.now;
    this.#sequenceNumber = sequenceNumber;
    this.#eventAtHand = eventAtHand;
  }

  /** A message took effect. */
  messageApplied(lane: "live" | "replay", eventCount: number, timestampSeconds: number): void {
    this.#metrics.messageApplied(lane, eventCount, timestampSeconds);
    if (this.#log.verbosity >= SUMMARY)
      this.#log.write("message_applied", {
        ...this.#names,
        lane,
        sequence_number: this.#sequenceNumber(),
        events: eventCount,
        blocks: this.#blocks,
        sent_at: timestampSeconds,
      });
    if (lane === "replay" && this.#replay !== null) this.#replay.messages += 1;
    this.#blocks = 0;
    this.#tail.publish(this.#rankSlot, this.#sequenceNumber(), () =>
      Math.round(this.#now() - timestampSeconds * 1000),
    );
  }

  /** An event took effect. */
  eventApplied(type: EventType, blockCount: number): void {
    this.#metrics.eventApplied(type);
    this.#blocks += blockCount;
    this.#tail.event(this.#rankSlot, this.#now, type, blockCount, null, this.#eventAtHand);
    if (this.#log.verbosity >= EVENT)
      this.#log.write("event_applied", { ...this.#names, event_type: type, blocks: blockCount });
  }

  /** An event, or some of its blocks, was dropped. */
  eventDropped(type: EventType, reason: DropReason, blockCount: number): void {
    this.#metrics.eventDropped(type, reason);
    this.#tail.event(this.#rankSlot, this.#now, type, blockCount, reason, this.#eventAtHand);
    if (reason === "too_many_block_sizes" && !this.#isSetAside) this.#setAside();
    if (this.#log.verbosity >= EVENT)
      this.#log.write("event_dropped", {
        ...this.#names,
        event_type: type,
        reason,
        blocks: blockCount,
      });
  }

  /** A message was dropped. */
  messageDropped(reason: DropReason): void {
    this.#metrics.messageDropped(reason);
    this.#blocks = 0;
    this.#tail.event(this.#rankSlot, this.#now, "message", 0, reason);
    this.#tail.publish(this.#rankSlot, null, () => Number.NaN);
    if (this.#log.verbosity >= SUMMARY) this.#log.write("message_dropped", { ...this.#names, reason });
  }

  /** Messages were found missing. */
  gapFound(missedMessages: number): void {
    this.#metrics.gapFound(missedMessages);
    const { board, rankSlot, now } = this.#dependencies;
    board.history.gap(rankSlot, now(), (this.#sequenceNumber() ?? -1) + 1, missedMessages);
    if (this.#log.verbosity >= SUMMARY)
      this.#log.write("gap_found", { ...this.#names, missed_messages: missedMessages });
  }

  /** A replay is asked for. */
  replayRequested(from: number): void {
    this.#metrics.replayRequested();
    const { spans, now } = this.#dependencies;
    if (spans !== null) this.#replay = { startMs: now(), from, messages: 0 };
    if (this.#log.verbosity >= SUMMARY)
      this.#log.write("replay_requested", { ...this.#names, from_sequence_number: from });
  }

  /** A replay ended. */
  replayEnded(status: ReplayStatus): void {
    this.#metrics.replayEnded(status);
    const { board, rankSlot, now } = this.#dependencies;
    board.history.replayEnded(rankSlot, now(), status);
    if (this.#replay !== null) this.#finishReplay(this.#replay, status);
    if (this.#log.verbosity >= SUMMARY) this.#log.write("replay_ended", { ...this.#names, status });
  }

  #setAside(): void {
    this.#isSetAside = true;
    const text = `an engine stores in more than ${RANK_BLOCK_SIZES_MAX} block sizes and is set aside. Lookups find none of its blocks until it clears its cache or restarts. Check its configuration`;
    this.#log.write(
      "engine_set_aside",
      { ...this.#names, sequence_number: this.#sequenceNumber() },
      { text },
    );
  }

  /** The engine has a KV-cache group of a kind that no rule is known for. */
  unknownKind(kind: string): void {
    const name = kind.slice(0, KIND_CHARACTERS_MAX);
    this.#dependencies.unknownKind(name);
    this.#log.write("unknown_cache_kind", { ...this.#names, kind: name });
  }

  /** The publisher is another one than before. */
  restarted(): void {
    this.#isSetAside = false;
    const { board, rankSlot, now } = this.#dependencies;
    board.history.restarted(rankSlot, now());
    this.#log.write("engine_restarted", this.#names);
  }

  /** History is gone for good. */
  historyLost(fromSequenceNumber: number): void {
    this.#log.write("history_lost", { ...this.#names, from_sequence_number: fromSequenceNumber });
  }

  /** Answers carry another trust, or another reason for it, from now on. */
  trustChanged(trust: Trust, previous: Trust, reason: TrustReason | null): void {
    if (trust === previous) {
      if (this.#log.verbosity >= SUMMARY)
        this.#log.write("trust_reason_changed", { ...this.#names, trust, reason });
      return;
    }
    this.#trust = trust;
    this.#turned();
    this.#log.write("trust_changed", { ...this.#names, trust, reason, previous });
  }

  /** The engine sends a field that this version does not know. One line for each. */
  unknownField(owner: FieldOwner, name: string): void {
    this.#metrics.unknownField(owner);
    const { loggedFields } = this.#dependencies;
    const field = `${owner} ${name}`;
    if (loggedFields.has(field) || loggedFields.size === LOGGED_FIELDS_MAX) return;
    loggedFields.add(field);
    this.#log.write("unknown_field", { ...this.#names, owner, field: name });
  }

  /** The stream does something else from now on. */
  stateChanged(state: StreamState, previous: StreamState): void {
    this.#state = state;
    this.#turned();
    if (this.#log.verbosity >= DEBUG) this.#log.write("state_changed", { ...this.#names, state, previous });
  }

  #turned(): void {
    const { board, rankSlot, now } = this.#dependencies;
    board.history.turned(rankSlot, now(), this.#state, this.#trust);
  }

  /** One that ended well and brought nothing was a look at an idle stream. */
  #finishReplay({ startMs, from, messages }: OpenReplay, status: ReplayStatus): void {
    this.#replay = null;
    if (status === "completed" && messages === 0) return;
    const { spans, now } = this.#dependencies;
    const facts = {
      "kvsync.from_sequence_number": from,
      "kvsync.messages": messages,
      "kvsync.status": status,
    };
    spans?.finished({
      name: "ingest.replay",
      startMs,
      endMs: now(),
      facts: { ...spanFactsOf(this.#names), ...facts },
      error: status === "failed" ? "replay_failed" : null,
    });
  }
}

/**
 * Whose stream a span is about.
 *
 * @param names - of the stream.
 * @returns attributes.
 */
export function spanFactsOf({ pod, model, dp_rank }: StreamNames): {
  readonly "kvsync.pod": string;
  readonly "kvsync.model": string;
  readonly "kvsync.dp_rank": number;
} {
  return { "kvsync.pod": pod, "kvsync.model": model, "kvsync.dp_rank": dp_rank };
}
