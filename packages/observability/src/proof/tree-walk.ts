/**
 * Walking and comparing expression trees.
 */

import type { Tree } from "./promql-tree.ts";

/**
 * Visits a tree, parents first.
 *
 * @param tree - where to begin.
 * @param visit - called for each node.
 */
export function walkTree(tree: Tree, visit: (node: Tree) => void): void {
  visit(tree);
  switch (tree.kind) {
    case "number":
    case "string":
    case "selector":
      return;
    case "aggregation":
      if (tree.parameter !== null) walkTree(tree.parameter, visit);
      walkTree(tree.of, visit);
      return;
    case "negation":
      walkTree(tree.of, visit);
      return;
    case "call":
      for (const argument of tree.arguments) walkTree(argument, visit);
      return;
    case "binary":
      walkTree(tree.left, visit);
      walkTree(tree.right, visit);
      return;
  }
}

/**
 * A text that two trees share when they compute the same, dashboard variables aside.
 *
 * @param tree - any.
 * @returns the text.
 */
export function canonicalText(tree: Tree): string {
  return JSON.stringify(tree, (_, value: unknown) => {
    if (!isMatchers(value)) return value;
    return value
      .filter(({ value: text }) => !text.startsWith("$"))
      .sort((a, b) => a.label.localeCompare(b.label));
  });
}

function isMatchers(value: unknown): value is { label: string; value: string }[] {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((item: unknown) => typeof item === "object" && item !== null && "label" in item)
  );
}
