/**
 * From expressions to expressions: aggregation, quantiles, ratios, comparisons. The type of each
 * holds the labels that are left and what the value measures.
 */

import type { LabelDomains } from "../definition.ts";
import { INSTALLATION_LABELS, type LabelsOf, type Matchers, selector } from "./selector.ts";
import type { HistogramFamily } from "./series.ts";
import type {
  Buckets,
  Comparator,
  Condition,
  Measure,
  PerSecond,
  Range,
  SummedBuckets,
  Vec,
} from "./vector.ts";
import { operand } from "./vector.ts";

type Aggregation = "sum" | "min" | "max" | "avg";

function aggregate<L extends string, M extends Measure, By extends L>(
  how: Aggregation,
  vector: Vec<L, M>,
  by: readonly By[],
): Vec<By, M> {
  return {
    text: `${how}${byClause(by)} (${vector.text})`,
    labels: by,
    measure: vector.measure,
    compound: false,
  };
}

function byClause(by: readonly string[]): string {
  return by.length === 0 ? "" : ` by (${by.join(", ")})`;
}

/**
 * Sum over everything but some labels.
 *
 * @param vector - what to sum.
 * @param by - labels to keep; each must be there.
 * @returns one series per combination of them.
 */
export function sum<L extends string, M extends Measure, const By extends L>(
  vector: Vec<L, M>,
  by: readonly By[],
): Vec<By, M> {
  return aggregate("sum", vector, by);
}

function isOfInstallation(label: string): boolean {
  return INSTALLATION_LABELS.some((one) => one === label);
}

/**
 * Sum over what every replica sees, each thing once: of each thing the replica with the most counts, however many replicas there are. A
 * replica without a series of it takes nothing away.
 *
 * @param vector - what each replica reports.
 * @param each - labels of one thing that all replicas see, such as an engine.
 * @param by - labels to keep.
 * @returns one series per combination of them.
 */
export function sumOnce<L extends string, M extends Measure, const Each extends L, const By extends Each>(
  vector: Vec<L | "job" | "instance", M>,
  each: readonly Each[],
  by: readonly By[],
): Vec<By, M> {
  const kept = new Set<string>(["job", "instance", ...each]);
  const perReplica = vector.labels.every((label) => kept.has(label) || isOfInstallation(label))
    ? vector.text
    : `sum by (${[...kept].join(", ")}) (${vector.text})`;
  const once = { ...vector, text: `max by (${["job", ...each].join(", ")}) (${perReplica})` };
  return aggregate("sum", once as Vec<string, M>, by);
}

/**
 * Smallest over replicas, where a replica without a series has 0: it does not know of what the others see.
 *
 * @param perReplica - aggregated to `job`, `instance` and the labels of one thing.
 * @param replicas - one series for each replica.
 * @param by - labels of the thing.
 * @returns one series for each thing that any replica knows.
 */
export function leastOf<L extends string, M extends Measure, const By extends L>(
  perReplica: Vec<L, M>,
  replicas: Vec<"job" | "instance", Measure>,
  by: readonly By[],
): Vec<By, M> {
  const least = `min${byClause(by)} (${perReplica.text})`;
  const known = `count${byClause(by)} (${perReplica.text})`;
  return {
    text: `${least} * (${known} >= bool scalar(count (${replicas.text})))`,
    labels: by,
    measure: perReplica.measure,
    compound: true,
  };
}

/**
 * Smallest over everything but some labels.
 *
 * @param vector - what to compare.
 * @param by - labels to keep; each must be there.
 * @returns one series per combination of them.
 */
export function min<L extends string, M extends Measure, const By extends L>(
  vector: Vec<L, M>,
  by: readonly By[],
): Vec<By, M> {
  return aggregate("min", vector, by);
}

/**
 * Largest over everything but some labels.
 *
 * @param vector - what to compare.
 * @param by - labels to keep; each must be there.
 * @returns one series per combination of them.
 */
export function max<L extends string, M extends Measure, const By extends L>(
  vector: Vec<L, M>,
  by: readonly By[],
): Vec<By, M> {
  return aggregate("max", vector, by);
}

