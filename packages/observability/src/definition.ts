/**
 * What a metric is, as typed data. Code, exposition and (later) dashboards, rules and documents are projections of such
 * definitions, so a name or label exists exactly once.
 *
 *   definition ──▶ handle (slots.ts)       a wrong or missing label does not compile
 *              └─▶ exposition (exposition.ts)  HELP, TYPE, label order
 *
 * Label values are closed (listed here) or open with a bound: past `maxValues` distinct values, a new one is recorded
 * under `OTHER`. So the number of series is known before the first one exists.
 *
 * Literal types carry the knowledge, kept by `const` type parameters. That is why this package compiles without
 * isolatedDeclarations: spelling each definition's type beside its value would say everything twice.
 */

/** The value under which open labels record what exceeds their bound. */
export const OTHER = "other";

/** What a value counts or measures. Only base units; `none` counts things. */
export type Unit = "none" | "seconds" | "bytes" | "ratio" | "percent";

/** A label's values: listed, or open with a bound on how many there may be. */
export type LabelDomain = readonly string[] | { readonly maxValues: number };

/** Labels by name, in the order of exposition. */
export type LabelDomains = Readonly<Record<string, LabelDomain>>;

/** The values a series needs: one per label, of the closed set where there is one. */
export type LabelValues<L extends LabelDomains> = {
  readonly [K in keyof L]: L[K] extends readonly (infer Value extends string)[] ? Value : string;
};

/** Names start with the namespace; those of counters end in `_total`. */
type MetricName<Kind> = Kind extends "counter" ? `aibrix_${string}_total` : `aibrix_${string}`;

/** What every definition says. */
interface Definition<Kind extends string, L extends LabelDomains> {
  readonly kind: Kind;
  /** Full exposition name. */
  readonly name: MetricName<Kind>;
  /** One line for `# HELP`. */
  readonly help: string;
  readonly unit: Unit;
  readonly labels: L;
  /** Which question of an operator it answers. */
  readonly why: string;
}

/** A number that only grows. */
export type CounterDefinition<L extends LabelDomains = LabelDomains> = Definition<"counter", L>;

/** A number that moves. */
export type GaugeDefinition<L extends LabelDomains = LabelDomains> = Definition<"gauge", L>;

/** A distribution over fixed buckets. */
export interface HistogramDefinition<L extends LabelDomains = LabelDomains>
  extends Definition<"histogram", L> {
  /** Upper bounds, ascending; +Inf is implied. */
  readonly buckets: readonly number[];
}

/** Any of the three. */
export type MetricDefinition = CounterDefinition | GaugeDefinition | HistogramDefinition;

/**
 * Defines a counter.
 *
 * @param spec - everything but the kind.
 * @returns the definition, with label names and closed values as literal types.
 */
export function counter<const L extends LabelDomains>(
  spec: Omit<CounterDefinition<L>, "kind">,
): CounterDefinition<L> {
  return { kind: "counter", ...spec };
}

/**
 * Defines a gauge.
 *
 * @param spec - everything but the kind.
 * @returns the definition, with label names and closed values as literal types.
 */
export function gauge<const L extends LabelDomains>(
  spec: Omit<GaugeDefinition<L>, "kind">,
): GaugeDefinition<L> {
  return { kind: "gauge", ...spec };
}

/**
 * Defines a histogram.
 *
 * @param spec - everything but the kind.
 * @returns the definition, with label names and closed values as literal types.
 */
export function histogram<const L extends LabelDomains>(
  spec: Omit<HistogramDefinition<L>, "kind">,
): HistogramDefinition<L> {
  return { kind: "histogram", ...spec };
}

/**
 * Bucket bounds that double.
 *
 * @param start - the first bound.
 * @param count - how many.
 * @returns `start × 2⁰ … start × 2^(count−1)`.
 */
export function doubling(start: number, count: number): readonly number[] {
  return Array.from({ length: count }, (_, i) => start * 2 ** i);
}
