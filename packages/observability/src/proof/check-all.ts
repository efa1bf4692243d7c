/**
 * All static checks over a set of rendered files.
 */

import type { Artefacts } from "./artefacts.ts";
import { checkConfigurations } from "./check-configurations.ts";
import { checkCoverage } from "./check-coverage.ts";
import { checkPanelTexts } from "./check-panel-texts.ts";
import { checkDeployment } from "./check-deployment.ts";
import { checkDashboards } from "./check-dashboards.ts";
import { checkRunbookNames } from "./check-runbook-names.ts";
import { checkAlertTests, checkRules } from "./check-rules.ts";
import type { Problem } from "./problem.ts";

/**
 * Runs them.
 *
 * @param artefacts - all rendered files.
 * @returns findings; empty when all is well. Cost: about a hundred milliseconds for our files.
 */
export function checkAll(artefacts: Artefacts): readonly Problem[] {
  const rules = checkRules(artefacts);
  return [
    ...rules.problems,
    ...checkAlertTests(artefacts, rules.alerts.keys()),
    ...checkDashboards(artefacts, rules),
    ...checkPanelTexts(artefacts, rules),
    ...checkCoverage(artefacts, rules),
    ...checkConfigurations(artefacts, rules),
    ...checkDeployment(artefacts),
    ...checkRunbookNames(artefacts, rules),
  ];
}
