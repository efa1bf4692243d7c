/**
 * Spans of an ingest thread: one message in so many, and every replay, within a budget.
 *
 *     message ─▶ isNext? ──yes──▶ applied ─▶ finished ─┐
 *     replay  ─────────────────▶ ended ───▶ finished ──┴─▶ budget ─▶ main thread, which alone speaks OpenTelemetry
 *
 * Which messages are taken is random, by drawing the distance to the next one: a message that is not taken costs a decrement.
 */

import type { Counter } from "@kvsync/observability/slots";

import { TokenBucket } from "../token-bucket.ts";
import type { FinishedSpan } from "./finished-span.ts";

/** Spans handed over per second and thread: a few milliseconds of the main thread's time, whatever the ratio and the load. */
export const THREAD_SPANS_PER_SECOND = 100;

/** What a thread's spans work with. */
export interface ThreadSpansDependencies {
  readonly send: (span: FinishedSpan) => void;
  /** Spans beyond the budget. */
  readonly dropped: Counter;
  /** Milliseconds since the Unix epoch that never go back. */
  readonly now: () => number;
  /** 0 … 1. */
  readonly random: () => number;
}

/** Samples and hands over. */
export class ThreadSpans {
  readonly #ratio: number;
  readonly #dependencies: ThreadSpansDependencies;
  #untilNext: number;
  readonly #budget: TokenBucket;

  /**
   * @param ratio - of messages to take, 0 … 1.
   * @param dependencies - where spans go.
   */
  constructor(ratio: number, dependencies: ThreadSpansDependencies) {
    this.#ratio = ratio;
    this.#dependencies = dependencies;
    this.#budget = new TokenBucket(THREAD_SPANS_PER_SECOND, THREAD_SPANS_PER_SECOND, dependencies.now());
    this.#untilNext = this.#draw();
  }

  /** Whether the message at hand is taken. To be asked once for each. */
  isNext(): boolean {
    this.#untilNext -= 1;
    if (this.#untilNext > 0) return false;
    this.#untilNext = this.#draw();
    return true;
  }

  /** Hands a span over, if the budget allows. */
  finished(span: FinishedSpan): void {
    if (this.hasRoom()) this.send(span);
  }

  /** Takes a span from the budget that `send` hands over later; counts it as dropped when there is no room. */
  hasRoom(): boolean {
    const { now, dropped } = this.#dependencies;
    const hasRoom = this.#budget.take(now());
    if (!hasRoom) dropped.inc();
    return hasRoom;
  }

  /** Hands over a span that `hasRoom` took. */
  send(span: FinishedSpan): void {
    this.#dependencies.send(span);
  }

  /** Messages up to the next one that is taken: geometrically distributed, so that each is taken with the same chance. */
  #draw(): number {
    if (this.#ratio >= 1) return 1;
    if (this.#ratio <= 0) return Number.POSITIVE_INFINITY;
    return 1 + Math.floor(Math.log(1 - this.#dependencies.random()) / Math.log(1 - this.#ratio));
  }
}
