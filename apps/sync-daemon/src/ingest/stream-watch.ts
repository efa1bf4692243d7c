/**
 * Listens to one stream for everybody: metrics get all of it, the log what its level lets through.
 *
 *     core's WorkerSync ─▶ StreamWatch ─┬─▶ StreamMetrics (always)
 *                                       └─▶ LineGate      (asked first, so that a line that is off is never made)
 *
 * | verbosity | lines |
 * | --- | --- |
 * | 1 | a publisher that began anew, history that is lost |
 * | 2 | each message applied, with the sum of its events; messages dropped, gaps, replays, changes of trust |
 * | 3 | each event applied or dropped |
 * | 5 | changes of the stream's state |
 *
 * No line holds tokens or hashes: core does not hand them out.
 */

import type { DropReason, EventType, ReplayStatus, StreamState, SyncListener, Trust } from "@kvsync/core";

import type { LineGate } from "../log/line-gate.ts";
import { LINE_LEVELS, type LineLevel } from "../log/log-level.ts";
import type { LogLine } from "../log/log-line.ts";
import type { StreamMetrics } from "./stream-metrics.ts";

// Bound here: an imported table is looked up anew at every event.
const { summary: SUMMARY, event: EVENT, debug: DEBUG } = LINE_LEVELS;

/** Whose stream it is, in every line. */
export type StreamNames = Readonly<Record<"pod" | "model", string>> & { readonly dp_rank: number };

/** A stream's listener. */
export class StreamWatch implements SyncListener {
  readonly #metrics: StreamMetrics;
  readonly #log: LineGate;
  readonly #names: StreamNames;
  readonly #sequenceNumber: () => number | null;
  /** Of the message at hand. */
  #blocks = 0;

  /**
   * @param metrics - of the stream.
   * @param log - of this thread.
   * @param names - whose stream it is.
   * @param sequenceNumber - of the message applied last.
   */
  constructor(
    metrics: StreamMetrics,
    log: LineGate,
    names: StreamNames,
    sequenceNumber: () => number | null,
  ) {
    this.#metrics = metrics;
    this.#log = log;
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

  /** A replay ended. */
  replayEnded(status: ReplayStatus): void {
    this.#metrics.replayEnded(status);
    if (this.#log.verbosity >= SUMMARY)
      this.#say("summary", "replay_ended", "a replay has ended", { status });
  }

  /** The publisher is another one than before. */
  restarted(): void {
    this.#say(
      "info",
      "engine_restarted",
      "an engine's publisher has begun anew; its blocks were cleared",
      {},
    );
  }

  /** History is gone for good. */
  historyLost(fromSequenceNumber: number): void {
    const message = "an engine's history does not reach back far enough; what it held before is unknown";
    this.#say("warn", "history_lost", message, { from_sequence_number: fromSequenceNumber });
  }

  /** Lookups are told another trust from now on. */
  trustChanged(trust: Trust, previous: Trust): void {
    if (this.#log.verbosity >= SUMMARY)
      this.#say("summary", "trust_changed", "a stream's trust has changed", { trust, previous });
  }

  /** The stream does something else from now on. */
  stateChanged(state: StreamState, previous: StreamState): void {
    if (this.#log.verbosity >= DEBUG)
      this.#say("debug", "state_changed", "a stream's state has changed", { state, previous });
  }

  #say(level: LineLevel, event: string, message: string, facts: LogLine["facts"]): void {
    this.#log.write({ level, event, message, facts: { ...this.#names, ...facts } });
  }
}
