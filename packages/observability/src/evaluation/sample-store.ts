/**
 * The latest samples of the series that rules read, for the evaluator.
 *
 *     times   ┌──────┬──────┬─ … ─┬──────┐     one ring of instants for all series
 *             │ t₀   │ t₁   │     │ tₙ   │
 *     table   ├──────┼──────┼─ … ─┼──────┤     one table for each metric name that is read
 *     row 0   │ 12   │ 13   │     │ 19   │     a row for each series: NaN where it had no sample
 *     row 1   │ NaN  │ 4    │     │ 5    │
 *
 * Invariants
 *  E1  A series that no selector of the rules fits is not kept.
 *  E2  A table that no rule reads over time keeps the latest sample alone.
 *  E3  There are at most `seriesMax` rows; a series that finds no room is counted in `leftOut`.
 *  E4  A series that is missing in the latest sampling has no present value, like a stale one in
 *      Prometheus. Its row ends once all its samples have left the ring.
 *
 * Not here: where samples come from, and what is computed from them (evaluate.ts).
 */

import type { TreeMatcher } from "../proof/promql-tree.ts";
import { fits } from "./label-matching.ts";

/** Labels of a series, without the metric's name. */
export type Labels = Readonly<Record<string, string>>;

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

/** A series over time, in ascending order. */
export interface Stretch {
  readonly labels: Labels;
  readonly times: readonly number[];
  readonly values: readonly number[];
}

/** As Prometheus: an older sample is no present value. */
const LOOKBACK_SECONDS = 300;

/** Rows for which a table has room at first. */
const ROWS_AT_FIRST = 16;

/** Where a series is kept. */
export interface Row {
  readonly table: Table;
  readonly row: number;
}

/** The series of one metric name. */
class Table {
  readonly places: number;
  /** By row; null where the row is free. */
  readonly labels: (Labels | null)[] = [];
  readonly free: number[] = [];
  readonly selectors: Read["selectors"];
  values: Float64Array;

  constructor(read: Read, places: number) {
    this.places = places;
    this.selectors = read.selectors;
    this.values = new Float64Array(ROWS_AT_FIRST * places).fill(Number.NaN);
  }

  take(labels: Labels): number {
    const row = this.free.pop() ?? this.labels.length;
    this.labels[row] = labels;
    if ((row + 1) * this.places > this.values.length) {
      const larger = new Float64Array(this.values.length * 2).fill(Number.NaN);
      larger.set(this.values);
      this.values = larger;
    }
    return row;
  }

  isEmpty(row: number): boolean {
    return this.values
      .subarray(row * this.places, (row + 1) * this.places)
      .every((value) => Number.isNaN(value));
  }
}

/** See the head of this file. */
export class SampleStore {
  readonly #tables = new Map<string, Table>();
  readonly #times: Float64Array;
  readonly #seriesMax: number;
  #samplings = 0;
  #series = 0;
  #leftOut = 0;

  /**
   * @param reads - what rules read.
   * @param intervalSeconds - between samplings.
   * @param seriesMax - of all tables.
   */
  constructor(reads: readonly Read[], intervalSeconds: number, seriesMax: number) {
    const places = (seconds: number): number => Math.floor(seconds / intervalSeconds) + 1;
    const longest = Math.max(0, ...reads.map(({ rangeSeconds }) => rangeSeconds));
    this.#times = new Float64Array(places(longest)).fill(Number.NaN);
    this.#seriesMax = seriesMax;
    for (const read of reads)
      this.#tables.set(read.name, new Table(read, read.rangeSeconds > 0 ? this.#times.length : 1));
  }

  /** Series that are kept. */
  get series(): number {
    return this.#series;
  }

  /** Series that found no room, each counted once for each try (E3). */
  get leftOut(): number {
    return this.#leftOut;
  }

  /** When the latest samples were taken, in seconds since the Unix epoch; NaN before the first. */
  get latestSeconds(): number {
    return this.#samplings === 0 ? Number.NaN : (this.#times[this.#place(this.#samplings - 1)] ?? Number.NaN);
  }

