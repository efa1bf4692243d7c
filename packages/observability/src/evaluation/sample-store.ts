/**
 * The latest samples of the series that rules read, for the evaluator.
 *
 *     sampling n ──▶ times   [ t₀ t₁ … tₙ ]        one ring of instants for all tables
 *                 ├▶ table   sold_total            (sample-table.ts)
 *                 └▶ table   sold_total, long
 *
 * Invariants
 *  E1  A series that no selector of the rules fits is not kept.
 *  E2  A table that no rule reads over time keeps the latest sample alone. Ranges above SHORT_SECONDS
 *      have a table of their own, with the few series that are read over them.
 *  E3  There are at most `seriesMax` rows; a series that finds no room is counted in `leftOut`.
 *  E4  A series that is missing in the latest sampling has no present value, like a stale one in
 *      Prometheus. Its rows end once all its samples have left the ring.
 *
 * Not here: where samples come from, and what is computed from them (evaluate.ts).
 */

import type { TreeMatcher } from "../proof/promql-tree.ts";
import { type Labels, SampleTable, type SeriesOwner, type Stretch, type Window } from "./sample-table.ts";

/** A metric name that rules read. */
export interface Read {
  readonly name: string;
  /** Matchers of each selector; a series is kept when it fits all of one selector. */
  readonly selectors: readonly (readonly TreeMatcher[])[];
  /** The longest range over which it is read; 0 when only its present value is. */
  readonly rangeSeconds: number;
}

/** A series at an instant. */
export interface Sample {
  readonly labels: Labels;
  readonly value: number;
  /** When it was taken. */
  readonly atSeconds: number;
}

/** Ranges up to this one share a table with present values. */
export const SHORT_SECONDS = 300;

/** As Prometheus: an older sample is no present value. */
const LOOKBACK_SECONDS = 300;

/** See the head of this file. */
export class SampleStore {
  /** By name, the one with the shorter range first. */
  readonly #tables = new Map<string, { readonly rangeSeconds: number; readonly table: SampleTable }[]>();
  readonly #times: Float64Array;
  readonly #seriesMax: number;
  #samplings = 0;
  #series = 0;
  #leftOut = 0;

