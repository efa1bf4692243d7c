/**
 * The definition of a metric, as typed data. Code, exposition and (later) dashboards, rules and
 * documents are projections of such
 * definitions, so a name or label exists exactly once.
 *
 *   definition ──▶ handle (slots.ts)       a wrong or missing label does not compile
 *              └─▶ exposition (exposition.ts)  HELP, TYPE, label order
 *
 * Label values are closed (listed here) or open with a bound: past `maxValues` distinct values, a
 * new one is recorded under `OTHER`. A value of more than `LABEL_VALUE_BYTES_MAX` is recorded
 * there, too. So the number of series is known before the first one exists.
 *
 * Literal types carry the knowledge, kept by `const` type parameters. That is why this package compiles without
 * isolatedDeclarations: a type written next to each definition's value would repeat everything.
 */

/** The value under which open labels record what exceeds their bound. */
export const OTHER = "other";

/**
 * Longest value of an open label, in UTF-8. Names come from engines, and Prometheus loses a whole scrape for one value beyond its own limit, which is set
 * to this one (rules/prometheus.ts).
 */
export const LABEL_VALUE_BYTES_MAX = 256;

/** What a value counts or measures. Only base units; `none` counts things, `timestamp` is seconds since 1970. */
export type Unit = "none" | "seconds" | "bytes" | "ratio" | "percent" | "timestamp";

/** How names end that have a unit; a rate of hits is a ratio by an older name. */
interface UnitSuffixes {
  readonly none: "";
  readonly seconds: "_seconds";
  readonly bytes: "_bytes";
  readonly ratio: "_ratio" | "_rate";
  readonly percent: "_percentage";
  readonly timestamp: "_timestamp_seconds";
}

/** What an open label names. Only `openLabel` makes one, so that the name of a model is not written where a pod's belongs. */
export type OpenLabel<Names extends string> = string & { readonly [named]: Names };

declare const named: unique symbol;

/**
 * A label's values: listed, or open with a bound on how many there may be. Open labels that are easily taken for each other say
 * what they name.
 */
export type LabelDomain = readonly string[] | { readonly maxValues: number; readonly names?: string };

/** Labels by name, in the order of exposition. */
export type LabelDomains = Readonly<Record<string, LabelDomain>>;

/** The values a series needs: one per label, of the closed set where there is one. */
export type LabelValues<L extends LabelDomains> = {
  readonly [K in keyof L]: L[K] extends readonly (infer Value extends string)[]
    ? Value
    : L[K] extends { readonly names: infer Names extends string }
      ? OpenLabel<Names>
      : string;
};

/**
 * A value of an open label.
 *
 * @param _names - what it names, as its domain has it.
 * @param text - the name.
 * @returns the same text.
 */
export function openLabel<const Names extends string>(_names: Names, text: string): OpenLabel<Names> {
  return text as OpenLabel<Names>;
}

/** A name without the namespace: it ends in its unit, a counter's in `_total` after that. */
type BareName<Kind, U extends Unit> = `${string}${UnitSuffixes[U]}${Kind extends "counter" ? "_total" : ""}`;

/** A full exposition name: the namespace, and the bare name after it. */
type MetricName<Kind, U extends Unit> = `${string}_${BareName<Kind, U>}`;

/**
 * What a scrape shows of a series that nobody has written yet. `zero is a fact`: 0, since nothing happened; `rate()` then misses
 * no first increment. `absent until known`: no line, since any number would be an invention.
 */
type Preset = "zero is a fact" | "absent until known";

/** Names of the labels whose values are not listed. */
type OpenLabels<L extends LabelDomains> = {
  [K in keyof L]: L[K] extends readonly string[] ? never : K;
}[keyof L];

/** Zero is never a fact about a gauge, or about series whose labels are not known ahead. */
type PresetOf<Kind, L extends LabelDomains> = Kind extends "gauge"
  ? "absent until known"
  : [OpenLabels<L>] extends [never]
    ? Preset
    : "absent until known";

/** What every definition says. */
interface Definition<Kind extends string, L extends LabelDomains, U extends Unit> {
  readonly kind: Kind;
  /** Full exposition name. */
  readonly name: MetricName<Kind, U>;
  /** One line for `# HELP`. */
  readonly help: string;
  readonly unit: U;
  readonly labels: L;
  readonly preset: Preset;
  /** Which question of an operator it answers. */
  readonly why: string;
}

