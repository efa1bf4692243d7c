/**
 * The dashboard of the engines: one row per engine, then each of its figures over time. Which engine is it?
 */

import { EACH_ENGINE } from "./engines/each-engine.ts";
import { FINDING_ENGINES } from "./engines/finding-engines.ts";
import { LOSS_AND_REPAIR } from "./engines/loss-and-repair.ts";
import { POSITION_AND_LAG } from "./engines/position-and-lag.ts";
import { STATE } from "./engines/state.ts";
import { dashboard } from "../../dashboards/panel.ts";
import { ENGINE_VARIABLE, MODEL_VARIABLE, REPLICA_VARIABLES } from "./variables.ts";

/** Engines. */
export const ENGINES = dashboard({
  uid: "kvsync-engines",
  title: "KV engines",
  description: "One row per engine: state, trust, position, lag, gaps and replays of its streams.",
  variables: [...REPLICA_VARIABLES, MODEL_VARIABLE, ENGINE_VARIABLE],
  refresh: "10s",
  rows: [EACH_ENGINE, STATE, POSITION_AND_LAG, LOSS_AND_REPAIR, FINDING_ENGINES],
});
