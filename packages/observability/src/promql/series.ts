/**
 * From families to expressions: the only entries into PromQL. Each takes the kind it makes sense
 * for. So `rate` of a gauge, a raw counter, or a quantile of anything but a histogram do not
 * compile.
 */

import type { LabelDomains, Unit } from "../definition.ts";
import { type Family, type LabelsOf, labelsOf, type Matchers, selector } from "./selector.ts";
import { type Buckets, type PerSecond, perSecond, type Range, type Vec } from "./vector.ts";

/** A histogram family with its bounds. */
export interface HistogramFamily<L extends LabelDomains, U extends Unit> extends Family<"histogram", L, U> {
  readonly buckets?: readonly number[];
}

/**
 * Per-second rate of a counter.
 *
 * @param family - a counter.
 * @param range - look-back.
 * @param matchers - which series.
 * @returns one series per label combination.
 */
export function rate<L extends LabelDomains, U extends Unit>(
  family: Family<"counter", L, U>,
  range: Range,
  matchers: Matchers<NoInfer<L>> = {},
): Vec<LabelsOf<L>, PerSecond<U>> {
  return rateOf(family.name, family, range, matchers);
}

/**
 * How much a counter grew.
 *
 * @param family - a counter.
 * @param range - look-back.
 * @param matchers - which series.
 * @returns one series per label combination, in the counter's own unit.
 */
export function increase<L extends LabelDomains, U extends Unit>(
  family: Family<"counter", L, U>,
  range: Range,
  matchers: Matchers<NoInfer<L>> = {},
): Vec<LabelsOf<L>, U> {
  return {
    text: `increase(${selector(family.name, matchers)}[${range}])`,
    labels: labelsOf(family),
    measure: family.unit,
    compound: false,
  };
}

/**
 * The present value of a gauge.
 *
 * @param family - a gauge.
 * @param matchers - which series.
 * @returns one series per label combination.
 */
export function value<L extends LabelDomains, U extends Unit>(
  family: Family<"gauge", L, U>,
  matchers: Matchers<NoInfer<L>> = {},
): Vec<LabelsOf<L>, U> {
  return {
    text: selector(family.name, matchers),
    labels: labelsOf(family),
    measure: family.unit,
    compound: false,
  };
}

/**
 * How old a point in time was when it was scraped. Unlike `age`, it does not depend on where between two scrapes a rule happens to be
 * evaluated: that moment is the same in every round, and may add nearly a whole scrape interval for good.
 *
 * @param family - a gauge of seconds since 1970, by the scraped process's own clock.
 * @param matchers - which series.
 * @returns one series per label combination.
 */
export function ageAtScrape<L extends LabelDomains>(
  family: Family<"gauge", L, "timestamp">,
  matchers: Matchers<NoInfer<L>> = {},
): Vec<LabelsOf<L>, "seconds"> {
  const { text, labels } = value(family, matchers);
  return { text: `timestamp(${text}) - ${text}`, labels, measure: "seconds", compound: true };
}

/**
 * The largest value of a gauge in a look-back.
 *
 * @param family - a gauge.
 * @param range - look-back.
 * @param matchers - which series.
 * @returns one series per label combination.
 */
export function peak<L extends LabelDomains, U extends Unit>(
  family: Family<"gauge", L, U>,
  range: Range,
  matchers: Matchers<NoInfer<L>> = {},
): Vec<LabelsOf<L>, U> {
  return {
    text: `max_over_time(${selector(family.name, matchers)}[${range}])`,
    labels: labelsOf(family),
    measure: family.unit,
    compound: false,
  };
}

/**
 * How often a gauge changed.
 *
 * @param family - a gauge.
 * @param range - look-back.
 * @param matchers - which series.
 * @returns one series per label combination.
 */
export function changes<L extends LabelDomains, U extends Unit>(
  family: Family<"gauge", L, U>,
  range: Range,
  matchers: Matchers<NoInfer<L>> = {},
): Vec<LabelsOf<L>, "none"> {
  return {
    text: `changes(${selector(family.name, matchers)}[${range}])`,
    labels: labelsOf(family),
    measure: "none",
    compound: false,
  };
}

