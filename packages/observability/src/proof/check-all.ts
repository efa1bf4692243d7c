/**
 * All static checks over a set of rendered files.
 */

import type { Project } from "../project.ts";
import { type Artefacts, artefactsOf, type Files } from "./artefacts.ts";
import { checkConfigurations } from "./check-configurations.ts";
import { checkCoverage } from "./check-coverage.ts";
import { checkDashboards } from "./check-dashboards.ts";
import { checkLogs } from "./check-logs.ts";
import { checkNormalRanges } from "./check-normal-ranges.ts";
import { checkPanelTexts } from "./check-panel-texts.ts";
import { checkAlertTests, type CheckedRules, checkRules } from "./check-rules.ts";
import { checkScopes } from "./check-scopes.ts";
import { checkValueWords } from "./check-value-words.ts";
import type { Problem } from "./problem.ts";

/** A check that only one application has. */
export type OwnCheck = (artefacts: Artefacts, rules: CheckedRules) => readonly Problem[];

/**
 * Runs them.
 *
 * @param files - as rendered, by path.
 * @param project - whose.
 * @returns findings; empty when all is well. Cost: about a second for the 80 files of kvsync.
 */
export function checkAll(files: Files, project: Project): readonly Problem[] {
  return checkArtefacts(artefactsOf(files, project), []);
}

/**
 * Runs them, and those of the application.
 *
 * @param artefacts - rendered files, and files around them.
 * @param ownChecks - of the application.
 * @returns findings; empty when all is well.
 */
export function checkArtefacts(artefacts: Artefacts, ownChecks: readonly OwnCheck[]): readonly Problem[] {
  const rules = checkRules(artefacts);
  return [
    ...rules.problems,
    ...checkAlertTests(artefacts, rules.alerts.keys()),
    ...checkScopes(artefacts, rules),
    ...checkDashboards(artefacts, rules),
    ...checkPanelTexts(artefacts, rules),
    ...checkNormalRanges(artefacts, rules),
    ...checkValueWords(artefacts, rules),
    ...checkCoverage(artefacts, rules),
    ...checkConfigurations(artefacts, rules),
    ...checkLogs(artefacts),
    ...ownChecks.flatMap((check) => check(artefacts, rules)),
  ];
}