/**
 * Mean over everything but some labels.
 *
 * @param vector - what to average; ratios should be averaged with care.
 * @param by - labels to keep; each must be there.
 * @returns one series per combination of them.
 */
export function avg<L extends string, M extends Measure, const By extends L>(
  vector: Vec<L, M>,
  by: readonly By[],
): Vec<By, M> {
  return aggregate("avg", vector, by);
}

/**
 * The series with the largest values.
 *
 * @param most - how many, at each moment.
 * @param vector - what to choose from.
 * @returns a part of it; all of it when there are no more.
 */
export function top<L extends string, M extends Measure>(most: number, vector: Vec<L, M>): Vec<L, M> {
  return { ...vector, text: `topk(${most}, ${vector.text})`, compound: false };
}

/**
 * How many series there are.
 *
 * @param vector - what to count.
 * @param by - labels to keep; each must be there.
 * @returns one series per combination of them; none, not 0, where nothing matches.
 */
export function count<L extends string, M extends Measure, const By extends L>(
  vector: Vec<L, M>,
  by: readonly By[],
): Vec<By, "none"> {
  return {
    text: `count${byClause(by)} (${vector.text})`,
    labels: by,
    measure: "none",
    compound: false,
  };
}

/**
 * Sums buckets, keeping `le`.
 *
 * @param buckets - from `bucketRate`.
 * @param by - labels to keep beside `le`.
 * @returns what `quantile` and heat maps take.
 */
export function summed<L extends string, U extends Measure, const By extends L>(
  buckets: Buckets<L, U>,
  by: readonly By[],
): SummedBuckets<By, U> {
  return {
    text: `sum by (${[...by, "le"].join(", ")}) (${buckets.text})`,
    labels: by,
    measure: buckets.measure,
    summed: true,
  };
}

/**
 * Sums buckets that every replica fills with the same observations, each observation once.
 *
 * @param buckets - from `bucketRate`.
 * @returns what heat maps take.
 */
export function summedOnce<L extends string, U extends Measure>(
  buckets: Buckets<L | "job" | "instance", U>,
): SummedBuckets<never, U> {
  return {
    text: `sum by (le) (max by (job, le) (sum by (job, instance, le) (${buckets.text})))`,
    labels: [],
    measure: buckets.measure,
    summed: true,
  };
}

/**
 * The mean of a histogram of per cents, as a share: every observation weighs the same, whichever replica made it.
 *
 * @param family - a histogram of per cents.
 * @param range - look-back.
 * @param matchers - which series.
 * @param by - labels to keep.
 * @returns 0 to 1; nothing without observations.
 */
export function meanShare<L extends LabelDomains, const By extends LabelsOf<L>>(
  family: HistogramFamily<L, "percent">,
  range: Range,
  matchers: Matchers<NoInfer<L>>,
  by: readonly By[],
): Vec<By, "ratio"> {
  const part = (suffix: string) =>
    `sum${byClause(by)} (rate(${selector(`${family.name}_${suffix}`, matchers)}[${range}]))`;
  return {
    text: `${part("sum")} / (${part("count")} > 0) / 100`,
    labels: by,
    measure: "ratio",
    compound: true,
  };
}

/**
 * A quantile, interpolated inside its bucket.
 *
 * @param q - 0 to 1.
 * @param buckets - summed by the labels that the result keeps.
 * @returns one series per combination of them; NaN without observations.
 */
export function quantile<L extends string, U extends Measure>(
  q: number,
  buckets: SummedBuckets<L, U>,
): Vec<L, U> {
  return {
    text: `histogram_quantile(${q}, ${buckets.text})`,
    labels: buckets.labels,
    measure: buckets.measure,
    compound: false,
  };
}

/**
 * How a quantile is called.
 *
 * @param q - 0 to 1.
 * @returns such as `p50`, `p99.9`.
 */
export function quantileName(q: number): string {
  return `p${Number((q * 100).toPrecision(6))}`;
}

