/**
 * The value of an expression at an instant, from kept samples, for the part of PromQL that our rules use.
 *
 *     Tree ──evaluate──▶ number | [{ labels, value }]
 *       │
 *       └─ selector ──▶ recorded series of this instant, or the SampleStore
 *
 * Invariants
 *  Q1  `unsupportedPart` names what this file cannot evaluate. An expression that it lets through is
 *      evaluated as Prometheus does, to the rounding of sums in another order.
 *  Q2  A vector never has two elements with the same labels.
 *
 * Not here: offsets, `@`, subqueries, native histograms, comparisons of two numbers. Metric names are
 * left out of labels, because no operator of the rules lets them through to an alert.
 *
 * Follows promql/engine.go, functions.go and quantile.go of Prometheus 2.42 in what is computed.
 */

import { secondsOf } from "../duration.ts";
import type { Tree, TreeMatching } from "../proof/promql-tree.ts";
import { rateOf, quantileOf } from "./counter-functions.ts";
import { fits } from "./label-matching.ts";
import { type Aggregation, only, RowGroups, valuesOf } from "./row-groups.ts";
import type { SampleStore } from "./sample-store.ts";
import type { Labels, SampleTable } from "./sample-table.ts";

/** A member of a vector. */
export interface Element {
  readonly labels: Labels;
  readonly value: number;
}

/** What an expression is at an instant. */
export type Value = number | readonly Element[];

/** Where an expression is evaluated. */
export interface Surroundings {
  readonly store: SampleStore;
  /** Recorded series of this instant, by name. */
  readonly recorded: ReadonlyMap<string, readonly Element[]>;
  readonly atSeconds: number;
}

/** An expression that Prometheus would refuse for these series too. */
export class EvaluationError extends Error {
  readonly code = "ambiguous_match";
}

type Kind<K extends Tree["kind"]> = Extract<Tree, { kind: K }>;

/**
 * Evaluates.
 *
 * @param tree - an expression without unsupported parts.
 * @param at - samples and instant.
 * @returns a number, or a vector in no order.
 * @throws EvaluationError ambiguous_match: several series fit one of the other side.
 */
export function evaluate(tree: Tree, at: Surroundings): Value {
  switch (tree.kind) {
    case "number":
      return tree.value;
    case "string":
      throw new RangeError("a string has no value here");
    case "selector":
      return instantOf(tree, at);
    case "negation":
      return mapped(evaluate(tree.of, at), (value) => -value);
    case "aggregation":
      return aggregatedRows(tree, at)?.elements() ?? aggregated(tree, vectorOf(tree.of, at));
    case "call":
      return callOf(tree)(tree.arguments, at);
    case "binary":
      return binary(tree, at);
  }
}

function vectorOf(tree: Tree | undefined, at: Surroundings): readonly Element[] {
  const value = tree === undefined ? [] : evaluate(tree, at);
  if (typeof value === "number") throw new RangeError("a vector is expected, not a number");
  return value;
}

function instantOf({ name, matchers }: Kind<"selector">, at: Surroundings): readonly Element[] {
  const recorded = at.recorded.get(name);
  return recorded === undefined
    ? at.store.instant(name, matchers, at.atSeconds)
    : recorded.filter(({ labels }) => fits(matchers, labels));
}

function mapped(value: Value, change: (value: number) => number): Value {
  return typeof value === "number"
    ? change(value)
    : value.map((element) => ({ labels: element.labels, value: change(element.value) }));
}

// ---- functions

type Call = (operands: readonly Tree[], at: Surroundings) => Value;

const CALLS: Readonly<Record<string, Call>> = {
  rate: ([of], at) => overRange(of, at, true),
  increase: ([of], at) => overRange(of, at, false),
  histogram_quantile: ([q, of], at) => {
    const quantile = q === undefined ? Number.NaN : evaluate(q, at);
    if (of === undefined) throw new RangeError("a quantile of nothing");
    const value = typeof quantile === "number" ? quantile : Number.NaN;
    const groups = of.kind === "aggregation" ? aggregatedRows(of, at) : null;
    return groups?.bounds ? quantilesOfRows(value, groups) : quantiles(of, value, vectorOf(of, at));
  },
  time: (_, at) => at.atSeconds,
  timestamp: ([of], at) => {
    if (of?.kind !== "selector") throw new RangeError("timestamp of something that is no selector");
    return at.store
      .instant(of.name, of.matchers, at.atSeconds)
      .map(({ labels, atSeconds }) => ({ labels, value: atSeconds }));
  },
  absent: ([of], at) =>
    vectorOf(of, at).length > 0 ? [] : [{ labels: of === undefined ? {} : equalLabels(of), value: 1 }],
};

