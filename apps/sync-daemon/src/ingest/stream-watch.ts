/**
 * The only listener of a stream: metrics get all of its events, the log the lines of its level.
 *
 *     core's WorkerSync ─▶ StreamWatch ─┬─▶ StreamMetrics (always)
 *                                       ├─▶ BurstGate     (asked first, so that a line that is off is never made)
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

import { KIND_CHARACTERS_MAX } from "../board/unknown-kinds.ts";
import type { LineGate } from "../log/line-gate.ts";
import { LINE_LEVELS, type LineLevel } from "../log/log-level.ts";
import type { LogLine } from "../log/log-line.ts";
import type { SpanFacts } from "../telemetry/finished-span.ts";
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
  readonly #sequenceNumber: () => number | null;
  /** Of the message at hand. */
  #blocks = 0;
  #replay: OpenReplay | null = null;
  #isSetAside = false;

  /**
   * @param metrics - of the stream.
   * @param dependencies - log and spans of this thread.
   * @param names - whose stream it is.
   * @param sequenceNumber - of the message applied last.
   */
  constructor(
    metrics: StreamMetrics,
    dependencies: WatchDependencies,
    names: StreamNames,
    sequenceNumber: () => number | null,
  ) {
    this.#metrics = metrics;
    this.#dependencies = dependencies;
    this.#log = dependencies.log;
    this.#names = names;
    this.#sequenceNumber = sequenceNumber;
  }

  /** A message took effect. */
  messageApplied(lane: "live" | "replay", eventCount: number, timestampSeconds: number): void {
    this.#metrics.messageApplied(lane, eventCount, timestampSeconds);
    if (this.#log.verbosity >= SUMMARY)
      this.#say("summary", "message_applied", "applied a message", {
        lane,
        sequence_number: this.#sequenceNumber(),
        events: eventCount,
        blocks: this.#blocks,
        sent_at: timestampSeconds,
      });
    if (lane === "replay" && this.#replay !== null) this.#replay.messages += 1;
    this.#blocks = 0;
  }

  /** An event took effect. */
  eventApplied(type: EventType, blockCount: number): void {
    this.#metrics.eventApplied(type);
    this.#blocks += blockCount;
    if (this.#log.verbosity >= EVENT)
      this.#say("event", "event_applied", "applied an event", { event_type: type, blocks: blockCount });
  }

  /** An event, or some of its blocks, was dropped. */
  eventDropped(type: EventType, reason: DropReason, blockCount: number): void {
    this.#metrics.eventDropped(type, reason);
    if (reason === "too_many_block_sizes" && !this.#isSetAside) this.#setAside();
    if (this.#log.verbosity >= EVENT)
      this.#say("event", "event_dropped", "dropped an event", {
        event_type: type,
        reason,
        blocks: blockCount,
      });
  }

  /** A message was dropped. */
  messageDropped(reason: DropReason): void {
    this.#metrics.messageDropped(reason);
    this.#blocks = 0;
    if (this.#log.verbosity >= SUMMARY)
      this.#say("summary", "message_dropped", "dropped a message", { reason });
  }

  /** Messages were found missing. */
  gapFound(missedMessages: number): void {
    this.#metrics.gapFound(missedMessages);
    if (this.#log.verbosity >= SUMMARY)
      this.#say("summary", "gap_found", "messages are missing", { missed_messages: missedMessages });
  }

  /** A replay is asked for. */
  replayRequested(from: number): void {
    this.#metrics.replayRequested();
    const { spans, now } = this.#dependencies;
    if (spans !== null) this.#replay = { startMs: now(), from, messages: 0 };
    if (this.#log.verbosity >= SUMMARY)
      this.#say("summary", "replay_requested", "asks for a replay", { from_sequence_number: from });
  }

  /** A replay ended. */
  replayEnded(status: ReplayStatus): void {
    this.#metrics.replayEnded(status);
    if (this.#replay !== null) this.#finishReplay(this.#replay, status);
    if (this.#log.verbosity >= SUMMARY)
      this.#say("summary", "replay_ended", "a replay has ended", { status });
  }

  #setAside(): void {
    this.#isSetAside = true;
    const message = `an engine stores in more than ${RANK_BLOCK_SIZES_MAX} block sizes and is set aside. Lookups find none of its blocks until it clears its cache or restarts. Check its configuration`;
    this.#say("warn", "engine_set_aside", message, { sequence_number: this.#sequenceNumber() });
  }

  /** The engine has a KV-cache group of a kind that no rule is known for. */
  unknownKind(kind: string): void {
    const name = kind.slice(0, KIND_CHARACTERS_MAX);
    this.#dependencies.unknownKind(name);
    const message =
      "an engine has a KV-cache group of an unknown kind or without its size. A match needs all of its blocks, and the rank is partial";
    this.#say("warn", "unknown_cache_kind", message, { kind: name });
  }

  /** The publisher is another one than before. */
  restarted(): void {
    this.#isSetAside = false;
    this.#say("info", "engine_restarted", "an engine's publisher has restarted; its blocks were cleared", {});
  }

  /** History is gone for good. */
  historyLost(fromSequenceNumber: number): void {
    const message = "an engine's history does not reach back far enough; its earlier blocks are unknown";
    this.#say("warn", "history_lost", message, { from_sequence_number: fromSequenceNumber });
  }

  /** Answers carry another trust, or another reason for it, from now on. */
  trustChanged(trust: Trust, previous: Trust, reason: TrustReason | null): void {
    if (trust === previous) {
      if (this.#log.verbosity >= SUMMARY)
        this.#say("summary", "trust_reason_changed", "a rank's trust has another reason", { trust, reason });
      return;
    }
    this.#say("info", "trust_changed", "a rank's trust has changed", { trust, reason, previous });
  }

  /** The engine sends a field that this version does not know. One line for each. */
  unknownField(owner: FieldOwner, name: string): void {
    this.#metrics.unknownField(owner);
    const { loggedFields } = this.#dependencies;
    const field = `${owner} ${name}`;
    if (loggedFields.has(field) || loggedFields.size === LOGGED_FIELDS_MAX) return;
    loggedFields.add(field);
    const message = "an engine sends a field that is not known; its answers are worth less until it is";
    this.#say("warn", "unknown_field", message, { owner, field: name });
  }

  /** The stream does something else from now on. */
  stateChanged(state: StreamState, previous: StreamState): void {
    if (this.#log.verbosity >= DEBUG)
      this.#say("debug", "state_changed", "a stream's state has changed", { state, previous });
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

  #say(level: LineLevel, event: string, message: string, facts: LogLine["facts"]): void {
    this.#log.write({ level, event, message, facts: { ...this.#names, ...facts } });
  }
}

/**
 * Whose stream a span is about.
 *
 * @param names - of the stream.
 * @returns attributes.
 */
export function spanFactsOf({ pod, model, dp_rank }: StreamNames): SpanFacts {
  return { "kvsync.pod": pod, "kvsync.model": model, "kvsync.dp_rank": dp_rank };
}
