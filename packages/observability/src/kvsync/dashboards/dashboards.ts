/**
 * All dashboards, in the order in which one opens them.
 */

import { ENGINES } from "./engines.ts";
import { INGEST } from "./ingest.ts";
import { OVERVIEW } from "./overview.ts";
import { PICKER } from "./picker.ts";
import type { Dashboard } from "../../dashboards/panel.ts";
import { SERVICE } from "./service.ts";

/** All dashboards. */
export const DASHBOARDS: readonly Dashboard[] = [OVERVIEW, INGEST, SERVICE, ENGINES, PICKER];
