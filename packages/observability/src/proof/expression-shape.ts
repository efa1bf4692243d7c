/**
 * The shape of an expression, found bottom-up from its text: the labels that survive and what the
 * value measures. It is a rate, a gauge or something that only grows. Every step that makes no
 * sense is a finding.
 *
 * Invariants, by the numbers of the checks they make
 *  E1  Every name is exposed by the catalogue, an external exporter or a recording rule.
 *  E2  Every matched label belongs to the metric, every literal value to the label's domain. Every
 *      pattern hits a value. The project names those of open labels. A recorded series has
 *      the values that its expression keeps.
 *  E3  `by`, `without`, `on`, `ignoring` and `group_*` name labels that are still there.
 *  E4  `rate` and `increase` read series that only grow, and nothing else reads those series.
 *      Rates are added up, or the largest is taken.
 *  E5  `le` matchers are bucket bounds. `histogram_quantile` reads bucket rates summed by (…, le).
 *  E6  Both sides of an operator carry the same labels (or use `on`) and measures that go together.
 *  E7  A division has a floor under its divisor, so that it is never NaN.
 *  E8  Values that do not add up (shares, ages, times, quantiles) are not summed.
 *  E9  A mean divides the sum of a histogram by its own count. Within one family, the dividend is the part and the divisor the whole. A
 *      limit divides what it limits, and nothing divides itself.
 *  E10 No value is scaled by a number, which no unit would show.
 *  E11 `or` puts zeros in the place of none, `and` keeps what a condition on its right is true of, and `unless` is not used. So each of
 *      them has a form that the two others lack.
 *
 * It follows the checks of pint (promql/series, impossible, aggregate, rate, counter, vector_matching, nan, regexp, fragile).
 */

import { secondsOf } from "../duration.ts";
import type { Measure } from "../promql/vector.ts";
import type { ExposedName, KnownValues, Nature } from "../documents/exposed-names.ts";
import type { ProblemCode } from "./problem.ts";
import { parsePromql, type Tree, type TreeMatcher, type TreeMatching } from "./promql-tree.ts";
import { walkTree } from "./tree-walk.ts";

/** What an expression is. */
export interface Shape {
  readonly type: "scalar" | "vector" | "matrix" | "string";
  readonly labels: ReadonlySet<string>;
  /** The values that labels can still have; those of labels that are gone have no meaning. */
  readonly values: ReadonlyMap<string, KnownValues>;
  readonly measure: Measure;
  readonly nature: Nature;
  /** Upper bounds of the histogram that a quantile was taken from. */
  readonly buckets: readonly number[] | null;
  /** True when the last step filtered by comparison. */
  readonly compared: boolean;
  /** Whether a sum over its series means something. */
  readonly additive: boolean;
}

/** A finding without its place. */
interface ExpressionProblem {
  readonly code: ProblemCode;
  readonly message: string;
}

/** What `shapeOf` answers. */
export interface ShapeAnswer {
  /** Null when the text is no expression at all. */
  readonly shape: Shape | null;
  readonly tree: Tree | null;
  readonly problems: readonly ExpressionProblem[];
}

/** Shortest look-back of a rate: four scrapes at the slowest interval, so that one lost scrape leaves two samples. */
/** The slowest scrape interval that rules and panels support: every look-back has four scrapes in it. */
export const SLOWEST_INTERVAL_SECONDS = 60;
const RANGE_SECONDS_MIN = 4 * SLOWEST_INTERVAL_SECONDS;

const GROWING: ReadonlySet<Nature> = new Set(["counter", "bucket", "sum", "count"]);

const RATES: ReadonlySet<Nature> = new Set(["rate", "bucket_rate", "sum_rate", "count_rate"]);
/** Of replicas that count the same, the largest is taken; different things are added up. */
const RATE_AGGREGATIONS: ReadonlySet<string> = new Set(["sum", "max", "topk"]);