function callOf({ name }: Kind<"call">): Call {
  const call = CALLS[name];
  if (call === undefined) throw new RangeError(`function ${name} is not evaluated here`);
  return call;
}

function overRange(of: Tree | undefined, at: Surroundings, isRate: boolean): Element[] {
  if (of?.kind !== "selector" || of.range === null) throw new RangeError("a rate of something without range");
  const { atSeconds, store } = at;
  const rangeSeconds = secondsOf(of.range);
  const elements: Element[] = [];
  store.range(of.name, of.matchers, { atSeconds, rangeSeconds }, (labels, stretch) => {
    const value = rateOf(stretch, atSeconds, rangeSeconds, isRate);
    if (value !== null) elements.push({ labels, value });
  });
  return elements;
}

/** Labels that a missing series would have: those that the selector states. */
function equalLabels(of: Tree): Labels {
  if (of.kind !== "selector") return {};
  return Object.fromEntries(
    of.matchers.filter(({ operator }) => operator === "=").map(({ label, value }) => [label, value]),
  );
}

function quantiles(of: Tree, q: number, buckets: readonly Element[]): Element[] {
  const groups = new Map<string, { labels: Labels; buckets: { bound: number; count: number }[] }>();
  for (const { labels, value } of buckets) {
    const bound = boundOf(labels["le"]);
    if (bound === null) continue;
    const { key, kept } = keyed(of, labels, bucketOwner);
    const group = groups.get(key) ?? { labels: kept, buckets: [] };
    groups.set(key, group);
    group.buckets.push({ bound, count: value });
  }
  return [...groups.values()].map((group) => ({
    labels: group.labels,
    value: quantileOf(q, group.buckets),
  }));
}

/** A group without growth has no quantile: nothing is made for it but that. */
function quantilesOfRows(q: number, groups: RowGroups): Element[] {
  const bounds = (groups.bounds ?? []).map(boundOf);
  const elements: Element[] = [];
  groups.each((labels, place) => {
    const buckets: { bound: number; count: number }[] = [];
    let sum = 0;
    for (let i = 0; i < bounds.length; i++) sum += groups.value(place + i) ?? 0;
    if (sum > 0)
      for (const [i, bound] of bounds.entries()) {
        const count = groups.value(place + i);
        if (count !== undefined && bound !== null) buckets.push({ bound, count });
      }
    elements.push({ labels, value: quantileOf(q, buckets) });
  });
  return elements;
}

function bucketOwner(labels: Labels): Keyed {
  const kept = without(labels, ["le"]);
  return { key: keyOf(kept), kept };
}

function boundOf(le: string | undefined): number | null {
  if (le === "+Inf") return Infinity;
  const bound = le === undefined || le === "" ? Number.NaN : Number(le);
  return Number.isNaN(bound) ? null : bound;
}

// ---- aggregations

const asItIs = (present: number): number => present;

const AGGREGATIONS: Readonly<Record<string, Aggregation>> = {
  sum: { add: (sum, value) => sum + value, end: asItIs },
  avg: { add: (sum, value) => sum + value, end: (sum, count) => sum / count },
  min: { add: (least, value) => (value < least || Number.isNaN(least) ? value : least), end: asItIs },
  max: { add: (most, value) => (value > most || Number.isNaN(most) ? value : most), end: asItIs },
  count: { add: asItIs, end: (_, count) => count },
};

/**
 * Aggregates straight over kept rows.
 *
 * @returns null where the operand is no plain selector of them, and no rate of one.
 */
function aggregatedRows(tree: Kind<"aggregation">, at: Surroundings): RowGroups | null {
  const { operator, mode, labels, of } = tree;
  const range = of.kind === "call" && TAKES_RANGE.has(of.name) ? of : null;
  const selector = range === null ? of : range.arguments[0];
  if (mode !== "by" || selector?.kind !== "selector" || at.recorded.has(selector.name)) return null;
  const rangeSeconds = selector.range === null ? 0 : secondsOf(selector.range);
  const table = at.store.tableFor(selector.name, rangeSeconds);
  if (table === null || table.blocks === 0) return null;
  const groups = table.observed(tree, () => new RowGroups(table, selector.matchers, labels));
  const valueOf = range === null ? presentValue(table, at) : rateOfRow(table, rangeSeconds, range.name, at);
  groups.aggregate(aggregationOf(operator), valueOf);
  return groups;
}

function presentValue(table: SampleTable, { store, atSeconds }: Surroundings): (row: number) => number {
  const { latest } = store;
  return store.isFresh(atSeconds) ? (row) => table.value(row, latest) : () => Number.NaN;
}

