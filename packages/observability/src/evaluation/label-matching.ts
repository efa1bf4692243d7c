/**
 * Which series a selector takes: matchers as Prometheus reads them. A label that is not there has the
 * empty value, and regular expressions are anchored at both ends.
 */

import type { TreeMatcher } from "../proof/promql-tree.ts";

/** Made once for each matcher of the compiled rules. */
const PATTERNS = new WeakMap<TreeMatcher, RegExp>();

function patternOf(matcher: TreeMatcher): RegExp {
  let pattern = PATTERNS.get(matcher);
  if (pattern === undefined) {
    pattern = new RegExp(`^(?:${matcher.value})$`, "s");
    PATTERNS.set(matcher, pattern);
  }
  return pattern;
}

const TESTS: Readonly<Record<TreeMatcher["operator"], (matcher: TreeMatcher, value: string) => boolean>> = {
  "=": (matcher, value) => value === matcher.value,
  "!=": (matcher, value) => value !== matcher.value,
  "=~": (matcher, value) => patternOf(matcher).test(value),
  "!~": (matcher, value) => !patternOf(matcher).test(value),
};

/**
 * Whether labels fit all matchers.
 *
 * @param matchers - of a selector.
 * @param labels - of a series.
 */
export function fits(matchers: readonly TreeMatcher[], labels: Readonly<Record<string, string>>): boolean {
  for (const matcher of matchers)
    if (!TESTS[matcher.operator](matcher, labels[matcher.label] ?? "")) return false;
  return true;
}