/**
 * Per-second rates of a histogram's buckets; to be `summed` before a quantile is taken.
 *
 * @param family - a histogram.
 * @param range - look-back.
 * @param matchers - which series.
 * @returns one series per label combination and `le`.
 */
export function bucketRate<L extends LabelDomains, U extends Unit>(
  family: HistogramFamily<L, U>,
  range: Range,
  matchers: Matchers<NoInfer<L>> = {},
): Buckets<LabelsOf<L>, U> {
  return {
    text: `rate(${selector(`${family.name}_bucket`, matchers)}[${range}])`,
    labels: labelsOf(family),
    measure: family.unit,
    summed: false,
  };
}

/**
 * Per-second rate of the observations at or below a bound.
 *
 * @param family - a histogram of ours, whose bounds are known.
 * @param bound - one of its bounds.
 * @param range - look-back.
 * @param matchers - which series.
 * @returns one series per label combination.
 * @throws RangeError when the histogram has no such bound: the query would be empty for ever.
 */
export function rateWithin<L extends LabelDomains, U extends Unit>(
  family: HistogramFamily<L, U>,
  bound: number,
  range: Range,
  matchers: Matchers<NoInfer<L>> = {},
): Vec<LabelsOf<L>, "per_second"> {
  if (!(family.buckets?.includes(bound) ?? false)) {
    const bounds = family.buckets?.join(", ") ?? "unknown";
    throw new RangeError(`${family.name} has no bucket bound ${bound}; its bounds are ${bounds}`);
  }
  return {
    text: `rate(${selector(`${family.name}_bucket`, { ...matchers, le: `${bound}` })}[${range}])`,
    labels: labelsOf(family),
    measure: "per_second",
    compound: false,
  };
}

/**
 * Per-second rate of a histogram's observations.
 *
 * @param family - a histogram.
 * @param range - look-back.
 * @param matchers - which series.
 * @returns one series per label combination.
 */
export function countRate<L extends LabelDomains, U extends Unit>(
  family: Family<"histogram", L, U>,
  range: Range,
  matchers: Matchers<NoInfer<L>> = {},
): Vec<LabelsOf<L>, "per_second"> {
  return rateOf(`${family.name}_count`, { ...family, unit: "none" }, range, matchers);
}

/**
 * How many observations a histogram got.
 *
 * @param family - a histogram.
 * @param range - look-back.
 * @param matchers - which series.
 * @returns one series per label combination.
 */
export function countIncrease<L extends LabelDomains, U extends Unit>(
  family: Family<"histogram", L, U>,
  range: Range,
  matchers: Matchers<NoInfer<L>> = {},
): Vec<LabelsOf<L>, "none"> {
  return {
    text: `increase(${selector(`${family.name}_count`, matchers)}[${range}])`,
    labels: labelsOf(family),
    measure: "none",
    compound: false,
  };
}

/**
 * Per-second growth of a histogram's sum.
 *
 * @param family - a histogram.
 * @param range - look-back.
 * @param matchers - which series.
 * @returns one series per label combination.
 */
export function sumRate<L extends LabelDomains, U extends Unit>(
  family: Family<"histogram", L, U>,
  range: Range,
  matchers: Matchers<NoInfer<L>> = {},
): Vec<LabelsOf<L>, PerSecond<U>> {
  return rateOf(`${family.name}_sum`, family, range, matchers);
}

function rateOf<L extends LabelDomains, U extends Unit>(
  name: string,
  family: { readonly labels: L; readonly unit: U },
  range: Range,
  matchers: Matchers<L>,
): Vec<LabelsOf<L>, PerSecond<U>> {
  return {
    text: `rate(${selector(name, matchers)}[${range}])`,
    labels: labelsOf(family),
    measure: perSecond(family.unit),
    compound: false,
  };
}
