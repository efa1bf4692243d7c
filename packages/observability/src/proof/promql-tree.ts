/**
 * PromQL text to a small tree, by Prometheus's own grammar for editors (lezer-promql): a second
 * reading, independent of the combinators that wrote the text.
 *
 * The subset is what our files need: selectors, ranges, aggregations, calls, unary minus, and binary
 * operators with matching. `@`, offsets, subqueries and syntax newer than Prometheus 2.42 are refused by name. The oldest supported
 * server would refuse some of them, and no text shows that a value is of another time.
 *
 * Grafana's macros are no PromQL: `plainPromql` puts representative values in their place first.
 */

import type { SyntaxNode } from "@lezer/common";
import { parser } from "@prometheus-io/lezer-promql";

/** A label matcher as written. */
export interface TreeMatcher {
  readonly label: string;
  readonly operator: "=" | "!=" | "=~" | "!~";
  readonly value: string;
}

/** `on`/`ignoring` and `group_left`/`group_right`. */
export interface TreeMatching {
  readonly mode: "on" | "ignoring";
  readonly labels: readonly string[];
  readonly many: "left" | "right" | null;
  readonly include: readonly string[];
}

/** One node of an expression. */
export type Tree =
  | { readonly kind: "number"; readonly value: number }
  | { readonly kind: "string"; readonly value: string }
  | {
      readonly kind: "selector";
      readonly name: string;
      readonly matchers: readonly TreeMatcher[];
      readonly range: string | null;
    }
  | {
      readonly kind: "aggregation";
      readonly operator: string;
      readonly mode: "by" | "without";
      readonly labels: readonly string[];
      readonly parameter: Tree | null;
      readonly of: Tree;
    }
  | { readonly kind: "call"; readonly name: string; readonly arguments: readonly Tree[] }
  | {
      readonly kind: "binary";
      readonly operator: string;
      readonly bool: boolean;
      readonly matching: TreeMatching | null;
      readonly left: Tree;
      readonly right: Tree;
    }
  | { readonly kind: "negation"; readonly of: Tree };

/** Thrown inside this file and turned into a value at its border. */
class Refusal extends Error {
  readonly code: "syntax" | "outside_subset";

  constructor(code: "syntax" | "outside_subset", message: string) {
    super(message);
    this.code = code;
  }
}

/** What `parsePromql` answers. */
export type ParsedPromql =
  | { readonly ok: true; readonly tree: Tree }
  | { readonly ok: false; readonly code: "syntax" | "outside_subset"; readonly message: string };

/**
 * Puts values in the place of Grafana's range macros.
 *
 * @param text - an expression from a dashboard.
 * @returns PromQL; `"$variable"` inside strings stays, being legal there.
 */
export function plainPromql(text: string): string {
  return text.replaceAll("$__rate_interval", "5m").replaceAll("$__range", "1h");
}

/**
 * Parses an expression.
 *
 * @param text - PromQL without macros.
 * @returns its tree, or where it stops being PromQL or our subset.
 */
export function parsePromql(text: string): ParsedPromql {
  const top = parser.parse(text).topNode;
  try {
    refuseErrors(top, text);
    const root = top.firstChild;
    if (root === null || root.nextSibling !== null) throw new Refusal("syntax", "expected one expression");
    return { ok: true, tree: build(root, text) };
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, code: error.code, message: error.message };
    throw error;
  }
}

/** lezer repairs what it cannot read and goes on; any repair is a syntax error to us. */
function refuseErrors(node: SyntaxNode, text: string): void {
  if (node.type.isError) {
    const before = text.slice(Math.max(0, node.from - 20), node.from);
    throw new Refusal("syntax", `cannot be read at offset ${node.from}, after …${before}`);
  }
  for (const child of childrenOf(node)) refuseErrors(child, text);
}

function childrenOf(node: SyntaxNode): SyntaxNode[] {
  const children: SyntaxNode[] = [];
  for (let child = node.firstChild; child !== null; child = child.nextSibling) children.push(child);
  return children;
}

const OPERATORS = new Set([
  "+",
  "-",
  "*",
  "/",
  "%",
  "^",
  "==",
  "!=",
  ">",
  "<",
  ">=",
  "<=",
  "and",
  "or",
  "unless",
]);

function build(node: SyntaxNode, text: string): Tree {
  const source = (part: SyntaxNode) => text.slice(part.from, part.to);
  const children = childrenOf(node);
  const [first] = children;
  switch (node.name) {
    case "ParenExpr":
      if (first === undefined) throw new Refusal("syntax", `nothing inside ${source(node)}`);
      return build(first, text);
    case "NumberDurationLiteral":
      return { kind: "number", value: source(node) === "Inf" ? Infinity : Number(source(node)) };
    case "StringLiteral":
      return { kind: "string", value: unquote(source(node)) };
    case "UnaryExpr":
      return { kind: "negation", of: build(last(children), text) };
    case "VectorSelector":
      return selectorOf(node, null, text);
    case "MatrixSelector":
      if (first === undefined) throw new Refusal("syntax", "a range of nothing");
      return selectorOf(first, source(last(children)), text);
    case "FunctionCall":
      return {
        kind: "call",
        name: source(named(node, "FunctionIdentifier")),
        arguments: argumentsOf(node, text),
      };
    case "AggregateExpr":
      return aggregationOf(node, text);
    case "BinaryExpr":
      return binaryOf(children, text);
    default:
      throw new Refusal("outside_subset", `${node.name} (${source(node)}) is not used here`);
  }
}

