/**
 * Every family that a query may read: our own and other exporters'.
 */

import type { MetricDefinition } from "../definition.ts";
import type { ExternalDefinition } from "../external.ts";
import { CATALOGUE } from "./catalogue.ts";
import { EXTERNAL_CATALOGUE } from "./platform.ts";

/** What this system and its neighbours export. */
export const ALL_FAMILIES: readonly (MetricDefinition | ExternalDefinition)[] = [
  ...CATALOGUE,
  ...EXTERNAL_CATALOGUE,
];
