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
  for (const child of childrenOf(tree)) walkTree(child, visit);
}

/**
 * The parts that a node is made of.
 *
 * @param tree - any node.
 * @returns its operands, in the order of the text.
 */
export function childrenOf(tree: Tree): readonly Tree[] {
  switch (tree.kind) {
    case "number":
    case "string":
    case "selector":
      return [];
    case "aggregation":
      return tree.parameter === null ? [tree.of] : [tree.parameter, tree.of];
    case "negation":
      return [tree.of];
    case "call":
      return tree.arguments;
    case "binary":
      return [tree.left, tree.right];
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
