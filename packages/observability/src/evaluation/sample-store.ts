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

/** A counter over time. */
export interface Stretch {
  /** Samples. */
  readonly count: number;
  readonly first: number;
  readonly firstAt: number;
  readonly lastAt: number;
  /** From the first to the last, over each time that the counter began again. */
  readonly growth: number;
}

/** As Prometheus: an older sample is no present value. */
const LOOKBACK_SECONDS = 300;

/** Selectors of one table: the bits of a number. */
const SELECTORS_MAX = 31;

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
  /** By row: the selectors that fit, a bit for each. */
  readonly fitting: number[] = [];
  readonly free: number[] = [];
  readonly selectors: Read["selectors"];
  values: Float64Array;

  constructor(read: Read, places: number) {
    if (read.selectors.length > SELECTORS_MAX)
      throw new RangeError(`${read.name} is read by more than ${SELECTORS_MAX} selectors`);
    this.places = places;
    this.selectors = read.selectors;
    this.values = new Float64Array(ROWS_AT_FIRST * places).fill(Number.NaN);
  }

  take(labels: Labels): number {
    const row = this.free.pop() ?? this.labels.length;
    this.labels[row] = labels;
    this.fitting[row] = this.selectors.reduce(
      (bits, matchers, i) => (fits(matchers, labels) ? bits | (1 << i) : bits),
      0,
    );
    if ((row + 1) * this.places > this.values.length) {
      const larger = new Float64Array(this.values.length * 2).fill(Number.NaN);
      larger.set(this.values);
      this.values = larger;
    }
    return row;
  }

  /** Whether a row is taken by a selector; known ahead for those that the table was made for. */
  test(matchers: readonly TreeMatcher[]): (row: number, labels: Labels) => boolean {
    const bit = this.selectors.indexOf(matchers);
    if (bit === -1) return (_, labels) => fits(matchers, labels);
    return (row) => ((this.fitting[row] ?? 0) & (1 << bit)) !== 0;
  }

  isEmpty(row: number): boolean {
    return this.values
      .subarray(row * this.places, (row + 1) * this.places)
      .every((value) => Number.isNaN(value));
  }
}

/**
 * Summarizes a row. Times are places of the ring here. A value below the one before is that of a
 * counter that began again.
 */
function summarize(
  values: Float64Array,
  from: number,
  places: readonly number[],
  into: { -readonly [Key in keyof Stretch]: Stretch[Key] },
): void {
  let count = 0;
  let resets = 0;
  let before = 0;
  for (const place of places) {
    const value = values[from + place] ?? Number.NaN;
    if (Number.isNaN(value)) continue;
    if (count === 0) {
      into.first = value;
      into.firstAt = place;
    } else if (value < before) resets += before;
    before = value;
    into.lastAt = place;
    count += 1;
  }
  into.count = count;
  into.growth = before - into.first + resets;
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
    const isTaken = table.test(matchers);
    table.labels.forEach((labels, row) => {
      const value = table.values[row * table.places + column] ?? Number.NaN;
      if (labels !== null && !Number.isNaN(value) && isTaken(row, labels))
        samples.push({ labels, value, atSeconds: taken });
    });
    return samples;
  }

  /**
   * Visits the samples of each series in a range, both ends included, as Prometheus 2 takes it.
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
    const table = this.#tables.get(name);
    if (table === undefined) return;
    const places = this.#placesIn(atSeconds - rangeSeconds, atSeconds);
    const isTaken = table.test(matchers);
    const stretch = { count: 0, first: 0, firstAt: 0, lastAt: 0, growth: 0 };
    for (const [row, labels] of table.labels.entries()) {
      if (labels === null || !isTaken(row, labels)) continue;
      summarize(table.values, row * table.places, places, stretch);
      if (stretch.count === 0) continue;
      stretch.firstAt = this.#times[stretch.firstAt] ?? Number.NaN;
      stretch.lastAt = this.#times[stretch.lastAt] ?? Number.NaN;
      visit(labels, stretch);
    }
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