/** Functions over a range, with what they may read. */
const RANGE_FUNCTIONS = new Map<string, "growing" | "gauge">([
  ["rate", "growing"],
  ["increase", "growing"],
  ["changes", "gauge"],
  ["max_over_time", "gauge"],
  ["min_over_time", "gauge"],
  ["avg_over_time", "gauge"],
]);

/** Operators that aggregate, of those that Prometheus 2.42 has. */
const AGGREGATIONS = new Set(["sum", "min", "max", "avg", "count", "topk", "bottomk"]);

const COMPARISONS = new Set(["==", "!=", ">", "<", ">=", "<="]);
const SETS = new Set(["and", "or", "unless"]);
/** Factors with a meaning: series at 0 in place of none, and per cents as a share. */
const FACTORS: readonly (readonly [operator: string, factor: number])[] = [
  ["*", 0],
  ["/", 100],
];

/**
 * Finds the shape of an expression.
 *
 * @param text - PromQL without macros.
 * @param names - what may be asked for.
 * @returns shape, tree and findings; findings without a shape when the text cannot be read.
 */
export function shapeOf(text: string, names: ReadonlyMap<string, ExposedName>): ShapeAnswer {
  const parsed = parsePromql(text);
  if (!parsed.ok)
    return { shape: null, tree: null, problems: [{ code: parsed.code, message: parsed.message }] };
  const walk = new Walk(names);
  const shape = walk.shape(parsed.tree);
  if (shape.type === "vector" && GROWING.has(shape.nature))
    walk.add("raw_counter", "the value of a counter has no meaning; take its rate or increase");
  return { shape, tree: parsed.tree, problems: walk.problems };
}

/**
 * Finds the shape of a part of an expression.
 *
 * @param tree - the part.
 * @param names - what may be asked for.
 * @returns its shape; what is wrong with it is found out about the whole.
 */
export function shapeOfTree(tree: Tree, names: ReadonlyMap<string, ExposedName>): Shape {
  return new Walk(names).shape(tree);
}

const SCALAR: Shape = {
  type: "scalar",
  labels: new Set(),
  values: new Map(),
  measure: "none",
  nature: "gauge",
  buckets: null,
  compared: false,
  additive: true,
};

class Walk {
  readonly problems: ExpressionProblem[] = [];
  readonly #names: ReadonlyMap<string, ExposedName>;

  constructor(names: ReadonlyMap<string, ExposedName>) {
    this.#names = names;
  }

  add(code: ProblemCode, message: string): void {
    this.problems.push({ code, message });
  }

  shape(tree: Tree): Shape {
    switch (tree.kind) {
      case "number":
        return SCALAR;
      case "string":
        return { ...SCALAR, type: "string" };
      case "negation":
        return this.shape(tree.of);
      case "selector":
        return this.#selector(tree);
      case "aggregation":
        return this.#aggregation(tree);
      case "call":
        return this.#call(tree);
      case "binary":
        return this.#binary(tree);
    }
  }

