/**
 * Gauges of things that come and go (engines, contexts), set again before each scrape. One that is not set in a round ends.
 *
 *     collect ─▶ sums of this round ─▶ what is gone is released ─▶ what is new is opened ─▶ values
 *
 * In this order, so that an old gauge takes no label value from a new one. A gauge that had to record under `other` is
 * opened again in each round, and has its own series as soon as there is room.
 *
 * A round of a large fleet is some 60,000 gauges. Between its parts are turns of the event loop for lookups. No scrape reads
 * the gauges meanwhile: it renders them when the round is over, and scrapes do not overlap (exposition.ts).
 *
 * Invariants
 *  U1  At most SERIES_PER_TURN gauges are added, released, opened or set in one turn of the event loop, and those of one `add` more.
 *  U2  Rounds do not overlap.
 */

import { assert } from "@kvsync/core";
import type { GaugeDefinition, LabelDomains, LabelValues } from "@kvsync/observability/definition";
import type { Gauge, MetricSlots } from "@kvsync/observability/slots";

/** Work of one turn: about a millisecond when the gauges are new, less later. */
export const SERIES_PER_TURN = 500;

interface Entry {
  readonly open: () => Gauge;
  gauge: Gauge | null;
  round: number;
  sum: number;
}

/** The gauges of one collector. */
export class GaugeSet {
  readonly #slots: MetricSlots;
  readonly #entries = new Map<string, Entry>();
  #round = 0;
  #isCollecting = false;
  /** Gauges worked on in this turn. */
  #worked = 0;

  /** @param slots - of this thread. */
  constructor(slots: MetricSlots) {
    this.#slots = slots;
  }

  /**
   * Runs one round.
   *
   * @param fill - calls `add` for everything that is there, and waits for `rest` where it may be interrupted.
   */
  async collect(fill: (add: this["add"], rest: () => Promise<void>) => void | Promise<void>): Promise<void> {
    assert(!this.#isCollecting, "rounds of a set of gauges do not overlap (U2)");
    this.#isCollecting = true;
    try {
      await this.#run(fill);
    } finally {
      this.#isCollecting = false;
    }
  }

  async #run(fill: Parameters<this["collect"]>[0]): Promise<void> {
    this.#worked = 0;
    this.#round += 1;
    await fill(
      (definition, labels, value) => {
        this.add(definition, labels, value);
      },
      () => this.#rest(),
    );
    for (const [key, entry] of this.#entries) {
      const isGone = entry.round !== this.#round;
      if (isGone) this.#entries.delete(key);
      this.#worked += 1;
      if (entry.gauge !== null && (isGone || this.#slots.isOther(entry.gauge))) {
        this.#slots.release(entry.gauge);
        entry.gauge = null;
      }
      if (this.#isTired) await this.#rest();
    }
    for (const entry of this.#entries.values()) {
      entry.gauge ??= entry.open();
      entry.gauge.set(entry.sum);
      this.#worked += 1;
      if (this.#isTired) await this.#rest();
    }
  }

  get #isTired(): boolean {
    return this.#worked >= SERIES_PER_TURN;
  }

  /** Ends the turn when it has done its work. */
  async #rest(): Promise<void> {
    if (!this.#isTired) return;
    await new Promise(setImmediate);
    this.#worked = 0;
  }

  /**
   * Adds to a gauge in the current round; what is added to one series in a round sums.
   *
   * @param definition - from the catalogue.
   * @param labels - of the series.
   * @param value - to add.
   */
  add<L extends LabelDomains>(
    definition: GaugeDefinition<L>,
    labels: LabelValues<NoInfer<L>>,
    value: number,
  ): void {
    this.#worked += 1;
    const key = `${definition.name} ${Object.values(labels).join("\u0000")}`;
    const entry = this.#entries.get(key);
    if (entry === undefined) {
      const open = (): Gauge => this.#slots.gauge(definition, labels);
      this.#entries.set(key, { open, gauge: null, round: this.#round, sum: value });
      return;
    }
    entry.sum = entry.round === this.#round ? entry.sum + value : value;
    entry.round = this.#round;
  }
}
