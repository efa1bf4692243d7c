/**
 * The names that a scrape, or a recording rule, makes available to queries, with what each of them is:
 *
 *   counter    shop_x_total                            counter
 *   gauge      shop_x                                  gauge
 *   histogram  shop_x_bucket | _sum | _count           bucket, sum, count (all of them grow)
 *   recorded   level:metric:operations                 by its expression's shape
 */

import { TARGET_EXPORTERS } from "../exporters.ts";
import type { LabelDomain, LabelDomains } from "../definition.ts";
import type { Measure } from "../promql/vector.ts";
import { TARGET_LABELS } from "../promql/selector.ts";

/** What a series is, which decides what may be asked of it. */
export type Nature =
  | "counter"
  | "gauge"
  | "bucket"
  | "sum"
  | "count"
  | "rate"
  | "bucket_rate"
  | "sum_rate"
  | "count_rate";

/** What is known of a label's values. */
export type KnownValues =
  | readonly string[]
  /** Open: those of its values that queries may name, or `null` where they may name any. */
  | { readonly named: readonly string[] | null };

/** A name that queries may use. */
export interface ExposedName {
  readonly name: string;
  /** The family it belongs to; for a recorded series, its own name. */
  readonly family: string;
  readonly nature: Nature;
  /** The family's unit, or the measure of a recorded expression. */
  readonly measure: Measure;
  readonly labels: ReadonlyMap<string, KnownValues>;
  /** Bounds of the histogram that the value comes from, when they are known. */
  readonly buckets: readonly number[] | null;
  /** Whether a sum over its series means something: not so for shares, ages and times. */
  readonly additive: boolean;
  /** Whether `job` and `instance` are the application's, and not another exporter's. */
  readonly isOfTarget: boolean;
}

/** A family as the catalogue and the list of external metrics have it. */
export interface KnownFamily {
  readonly kind: "counter" | "gauge" | "histogram";
  readonly name: string;
  readonly unit: Measure;
  readonly labels: LabelDomains;
  readonly buckets?: readonly number[];
  /** Who exports it; absent on our own. */
  readonly exporter?: string;
}

/** Any value may stand there. */
const ANY: KnownValues = { named: null };

function knownValues(
  label: string,
  domain: LabelDomain,
  named: Readonly<Record<string, readonly string[]>>,
): KnownValues {
  return "maxValues" in domain ? { named: named[label] ?? [] } : domain;
}

/** Cores are shares of time that add up; shares of a whole, by the suffix of their name, do not. */
function isAdditive({ kind, name, unit }: KnownFamily): boolean {
  if (kind !== "gauge") return true;
  return unit === "none" || unit === "bytes" || (unit === "ratio" && !/_(ratio|rate)$/.test(name));
}

/**
 * All names of some families.
 *
 * @param families - ours and external ones.
 * @param named - values of open labels that queries may name, by label.
 * @returns by exposition name.
 */
export function exposedNames(
  families: readonly KnownFamily[],
  named: Readonly<Record<string, readonly string[]>>,
): Map<string, ExposedName> {
  const names = new Map<string, ExposedName>();
  for (const family of families) {
    const labels = new Map<string, KnownValues>([
      ...TARGET_LABELS.map((label) => [label, ANY] as const),
      ...Object.entries(family.labels).map(
        ([label, domain]) => [label, knownValues(label, domain, named)] as const,
      ),
    ]);
    const common = {
      family: family.name,
      measure: family.unit,
      buckets: family.buckets ?? null,
      additive: isAdditive(family),
      isOfTarget: family.exporter === undefined || TARGET_EXPORTERS.has(family.exporter),
    };
    if (family.kind !== "histogram") {
      names.set(family.name, { ...common, name: family.name, nature: family.kind, labels });
      continue;
    }
    const bounds = (family.buckets ?? []).map(String);
    const le: KnownValues = family.buckets === undefined ? ANY : [...bounds, "+Inf"];
    const bucket = `${family.name}_bucket`;
    names.set(bucket, {
      ...common,
      name: bucket,
      nature: "bucket",
      labels: new Map([...labels, ["le", le]]),
    });
    for (const nature of ["sum", "count"] as const) {
      const name = `${family.name}_${nature}`;
      names.set(name, { ...common, name, nature, labels });
    }
  }
  return names;
}
