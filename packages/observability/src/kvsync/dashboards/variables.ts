/** The choices at the top of kvsync's dashboards, each limited by those before it. */

import { variable } from "../../dashboards/panel.ts";
import { value } from "../../promql/series.ts";
import { INGEST_METRICS } from "../catalogue/ingest.ts";
import { SERVICE_METRICS } from "../catalogue/service.ts";
import { HERE, MODELS } from "./scope.ts";

/** The scrape jobs, and the replicas of those chosen. */
export const REPLICA_VARIABLES = [
  variable("job", "Job", value(SERVICE_METRICS.buildInfo)),
  variable("instance", "Replica", value(SERVICE_METRICS.buildInfo, { job: HERE.job })),
] as const;

/** The models on the chosen replicas. */
export const MODEL_VARIABLE = variable("model", "Model", value(INGEST_METRICS.connectionsActive, HERE));

/** The engines of the chosen models. */
export const ENGINE_VARIABLE = variable("pod", "Engine", value(INGEST_METRICS.streamTrust, MODELS));
