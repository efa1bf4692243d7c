/**
 * An aggregation straight over kept rows, without an object for each row.
 *
 *     rows of a table ── by (pod, le) ──▶ group 0: pod="a"  [le 1, le 10, le +Inf]
 *                                         group 1: pod="b"  [      …             ]
 *
 * Which group a block is in is found out once, when it is taken.
 *
 * Invariants
 *  G1  A group has the members whose named labels are equal. With `le` among the names it has a value
 *      for each bucket, else one value.
 *  G2  A group ends with its last member.
 */

import type { TreeMatcher } from "../proof/promql-tree.ts";
import { type BlockObserver, type Labels, type SampleTable, withBound } from "./sample-table.ts";

/** How a group's value comes about: the first, each further one, and the end. */
export interface Aggregation {
  readonly add: (present: number, value: number) => number;
  readonly end: (present: number, count: number) => number;
}

/** The group of a block that the selector does not take. */
const NONE = -1;

/**
 * Those of the named labels that are there.
 *
 * @param labels - of a series.
 * @param named - to keep.
 */
export function only(labels: Labels, named: readonly string[]): Labels {
  const kept: Record<string, string> = {};
  for (const label of named) {
    const value = labels[label];
    if (value !== undefined && value !== "") kept[label] = value;
  }
  return kept;
}

/**
 * The same text for the same values of the named labels.
 *
 * @param labels - of a series.
 * @param named - in this order.
 */
export function valuesOf(labels: Labels, named: readonly string[]): string {
  let key = "";
  for (const label of named) key += `${labels[label] ?? ""}\u0000`;
  return key;
}

/** See the head of this file. */
export class RowGroups implements BlockObserver {
  /** Bounds of each group's values; null where a group has one value. */
  readonly bounds: readonly string[] | null;
  readonly #table: SampleTable;
  readonly #matchers: readonly TreeMatcher[];
  readonly #rows: readonly number[];
  readonly #named: readonly string[];
  readonly #byKey = new Map<string, number>();
  /** By group. */
  readonly #keys: string[] = [];
  readonly #labels: (Labels | null)[] = [];
  readonly #members: number[] = [];
  readonly #free: number[] = [];
  /** By block. */
  readonly #groups: number[] = [];
  #values = new Float64Array(0);
  #counts = new Int32Array(0);

  /**
   * @param table - of the rows.
   * @param matchers - that they fit.
   * @param named - labels by which they are aggregated.
   */
  constructor(table: SampleTable, matchers: readonly TreeMatcher[], named: readonly string[]) {
    this.#table = table;
    this.#matchers = matchers;
    this.#rows = table.rowsOf(matchers);
    this.#named = named.filter((label) => label !== "le");
    this.bounds = named.includes("le") && table.bounds !== null ? table.bounds : null;
  }

  /** @inheritdoc */
  taken(block: number, labels: Labels): void {
    if (!this.#table.takes(this.#matchers, labels)) {
      this.#groups[block] = NONE;
      return;
    }
    const key = valuesOf(labels, this.#named);
    const group = this.#byKey.get(key) ?? this.#begin(key, labels);
    this.#members[group] = (this.#members[group] ?? 0) + 1;
    this.#groups[block] = group;
  }

  /** @inheritdoc */
  freed(block: number): void {
    const group = this.#groups[block] ?? NONE;
    this.#groups[block] = NONE;
    if (group === NONE) return;
    const members = (this.#members[group] ?? 0) - 1;
    this.#members[group] = members;
    if (members > 0) return;
    this.#byKey.delete(this.#keys[group] ?? "");
    this.#labels[group] = null;
    this.#free.push(group);
  }

  /**
   * Aggregates.
   *
   * @param aggregation - of values.
   * @param valueOf - the value of a row; NaN without one.
   */
  aggregate({ add, end }: Aggregation, valueOf: (row: number) => number): void {
    this.#clear();
    const [values, counts] = [this.#values, this.#counts];
    const [perBlock, perGroup] = [this.#table.width, this.#perGroup];
    for (let block = 0; block < this.#groups.length; block++) {
      const group = this.#groups[block] ?? NONE;
      if (group === NONE) continue;
      for (const row of this.#rows) {
        const value = valueOf(block * perBlock + row);
        if (Number.isNaN(value)) continue;
        const at = group * perGroup + (perGroup === 1 ? 0 : row);
        values[at] = counts[at] === 0 ? value : add(values[at] ?? 0, value);
        counts[at] = (counts[at] ?? 0) + 1;
      }
    }
    for (let at = 0; at < counts.length; at++) {
      const count = counts[at] ?? 0;
      if (count > 0) values[at] = end(values[at] ?? 0, count);
    }
  }

  /**
   * Visits groups with a value, as of the last aggregation.
   *
   * @param visit - called with a group's labels without `le`, and the place of its first value.
   */
  each(visit: (labels: Labels, place: number) => void): void {
    const perGroup = this.#perGroup;
    for (const [group, labels] of this.#labels.entries()) {
      if (labels === null) continue;
      const place = group * perGroup;
      for (let i = place; i < place + perGroup; i++)
        if ((this.#counts[i] ?? 0) > 0) {
          visit(labels, place);
          break;
        }
    }
  }

  /**
   * A value, as of the last aggregation.
   *
   * @param place - from `each`; the place of a bucket comes so many places later.
   * @returns undefined where no row had one.
   */
  value(place: number): number | undefined {
    return (this.#counts[place] ?? 0) > 0 ? this.#values[place] : undefined;
  }

  /** Each value with its labels, as of the last aggregation. */
  elements(): { readonly labels: Labels; readonly value: number }[] {
    const elements: { labels: Labels; value: number }[] = [];
    this.each((labels, place) => {
      for (let i = 0; i < this.#perGroup; i++) {
        const value = this.value(place + i);
        if (value !== undefined) elements.push({ labels: withBound(labels, this.bounds, i), value });
      }
    });
    return elements;
  }

  get #perGroup(): number {
    return this.bounds === null ? 1 : this.#table.width;
  }

  #begin(key: string, labels: Labels): number {
    const group = this.#free.pop() ?? this.#labels.length;
    this.#byKey.set(key, group);
    this.#keys[group] = key;
    this.#labels[group] = only(labels, this.#named);
    this.#members[group] = 0;
    return group;
  }

  #clear(): void {
    const length = this.#labels.length * this.#perGroup;
    if (this.#values.length < length) {
      this.#values = new Float64Array(length);
      this.#counts = new Int32Array(length);
    }
    this.#values.fill(0);
    this.#counts.fill(0);
  }
}
