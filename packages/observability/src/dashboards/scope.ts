/**
 * The selection of replicas at the top of every dashboard: its variables, and the matchers for them. Also the look-back that fits
 * the zoom.
 */

import { PROMETHEUS_METRICS } from "../exporters.ts";
import { value } from "../promql/series.ts";
import { type Variable, variable } from "./panel.ts";

/** Labels of a line per replica. */
export const INSTANCE = ["instance"] as const;

/** Grafana's look-back: at least four scrapes, and never less than a pixel. */
export const RATE = "$__rate_interval";

/** The chosen replicas. */
export const HERE = { job: { variable: "job" }, instance: { variable: "instance" } } as const;

/**
 * The variables that every dashboard begins with.
 *
 * @param job - the scrape job of the application.
 * @returns the jobs of that name, and the replicas of those chosen.
 */
export function replicaVariables(job: string): readonly [Variable, Variable] {
  const { up } = PROMETHEUS_METRICS;
  return [
    variable("job", "Job", value(up, { job })),
    variable("instance", "Replica", value(up, { job: HERE.job })),
  ];
}