function rateOfRow(
  table: SampleTable,
  rangeSeconds: number,
  name: string,
  { store, atSeconds }: Surroundings,
): (row: number) => number {
  const window = store.window(table, atSeconds, rangeSeconds);
  const stretch = { count: 0, first: 0, firstAt: 0, lastAt: 0, growth: 0 };
  const isRate = name === "rate";
  return (row) =>
    table.stretch(row, window, stretch)
      ? (rateOf(stretch, atSeconds, rangeSeconds, isRate) ?? Number.NaN)
      : Number.NaN;
}

function aggregationOf(operator: string): Aggregation {
  const aggregate = AGGREGATIONS[operator];
  if (aggregate === undefined) throw new RangeError(`aggregation ${operator} is not evaluated here`);
  return aggregate;
}

function aggregated(tree: Kind<"aggregation">, of: readonly Element[]): Element[] {
  const { operator, mode, labels: named } = tree;
  const aggregate = aggregationOf(operator);
  const groupOf = (labels: Labels): Keyed => {
    if (mode === "by") return { key: valuesOf(labels, named), kept: only(labels, named) };
    const kept = without(labels, named);
    return { key: keyOf(kept), kept };
  };
  const groups = new Map<string, { readonly labels: Labels; value: number; count: number }>();
  for (const { labels, value } of of) {
    const { key, kept } = keyed(tree, labels, groupOf);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { labels: kept, value, count: 1 });
    else {
      group.value = aggregate.add(group.value, value);
      group.count += 1;
    }
  }
  return [...groups.values()].map(({ labels, value, count }) => ({
    labels,
    value: aggregate.end(value, count),
  }));
}

/** Where an element belongs, and the labels that are left there. */
interface Keyed {
  readonly key: string;
  readonly kept: Labels;
}

/**
 * By node and labels. Labels of kept series are the same objects at each instant, and so are those
 * that are made of them here: the texts of keys are made once for each series.
 */
const KEYS = new WeakMap<Tree, WeakMap<Labels, Keyed>>();

function keyed(node: Tree, labels: Labels, make: (labels: Labels) => Keyed): Keyed {
  let known = KEYS.get(node);
  if (known === undefined) {
    known = new WeakMap();
    KEYS.set(node, known);
  }
  let found = known.get(labels);
  if (found === undefined) {
    found = make(labels);
    known.set(labels, found);
  }
  return found;
}

function without(labels: Labels, named: readonly string[]): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([label]) => !named.includes(label)));
}

/** The same for equal labels, whatever their order. */
function keyOf(labels: Labels): string {
  return Object.entries(labels)
    .filter(([, value]) => value !== "")
    .map(([label, value]) => `${label}\u0000${value}`)
    .sort()
    .join("\u0000");
}

// ---- operators

const ARITHMETIC: Readonly<Record<string, (left: number, right: number) => number>> = {
  "+": (left, right) => left + right,
  "-": (left, right) => left - right,
  "*": (left, right) => left * right,
  "/": (left, right) => left / right,
};

const COMPARISONS: Readonly<Record<string, (left: number, right: number) => boolean>> = {
  "==": (left, right) => left === right,
  "!=": (left, right) => left !== right,
  ">": (left, right) => left > right,
  "<": (left, right) => left < right,
  ">=": (left, right) => left >= right,
  "<=": (left, right) => left <= right,
};

/** What an operator makes of two values; null leaves the element out. */
type Operator = (left: number, right: number) => number | null;

const SETS = new Set(["and", "or", "unless"]);

function operatorOf(name: string): Operator | null {
  const arithmetic = ARITHMETIC[name];
  if (arithmetic !== undefined) return arithmetic;
  const comparison = COMPARISONS[name];
  return comparison === undefined ? null : (left, right) => (comparison(left, right) ? left : null);
}

function binary(tree: Kind<"binary">, at: Surroundings): Value {
  const [left, right] = [evaluate(tree.left, at), evaluate(tree.right, at)];
  const operator = operatorOf(tree.operator);
  if (typeof left !== "number" && typeof right !== "number")
    return operator === null ? combined(tree, left, right) : matched(tree, left, right, operator);
  if (operator === null) throw new RangeError(`${tree.operator} is not evaluated for numbers`);
  if (typeof left === "number" && typeof right === "number") return operator(left, right) ?? Number.NaN;
  return typeof right === "number"
    ? kept(left as readonly Element[], (value) => operator(value, right))
    : kept(right, flipped(tree.operator, operator, left as number));
}

/** A comparison keeps the value of the vector, also where that is on the right. */
function flipped(name: string, operator: Operator, left: number): (value: number) => number | null {
  return (value) => {
    const result = operator(left, value);
    return result !== null && name in COMPARISONS ? value : result;
  };
}

