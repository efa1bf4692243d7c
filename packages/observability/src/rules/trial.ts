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
import { DAEMON_JOB } from "./thresholds.ts";

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
export type SeriesLabels<L extends LabelDomains> = { readonly [K in keyof L]: ValueOf<L[K]> };

/** The replica that trials speak of unless they say otherwise. */
export const TARGET = { job: DAEMON_JOB, instance: "10.0.0.1:7070" } as const;

/** The model that trials use. */
export const MODEL = "example/model";

/** The replica and model, as an alert per model carries them. */
export const MODEL_LABELS = { ...TARGET, model: MODEL } as const;

/** The engine that trials use. */
export const ENGINE = { pod: "engine-0", model: MODEL } as const;

/** The daemon's pod, as exporters of the cluster name it. */
export const POD = { namespace: "kvsync", pod: "kvsync-daemon-0" } as const;

/** The daemon's container in that pod. */
export const CONTAINER = { ...POD, container: "daemon" } as const;

/** Observations per second of a made-up histogram. */
const OBSERVATIONS_PER_SECOND = 100;

function seriesText(name: string, labels: Readonly<Record<string, string>>): string {
  const parts = Object.entries({ ...TARGET, ...labels }).map(
    ([label, value]) => `${label}=${JSON.stringify(value)}`,
  );
  return `${name}{${parts.join(",")}}`;
}

/**
 * A gauge that stays where it is.
 *
 * @param family - a gauge.
 * @param labels - one value per label.
 * @param value - its value.
 * @returns its series.
 */
export function steady<L extends LabelDomains, U extends Unit>(
  family: Family<"gauge", L, U>,
  labels: SeriesLabels<NoInfer<L>> & Partial<Record<"job" | "instance", string>>,
  value: number,
): TrialSeries {
  return { series: seriesText(family.name, labels), start: value, perSecond: 0 };
}

/**
 * A counter that grows evenly.
 *
 * @param family - a counter.
 * @param labels - one value per label.
 * @param perSecond - its rate.
 * @returns its series.
 */
export function growing<L extends LabelDomains, U extends Unit>(
  family: Family<"counter", L, U>,
  labels: SeriesLabels<NoInfer<L>> & Partial<Record<"job" | "instance", string>>,
  perSecond: number,
): TrialSeries {
  return { series: seriesText(family.name, labels), start: 0, perSecond };
}

/**
 * A histogram whose quantile is a given value, by linear interpolation as Prometheus does it: some observations lie in the first
 * bucket, the rest in the bucket of the target.
 *
 * @param family - a histogram with known bounds.
 * @param labels - one value per label.
 * @param q - the quantile.
 * @param target - what it shall be.
 * @returns the series of all buckets, the sum and the count.
 * @throws RangeError when the target is not between the bounds, or too far up in its bucket for the quantile.
 */
export function distributed<L extends LabelDomains, U extends Unit>(
  family: HistogramFamily<L, U>,
  labels: SeriesLabels<NoInfer<L>>,
  q: number,
  target: number,
): TrialSeries[] {
  const bounds = family.buckets ?? [];
  const bucket = bounds.findIndex((bound) => target <= bound);
  const upper = bounds[bucket];
  const lower = bucket === 0 ? 0 : bounds[bucket - 1];
  if (upper === undefined || lower === undefined)
    throw new RangeError(
      `${family.name} cannot show ${target}: its bounds end at ${bounds.at(-1) ?? "nothing"}`,
    );
  const position = (target - lower) / (upper - lower);
  const below = bucket === 0 ? 0 : (q - position) / (1 - position);
  if (below < 0)
    throw new RangeError(`${family.name}: ${target} is too close to the bound ${upper} for quantile ${q}`);
  const cumulated = bounds.map((_, i) => (i >= bucket ? 1 : below));
  const rates = [...cumulated, 1];
  return [
    ...rates.map((share, i) => ({
      series: seriesText(`${family.name}_bucket`, { ...labels, le: `${bounds[i] ?? "+Inf"}` }),
      start: 0,
      perSecond: share * OBSERVATIONS_PER_SECOND,
    })),
    {
      series: seriesText(`${family.name}_sum`, labels),
      start: 0,
      perSecond: target * OBSERVATIONS_PER_SECOND,
    },
    { series: seriesText(`${family.name}_count`, labels), start: 0, perSecond: OBSERVATIONS_PER_SECOND },
  ];
}

/**
 * A histogram of which a share of observations lies at or below a bound, the rest above it.
 *
 * @param family - a histogram with known bounds.
 * @param labels - one value per label.
 * @param bound - one of its bounds, but not the last.
 * @param share - 0 to 1.
 * @returns the series of all buckets, the sum and the count.
 */
export function sharedAt<L extends LabelDomains, U extends Unit>(
  family: HistogramFamily<L, U>,
  labels: SeriesLabels<NoInfer<L>>,
  bound: number,
  share: number,
): TrialSeries[] {
  const bounds = family.buckets ?? [];
  return [
    ...[...bounds, Infinity].map((upper) => ({
      series: seriesText(`${family.name}_bucket`, {
        ...labels,
        le: upper === Infinity ? "+Inf" : `${upper}`,
      }),
      start: 0,
      perSecond: (upper < bound ? 0 : upper === bound ? share : 1) * OBSERVATIONS_PER_SECOND,
    })),
    {
      series: seriesText(`${family.name}_sum`, labels),
      start: 0,
      perSecond: bound * OBSERVATIONS_PER_SECOND,
    },
    { series: seriesText(`${family.name}_count`, labels), start: 0, perSecond: OBSERVATIONS_PER_SECOND },
  ];
}
