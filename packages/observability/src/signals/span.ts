/**
 * The definition of a span of a trace, as typed data: its name, kind, parent, sampling, attributes
 * and meaning. Emitting code and the reference page are projections of it.
 *
 *     spans({ lookup: {…} }) ─┬─▶ Tracing.within("lookup", (span) => span.set({…}))   another name, a missing, unknown
 *                             │                                                      or wrong attribute: no compile
 *                             └─▶ docs/generated/spans.md
 */

import { type Facts, type Fields, faultsOf, orAbsent, text } from "./field.ts";

/** What OpenTelemetry knows of a span's side of a call. */
export type SpanSide = "server" | "client" | "internal";

/** A span. */
export interface SpanDefinition {
  readonly kind: SpanSide;
  /** What the name consists of, where it is not the key. */
  readonly named?: string;
  /** The span, or the caller, that it belongs to. */
  readonly parent: string;
  /**
   * `caller`: as its parent; a root by the ratio of requests. `always`: rare work, traced whatever
   * the ratio is. `thread`: an ingest thread chooses, by the ratio of batches or always.
   */
  readonly sampled: "caller" | "always" | "thread";
  readonly attributes: Fields;
  readonly meaning: string;
}

/** Spans by name. */
export type Spans = Readonly<Record<string, SpanDefinition>>;

/** The attributes that a span is given. */
export type Attributes<One extends SpanDefinition> = Facts<One["attributes"]>;

/** Attributes that any span can have. */
export const COMMON_ATTRIBUTES = {
  "error.type": orAbsent(text("code or class of the failure, never its message"), "the span did not fail"),
} as const satisfies Fields;

/**
 * Defines spans.
 *
 * @param definitions - by name.
 * @returns the same, with names, kinds and attributes as literal types.
 */
export function spans<const Written extends Spans>(definitions: Written): Written {
  return definitions;
}

/**
 * What is wrong with the attributes of a span that has ended, at run time: for tests that receive
 * spans. Only `error.type` is sure on a span that failed.
 *
 * @param definition - of the span.
 * @param attributes - as received.
 * @returns a phrase for each missing attribute, unknown attribute, and value of another type.
 */
export function attributeFaults(
  { attributes: declared }: SpanDefinition,
  attributes: Readonly<Record<string, unknown>>,
): string[] {
  const fields = { ...COMMON_ATTRIBUTES, ...declared };
  const isFailed = "error.type" in attributes;
  return faultsOf(fields, attributes).filter((fault) => !isFailed || !fault.endsWith(" is missing"));
}
