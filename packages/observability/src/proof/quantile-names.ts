/**
 * The quantiles that an expression computes, and those that a text speaks of: a line called p99 must be one.
 *
 *   histogram_quantile(0.99, …)                        p99
 *   instance_model:x_seconds:p99_rate5m (recorded)     p99
 *   nodejs_eventloop_lag_p99_seconds (of others)       p99
 *   "that 95 % stay below", "p99.9"                    p95, p99.9
 *
 *   "95 % of gaps are smaller", "95th percentile"      p95
 *   "the median", "one event in a hundred"             p50, p99
 */

import { quantileName } from "../promql/operators.ts";
import type { Tree } from "./promql-tree.ts";
import { walkTree } from "./tree-walk.ts";

/**
 * The quantiles that a value is made of.
 *
 * @param tree - an expression.
 * @returns names such as `p99`, each once.
 */
export function quantilesOf(tree: Tree): ReadonlySet<string> {
  const names = new Set<string>();
  walkTree(tree, (node) => {
    if (node.kind === "selector")
      for (const [, digits = ""] of node.name.matchAll(/(?<=[_:])p(\d+)(?=_|$)/g)) names.add(`p${digits}`);
    if (node.kind !== "call" || node.name !== "histogram_quantile") return;
    const [q] = node.arguments;
    if (q?.kind === "number") names.add(quantileName(q.value));
  });
  return names;
}

/** Per cent that stay below, where one in so many does not. */
const ONE_IN: Readonly<Record<string, string>> = {
  ten: "90",
  twenty: "95",
  "a hundred": "99",
  "a thousand": "99.9",
};

/** How texts write a quantile, with its per cent. */
const PERCENTS: readonly RegExp[] = [
  /\bp(\d{1,2}(?:\.\d+)?)\b/g,
  /that (\d{1,2}(?:\.\d+)?) ?%/g,
  /\b(\d{1,2}(?:\.\d+)?) ?% of [\w ]*(?:smaller|shorter|faster|less|fewer|below|at most)\b/g,
  /\b(\d{1,2}(?:\.\d+)?)(?:st|nd|rd|th) (?:percentile|quantile)/g,
];

/**
 * The quantiles that a text speaks of.
 *
 * @param text - a legend, a title or a description.
 * @returns names such as `p99`, each once.
 */
export function quantilesIn(text: string): ReadonlySet<string> {
  const percents = PERCENTS.flatMap((pattern) =>
    [...text.matchAll(pattern)].map(([, percent = ""]) => percent),
  );
  const shares = [...text.matchAll(/\b[Oo]ne [\w ]{1,40} in (ten|twenty|a hundred|a thousand)\b/g)].map(
    ([, many = ""]) => ONE_IN[many] ?? "",
  );
  const marks = [...percents, ...shares, ...(/\b[Mm]edian\b/.test(text) ? ["50"] : [])];
  return new Set(marks.map((percent) => `p${percent}`));
}