  #selector(tree: Tree & { kind: "selector" }): Shape {
    const exposed = this.#names.get(tree.name);
    if (exposed === undefined) {
      const isHistogram = this.#names.has(`${tree.name}_bucket`);
      this.add(
        isHistogram ? "bare_histogram" : "unknown_metric",
        isHistogram
          ? `${tree.name} is a histogram: ask for its _bucket, _sum or _count`
          : `nothing exposes ${tree.name}`,
      );
      return { ...SCALAR, type: tree.range === null ? "vector" : "matrix" };
    }
    for (const matcher of tree.matchers) this.#matcher(exposed, matcher);
    const matched = tree.matchers.map(({ label }) => label);
    for (const label of matched.filter((name, i) => matched.indexOf(name) !== i))
      this.add("matcher_repeated", `${exposed.name} is matched by ${label} twice; match it once`);
    return {
      type: tree.range === null ? "vector" : "matrix",
      labels: new Set(exposed.labels.keys()),
      values: new Map(
        [...exposed.labels].map(([label, known]) => [label, keptValues(tree.matchers, label, known)]),
      ),
      measure: exposed.measure,
      nature: exposed.nature,
      buckets: exposed.buckets,
      compared: false,
      additive: exposed.additive,
    };
  }

  #matcher(exposed: ExposedName, matcher: TreeMatcher): void {
    const known = exposed.labels.get(matcher.label);
    if (known === undefined) {
      const labels = [...exposed.labels.keys()].join(", ");
      this.add("unknown_label", `${exposed.name} has no label ${matcher.label}; it has ${labels}`);
      return;
    }
    if (matcher.value.startsWith("$")) return;
    const values = "named" in known ? namedFor(matcher, known) : known;
    if (matcher.operator === "=~" || matcher.operator === "!~") this.#pattern(exposed, matcher, values);
    else if (values?.includes(matcher.value) === false) {
      this.add(
        matcher.label === "le" ? "unknown_bucket_bound" : "unknown_label_value",
        `${exposed.name} never has ${matcher.label}="${matcher.value}"; ${listed(values)}`,
      );
    }
  }

  /** @param values - those that there can be; `null`: any. */
  #pattern(exposed: ExposedName, { label, value }: TreeMatcher, values: readonly string[] | null): void {
    if (patternOf(value) === null) {
      this.add("bad_pattern", `${label}=~"${value}" is no regular expression`);
      return;
    }
    if (values === null) return;
    for (const alternative of alternativesOf(value)) {
      if (!values.some((candidate) => patternOf(alternative)?.test(candidate)))
        this.add(
          "pattern_matches_nothing",
          `${exposed.name} never has a ${label} like "${alternative}"; ${listed(values)}`,
        );
    }
  }

  #aggregation(tree: Tree & { kind: "aggregation" }): Shape {
    const inner = this.shape(tree.of);
    if (tree.parameter !== null) this.shape(tree.parameter);
    if (!AGGREGATIONS.has(tree.operator)) this.add("outside_subset", `${tree.operator} is not used here`);
    if (GROWING.has(inner.nature) && tree.operator !== "count")
      this.add("raw_counter", `${tree.operator} over raw counters; take the rate first`);
    if (tree.operator === "sum" && !inner.additive)
      this.add("sum_of_shares", `a sum of what does not add up (${inner.measure}); take max, min or avg`);
    if (RATES.has(inner.nature) && !RATE_AGGREGATIONS.has(tree.operator))
      this.add("raw_counter", `${tree.operator} over rates: expected their sum, or the largest`);
    for (const label of tree.labels) {
      if (!inner.labels.has(label) && tree.mode === "by")
        this.add(
          "label_lost",
          `${tree.operator} by ${label}, but only (${[...inner.labels].join(", ")}) are left there`,
        );
    }
    const labels = labelsOfAggregation(tree, inner);
    const counted = tree.operator === "count";
    return {
      ...inner,
      labels,
      measure: counted ? "none" : inner.measure,
      nature: counted ? "gauge" : inner.nature,
      compared: false,
      additive: counted || inner.additive,
    };
  }

  #call(tree: Tree & { kind: "call" }): Shape {
    const reads = RANGE_FUNCTIONS.get(tree.name);
    const shapes = tree.arguments.map((argument) => this.shape(argument));
    const [first, second] = shapes;
    if (reads !== undefined) return this.#overRange(tree, reads, first ?? SCALAR);
    if (tree.name === "time") return { ...SCALAR, measure: "timestamp", additive: false };
    if (tree.name === "timestamp") return this.#sampleTime(tree, first ?? SCALAR);
    if (tree.name === "absent")
      return { ...SCALAR, type: "vector", labels: this.#absentLabels(tree), compared: true };
    if (tree.name === "scalar") return { ...SCALAR, measure: (first ?? SCALAR).measure };
    if (tree.name === "histogram_quantile") return this.#quantile(tree, second ?? SCALAR);
    this.add("outside_subset", `${tree.name}() is not used here`);
    return first ?? SCALAR;
  }

  /** Of anything but a plain selector, `timestamp` gives the time of evaluation. */
  #sampleTime(tree: Tree & { kind: "call" }, of: Shape): Shape {
    if (tree.arguments[0]?.kind !== "selector" || of.type !== "vector")
      this.add("outside_subset", "timestamp() of anything but a selector is the time of the evaluation");
    return { ...of, measure: "timestamp", nature: "gauge", buckets: null, compared: false, additive: false };
  }

  #absentLabels(tree: Tree & { kind: "call" }): Set<string> {
    const [of] = tree.arguments;
    const equal = of?.kind === "selector" ? of.matchers.filter(({ operator }) => operator === "=") : [];
    return new Set(equal.map(({ label }) => label));
  }

  #overRange(tree: Tree & { kind: "call" }, reads: "growing" | "gauge", inner: Shape): Shape {
    const [of] = tree.arguments;
    if (inner.type !== "matrix" || of?.kind !== "selector") {
      this.add("syntax", `${tree.name}() needs a range such as [5m]`);
      return { ...inner, type: "vector" };
    }
    this.#rangeFits(tree.name, of, reads, inner.nature);
    const natures: Partial<Record<Nature, Nature>> = {
      bucket: "bucket_rate",
      sum: "sum_rate",
      count: "count_rate",
    };
    const measure = measureOverRange(tree.name, reads, inner);
    // The histogram's own unit stays with its bucket rates, for the quantile.
    const kept = inner.nature === "bucket" && isPlainBucketRate(of.matchers) ? inner.measure : measure;
    return {
      ...inner,
      type: "vector",
      measure: kept,
      nature: natures[inner.nature] ?? "rate",
      additive: reads === "growing" || tree.name === "changes" || inner.additive,
      buckets: inner.nature === "bucket" ? inner.buckets : null,
    };
  }

  #rangeFits(
    name: string,
    of: Tree & { kind: "selector" },
    reads: "growing" | "gauge",
    nature: Nature,
  ): void {
    const grows = GROWING.has(nature);
    if (reads === "growing" && !grows) this.add("rate_of_gauge", `${name}() of ${of.name}, which can fall`);
    if (reads === "gauge" && grows) this.add("raw_counter", `${name}() of ${of.name}, which only grows`);
    if (reads === "growing" && secondsOf(of.range ?? "") < RANGE_SECONDS_MIN)
      this.add(
        "range_too_short",
        `${name}()[${of.range ?? ""}] covers too few scrapes; use at least ${RANGE_SECONDS_MIN}s`,
      );
  }

  #quantile(tree: Tree & { kind: "call" }, buckets: Shape): Shape {
    const [q, of] = tree.arguments;
    if (q?.kind !== "number" || q.value <= 0 || q.value >= 1)
      this.add("quantile_out_of_range", "the quantile must be a number between 0 and 1");
    if (buckets.nature !== "bucket_rate")
      this.add("quantile_without_le", "histogram_quantile needs the rate of a histogram's _bucket");
    if (of?.kind !== "aggregation" || of.operator !== "sum" || !buckets.labels.has("le"))
      this.add("quantile_without_le", "histogram_quantile needs sum by (…, le) around the bucket rates");
    const labels = new Set([...buckets.labels].filter((label) => label !== "le"));
    return { ...buckets, labels, nature: "gauge", compared: false, additive: false };
  }

  #binary(tree: Tree & { kind: "binary" }): Shape {
    const left = this.shape(tree.left);
    const right = this.shape(tree.right);
    for (const side of [left, right]) {
      if (side.type === "vector" && GROWING.has(side.nature))
        this.add("raw_counter", `${tree.operator} on a raw counter; take its rate first`);
    }
    this.#scaled(tree);
    if (SETS.has(tree.operator)) return this.#setOperation(tree, left, right);
    if (left.type === "vector" && right.type === "vector") this.#matched(tree, left, right);
    const measure = this.#combined(tree, left, right);
    const side = left.type === "vector" ? left : right;
    // `group_left` brings labels, with their values, from the other side.
    const vector = { ...side, values: new Map([...right.values, ...left.values]) };
    const joined =
      left.type === "vector" && right.type === "vector"
        ? resultLabels(tree.matching, left, right)
        : vector.labels;
    if (COMPARISONS.has(tree.operator)) {
      return tree.bool
        ? { ...vector, labels: joined, measure: "none", nature: "gauge", compared: false }
        : { ...vector, labels: joined, compared: true };
    }
    const additive = tree.operator !== "/" && left.additive && right.additive;
    return { ...vector, labels: joined, measure, nature: "gauge", buckets: null, compared: false, additive };
  }

  #setOperation(tree: Tree & { kind: "binary" }, left: Shape, right: Shape): Shape {
    this.#matched(tree, left, right);
    this.#setForm(tree, left, right);
    if (tree.operator !== "or") return left;
    if (left.measure !== right.measure) this.add("measure_mismatch", `${left.measure} or ${right.measure}`);
    return { ...left, values: eitherValues(left.values, right.values) };
  }

  /** E11. */
  #setForm({ operator, right: part }: Tree & { kind: "binary" }, left: Shape, right: Shape): void {
    if (operator === "unless")
      this.add("set_operator", 'no query leaves series out by "unless"; ask for those that are meant');
    if (operator === "or" && !isZero(part))
      this.add(
        "set_operator",
        'the right side of "or" is no zero: expected series times 0, in place of none',
      );
    if (operator === "and" && isZero(part))
      this.add("set_operator", 'the right side of "and" is a zero: expected "or", or a condition');
    if (operator === "and" && left.compared && !right.compared)
      this.add("set_operator", 'the condition is on the left of "and": its value would be shown');
  }

  /** E10. */
  #scaled({ operator, left, right }: Tree & { kind: "binary" }): void {
    if (operator !== "*" && operator !== "/") return;
    const factors = [left, right].flatMap((side) => (side.kind === "number" ? [side.value] : []));
    for (const factor of factors)
      if (!FACTORS.some((one) => one[0] === operator && one[1] === factor))
        this.add("scaled", `"${operator} ${factor}" changes the unit, which no text can show`);
  }

  /** E6, labels. */
  #matched(tree: Tree & { kind: "binary" }, left: Shape, right: Shape): void {
    if (tree.matching === null) {
      const different = symmetricDifference(left.labels, right.labels);
      if (different.length > 0)
        this.add(
          "vector_mismatch",
          `the sides of "${tree.operator}" differ in (${different.join(", ")}), so nothing ever matches; aggregate alike or use on (…)`,
        );
      return;
    }
    for (const label of [...tree.matching.labels]) {
      if (tree.matching.mode === "on" && !(left.labels.has(label) && right.labels.has(label)))
        this.add("label_lost", `"${tree.operator}" on (${label}), which one side no longer carries`);
    }
    const one = tree.matching.many === "left" ? right : left;
    for (const label of tree.matching.include) {
      if (!one.labels.has(label))
        this.add("label_lost", `group_${tree.matching.many ?? ""} includes ${label}, which is not there`);
    }
  }

  /** E6 measures, and E7. */
  #combined(tree: Tree & { kind: "binary" }, left: Shape, right: Shape): Measure {
    if (tree.operator === "/") {
      const ratio = this.#divided(tree, left, right);
      if (ratio !== null) return ratio;
    }
    if (tree.operator === "-" && areTimestamps(left, right)) return "seconds";
    const isComparable = hasPlainNumber(left, right) || left.measure === right.measure;
    if (tree.operator !== "*" && !isComparable)
      this.add("measure_mismatch", `${left.measure} ${tree.operator} ${right.measure}`);
    return left.type === "vector" ? left.measure : right.measure;
  }

  /** What a quotient measures, or null where it keeps the dividend's measure. */
  #divided(tree: Tree & { kind: "binary" }, left: Shape, right: Shape): Measure | null {
    if (right.type === "vector" && !right.compared)
      this.add("ratio_without_floor", "the divisor may be 0; divide by (… > 0), or by a floor of traffic");
    if (left.type === "vector" && right.type === "vector") {
      this.#parts(tree, left, right);
      const measure = measureOfRatio(left, right);
      if (measure === null)
        this.add(
          "measure_mismatch",
          `${left.measure} / ${right.measure} measures nothing that has a name here`,
        );
      return measure ?? "none";
    }
    // Per cents by 100 are a share.
    return left.measure === "percent" && isHundred(tree.right) ? "ratio" : null;
  }

  /** E9. */
  #parts(tree: Tree & { kind: "binary" }, left: Shape, right: Shape): void {
    if (isSame(tree.left, tree.right))
      this.add("ratio_parts", "the dividend is the divisor: the ratio is always 1");
    const [parts, wholes] = [selectorsIn(tree.left), selectorsIn(tree.right)];
    const [part, whole] = [parts[0], wholes[0]];
    // Sums of several families have no one name.
    if (part === undefined || whole === undefined || parts.length > 1 || wholes.length > 1) return;
    const familyOf = (name: string): string => this.#names.get(name)?.family ?? name;
    const [dividend, divisor] = [familyOf(part.name), familyOf(whole.name)];
    if (left.nature === "sum_rate" && right.nature === "count_rate" && dividend !== divisor)
      this.add("ratio_parts", `a mean of ${dividend} is divided by the count of ${divisor}`);
    if (dividend === divisor && !isPartOf(left, right))
      this.add("ratio_parts", `the dividend has series of ${dividend} that the divisor leaves out`);
    if (LIMIT.test(dividend) && !LIMIT.test(divisor))
      this.add("ratio_parts", `${dividend} is a limit: expected it as the divisor`);
  }
}

