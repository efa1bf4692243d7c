/**
 * Gauges of things that come and go (engines, contexts), set anew before each scrape: what is not set in a round ends.
 */

import type { Gauge, GaugeDefinition, LabelDomains, LabelValues, MetricSlots } from "@kvsync/observability";

/** The gauges of one collector. */
export class GaugeSet {
  readonly #slots: MetricSlots;
  readonly #gauges = new Map<string, { readonly gauge: Gauge; round: number; sum: number }>();
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
    for (const [key, entry] of this.#gauges) {
      if (entry.round === this.#round) {
        entry.gauge.set(entry.sum);
        continue;
      }
      this.#slots.release(entry.gauge);
      this.#gauges.delete(key);
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
    let entry = this.#gauges.get(key);
    if (entry === undefined) {
      entry = { gauge: this.#slots.gauge(definition, labels), round: 0, sum: 0 };
      this.#gauges.set(key, entry);
    }
    entry.sum = entry.round === this.#round ? entry.sum + value : value;
    entry.round = this.#round;
  }
}
