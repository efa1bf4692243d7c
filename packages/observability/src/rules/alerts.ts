/**
 * All alerts, in groups as Prometheus evaluates them.
 */

import type { Alert } from "./alert.ts";
import { DISCOVERY_ALERTS } from "./alerts-discovery.ts";
import { INDEX_ALERTS } from "./alerts-index.ts";
import { INGEST_ALERTS } from "./alerts-ingest.ts";
import { OBJECTIVE_ALERTS } from "./alerts-objectives.ts";
import { PLATFORM_ALERTS } from "./alerts-platform.ts";
import { SECURITY_ALERTS } from "./alerts-security.ts";
import { SERVICE_ALERTS } from "./alerts-service.ts";

/** Alerts that are evaluated together. */
export interface AlertGroup {
  readonly name: string;
  readonly alerts: readonly Alert[];
}

/** Every alert there is. */
export const ALERT_GROUPS: readonly AlertGroup[] = [
  { name: "kvsync-discovery", alerts: DISCOVERY_ALERTS },
  { name: "kvsync-ingest", alerts: INGEST_ALERTS },
  { name: "kvsync-index", alerts: INDEX_ALERTS },
  { name: "kvsync-service", alerts: SERVICE_ALERTS },
  { name: "kvsync-security", alerts: SECURITY_ALERTS },
  { name: "kvsync-objectives", alerts: OBJECTIVE_ALERTS },
  { name: "kvsync-platform", alerts: PLATFORM_ALERTS },
];