/** Series times 0, which stand for none. */
function isZero(tree: Tree): boolean {
  return (
    tree.kind === "binary" && tree.operator === "*" && tree.right.kind === "number" && tree.right.value === 0
  );
}

/** Whether two parts of an expression are one text, but for a floor under the second. */
function isSame(one: Tree, other: Tree): boolean {
  const floored = other.kind === "binary" && other.operator === ">" ? other.left : other;
  return one.kind !== "number" && JSON.stringify(one) === JSON.stringify(floored);
}

/** The values of an open label that a matcher may name; `null`: any. What is left out says nothing about a value. */
function namedFor(
  { operator }: TreeMatcher,
  { named }: { readonly named: readonly string[] | null },
): readonly string[] | null {
  return operator === "=" || operator === "=~" ? named : null;
}

function listed(values: readonly string[]): string {
  return values.length === 0
    ? "knowledge.namedValues lists no value of that label"
    : `its values are ${values.join(", ")}`;
}

/** As Prometheus reads it: anchored; `null` when it is none. */
function patternOf(text: string): RegExp | null {
  try {
    return new RegExp(`^(?:${text})$`);
  } catch {
    return null;
  }
}

/** Each alternative of a plain list must hit: `a|b` with a misspelt b would otherwise pass. */
function alternativesOf(pattern: string): readonly string[] {
  return /^[\w:.|-]+$/.test(pattern) ? pattern.split("|") : [pattern];
}

