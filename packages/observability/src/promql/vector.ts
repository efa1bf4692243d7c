/**
 * A PromQL expression for the compiler: its text, and the facts that decide whether using it makes
 * sense.
 *
 *   family ──rate, value──▶ Vec<labels, measure> ──sum by, ratio──▶ Vec ──above──▶ Condition (what an alert is made of)
 *   histogram ──bucketRate──▶ Buckets ──summed──▶ SummedBuckets ──quantile──▶ Vec
 *
 * Invariants
 *  Q1  `labels` is the set that survives, in the type as in the value: a legend, a `by` or an annotation cannot name another.
 *  Q2  A raw counter is no Vec: it becomes one through `rate` or `increase`.
 *  Q3  Only buckets that were summed by (…, le) reach `quantile`.
 *  Q4  `measure` follows from the metric and the operators, so that no axis or text states a unit of its own.
 *
 * Not here: a proof that the text means the same (proof/ reads the rendered text with a parser of its own).
 */

import type { Unit } from "../definition.ts";

/** What an expression's value measures. */
export type Measure = Unit | "per_second" | "bytes_per_second";

/** The measure of a rate: seconds per second are a ratio. */
export type PerSecond<U extends Measure> = U extends "none"
  ? "per_second"
  : U extends "bytes"
    ? "bytes_per_second"
    : U extends "seconds"
      ? "ratio"
      : never;

/** An instant vector. */
export interface Vec<L extends string, M extends Measure> {
  readonly text: string;
  /** The label set of the result, in no particular order. */
  readonly labels: readonly L[];
  readonly measure: M;
  /** True when the text needs parentheses as an operand. */
  readonly compound: boolean;
  /** Never set: makes the label set invariant, so that one vector does not pass for another with more labels. */
  readonly exactly?: (label: L) => L;
}

/** Per-second rates of histogram buckets, one series per `le`; no Vec on purpose (Q3). */
export interface Buckets<L extends string, U extends Measure> {
  readonly text: string;
  readonly labels: readonly L[];
  readonly measure: U;
  readonly summed: false;
}

/** Buckets aggregated by some labels and `le`. */
export interface SummedBuckets<L extends string, U extends Measure> {
  readonly text: string;
  /** The labels beside `le`. */
  readonly labels: readonly L[];
  readonly measure: U;
  readonly summed: true;
}

/** How a condition compares. */
export type Comparator = ">" | ">=" | "<" | "<=" | "==" | "!=";

/** A vector filtered by a comparison: the series for which it holds, with the value on the left side. */
export interface Condition<L extends string, M extends Measure> extends Vec<L, M> {
  readonly comparator: Comparator;
  /** A number in the vector's measure, or the name of the gauge that states the limit. */
  readonly threshold: number | string;
}

/** A look-back, or one of Grafana's. */
export type Range = `${number}${"s" | "m" | "h" | "d"}` | "$__rate_interval" | "$__range";

/**
 * The measure of a unit's rate, as a value.
 *
 * @param unit - what the counter counts.
 * @returns the measure per second.
 * @throws RangeError for units that have no rate.
 */
export function perSecond<U extends Measure>(unit: U): PerSecond<U> {
  const rates: Partial<Record<Measure, Measure>> = {
    none: "per_second",
    bytes: "bytes_per_second",
    seconds: "ratio",
  };
  const measure = rates[unit];
  if (measure === undefined) throw new RangeError(`a counter of ${unit} has no rate`);
  return measure as PerSecond<U>;
}

/**
 * The text of a vector as an operand.
 *
 * @param vector - any expression.
 * @returns its text, in parentheses where precedence could pull it apart.
 */
export function operand(vector: { readonly text: string; readonly compound: boolean }): string {
  return vector.compound ? `(${vector.text})` : vector.text;
}
