/**
 * How engines' events reach the router's index, and how late. It has two implementations.
 * `DirectPath` writes the index as an ideal stream would. `WirePath` encodes, loses and replays.
 * Without faults both have the same results (wire-path.test.ts).
 *
 *     step ends ─▶ publish ─▶ delay, the engine's own order kept ─▶ index
 *
 *  E1  Messages of one engine arrive in order; those of different engines may overtake each other.
 *
 * A path changes only in `publish`, `restarted` and `advance`: it has no clock of its own.
 */
import type { Prng } from "@kvsync/core";

import type { Trust } from "@kvsync/routing";
import type { StepLog } from "./step-log.ts";

/** Counts of a path since its begin. */
export interface EventPathCounts {
  messages: number;
  lost: number;
  reordered: number;
  replays: number;
}

/** See the header. */
export interface EventPath {
  readonly counts: EventPathCounts;
  /** When `advance` has something to do next; Infinity when nothing is under way. */
  readonly nextAt: number;
  /** A step has ended: what it changed goes out. The log is the caller's again afterwards. */
  publish(engine: number, log: StepLog, nowSeconds: number): void;
  /** An engine lost everything, and is up again. */
  restarted(engine: number, nowSeconds: number): void;
  /** Does what is due. */
  advance(nowSeconds: number): void;
  /** How far the index is trusted about an engine. */
  trustOf(engine: number): Trust;
  /** Age of the oldest message that has not arrived; 0 when all have. */
  lagSeconds(nowSeconds: number): number;
}

/** What a network does to messages. */
export interface NetworkSettings {
  /** From the end of a step until the message is applied. */
  readonly delaySeconds: number;
  /** Share of messages that are held up, 0 … 1, so that other engines' later ones overtake them. */
  readonly reorder: number;
  /** Share of messages that are lost, 0 … 1. */
  readonly loss: number;
}

/** A message that is held up takes this much longer on average, or the delay if that is more. */
const HOLD_UP_SECONDS = 0.01;
const TWO_32 = 2 ** 32;

/** When messages arrive: keeps E1. */
export class ArrivalTimes {
  readonly #network: NetworkSettings;
  readonly #random: Prng;
  readonly #last: Float64Array;

  /**
   * @param network - see NetworkSettings.
   * @param engineCount - engines.
   * @param random - decides which messages are held up and how long; used by nobody else.
   */
  constructor(network: NetworkSettings, engineCount: number, random: Prng) {
    this.#network = network;
    this.#random = random;
    this.#last = new Float64Array(engineCount).fill(Number.NEGATIVE_INFINITY);
  }

  /**
   * The arrival of an engine's next message.
   *
   * @param counts - `reordered` goes up when it is held up.
   * @returns its time, not before that of the engine's message before.
   */
  next(engine: number, nowSeconds: number, counts: EventPathCounts): number {
    const { delaySeconds, reorder } = this.#network;
    let at = nowSeconds + delaySeconds;
    if (reorder > 0 && this.#random.chance(reorder)) {
      counts.reordered++;
      const unit = (this.#random.nextU32() + 1) / TWO_32;
      at -= Math.log(unit) * Math.max(HOLD_UP_SECONDS, delaySeconds);
    }
    at = Math.max(at, this.#last[engine] ?? at);
    this.#last[engine] = at;
    return at;
  }
}