function last(nodes: readonly SyntaxNode[]): SyntaxNode {
  const node = nodes.at(-1);
  if (node === undefined) throw new Refusal("syntax", "an operand is missing");
  return node;
}

function named(node: SyntaxNode, name: string): SyntaxNode {
  const child = node.getChild(name);
  if (child === null) throw new Refusal("outside_subset", `${node.name} without ${name}`);
  return child;
}

function argumentsOf(node: SyntaxNode, text: string): Tree[] {
  return childrenOf(named(node, "FunctionCallBody")).map((child) => build(child, text));
}

function selectorOf(node: SyntaxNode, range: string | null, text: string): Tree {
  if (node.name !== "VectorSelector")
    throw new Refusal("outside_subset", "a range of something that is no selector");
  const identifier = node.getChild("Identifier");
  let name = identifier === null ? "" : text.slice(identifier.from, identifier.to);
  const matchers: TreeMatcher[] = [];
  for (const part of childrenOf(node.getChild("LabelMatchers") ?? node)) {
    if (part.name === "QuotedLabelName")
      throw new Refusal("outside_subset", "quoted metric names need Prometheus 3");
    if (part.name === "QuotedLabelMatcher")
      throw new Refusal("outside_subset", "quoted label names need Prometheus 3");
    if (part.name !== "UnquotedLabelMatcher") continue;
    const [label, operator, value] = childrenOf(part).map((piece) => text.slice(piece.from, piece.to));
    const matcher = {
      label: label ?? "",
      operator: (operator ?? "=") as TreeMatcher["operator"],
      value: unquote(value ?? ""),
    };
    if (matcher.label === "__name__" && matcher.operator === "=") name = matcher.value;
    else matchers.push(matcher);
  }
  if (name === "")
    throw new Refusal("outside_subset", "a selector without a metric name reads every series there is");
  return { kind: "selector", name, matchers, range };
}

function labelsIn(node: SyntaxNode | null, text: string): string[] {
  return node === null ? [] : node.getChildren("LabelName").map((label) => text.slice(label.from, label.to));
}

function aggregationOf(node: SyntaxNode, text: string): Tree {
  const operator = text.slice(named(node, "AggregateOp").from, named(node, "AggregateOp").to);
  const modifier = node.getChild("AggregateModifier");
  const operands = argumentsOf(node, text);
  const of = operands.at(-1);
  if (of === undefined || operands.length > 2)
    throw new Refusal("syntax", `${operator} takes one or two operands`);
  return {
    kind: "aggregation",
    operator,
    mode: modifier?.getChild("Without") ? "without" : "by",
    labels: labelsIn(modifier?.getChild("GroupingLabels") ?? null, text),
    parameter: operands.length === 2 ? (operands[0] ?? null) : null,
    of,
  };
}

function binaryOf(children: readonly SyntaxNode[], text: string): Tree {
  const source = (part: SyntaxNode) => text.slice(part.from, part.to);
  const left = children[0];
  const operator = children.map(source).find((part) => OPERATORS.has(part));
  if (left === undefined || operator === undefined)
    throw new Refusal("outside_subset", "an operator that is not known here");
  const clause = children.find((child) => child.name === "MatchingModifierClause");
  return {
    kind: "binary",
    operator,
    bool: children.some((child) => child.name === "BoolModifier"),
    matching: clause === undefined ? null : matchingOf(clause, text),
    left: build(left, text),
    right: build(last(children), text),
  };
}

function matchingOf(clause: SyntaxNode, text: string): TreeMatching {
  const groups = clause.getChildren("GroupingLabels");
  const left = clause.getChild("GroupLeft") !== null;
  const right = clause.getChild("GroupRight") !== null;
  return {
    mode: clause.getChild("On") === null ? "ignoring" : "on",
    labels: labelsIn(groups[0] ?? null, text),
    many: left ? "left" : right ? "right" : null,
    include: labelsIn(groups[1] ?? null, text),
  };
}

function unquote(literal: string): string {
  if (literal.startsWith("`")) return literal.slice(1, -1);
  const body = literal.slice(1, -1);
  return body.replace(/\\(.)/g, (_, escaped: string) =>
    escaped === "n" ? "\n" : escaped === "t" ? "\t" : escaped,
  );
}