/**
 * The values of a label that matchers leave.
 *
 * @param matchers - of a selector.
 * @param label - one of its labels.
 * @param known - what the label can be.
 * @returns fewer values where the set is closed and a matcher names some of them.
 */
export function keptValues(matchers: readonly TreeMatcher[], label: string, known: KnownValues): KnownValues {
  if ("named" in known) return known;
  return matchers
    .filter((matcher) => matcher.label === label && !matcher.value.startsWith("$"))
    .reduce<readonly string[]>((kept, matcher) => kept.filter((one) => isMatched(matcher, one)), known);
}

function isMatched({ operator, value }: TreeMatcher, candidate: string): boolean {
  const isPattern = operator === "=~" || operator === "!~";
  const hits = isPattern ? (patternOf(value)?.test(candidate) ?? false) : value === candidate;
  return hits === (operator === "=" || operator === "=~");
}

/** Of what two sides of `or` have; a label is open where one side's is. */
function eitherValues(left: Shape["values"], right: Shape["values"]): Shape["values"] {
  return new Map(
    [...left].map(([label, values]) => {
      const others = right.get(label) ?? values;
      if ("named" in values) return [label, values];
      return [label, "named" in others ? others : [...new Set([...values, ...others])]];
    }),
  );
}

function labelsOfAggregation(tree: Tree & { kind: "aggregation" }, of: Shape): ReadonlySet<string> {
  if (tree.operator === "topk" || tree.operator === "bottomk") return of.labels;
  if (tree.mode === "by") return new Set(tree.labels);
  return new Set([...of.labels].filter((label) => !tree.labels.includes(label)));
}

