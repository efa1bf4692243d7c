/**
 * Made-up series that drive an alert across its threshold, for `promtool test rules`. An alert's
 * trial is a function of the level that the alert watches. The test passes a level barely past the
 * threshold and one barely before it.
 *
 * Series are typed over the catalogue like everything else: a trial with a label or value that the metric lacks does not compile.
 */

import type { LabelDomain, LabelDomains, Unit } from "../definition.ts";
import type { Family } from "../promql/selector.ts";
import type { HistogramFamily } from "../promql/series.ts";

/** One input series of a promtool test, without its length. */
export interface TrialSeries {
  /** Name and labels. */
  readonly series: string;
  /** Value at the start. */
  readonly start: number;
  /** Growth per second. */
  readonly perSecond: number;
}

type ValueOf<D extends LabelDomain> = D extends readonly (infer Value extends string)[] ? Value : string;

/** A value for every label of a family. */
type SeriesLabels<L extends LabelDomains> = { readonly [K in keyof L]: ValueOf<L[K]> };

/** The scraped process that trials speak of unless they say otherwise. */
export interface Target {
  readonly cluster?: string;
  readonly namespace?: string;
  readonly job: string;
  readonly instance: string;
}

/** Makes the series of trials. */
export interface TrialMakers {
  /**
   * A gauge that stays where it is.
   *
   * @param family - a gauge.
   * @param labels - one value per label.
   * @param value - its value.
   * @returns its series.
   */
  readonly steady: <L extends LabelDomains, U extends Unit>(
    family: Family<"gauge", L, U>,
    labels: SeriesLabels<NoInfer<L>> & Partial<Target>,
    value: number,
  ) => TrialSeries;
  /**
   * A counter that grows evenly.
   *
   * @param family - a counter.
   * @param labels - one value per label.
   * @param perSecond - its rate.
   * @returns its series.
   */
  readonly growing: <L extends LabelDomains, U extends Unit>(
    family: Family<"counter", L, U>,
    labels: SeriesLabels<NoInfer<L>> & Partial<Target>,
    perSecond: number,
  ) => TrialSeries;
  /**
   * A histogram whose quantile is a given value, by linear interpolation as Prometheus does it: some
   * observations lie in the first bucket, the rest in the bucket of the target.
   *
   * @param family - a histogram with known bounds.
   * @param labels - one value per label.
   * @param q - the quantile.
   * @param quantile - what it shall be.
   * @returns the series of all buckets, the sum and the count.
   * @throws RangeError when the value is not between the bounds, or too far up in its bucket for the quantile.
   */
  readonly distributed: <L extends LabelDomains, U extends Unit>(
    family: HistogramFamily<L, U>,
    labels: SeriesLabels<NoInfer<L>>,
    q: number,
    quantile: number,
  ) => TrialSeries[];
  /**
   * A histogram of which a share of observations lies at or below a bound, the rest above it.
   *
   * @param family - a histogram with known bounds.
   * @param labels - one value per label.
   * @param bound - one of its bounds, but not the last.
   * @param share - 0 to 1.
   * @returns the series of all buckets, the sum and the count.
   */
  readonly sharedAt: <L extends LabelDomains, U extends Unit>(
    family: HistogramFamily<L, U>,
    labels: SeriesLabels<NoInfer<L>>,
    bound: number,
    share: number,
  ) => TrialSeries[];
}

/** Observations per second of a made-up histogram. */
const OBSERVATIONS_PER_SECOND = 100;

/**
 * The makers of an application's trials.
 *
 * @param target - the labels of every series that states no others.
 * @returns one function for each shape of series.
 */
export function trialMakersOf(target: Target): TrialMakers {
  const named = (name: string, labels: Readonly<Record<string, string>>): string => {
    const parts = Object.entries({ ...target, ...labels }).map(
      ([label, value]) => `${label}=${JSON.stringify(value)}`,
    );
    return `${name}{${parts.join(",")}}`;
  };
  const histogram = (
    { name, buckets = [] }: { readonly name: string; readonly buckets?: readonly number[] },
    labels: Readonly<Record<string, string>>,
    shareAt: (bound: number) => number,
    mean: number,
  ): TrialSeries[] => [
    ...[...buckets, Infinity].map((bound) => ({
      series: named(`${name}_bucket`, { ...labels, le: bound === Infinity ? "+Inf" : `${bound}` }),
      start: 0,
      perSecond: shareAt(bound) * OBSERVATIONS_PER_SECOND,
    })),
    { series: named(`${name}_sum`, labels), start: 0, perSecond: mean * OBSERVATIONS_PER_SECOND },
    { series: named(`${name}_count`, labels), start: 0, perSecond: OBSERVATIONS_PER_SECOND },
  ];
  return {
    steady: (family, labels, value) => ({ series: named(family.name, labels), start: value, perSecond: 0 }),
    growing: (family, labels, perSecond) => ({ series: named(family.name, labels), start: 0, perSecond }),
    distributed: (family, labels, q, quantile) => {
      const { below, upper } = splitAt(family, q, quantile);
      return histogram(family, labels, (bound) => (bound >= upper ? 1 : below), quantile);
    },
    sharedAt: (family, labels, bound, share) =>
      histogram(family, labels, (upper) => (upper < bound ? 0 : upper === bound ? share : 1), bound),
  };
}

/** The bucket that a quantile lies in, and the share of observations below it that puts the quantile there. */
function splitAt(
  { name, buckets = [] }: { readonly name: string; readonly buckets?: readonly number[] },
  q: number,
  quantile: number,
): { readonly below: number; readonly upper: number } {
  const bucket = buckets.findIndex((bound) => quantile <= bound);
  const upper = buckets[bucket];
  const lower = bucket === 0 ? 0 : buckets[bucket - 1];
  if (upper === undefined || lower === undefined)
    throw new RangeError(`${name} cannot show ${quantile}: its bounds end at ${buckets.at(-1) ?? "nothing"}`);
  const position = (quantile - lower) / (upper - lower);
  const below = bucket === 0 ? 0 : (q - position) / (1 - position);
  if (below < 0)
    throw new RangeError(`${name}: ${quantile} is too close to the bound ${upper} for quantile ${q}`);
  return { below, upper };
}
