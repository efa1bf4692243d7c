/**
 * Events without the protocol: each engine's changes are written to the index when their message would arrive. For what loses
 * nothing it is exactly what the streams do, at a fraction of the cost; loss and broken streams need `WirePath`.
 *
 * An engine's restart reaches the index as one more message, which forgets the rank. A stream
 * detects a new publisher as soon as it is connected to it.
 */
import type { Prng } from "@kvsync/core";

import type { Trust } from "@kvsync/routing";
import { ArrivalTimes, type EventPath, type EventPathCounts, type NetworkSettings } from "./event-path.ts";
import { EventQueue } from "./event-queue.ts";
import type { FleetIndex } from "./fleet-index.ts";
import { readStepLog, StepLog, type StepLogReader } from "./step-log.ts";

interface Message {
  readonly engine: number;
  /** The how manieth that was sent. */
  readonly ordinal: number;
  readonly words: Uint32Array;
}

/** When the messages on their way were sent: told in the order of sending, arrived in any order. */
class SendTimes {
  /** By ordinal from `#first`; NaN for what has arrived. */
  #times: number[] = [];
  #first = 0;
  #head = 0;

  /** When the oldest message on its way was sent; null when there is none. */
  get oldest(): number | null {
    return this.#times[this.#head] ?? null;
  }

  /** @returns the message's ordinal. */
  sent(atSeconds: number): number {
    return this.#first + this.#times.push(atSeconds) - 1;
  }

  arrived(ordinal: number): void {
    this.#times[ordinal - this.#first] = Number.NaN;
    while (Number.isNaN(this.#times[this.#head])) this.#head++;
    // Compacted when half is dead, so that each entry is moved once on average.
    if (this.#head * 2 < this.#times.length) return;
    this.#times = this.#times.slice(this.#head);
    this.#first += this.#head;
    this.#head = 0;
  }
}

/** See the header. */
export class DirectPath implements EventPath {
  readonly counts: EventPathCounts = { messages: 0, lost: 0, reordered: 0, replays: 0 };
  readonly #writers: readonly StepLogReader[];
  readonly #times: ArrivalTimes;
  readonly #isImmediate: boolean;
  readonly #queue = new EventQueue();
  readonly #messages: (Message | null)[] = [];
  readonly #unused: number[] = [];
  readonly #sendTimes = new SendTimes();
  readonly #cleared = new StepLog();

  /**
   * @param index - written to.
   * @param engineCount - engines.
   * @param network - its loss must be 0.
   * @param random - of the network; used by nobody else.
   */
  constructor(index: FleetIndex, engineCount: number, network: NetworkSettings, random: Prng) {
    this.#writers = Array.from({ length: engineCount }, (_, engine) => index.writer(engine));
    this.#times = new ArrivalTimes(network, engineCount, random);
    this.#isImmediate = network.delaySeconds === 0 && network.reorder === 0;
    this.#cleared.cleared();
  }

  /** See EventPath. */
  get nextAt(): number {
    return this.#queue.nextAt;
  }

  /** See EventPath. */
  publish(engine: number, log: StepLog, nowSeconds: number): void {
    this.counts.messages++;
    const writer = this.#writers[engine];
    if (this.#isImmediate && writer !== undefined) {
      log.tell(writer);
      return;
    }
    const slot = this.#unused.pop() ?? this.#messages.length;
    this.#messages[slot] = { engine, ordinal: this.#sendTimes.sent(nowSeconds), words: log.copy() };
    this.#queue.plan(this.#times.next(engine, nowSeconds, this.counts), slot);
  }

  /** See EventPath. */
  restarted(engine: number, nowSeconds: number): void {
    this.publish(engine, this.#cleared, nowSeconds);
  }

  /** See EventPath. */
  advance(nowSeconds: number): void {
    while (this.#queue.nextAt <= nowSeconds) {
      const slot = this.#queue.take();
      const message = this.#messages[slot];
      if (message === undefined || message === null) continue;
      this.#messages[slot] = null;
      this.#unused.push(slot);
      this.#sendTimes.arrived(message.ordinal);
      const writer = this.#writers[message.engine];
      if (writer !== undefined) readStepLog(message.words, writer);
    }
  }

  /** See EventPath. Nothing is lost, so that what is there is right. */
  trustOf(): Trust {
    return "exact";
  }

  /** See EventPath. */
  lagSeconds(nowSeconds: number): number {
    return nowSeconds - (this.#sendTimes.oldest ?? nowSeconds);
  }
}
