/**
 * Families that others export and our rules and dashboards read. They are declared like our own, so
 * that a query on them passes the same checks. The exporter is named, since a name without its
 * owner cannot be looked up.
 *
 * Not here: our own families (definition.ts, catalogue/). Nothing in this repository emits what is declared through here.
 */

import type { LabelDomains, Unit } from "./definition.ts";

/** A family of another exporter. */
export interface ExternalDefinition<
  Kind extends "counter" | "gauge" | "histogram" = "counter" | "gauge" | "histogram",
  L extends LabelDomains = LabelDomains,
  U extends Unit = Unit,
> {
  readonly kind: Kind;
  /** Full exposition name. */
  readonly name: string;
  readonly unit: U;
  readonly labels: L;
  /** Who exports it, as an operator would look it up. */
  readonly exporter: string;
  readonly help: string;
  /** Upper bounds of a histogram, ascending; absent on other kinds. */
  readonly buckets?: readonly number[];
}

/**
 * Declares a family that another program exports.
 *
 * @param definition - its facts, as that program's documentation has them.
 * @returns the same, with label names and closed values as literal types.
 */
export function external<
  const Kind extends "counter" | "gauge" | "histogram",
  const L extends LabelDomains,
  const U extends Unit,
>(definition: ExternalDefinition<Kind, L, U>): ExternalDefinition<Kind, L, U> {
  return definition;
}