  /**
   * @param reads - what rules read.
   * @param intervalSeconds - between samplings.
   * @param seriesMax - rows of all tables.
   * @param common - labels that all series have besides their own.
   */
  constructor(reads: readonly Read[], intervalSeconds: number, seriesMax: number, common: Labels = {}) {
    const placesIn = (seconds: number): number => Math.floor(seconds / intervalSeconds) + 1;
    const longest = Math.max(0, ...reads.map(({ rangeSeconds }) => rangeSeconds));
    this.#times = new Float64Array(placesIn(longest)).fill(Number.NaN);
    this.#seriesMax = seriesMax;
    for (const { name, selectors, rangeSeconds } of reads) {
      const table = new SampleTable(selectors, placesIn(rangeSeconds), this.#times, common);
      const tables = [...(this.#tables.get(name) ?? []), { rangeSeconds, table }];
      this.#tables.set(
        name,
        tables.sort((one, other) => one.rangeSeconds - other.rangeSeconds),
      );
    }
  }

  /** Series that are kept; each bucket of a histogram is one. */
  get series(): number {
    return this.#series;
  }

  /** Series that found no room in the latest sampling (E3). */
  get leftOut(): number {
    return this.#leftOut;
  }

  /** When the latest samples were taken, in seconds since the Unix epoch; NaN before the first. */
  get latestSeconds(): number {
    return this.#samplings === 0 ? Number.NaN : this.#timeOf(this.#samplings - 1);
  }

  /** The number of the latest sampling; -1 before the first. */
  get latest(): number {
    return this.#samplings - 1;
  }

  /**
   * Where a metric is kept.
   *
   * @param name - with `_bucket`, `_sum` or `_count` for a part of a histogram.
   * @returns empty when no rule reads it.
   */
  tables(name: string): readonly SampleTable[] {
    return this.#tables.get(name)?.map(({ table }) => table) ?? [];
  }

  /**
   * The table that has the samples of a range.
   *
   * @param name - of the metric.
   * @param rangeSeconds - 0 for present values.
   * @returns null when no rule reads so much.
   */
  tableFor(name: string, rangeSeconds: number): SampleTable | null {
    return this.#tables.get(name)?.find((one) => one.rangeSeconds >= rangeSeconds)?.table ?? null;
  }

  /**
   * Begins the sampling of an instant. The oldest one ends.
   *
   * @param atSeconds - later than those before.
   */
  begin(atSeconds: number): void {
    this.#times[this.#samplings % this.#times.length] = atSeconds;
    this.#samplings += 1;
    this.#leftOut = 0;
    for (const tables of this.#tables.values()) for (const { table } of tables) table.begin(this.latest);
  }

  /**
   * Keeps a sample of the present instant.
   *
   * @param table - from this object, laid out.
   * @param owner - the series.
   * @param sample - its values; NaN where it has none.
   */
  set(table: SampleTable, owner: SeriesOwner, sample: Float64Array): void {
    const block = table.blockOf(owner, () => this.#hasRoom(table.width));
    if (block !== null) table.set(this.latest, block, sample);
  }

  /** Ends a sampling: series whose last sample has left the ring end (E4). */
  end(): void {
    for (const tables of this.#tables.values())
      for (const { table } of tables) this.#series -= table.end(this.latest);
  }

  /**
   * Whether the latest samples are the present values of an instant.
   *
   * @param atSeconds - not before the latest sampling.
   */
  isFresh(atSeconds: number): boolean {
    return atSeconds - this.latestSeconds < LOOKBACK_SECONDS;
  }

  /**
   * Samplings in a range, both ends included, as Prometheus 2 takes it.
   *
   * @param table - that has them.
   * @param atSeconds - end of the range, not before the latest sampling.
   * @param rangeSeconds - its length.
   */
  window({ places }: SampleTable, atSeconds: number, rangeSeconds: number): Window {
    let first = Math.max(0, this.#samplings - places);
    while (first < this.#samplings && this.#timeOf(first) < atSeconds - rangeSeconds) first += 1;
    return { first, last: this.latest };
  }

  /**
   * The present value of each series.
   *
   * @param name - of the metric.
   * @param matchers - that its labels fit.
   * @param atSeconds - not before the latest sampling.
   * @returns in no order.
   */
  instant(name: string, matchers: readonly TreeMatcher[], atSeconds: number): Sample[] {
    const table = this.tableFor(name, 0);
    if (table === null || !this.isFresh(atSeconds)) return [];
    const samples: Sample[] = [];
    table.each(matchers, (row, labels) => {
      const value = table.value(row, this.latest);
      if (!Number.isNaN(value)) samples.push({ labels, value, atSeconds: this.latestSeconds });
    });
    return samples;
  }

  /**
   * Visits the samples of each series in a range.
   *
   * @param name - of the metric.
   * @param matchers - that its labels fit.
   * @param span - the range.
   * @param span.atSeconds - its end.
   * @param span.rangeSeconds - its length.
   * @param visit - called for each series with samples there. The stretch is the same object each time.
   */
  range(
    name: string,
    matchers: readonly TreeMatcher[],
    { atSeconds, rangeSeconds }: { readonly atSeconds: number; readonly rangeSeconds: number },
    visit: (labels: Labels, stretch: Stretch) => void,
  ): void {
    const table = this.tableFor(name, rangeSeconds);
    if (table === null) return;
    const window = this.window(table, atSeconds, rangeSeconds);
    const stretch = { count: 0, first: 0, firstAt: 0, lastAt: 0, growth: 0 };
    table.each(matchers, (row, labels) => {
      if (table.stretch(row, window, stretch)) visit(labels, stretch);
    });
  }

  #hasRoom(rows: number): boolean {
    const isRoom = this.#series + rows <= this.#seriesMax;
    if (isRoom) this.#series += rows;
    else this.#leftOut += rows;
    return isRoom;
  }

  #timeOf(sampling: number): number {
    return this.#times[sampling % this.#times.length] ?? Number.NaN;
  }
}
