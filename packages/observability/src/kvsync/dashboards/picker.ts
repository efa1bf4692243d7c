/**
 * The dashboard of the endpoint picker: decisions, predictions, and the load of endpoints. It is
 * empty while the picker is off.
 */

import { ENDPOINTS } from "./picker/endpoints.ts";
import { PICKS } from "./picker/picks.ts";
import { PREDICTIONS } from "./picker/predictions.ts";
import { SHARDS } from "./picker/shards.ts";
import { STREAMS } from "./picker/streams.ts";
import { dashboard } from "../../dashboards/panel.ts";
import { REPLICA_VARIABLES } from "./variables.ts";

/** Endpoint picker. */
export const PICKER = dashboard({
  uid: "kvsync-picker",
  title: "KV endpoint picker",
  description:
    "Picks for gateways: decisions and their time, predicted against delivered tokens, load of endpoints, streams.",
  variables: REPLICA_VARIABLES,
  refresh: "10s",
  rows: [PICKS, PREDICTIONS, ENDPOINTS, SHARDS, STREAMS],
});
