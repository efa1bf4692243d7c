/**
 * Recording rules as typed values: defined once from an expression, referred to like a gauge ever after. The name is made from
 * the expression's labels (`level:metric:operations`), so it cannot claim a level that it does not have.
 *
 * `job` is always kept, and spelled in the level only where it is the whole of it: every series of ours has it.
 */

import { INSTALLATION_LABELS, type Match, selector } from "./selector.ts";
import type { Measure, Vec } from "./vector.ts";

/** A recording rule. */
export interface RecordingRule<L extends string = string, M extends Measure = Measure> {
  /** `level:metric:operations`. */
  readonly name: string;
  readonly expression: string;
  readonly labels: readonly L[];
  readonly measure: M;
  /** One sentence for the reference. */
  readonly help: string;
}

/** Rules that are evaluated together. */
export interface RecordingGroup {
  readonly name: string;
  readonly rules: readonly RecordingRule[];
}

/**
 * The first part of a recorded name: the labels that tell series of one job apart. As in Prometheus's own examples, `job` is named where
 * no other label is left.
 *
 * @param labels - those of the expression.
 * @returns for example `instance_model`.
 */
export function levelOf(labels: Iterable<string>): string {
  const implied = new Set<string>([...INSTALLATION_LABELS, "job"]);
  return [...labels].filter((label) => !implied.has(label)).join("_") || "job";
}

/**
 * Defines a recording rule.
 *
 * @param spec - `metric` and `operations` are the second and third part of the name; the first comes from the labels.
 * @returns the rule, carrying the expression's labels and measure.
 * @throws RangeError when the expression has lost `job`.
 */
export function recording<L extends string, M extends Measure>(spec: {
  readonly metric: string;
  readonly operations: string;
  readonly help: string;
  readonly expression: Vec<L, M>;
}): RecordingRule<L, M> {
  const { labels, text, measure } = spec.expression;
  const level = levelOf(labels);
  if (!labels.includes("job" as L))
    throw new RangeError(`recording rule of ${spec.metric} keeps (${labels.join(", ")}), not job`);
  return {
    name: `${level}:${spec.metric}:${spec.operations}`,
    expression: text,
    labels,
    measure,
    help: spec.help,
  };
}

/**
 * The present value of a recorded series.
 *
 * @param rule - which.
 * @param matchers - by the labels it kept.
 * @returns its series.
 */
export function recorded<L extends string, M extends Measure>(
  rule: RecordingRule<L, M>,
  matchers: { readonly [K in NoInfer<L>]?: Match<string> } = {},
): Vec<L, M> {
  return {
    text: selector(rule.name, matchers),
    labels: rule.labels,
    measure: rule.measure,
    compound: false,
  };
}