  /**
   * Whether a metric is read at all.
   *
   * @param name - with `_bucket`, `_sum` or `_count` for a part of a histogram.
   */
  reads(name: string): boolean {
    return this.#tables.has(name);
  }

  /**
   * Makes place for the samples of an instant. The oldest ones go.
   *
   * @param atSeconds - later than those before.
   */
  begin(atSeconds: number): void {
    const place = this.#place(this.#samplings);
    this.#times[place] = atSeconds;
    this.#samplings += 1;
    for (const table of this.#tables.values()) {
      const column = place % table.places;
      for (let row = 0; row < table.labels.length; row++)
        table.values[row * table.places + column] = Number.NaN;
    }
  }

  /**
   * Finds room for a series.
   *
   * @param name - of the metric.
   * @param labels - of the series; kept as they are.
   * @returns its row, to be kept for the next samplings; null when no rule reads it, or no room is left.
   */
  row(name: string, labels: Labels): Row | null {
    const table = this.#tables.get(name);
    if (!table?.selectors.some((matchers) => fits(matchers, labels))) return null;
    if (this.#series >= this.#seriesMax) {
      this.#leftOut += 1;
      return null;
    }
    this.#series += 1;
    return { table, row: table.take(labels) };
  }

  /**
   * Keeps a sample of the present instant.
   *
   * @param row - from this object, not given back.
   * @param value - of the series.
   */
  set({ table, row }: Row, value: number): void {
    table.values[row * table.places + (this.#place(this.#samplings - 1) % table.places)] = value;
  }

  /**
   * Gives a row back, once nothing is left in it (E4).
   *
   * @param row - from this object.
   * @returns false when it still has samples.
   */
  release({ table, row }: Row): boolean {
    if (!table.isEmpty(row)) return false;
    table.labels[row] = null;
    table.free.push(row);
    this.#series -= 1;
    return true;
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
    const table = this.#tables.get(name);
    const taken = this.latestSeconds;
    if (table === undefined || !(atSeconds - taken < LOOKBACK_SECONDS)) return [];
    const column = this.#place(this.#samplings - 1) % table.places;
    const samples: Sample[] = [];
    table.labels.forEach((labels, row) => {
      const value = table.values[row * table.places + column] ?? Number.NaN;
      if (labels !== null && !Number.isNaN(value) && fits(matchers, labels))
        samples.push({ labels, value, atSeconds: taken });
    });
    return samples;
  }

  /**
   * The samples of each series in a range, both ends included, as Prometheus 2 takes it.
   *
   * @param name - of the metric.
   * @param matchers - that its labels fit.
   * @param atSeconds - the end of the range.
   * @param rangeSeconds - its length.
   * @returns in no order; a series without samples there is left out.
   */
  range(name: string, matchers: readonly TreeMatcher[], atSeconds: number, rangeSeconds: number): Stretch[] {
    const table = this.#tables.get(name);
    if (table === undefined) return [];
    const places = this.#placesIn(atSeconds - rangeSeconds, atSeconds);
    const stretches: Stretch[] = [];
    table.labels.forEach((labels, row) => {
      if (labels === null || !fits(matchers, labels)) return;
      const times: number[] = [];
      const values: number[] = [];
      for (const place of places) {
        const value = table.values[row * table.places + (place % table.places)] ?? Number.NaN;
        if (Number.isNaN(value)) continue;
        times.push(this.#times[place] ?? Number.NaN);
        values.push(value);
      }
      if (values.length > 0) stretches.push({ labels, times, values });
    });
    return stretches;
  }

  #place(sampling: number): number {
    return sampling % this.#times.length;
  }

  /** Places of the ring in ascending order of time. */
  #placesIn(fromSeconds: number, untilSeconds: number): number[] {
    const places: number[] = [];
    for (let n = Math.max(0, this.#samplings - this.#times.length); n < this.#samplings; n++) {
      const at = this.#times[this.#place(n)] ?? Number.NaN;
      if (at >= fromSeconds && at <= untilSeconds) places.push(this.#place(n));
    }
    return places;
  }
}
