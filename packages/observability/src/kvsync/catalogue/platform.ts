/** The families of other exporters that kvsync's rules and dashboards read. */

import type { ExternalDefinition } from "../../external.ts";
import {
  ALERTMANAGER_METRICS,
  CLUSTER_METRICS,
  PROCESS_METRICS,
  PROMETHEUS_METRICS,
} from "../../exporters.ts";

/** Pods, containers, deployments and autoscalers of ours are known by this prefix. */
export const OF_KVSYNC = { pattern: "kvsync-.+" } as const;

/** Claims of ours: one of a StatefulSet has the volume's name in front. */
export const CLAIM_OF_KVSYNC = { pattern: "(.+-)?kvsync-.+" } as const;

/** Everything external, as one list. */
export const EXTERNAL_CATALOGUE: readonly ExternalDefinition[] = [
  PROMETHEUS_METRICS,
  PROCESS_METRICS,
  ALERTMANAGER_METRICS,
  CLUSTER_METRICS,
].flatMap((part) => Object.values<ExternalDefinition>(part));