function resultLabels(matching: TreeMatching | null, left: Shape, right: Shape): ReadonlySet<string> {
  if (matching === null) return left.labels;
  if (matching.many === "left") return new Set([...left.labels, ...matching.include]);
  if (matching.many === "right") return new Set([...right.labels, ...matching.include]);
  if (matching.mode === "on") return new Set(matching.labels);
  return new Set([...left.labels].filter((label) => !matching.labels.includes(label)));
}

function measureOverRange(name: string, reads: "growing" | "gauge", { nature, measure }: Shape): Measure {
  if (name === "changes") return "none";
  const unit = nature === "bucket" || nature === "count" ? "none" : measure;
  return reads === "gauge" || name === "increase" ? unit : rateOf(unit);
}

/** A family that says how much there may be. */
const LIMIT = /_(?:capacity|limits?|size|max|wanted)(?:_|$)/;

function selectorsIn(tree: Tree): readonly (Tree & { kind: "selector" })[] {
  const found: (Tree & { kind: "selector" })[] = [];
  walkTree(tree, (node) => {
    if (node.kind === "selector") found.push(node);
  });
  return found;
}

/** Whether every value that the part can have is one of the whole's. */
function isPartOf(part: Shape, whole: Shape): boolean {
  return [...part.values].every(([label, values]) => {
    const all = whole.values.get(label);
    if (all === undefined || "named" in values || "named" in all) return true;
    return values.every((value) => all.includes(value));
  });
}

