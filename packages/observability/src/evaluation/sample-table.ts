/**
 * The latest samples of one metric name, in one array of numbers.
 *
 *                   sampling      n-2   n-1    n       a column for each, in a ring
 *     block 0  row 0  le="1"       4     4     5       a block for each series,
 *              row 1  le="+Inf"    9     9    11       with a row for each bucket that rules read
 *     block 1  row 2  le="1"       ·     0     0       · = NaN: no sample
 *
 *     values[column × capacity + row]: a sampling writes one stretch of memory
 *
 * Invariants
 *  T1  A series that no selector fits has no block, and a bucket that none fits has no row.
 *  T2  All rows of a block have the labels of their series, and in a histogram `le` too.
 *  T3  A block is free once the ring has no sample of it. Nothing refers to its series then.
 *
 * A series that ended and came back under another identity has a block of its own.
 */

import type { TreeMatcher } from "../proof/promql-tree.ts";
import { fits } from "./label-matching.ts";

/** Labels of a series, without the metric's name. */
export type Labels = Readonly<Record<string, string>>;

/** A series: the same object as long as there is the series. */
export interface SeriesOwner {
  /** Labels without `le`, the same at each call. */
  readonly labels: () => Labels;
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

/** A stretch that is written again for each row. */
type WrittenStretch = { -readonly [Key in keyof Stretch]: Stretch[Key] };

/** Samplings by number, both included; none when the last comes before the first. */
export interface Window {
  readonly first: number;
  readonly last: number;
}

/** Told of each block that is taken and given back. */
export interface BlockObserver {
  readonly taken: (block: number, labels: Labels) => void;
  readonly freed: (block: number) => void;
}

/** Part by which a full table grows. More would be room that is never used. */
const GROWTH = 1.25;
const BLOCKS_AT_FIRST = 4;

/** The label of a bucket's upper bound. */
const LE = "le";

/** The value of a block that belongs to no series that is kept. */
const UNREAD = -1;

/** See the head of this file. */
export class SampleTable {
  /** Samplings that are kept. */
  readonly places: number;
  /** By sampling, modulo its length. */
  readonly #times: Float64Array;
  readonly #selectors: readonly (readonly TreeMatcher[])[];
  /** Labels that all series have besides their own. */
  readonly #common: Labels;
  readonly #observers = new Map<object, BlockObserver>();
  readonly #blocks = new WeakMap<object, number>();
  /** By block; null where it is free. Labels are not kept, because there are thousands of blocks. */
  readonly #owners: (SeriesOwner | null)[] = [];
  readonly #free: number[] = [];
  /** By block: the sampling of its latest sample. */
  #seen = new Int32Array(0);
  /** By row: the sampling at which its value was another than before. */
  #changed = new Int32Array(0);
  #values = new Float64Array(0);
  /** Rows for which there is room. */
  #capacity = 0;
  /** By row of a block: its bound, and its place among the values of a sample. */
  #bounds: readonly string[] | null = null;
  #sampled: readonly number[] = [0];

  /**
   * @param selectors - matchers of each.
   * @param places - samplings to keep.
   * @param times - of samplings, modulo its length, which is `places` at least.
   * @param common - labels that all series have besides their own.
   */
  constructor(
    selectors: readonly (readonly TreeMatcher[])[],
    places: number,
    times: Float64Array,
    common: Labels,
  ) {
    this.#selectors = selectors;
    this.#common = common;
    this.places = places;
    this.#times = times;
  }

  /** Rows of a block. */
  get width(): number {
    return this.#sampled.length;
  }

  /** Bounds of a block's rows; null when it is no table of buckets. */
  get bounds(): readonly string[] | null {
    return this.#bounds;
  }

  /** Blocks up to the last one, free ones too. */
  get blocks(): number {
    return this.#owners.length;
  }

  /**
   * Makes it a table of one value of each sample.
   *
   * @param place - of the value in `set`'s samples.
   */
  layOutValue(place: number): void {
    this.#sampled = [place];
  }

