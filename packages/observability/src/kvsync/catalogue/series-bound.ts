/**
 * The most lines that a scrape of the catalogue can have, from the bounds of its labels.
 *
 * An engine has one model, and its ranks count among the engines. So open labels of one family depend on each other, and the largest
 * bound among them counts for all. Closed labels multiply.
 *
 * Not here: how many lines a fleet has in practice (docs/operations/cost.md), and the limit at which Prometheus refuses a scrape
 * (rules/prometheus.ts), which is lower.
 */

import type { LabelDomain, MetricDefinition } from "../../definition.ts";

/** Lines of the largest scrape that bench/handles.bench.ts measures: a label whose bound grows beyond it needs a new measurement. */
export const SCRAPE_LINES_MEASURED = 1_500_000;

/** Of a histogram, beside its bounds: the last bucket, the sum and the count. */
const LINES_BESIDE_BOUNDS = 3;

/**
 * The most lines that some families can have.
 *
 * @param families - of the catalogue.
 * @returns their sum.
 */
export function scrapeLinesMax(families: readonly MetricDefinition[]): number {
  return families.reduce((sum, family) => sum + linesOf(family), 0);
}

function linesOf(family: MetricDefinition): number {
  const domains = Object.values<LabelDomain>(family.labels);
  const open = domains.flatMap((domain) => ("maxValues" in domain ? domain.maxValues : []));
  const closed = domains.flatMap((domain) => ("maxValues" in domain ? [] : domain.length));
  const lines = family.kind === "histogram" ? family.buckets.length + LINES_BESIDE_BOUNDS : 1;
  return lines * Math.max(1, ...open) * closed.reduce((product, count) => product * count, 1);
}