function isHundred(tree: Tree): boolean {
  return tree.kind === "number" && tree.value === 100;
}

function isPlainBucketRate(matchers: readonly TreeMatcher[]): boolean {
  return !matchers.some(({ label }) => label === "le");
}

function rateOf(unit: Measure): Measure {
  if (unit === "none") return "per_second";
  if (unit === "bytes") return "bytes_per_second";
  return unit === "seconds" ? "ratio" : unit;
}

function areTimestamps(left: Shape, right: Shape): boolean {
  return left.measure === "timestamp" && right.measure === "timestamp";
}

/** Whether one side is a number without a measure. */
function hasPlainNumber(left: Shape, right: Shape): boolean {
  const both = left.type === "vector" && right.type === "vector";
  return !both && (left === SCALAR || right === SCALAR);
}

/** Null for a ratio that measures nothing with a name. */
function measureOfRatio(left: Shape, right: Shape): Measure | null {
  if (left.nature === "sum_rate" && right.nature === "count_rate") return unrated(left.measure);
  return left.measure === right.measure ? "ratio" : null;
}

function unrated(measure: Measure): Measure {
  if (measure === "per_second") return "none";
  if (measure === "bytes_per_second") return "bytes";
  return measure === "ratio" ? "seconds" : measure;
}

function symmetricDifference(a: ReadonlySet<string>, b: ReadonlySet<string>): string[] {
  return [...[...a].filter((label) => !b.has(label)), ...[...b].filter((label) => !a.has(label))];
}