  /**
   * Makes it a table of buckets. To be called before the first block is taken.
   *
   * @param bounds - values of `le`, in the order of the samples.
   */
  layOutBuckets(bounds: readonly string[]): void {
    const read = bounds.flatMap((bound, place) => (this.#reads(bound) ? [{ bound, place }] : []));
    this.#bounds = read.map(({ bound }) => bound);
    this.#sampled = read.map(({ place }) => place);
  }

  /**
   * Which rows of a block a selector takes.
   *
   * @param matchers - of the selector.
   */
  rowsOf(matchers: readonly TreeMatcher[]): readonly number[] {
    const bounds = this.#bounds;
    if (bounds === null) return [0];
    return bounds.flatMap((bound, row) => (fitsBound(matchers, bound) ? [row] : []));
  }

  /**
   * Whether a selector takes a block.
   *
   * @param matchers - of the selector.
   * @param labels - of the block.
   */
  takes(matchers: readonly TreeMatcher[], labels: Labels): boolean {
    return fits(this.#bounds === null ? matchers : matchers.filter(({ label }) => label !== LE), labels);
  }

  /**
   * The block of a series; one is taken for a series that a selector fits (T1).
   *
   * @param owner - the series.
   * @param hasRoom - whether there may be one more block.
   * @returns null without room.
   */
  blockOf(owner: SeriesOwner, hasRoom: () => boolean): number | null {
    const known = this.#blocks.get(owner);
    if (known !== undefined) return known;
    const labels = this.#labelsOf(owner);
    if (!this.#selectors.some((matchers) => this.takes(matchers, labels))) {
      this.#blocks.set(owner, UNREAD);
      return UNREAD;
    }
    if (!hasRoom()) return null;
    const block = this.#free.pop() ?? this.#owners.length;
    this.#owners[block] = owner;
    this.#blocks.set(owner, block);
    if ((block + 1) * this.width > this.#capacity) this.#grow(block + 1);
    for (const observer of this.#observers.values()) observer.taken(block, labels);
    return block;
  }

  /**
   * Begins a sampling: there is no sample of it yet.
   *
   * @param sampling - its number.
   */
  begin(sampling: number): void {
    const start = this.#column(sampling);
    this.#values.fill(Number.NaN, start, start + this.#owners.length * this.width);
  }

  /**
   * Keeps a sample.
   *
   * @param sampling - the present one.
   * @param block - from `blockOf`, in this sampling.
   * @param sample - the series' values; NaN where it has none.
   */
  set(sampling: number, block: number, sample: Float64Array): void {
    if (block === UNREAD) return;
    const first = block * this.width;
    const now = this.#column(sampling) + first;
    const before = this.#column(sampling + this.places - 1) + first;
    this.#seen[block] = sampling;
    for (let i = 0; i < this.#sampled.length; i++) {
      const value = sample[this.#sampled[i] ?? 0] ?? Number.NaN;
      // NaN differs from itself: what came back has changed.
      if (this.places > 1 && this.#values[before + i] !== value) this.#changed[first + i] = sampling;
      this.#values[now + i] = value;
    }
  }

  /**
   * Ends a sampling: frees blocks without samples (T3).
   *
   * @param sampling - its number.
   * @returns how many rows are free again.
   */
  end(sampling: number): number {
    let freed = 0;
    for (let block = 0; block < this.#owners.length; block++) {
      const owner = this.#owners[block] ?? null;
      if (owner === null || (this.#seen[block] ?? 0) > sampling - this.places) continue;
      this.#blocks.delete(owner);
      this.#owners[block] = null;
      this.#free.push(block);
      for (const observer of this.#observers.values()) observer.freed(block);
      freed += this.width;
    }
    return freed;
  }

  /**
   * Has blocks observed: those that there are at once, others when they come and go.
   *
   * @param key - whose observer it is.
   * @param make - called when there is none for the key.
   * @returns the observer.
   */
  observed<Observer extends BlockObserver>(key: object, make: () => Observer): Observer {
    const known = this.#observers.get(key);
    // The same key has always been given the same kind.
    if (known !== undefined) return known as Observer;
    const observer = make();
    for (const [block, owner] of this.#owners.entries())
      if (owner !== null) observer.taken(block, this.#labelsOf(owner));
    this.#observers.set(key, observer);
    return observer;
  }

  /**
   * The value of a row at a sampling.
   *
   * @param row - of the table.
   * @param sampling - one that is kept.
   * @returns NaN without a sample.
   */
  value(row: number, sampling: number): number {
    return this.#values[this.#column(sampling) + row] ?? Number.NaN;
  }

  /**
   * Summarizes a row of a counter. A value below the one before is that of a counter that began again.
   *
   * @param row - of the table.
   * @param window - samplings that are kept.
   * @param into - written when there are samples.
   * @returns false without samples.
   */
  stretch(row: number, { first, last }: Window, into: WrittenStretch): boolean {
    if (last < first) return false;
    const latest = this.value(row, last);
    // Most counters of a fleet stand still.
    if (!Number.isNaN(latest) && (this.#changed[row] ?? 0) <= first) {
      into.count = last - first + 1;
      into.first = latest;
      into.growth = 0;
      into.firstAt = this.#time(first);
      into.lastAt = this.#time(last);
      return true;
    }
    return this.#walk(row, first, last, into);
  }

  #walk(row: number, firstSampling: number, lastSampling: number, into: WrittenStretch): boolean {
    let count = 0;
    let resets = 0;
    let before = 0;
    for (let sampling = firstSampling; sampling <= lastSampling; sampling++) {
      const value = this.value(row, sampling);
      if (Number.isNaN(value)) continue;
      if (count === 0) {
        into.first = value;
        into.firstAt = sampling;
      } else if (value < before) resets += before;
      before = value;
      into.lastAt = sampling;
      count += 1;
    }
    if (count === 0) return false;
    into.count = count;
    into.growth = before - into.first + resets;
    into.firstAt = this.#time(into.firstAt);
    into.lastAt = this.#time(into.lastAt);
    return true;
  }

  /**
   * Visits rows with their labels, which are made at each visit.
   *
   * @param matchers - that they fit.
   * @param visit - called with a row and its labels.
   */
  each(matchers: readonly TreeMatcher[], visit: (row: number, labels: Labels) => void): void {
    const rows = this.rowsOf(matchers);
    for (const [block, owner] of this.#owners.entries()) {
      if (owner === null) continue;
      const labels = this.#labelsOf(owner);
      if (!this.takes(matchers, labels)) continue;
      for (const row of rows) visit(block * this.width + row, withBound(labels, this.#bounds, row));
    }
  }

  #labelsOf(owner: SeriesOwner): Labels {
    return { ...owner.labels(), ...this.#common };
  }

  #reads(bound: string): boolean {
    return this.#selectors.some((matchers) => fitsBound(matchers, bound));
  }

  #column(sampling: number): number {
    return (sampling % this.places) * this.#capacity;
  }

  #time(sampling: number): number {
    return this.#times[sampling % this.#times.length] ?? Number.NaN;
  }

  #grow(blocks: number): void {
    const room = Math.max(BLOCKS_AT_FIRST, Math.ceil(blocks * GROWTH));
    const capacity = room * this.width;
    const values = new Float64Array(capacity * this.places).fill(Number.NaN);
    for (let column = 0; column < this.places; column++) {
      const from = column * this.#capacity;
      values.set(this.#values.subarray(from, from + this.#capacity), column * capacity);
    }
    this.#values = values;
    this.#capacity = capacity;
    this.#seen = copied(this.#seen, room);
    if (this.places > 1) this.#changed = copied(this.#changed, capacity);
  }
}

/**
 * Labels of a row.
 *
 * @param labels - of its block.
 * @param bounds - of the table.
 * @param row - in the block.
 */
export function withBound(labels: Labels, bounds: readonly string[] | null, row: number): Labels {
  return bounds === null ? labels : { ...labels, [LE]: bounds[row] ?? "" };
}

function fitsBound(matchers: readonly TreeMatcher[], bound: string): boolean {
  const ofBound = matchers.filter(({ label }) => label === LE);
  return fits(ofBound, { [LE]: bound });
}

function copied(from: Int32Array, length: number): Int32Array<ArrayBuffer> {
  const into = new Int32Array(length);
  into.set(from);
  return into;
}