/**
 * One share of a whole. Both sides are aggregated to the same labels, so that the share is of totals.
 *
 * @param part - numerator.
 * @param whole - denominator of the same labels and measure.
 * @param floor - traffic at or below which there is no answer: no division by zero, no ratio out of three requests.
 * @returns 0 to 1, or nothing below the floor.
 */
export function ratio<L extends string, M extends Measure>(
  part: Vec<L, M>,
  whole: Vec<NoInfer<L>, NoInfer<M>>,
  floor = 0,
): Vec<L, "ratio"> {
  return {
    text: `${operand(part)} / (${operand(whole)} > ${floor})`,
    labels: part.labels,
    measure: "ratio",
    compound: true,
  };
}

/**
 * A part of a whole that is 0, not missing, where nothing of it was counted yet: for counters whose series begin with their first
 * event.
 *
 * @param part - what may be missing.
 * @param whole - what is there whenever the part could be.
 * @returns the part, or 0 for each series of the whole without one.
 */
export function orZero<L extends string, M extends Measure>(
  part: Vec<L, M>,
  whole: Vec<NoInfer<L>, NoInfer<M>>,
): Vec<L, M> {
  return {
    text: `${operand(part)} or ${operand(whole)} * 0`,
    labels: part.labels,
    measure: part.measure,
    compound: true,
  };
}

/**
 * Mean of a histogram's observations: growth of the sum per growth of the count.
 *
 * @param total - from `sumRate`, aggregated.
 * @param observations - from `countRate`, aggregated to the same labels.
 * @param unit - the histogram's own.
 * @returns in the histogram's unit; nothing without observations.
 */
export function mean<L extends string, U extends Measure>(
  total: Vec<L, PerSecond<U>>,
  observations: Vec<NoInfer<L>, "per_second">,
  unit: U,
): Vec<L, U> {
  return {
    text: `${operand(total)} / (${operand(observations)} > 0)`,
    labels: total.labels,
    measure: unit,
    compound: true,
  };
}

/**
 * The complement of a ratio.
 *
 * @param share - 0 to 1.
 * @returns 1 minus it.
 */
export function complement<L extends string>(share: Vec<L, "ratio">): Vec<L, "ratio"> {
  return { text: `1 - ${operand(share)}`, labels: share.labels, measure: "ratio", compound: true };
}

/**
 * Difference of two vectors of one measure.
 *
 * @param left - what to subtract from.
 * @param right - of the same labels.
 * @returns one series per pair.
 */
export function minus<L extends string, M extends Measure>(
  left: Vec<L, M>,
  right: Vec<NoInfer<L>, NoInfer<M>>,
): Vec<L, M> {
  return {
    text: `${operand(left)} - ${operand(right)}`,
    labels: left.labels,
    measure: left.measure,
    compound: true,
  };
}

/**
 * Sum of two vectors of one measure.
 *
 * @param left - one.
 * @param right - another of the same labels.
 * @returns one series per pair.
 */
export function plus<L extends string, M extends Measure>(
  left: Vec<L, M>,
  right: Vec<NoInfer<L>, NoInfer<M>>,
): Vec<L, M> {
  return {
    text: `${operand(left)} + ${operand(right)}`,
    labels: left.labels,
    measure: left.measure,
    compound: true,
  };
}

/**
 * Seconds since a point in time.
 *
 * @param timestamp - seconds since 1970.
 * @returns its age.
 */
export function age<L extends string>(timestamp: Vec<L, "timestamp">): Vec<L, "seconds"> {
  return {
    text: `time() - ${operand(timestamp)}`,
    labels: timestamp.labels,
    measure: "seconds",
    compound: true,
  };
}

/**
 * Seconds until a point in time.
 *
 * @param timestamp - seconds since 1970.
 * @returns the time left; negative once it is over.
 */
export function timeLeft<L extends string>(timestamp: Vec<L, "timestamp">): Vec<L, "seconds"> {
  return {
    text: `${operand(timestamp)} - time()`,
    labels: timestamp.labels,
    measure: "seconds",
    compound: true,
  };
}

/**
 * 1 when a selector finds nothing at all.
 *
 * @param vector - a plain selector.
 * @returns one series without labels, or none.
 */
