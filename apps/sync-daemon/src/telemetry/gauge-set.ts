/**
 * Gauges of things that come and go (engines, contexts), set again before each scrape. One that is not set in a round ends.
 *
 *     collect ─▶ sums of this round ─▶ what is gone is released ─▶ what is new is opened ─▶ values
 *
 * In this order, so that an old gauge takes no label value from a new one. A gauge that had to record under `other` is
 * opened again in each round, and has its own series as soon as there is room.
 */

import type { GaugeDefinition, LabelDomains, LabelValues } from "@kvsync/observability/definition";
import type { Gauge, MetricSlots } from "@kvsync/observability/slots";

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

  /** @param slots - of this thread. */
  constructor(slots: MetricSlots) {
    this.#slots = slots;
  }

  /**
   * Runs one round.
   *
   * @param fill - calls `add` for everything that is there.
   */
  collect(fill: (add: this["add"]) => void): void {
    this.#round += 1;
    fill((definition, labels, value) => {
      this.add(definition, labels, value);
    });
    for (const [key, entry] of this.#entries) {
      const isGone = entry.round !== this.#round;
      if (isGone) this.#entries.delete(key);
      if (entry.gauge === null || (!isGone && !this.#slots.isOther(entry.gauge))) continue;
      this.#slots.release(entry.gauge);
      entry.gauge = null;
    }
    for (const entry of this.#entries.values()) {
      entry.gauge ??= entry.open();
      entry.gauge.set(entry.sum);
    }
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
