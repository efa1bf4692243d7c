/**
 * The dashboard to open first: is sync on, are engines connected, is anything lost, does it pay off?
 */

import { CACHE_BENEFIT } from "./overview/cache-benefit.ts";
import { CONNECTIONS } from "./overview/connections.ts";
import { EVENTS } from "./overview/events.ts";
import { PREFIX_INDEX } from "./overview/prefix-index.ts";
import { SYNC_STATUS } from "./overview/sync-status.ts";
import { dashboard } from "../../dashboards/panel.ts";
import { ENGINE_VARIABLE, MODEL_VARIABLE, REPLICA_VARIABLES } from "./variables.ts";

/** KV event sync overview. */
export const OVERVIEW = dashboard({
  uid: "kvsync-overview",
  title: "KV event sync overview",
  description: "Is sync on, are engines connected, is anything lost, and does cache-aware routing pay off?",
  variables: [...REPLICA_VARIABLES, MODEL_VARIABLE, ENGINE_VARIABLE],
  refresh: "10s",
  rows: [SYNC_STATUS, CACHE_BENEFIT, CONNECTIONS, EVENTS, PREFIX_INDEX],
});