function kept(vector: readonly Element[], change: (value: number) => number | null): Element[] {
  const elements: Element[] = [];
  for (const { labels, value } of vector) {
    const result = change(value);
    if (result !== null) elements.push({ labels, value: result });
  }
  return elements;
}

function sideKey(matching: TreeMatching | null): (labels: Labels) => string {
  if (matching === null) return keyOf;
  const { mode, labels: named } = matching;
  return mode === "on" ? (labels) => valuesOf(labels, named) : (labels) => keyOf(without(labels, named));
}

function keyOfSide(tree: Kind<"binary">): (labels: Labels) => string {
  const make = sideKey(tree.matching);
  return (labels) => keyed(tree, labels, () => ({ key: make(labels), kept: labels })).key;
}

function combined(tree: Kind<"binary">, left: readonly Element[], right: readonly Element[]): Element[] {
  const { operator } = tree;
  const key = keyOfSide(tree);
  if (operator === "or") {
    const there = new Set(left.map(({ labels }) => key(labels)));
    return [...left, ...right.filter(({ labels }) => !there.has(key(labels)))];
  }
  const there = new Set(right.map(({ labels }) => key(labels)));
  return left.filter(({ labels }) => there.has(key(labels)) === (operator === "and"));
}

function matched(
  tree: Kind<"binary">,
  left: readonly Element[],
  right: readonly Element[],
  operator: Operator,
): Element[] {
  const { matching } = tree;
  const key = keyOfSide(tree);
  const others = new Map<string, number>();
  for (const { labels, value } of right) {
    const of = key(labels);
    if (others.has(of)) throw new EvaluationError("several series of the right side have the same labels");
    others.set(of, value);
  }
  const seen = new Set<string>();
  const elements: Element[] = [];
  for (const { labels, value } of left) {
    const of = key(labels);
    const other = others.get(of);
    if (other === undefined) continue;
    const result = operator(value, other);
    if (result === null) continue;
    if (seen.has(of)) throw new EvaluationError("several series of the left side have the same labels");
    seen.add(of);
    elements.push({ labels: resultLabels(labels, matching), value: result });
  }
  return elements;
}

function resultLabels(labels: Labels, matching: TreeMatching | null): Labels {
  if (matching === null) return labels;
  return matching.mode === "on" ? only(labels, matching.labels) : without(labels, matching.labels);
}

// ---- what is evaluated at all

/**
 * What of an expression this file cannot evaluate (Q1).
 *
 * @param tree - an expression.
 * @returns its name; null when all of it is evaluated.
 */
export function unsupportedPart(tree: Tree): string | null {
  switch (tree.kind) {
    case "number":
      return null;
    case "string":
      return "a string";
    case "selector":
      return tree.range === null ? null : "a range outside of rate and increase";
    case "negation":
      return unsupportedPart(tree.of);
    case "aggregation":
      return tree.operator in AGGREGATIONS && tree.parameter === null
        ? unsupportedPart(tree.of)
        : tree.operator;
    case "call":
      return unsupportedCall(tree);
    case "binary":
      return unsupportedBinary(tree);
  }
}

/** What each function takes: a range, a selector, or expressions. */
const TAKES_RANGE = new Set(["rate", "increase"]);
const TAKES_SELECTOR = new Set(["timestamp"]);

function unsupportedCall(tree: Kind<"call">): string | null {
  if (!(tree.name in CALLS)) return tree.name;
  const [first] = tree.arguments;
  if (TAKES_RANGE.has(tree.name))
    return first?.kind === "selector" && first.range !== null ? null : `${tree.name} of an expression`;
  if (TAKES_SELECTOR.has(tree.name) && first?.kind !== "selector") return `${tree.name} of an expression`;
  return tree.arguments.map(unsupportedPart).find((part) => part !== null) ?? null;
}

function unsupportedBinary(tree: Kind<"binary">): string | null {
  if (tree.bool) return "bool";
  if (tree.matching !== null && tree.matching.many !== null) return `group_${tree.matching.many}`;
  if (operatorOf(tree.operator) === null && !SETS.has(tree.operator)) return tree.operator;
  if (tree.operator in COMPARISONS && isNumber(tree.left) && isNumber(tree.right))
    return "a comparison of numbers";
  return unsupportedPart(tree.left) ?? unsupportedPart(tree.right);
}

function isNumber(tree: Tree): boolean {
  if (tree.kind === "negation") return isNumber(tree.of);
  if (tree.kind === "binary") return isNumber(tree.left) && isNumber(tree.right);
  return tree.kind === "number" || (tree.kind === "call" && tree.name === "time");
}
