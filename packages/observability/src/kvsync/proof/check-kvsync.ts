/** Every check of kvsync's files: the general ones, and those that compare them with files written by hand. */

import type { Artefacts } from "../../proof/artefacts.ts";
import { checkArtefacts } from "../../proof/check-all.ts";
import type { Problem } from "../../proof/problem.ts";
import { checkDeployment } from "./check-deployment.ts";
import { checkRunbookNames } from "./check-runbook-names.ts";

/**
 * Runs them.
 *
 * @param artefacts - kvsync's rendered files and their surroundings.
 * @returns findings; empty when all is well.
 */
export function checkKvsync(artefacts: Artefacts): readonly Problem[] {
  return checkArtefacts(artefacts, [checkDeployment, checkRunbookNames]);
}
