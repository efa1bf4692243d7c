/**
 * All dashboards, in the order in which one opens them.
 */

import { ENGINES } from "./engines.ts";
import { INGEST } from "./ingest.ts";
import { OVERVIEW } from "./overview.ts";
import { PICKER } from "./picker.ts";
import type { Dashboard } from "../../dashboards/panel.ts";
import type { KvsyncObjectives } from "../rules/objective-shares.ts";
import { OBJECTIVES } from "../rules/thresholds.ts";
import { serviceDashboard } from "./service.ts";

/**
 * All dashboards.
 *
 * @param objectives - settings of the objectives.
 */
export function dashboardsWith(objectives: KvsyncObjectives): readonly Dashboard[] {
  return [OVERVIEW, INGEST, serviceDashboard(objectives), ENGINES, PICKER];
}

/** With kvsync's own objectives. */
export const DASHBOARDS: readonly Dashboard[] = dashboardsWith(OBJECTIVES);