/** A number that only grows. */
export type CounterDefinition<L extends LabelDomains = LabelDomains, U extends Unit = Unit> = Definition<
  "counter",
  L,
  U
>;

/** A number that moves. */
export type GaugeDefinition<L extends LabelDomains = LabelDomains, U extends Unit = Unit> = Definition<
  "gauge",
  L,
  U
>;

/** A distribution over fixed buckets. */
export interface HistogramDefinition<L extends LabelDomains = LabelDomains, U extends Unit = Unit>
  extends Definition<"histogram", L, U> {
  /** Upper bounds, ascending; +Inf is implied. */
  readonly buckets: readonly number[];
  /** Whether each bucket keeps the trace of its last observation that was traced. */
  readonly exemplars?: true;
}

/** A histogram that keeps traces. */
export type WithExemplars<L extends LabelDomains = LabelDomains, U extends Unit = Unit> = HistogramDefinition<
  L,
  U
> & {
  readonly exemplars: true;
};

/** Any of the three. */
export type MetricDefinition = CounterDefinition | GaugeDefinition | HistogramDefinition;

/** A definition as it is written down: without its kind, and its name without the namespace. */
type Written<D extends Definition<string, L, U>, Kind, L extends LabelDomains, U extends Unit> = Omit<
  D,
  "kind" | "name" | "preset"
> & {
  /** What is exported before the first value. */
  readonly preset: PresetOf<Kind, NoInfer<L>>;
  /** Without the namespace; ends in the unit, a counter's in `_total` after that. */
  readonly name: BareName<Kind, U>;
};

/** Defines the metrics of one application: every name begins with its namespace. */
export interface Definers {
  /**
   * Defines a counter.
   *
   * @param spec - everything but the kind, the name without the namespace.
   * @returns the definition, with label names, closed values and unit as literal types.
   */
  readonly counter: <const L extends LabelDomains, const U extends Unit>(
    spec: Written<CounterDefinition<L, U>, "counter", L, U>,
  ) => CounterDefinition<L, U>;
  /**
   * Defines a gauge.
   *
   * @param spec - everything but the kind, the name without the namespace.
   * @returns the definition, with label names, closed values and unit as literal types.
   */
  readonly gauge: <const L extends LabelDomains, const U extends Unit>(
    spec: Written<GaugeDefinition<L, U>, "gauge", L, U>,
  ) => GaugeDefinition<L, U>;
  /**
   * Defines a histogram.
   *
   * @param spec - everything but the kind, the name without the namespace.
   * @returns the definition, with label names, closed values and unit as literal types.
   */
  readonly histogram: <const L extends LabelDomains, const U extends Unit>(
    spec: Written<HistogramDefinition<L, U>, "histogram", L, U>,
  ) => HistogramDefinition<L, U>;
}

/** Words in lower case; no colon, which is for recorded series. */
const NAMESPACE_FORM = /^[a-z][a-z0-9]*(_[a-z0-9]+)*$/;

/**
 * The definers of an application.
 *
 * @param namespace - what every name of its metrics begins with, without the underscore after it.
 * @returns one function for each kind of metric.
 * @throws RangeError when names that begin so would not be words in lower case.
 */
export function definersOf(namespace: string): Definers {
  if (!NAMESPACE_FORM.test(namespace))
    throw new RangeError(`the namespace is "${namespace}"; expected words in lower case, such as my_app`);
  return {
    counter: (spec) => ({ kind: "counter", ...spec, name: `${namespace}_${spec.name}` }),
    gauge: (spec) => ({ kind: "gauge", ...spec, name: `${namespace}_${spec.name}` }),
    histogram: (spec) => ({ kind: "histogram", ...spec, name: `${namespace}_${spec.name}` }),
  };
}

/**
 * Has a histogram keep the trace of the last traced observation of each bucket.
 *
 * @param definition - of the histogram.
 * @returns the definition, which `Exposition.exemplar` takes.
 */
export function withExemplars<L extends LabelDomains, U extends Unit>(
  definition: HistogramDefinition<L, U>,
): WithExemplars<L, U> {
  return { ...definition, exemplars: true };
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
