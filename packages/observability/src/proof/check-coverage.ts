/**
 * The reverse direction: nothing is exported, recorded or alerted on that nobody would ever see.
 */

import { type Artefacts, filesAt, PLACES, scrapedNames } from "./artefacts.ts";
import type { CheckedRules } from "./check-rules.ts";
import { shapeOf } from "./expression-shape.ts";
import { type Problem, ProblemList } from "./problem.ts";
import { plainPromql } from "./promql-tree.ts";
import { walkTree } from "./tree-walk.ts";

function namesIn(expression: string, rules: CheckedRules): string[] {
  const { tree } = shapeOf(plainPromql(expression), rules.names);
  const names: string[] = [];
  if (tree !== null)
    walkTree(tree, (node) => {
      if (node.kind === "selector") names.push(node.name);
    });
  return names;
}

function panelExpressions(artefacts: Artefacts): string[] {
  return filesAt(artefacts.files, PLACES.dashboards).flatMap(([, text]) => {
    try {
      const { panels } = JSON.parse(text) as { panels?: { targets?: { expr?: string }[] }[] };
      return (panels ?? []).flatMap(({ targets }) => (targets ?? []).map(({ expr }) => expr ?? ""));
    } catch {
      return [];
    }
  });
}

/**
 * Finds own families that are on no panel, and recorded series that nothing reads.
 *
 * @param artefacts - all rendered files.
 * @param rules - what the check of rules found out.
 * @returns findings.
 */
export function checkCoverage(artefacts: Artefacts, rules: CheckedRules): readonly Problem[] {
  const found = new ProblemList();
  const scraped = scrapedNames(artefacts);
  const onPanels = new Set(panelExpressions(artefacts).flatMap((expression) => namesIn(expression, rules)));
  const inAlerts = new Set(rules.alertExpressions.flatMap((expression) => namesIn(expression, rules)));
  const seen = new Set([...onPanels].flatMap((name) => [name, ...recordedFrom(name, rules)]));
  const families = new Set([...seen].flatMap((name) => scraped.get(name)?.family ?? []));
  found.at("catalogue");
  for (const { name } of artefacts.ownFamilies)
    if (!families.has(name)) found.add("metric_without_panel", `${name} is on no panel`);
  found.at(PLACES.rules);
  for (const name of rules.recordExpressions.keys())
    if (!onPanels.has(name) && !inAlerts.has(name)) found.add("recording_unused", `nothing reads ${name}`);
  return found.found;
}

function recordedFrom(name: string, rules: CheckedRules): string[] {
  const expression = rules.recordExpressions.get(name);
  return expression === undefined ? [] : namesIn(expression, rules);
}
