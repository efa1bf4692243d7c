/**
 * The dashboard of the daemon as a service: the latency and errors of callers, the objectives, and
 * the load on the machine.
 */

import { LOG_AND_TRACES } from "./service/log-and-traces.ts";
import { NOW } from "./service/now.ts";
import { serviceObjectives } from "./service/service-objectives.ts";
import { PLATFORM } from "./service/platform.ts";
import { REQUESTS } from "./service/requests.ts";
import { SECURITY } from "./service/security.ts";
import { SNAPSHOTS_AND_HEALTH } from "./service/snapshots-and-health.ts";
import { SYSTEM } from "./service/system.ts";
import { TOKENIZER } from "./service/tokenizer.ts";
import { dashboard } from "../../dashboards/panel.ts";
import type { KvsyncObjectives } from "../rules/objective-shares.ts";
import { OBJECTIVES } from "../rules/thresholds.ts";
import { REPLICA_VARIABLES } from "./variables.ts";

/**
 * Service and system.
 *
 * @param objectives - settings of the objectives, which a row of its own shows.
 */
export function serviceDashboard(objectives: KvsyncObjectives) {
  return dashboard({
    uid: "kvsync-service",
    title: "KV sync service and system",
    description:
      "Requests, errors, response times, objectives; CPU, memory, event loop, garbage collection; build and uptime.",
    variables: REPLICA_VARIABLES,
    refresh: "10s",
    rows: [
      NOW,
      REQUESTS,
      TOKENIZER,
      serviceObjectives(objectives),
      SNAPSHOTS_AND_HEALTH,
      LOG_AND_TRACES,
      SECURITY,
      SYSTEM,
      PLATFORM,
    ],
  });
}

/** With kvsync's own objectives. Ids and titles of its panels are the same with others. */
export const SERVICE = serviceDashboard(OBJECTIVES);