export function absent<L extends string, M extends Measure>(vector: Vec<L, M>): Vec<never, "none"> {
  return { text: `absent(${vector.text})`, labels: [], measure: "none", compound: false };
}

/**
 * The series of one vector for which another has a match.
 *
 * @param vector - whose values are kept.
 * @param other - anything that carries the labels.
 * @param on - labels that make the match; each must be on both sides.
 * @returns a part of `vector`.
 */
export function where<L extends string, M extends Measure, O extends string>(
  vector: Vec<L, M>,
  other: Vec<O, Measure>,
  on: readonly (NoInfer<L> & NoInfer<O>)[],
): Vec<L, M> {
  return {
    text: `${operand(vector)} and on (${on.join(", ")}) ${operand(other)}`,
    labels: vector.labels,
    measure: vector.measure,
    compound: true,
  };
}

function compare<L extends string, M extends Measure>(
  vector: Vec<L, M>,
  comparator: Comparator,
  threshold: number,
): Condition<L, M> {
  return {
    text: `${operand(vector)} ${comparator} ${threshold}`,
    labels: vector.labels,
    measure: vector.measure,
    compound: true,
    comparator,
    threshold,
  };
}

/**
 * The series above a threshold.
 *
 * @param vector - what to compare.
 * @param threshold - in the vector's measure.
 * @returns those above, with their values.
 */
export function above<L extends string, M extends Measure>(
  vector: Vec<L, M>,
  threshold: number,
): Condition<L, M> {
  return compare(vector, ">", threshold);
}

/**
 * The series above a limit that is exported beside them, so that the rule follows the setting.
 *
 * @param vector - what to compare.
 * @param limit - of the same labels and measure.
 * @param name - of the gauge that states the limit, for documents.
 * @returns those above, with their values.
 */
export function aboveLimit<L extends string, M extends Measure>(
  vector: Vec<L, M>,
  limit: Vec<NoInfer<L>, NoInfer<M>>,
  name: string,
): Condition<L, M> {
  return {
    text: `${operand(vector)} > ${operand(limit)}`,
    labels: vector.labels,
    measure: vector.measure,
    compound: true,
    comparator: ">",
    threshold: name,
  };
}

/**
 * The series below a threshold.
 *
 * @param vector - what to compare.
 * @param threshold - in the vector's measure.
 * @returns those below, with their values.
 */
export function below<L extends string, M extends Measure>(
  vector: Vec<L, M>,
  threshold: number,
): Condition<L, M> {
  return compare(vector, "<", threshold);
}

/**
 * The series that equal a value.
 *
 * @param vector - what to compare; whole numbers only, since floats seldom equal anything.
 * @param threshold - the value.
 * @returns those equal, with their values.
 */
export function equals<L extends string, M extends Measure>(
  vector: Vec<L, M>,
  threshold: number,
): Condition<L, M> {
  return compare(vector, "==", threshold);
}

/**
 * Both conditions at once, series by series: for burn rates over two windows, or a symptom with its traffic floor.
 *
 * @param subject - whose value and threshold the alert shows.
 * @param also - what must hold too, on the same labels.
 * @returns the subject's series for which both hold.
 */
export function both<L extends string, M extends Measure, N extends Measure>(
  subject: Condition<L, M>,
  also: Condition<NoInfer<L>, N>,
): Condition<L, M> {
  return { ...subject, text: `(${subject.text}) and (${also.text})` };
}

/**
 * A condition narrowed to where another expression has a series of the same labels (a subset of both).
 *
 * @param subject - whose value and threshold the alert shows.
 * @param other - anything that carries the labels, usually a condition.
 * @param on - labels that make the match.
 * @returns a part of the subject.
 */
export function given<L extends string, M extends Measure, O extends string>(
  subject: Condition<L, M>,
  other: Vec<O, Measure>,
  on: readonly (NoInfer<L> & NoInfer<O>)[],
): Condition<L, M> {
  return { ...subject, text: `(${subject.text}) and on (${on.join(", ")}) ${operand(other)}` };
}
