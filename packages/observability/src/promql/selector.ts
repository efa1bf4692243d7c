/**
 * Selectors: `name{label="value"}` from a family and typed matchers. Values of closed labels are
 * the declared ones. The values of a dashboard variable are matched by `=~"$name"`, as Grafana
 * fills in alternations.
 */

import type { LabelDomain, LabelDomains, Unit } from "../definition.ts";

/**
 * Labels that may tell two installations apart which share a Prometheus. Rules keep them, so that alerts can be grouped and routed by
 * them. Where they are not set they are empty, and cost nothing.
 */
export const INSTALLATION_LABELS = ["cluster", "namespace"] as const;

/** Labels that Prometheus adds to everything it scrapes. */
export const TARGET_LABELS = [...INSTALLATION_LABELS, "job", "instance"] as const;

/** One of the labels that Prometheus adds. */
type TargetLabel = (typeof TARGET_LABELS)[number];

/** Values of a label that fit the choice at the top of a dashboard, which has the label's name. */
interface VariableMatch<Label extends string> {
  readonly variable: Label;
}

/** Values that match an anchored regular expression. */
interface PatternMatch {
  readonly pattern: string;
}

/** Every value but one, or but some. */
interface NotMatch<Value extends string> {
  readonly not: Value | readonly Value[];
}

/** What a label may be matched with. */
export type Match<Value extends string, Label extends string = string> =
  | Value
  | readonly Value[]
  | NotMatch<Value>
  | VariableMatch<Label>
  | PatternMatch;

type ValueOf<D extends LabelDomain> = D extends readonly (infer Value extends string)[] ? Value : string;

/** Matchers that fit a family: its own labels with their values, and the target's. */
export type Matchers<L extends LabelDomains> = {
  readonly [K in keyof L]?: Match<ValueOf<L[K]>, K & string>;
} & { readonly [K in TargetLabel]?: Match<string, K> };

/** The label names of a family's series. */
export type LabelsOf<L extends LabelDomains> = (keyof L & string) | TargetLabel;

/** A family as queries see it: ours or another exporter's. */
export interface Family<Kind extends string, L extends LabelDomains, U extends Unit> {
  readonly kind: Kind;
  readonly name: string;
  readonly unit: U;
  readonly labels: L;
}

/**
 * The label names of a family's series, as a value.
 *
 * @param family - any.
 * @returns its labels and the target's.
 */
export function labelsOf<L extends LabelDomains>(family: { readonly labels: L }): LabelsOf<L>[] {
  return [...Object.keys(family.labels), ...TARGET_LABELS];
}

/**
 * The text of a selector.
 *
 * @param name - exposition name, suffix included.
 * @param matchers - by label; rendered in the order given.
 * @returns `name` or `name{…}`.
 */
export function selector(
  name: string,
  matchers: Readonly<Record<string, Match<string> | undefined>>,
): string {
  const parts = Object.entries(matchers).flatMap(([label, match]) =>
    match === undefined ? [] : [`${label}${matcherText(match)}`],
  );
  return parts.length === 0 ? name : `${name}{${parts.join(",")}}`;
}

function matcherText(match: Match<string>): string {
  if (typeof match === "string") return `=${quoted(match)}`;
  if (isList(match)) return `=~${quoted(match.map(escapePattern).join("|"))}`;
  if ("variable" in match) return `=~"$${match.variable}"`;
  if ("pattern" in match) return `=~${quoted(match.pattern)}`;
  if (typeof match.not === "string") return `!=${quoted(match.not)}`;
  return `!~${quoted(match.not.map(escapePattern).join("|"))}`;
}

function isList(match: Match<string>): match is readonly string[] {
  return Array.isArray(match);
}

/** PromQL string escapes of what we write are JSON's. */
function quoted(text: string): string {
  return JSON.stringify(text);
}

function escapePattern(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
