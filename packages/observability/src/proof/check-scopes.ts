/**
 * Checks that rules are about this application alone. A Prometheus may be shared by an organization.
 *
 *  R8  A selector of a family that other programs export as well has a job, or a label with the application's name.
 *      Own families need none: their names are unique.
 */

import type { Artefacts } from "./artefacts.ts";
import type { CheckedRules } from "./check-rules.ts";
import { shapeOf } from "./expression-shape.ts";
import { type Problem, ProblemList } from "./problem.ts";
import { walkTree } from "./tree-walk.ts";

/**
 * Checks every recording and alert.
 *
 * @param artefacts - all rendered files.
 * @param rules - what the check of rules found out.
 * @returns findings.
 */
export function checkScopes(artefacts: Artefacts, rules: CheckedRules): readonly Problem[] {
  const found = new ProblemList();
  const { project, places } = artefacts;
  const shared = new Set(project.externalFamilies.map(({ name }) => name));
  const expressions = [
    ...rules.recordExpressions,
    ...[...rules.alerts].map(([name, { expression }]) => [name, expression] as const),
  ];
  for (const [rule, expression] of expressions) {
    found.at(`${places.rules}: ${rule}`);
    const { tree } = shapeOf(expression, rules.names);
    if (tree === null) continue;
    walkTree(tree, (node) => {
      if (node.kind !== "selector" || !shared.has(rules.names.get(node.name)?.family ?? "")) return;
      if (!node.matchers.some(({ label, value }) => label === "job" || value.includes(project.name)))
        found.add(
          "unscoped_selector",
          `${node.name} has series of other programs; match the job, or a label with "${project.name}" in it`,
        );
    });
  }
  return found.found;
}
