/**
 * The way into an ingest thread: messages from the streams' sockets enter the bounded queue, or are refused. A message that was
 * lent and finds nothing waiting may be applied at once.
 *
 *     Stream ──offer, note──▶ Intake ─┬▶ IngestQueue ──take──▶ Ingest
 *                               │     └────────applyNow───────▶
 *                               └──────▶ level of back-pressure, streams whose counters changed
 *
 * It has no sockets, and applies nothing.
 */

import type { ReplayFailure } from "@kvsync/core";
import { BACKPRESSURE_LEVELS } from "@kvsync/observability/kvsync/label-domains";

import type { QueueDropReason } from "../board/drop-reasons.ts";
import type { LineGate } from "../log/line-gate.ts";
import type { Frames } from "../transport/transport.ts";
import type { IngestGauges } from "./ingest-gauges.ts";
import { IngestQueue, type Lane, type QueueLimits } from "./ingest-queue.ts";

/** What happens to a stream between its messages. */
export type Note =
  | { readonly kind: "connected" }
  | { readonly kind: "disconnected" }
  | { readonly kind: "lost" }
  /** Messages of another rank were applied: ranks share the socket. */
  | { readonly kind: "mixed" }
  | { readonly kind: "replay_failed"; readonly attempt: number; readonly failure: ReplayFailure };

/** Whose messages they are. */
export interface IntakeOwner {
  /** A "lost" note lies in the queue. */
  lossNoted: boolean;
  /** Counts a message that did not get in. */
  dropped(reason: QueueDropReason): void;
}

/** What an intake works with. */
export interface IntakeDependencies<Owner> {
  readonly gauges: IngestGauges;
  readonly log: LineGate;
  readonly now: () => number;
  /** There is something to take. */
  readonly wake: () => void;
  /** Applies a live message that nothing waits before; false when it has to wait. */
  readonly applyNow: (stream: Owner, frames: Frames) => boolean;
}

/** One thread's. */
export class Intake<Owner extends IntakeOwner> {
  readonly queue: IngestQueue<Owner, Note>;
  /** Streams whose counters changed since they were shown last. */
  readonly dirty = new Set<Owner>();
  readonly #dependencies: IntakeDependencies<Owner>;
  #level = 0;

  /**
   * @param limits - of the queue.
   * @param dependencies - gauges, log, clock, and who takes.
   */
  constructor(limits: QueueLimits, dependencies: IntakeDependencies<Owner>) {
    this.queue = new IngestQueue(limits);
    this.#dependencies = dependencies;
  }

  /** Back-pressure, as of the last look: 0 for none. */
  get level(): number {
    return this.#level;
  }

  /**
   * Puts a message into the queue, or has its stream count why not (G3).
   *
   * @param lane - where it came from.
   * @param stream - whose it is.
   * @param frames - kept until applied.
   * @param attempt - of the replay; 0 for live.
   * @returns whether it got in.
   */
  offer(lane: Lane, stream: Owner, frames: Frames, attempt: number): boolean {
    return this.#enqueue(lane, stream, frames, attempt, false);
  }

  /**
   * Has a live message applied at once, or does with it as `offer`.
   *
   * @param stream - whose it is.
   * @param frames - valid during the call.
   */
  offerLent(stream: Owner, frames: Frames): void {
    if (this.queue.isIdle && this.#dependencies.applyNow(stream, frames)) return;
    this.#enqueue("live", stream, frames, 0, true);
  }

  #enqueue(lane: Lane, stream: Owner, frames: Frames, attempt: number, areLent: boolean): boolean {
    const refusal = this.queue.offer(lane, stream, frames, this.#dependencies.now(), attempt, areLent);
    this.#dependencies.wake();
    this.noteLevel();
    if (refusal === null) return true;
    stream.dropped(refusal);
    this.changed(stream);
    // A lost replay message is told by the failure of its request; of live ones the stream hears once, in its place.
    if (lane === "live" && !stream.lossNoted) {
      stream.lossNoted = true;
      this.queue.note("live", stream, { kind: "lost" });
    }
    return false;
  }

  /**
   * Notes something in its place among a stream's messages (G1).
   *
   * @param lane - where.
   * @param stream - whose it is.
   * @param note - what.
   */
  note(lane: Lane, stream: Owner, note: Note): void {
    this.queue.note(lane, stream, note);
    this.#dependencies.wake();
  }

  /**
   * A stream's counters have to be shown.
   *
   * @param stream - whose.
   */
  changed(stream: Owner): void {
    this.dirty.add(stream);
    this.#dependencies.wake();
  }

  /** Looks at the queue, and tells of a level that was entered. */
  noteLevel(): void {
    const level = this.queue.level();
    if (level === this.#level) return;
    this.#level = level;
    const name = BACKPRESSURE_LEVELS[level] ?? "overloaded";
    const { gauges, log } = this.#dependencies;
    gauges.levelEntered(name);
    const facts = { backpressure: name, live: this.queue.depth("live"), replay: this.queue.depth("replay") };
    log.write("backpressure", facts, { level: level > 1 ? "warn" : "info" });
  }
}
