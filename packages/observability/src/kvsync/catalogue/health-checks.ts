/**
 * Every health check of the daemon. Its checks compile with these names and details only; those of
 * the services that the settings name all have the form of DEPENDENCY_CHECK.
 */

import { integer, number, oneOf, orAbsent, orNull, text } from "../../signals/field.ts";
import { type HealthCheckDefinition, healthChecks } from "../../signals/health-check.ts";
import { BACKPRESSURE_LEVELS } from "./label-domains.ts";
import { DISCOVERY_STATES } from "./discovery.ts";
import { TOKENIZER_FAILURES } from "./tokenizer.ts";

const HTTP_STATUS = orAbsent(integer("status of the answer"), "the service did not answer");
const SOURCE_STATE = orAbsent(oneOf(DISCOVERY_STATES, "state of the source"), "the source is not in use");

/** By name, in the order of the report. */
export const HEALTH_CHECKS = healthChecks({
  memory: {
    critical: true,
    present: "always",
    degraded: "above `health.memory_percent` of the container's limit",
    unhealthy: "above 97 % of the limit",
    details: {
      resident_bytes: integer("resident memory of the process"),
      limit_bytes: integer("limit of the container, or memory of the machine"),
    },
    response: "Lower `limits.index_bytes`, or raise the memory limit (docs/operations/capacity.md).",
  },
  event_loop: {
    critical: true,
    present: "always",
    degraded: "the p99 of the lag is above `health.event_loop_lag_ms`",
    unhealthy: "it is above ten times that",
    details: {
      p99_ms: number("p99 of the lag since the last run, in milliseconds"),
      limit_ms: number("limit, in milliseconds"),
    },
    response: "Give the container more CPU, or send fewer large requests. See the runbook HighEventLoopLag.",
  },
  ingest_workers: {
    critical: true,
    present: "always",
    degraded: null,
    unhealthy: "a worker has sent no heartbeat for 2 seconds",
    details: {
      workers: integer("number of workers"),
      silent_ms: integer("longest time without a heartbeat, in milliseconds"),
      backpressure: integer(
        `highest level of back-pressure: 0 \`${BACKPRESSURE_LEVELS[0]}\` to 3 \`${BACKPRESSURE_LEVELS[3]}\``,
      ),
    },
    response: "See the runbook WorkerDown.",
  },
  discovery: {
    critical: false,
    present: "always",
    degraded: "a source of engines is not up to date, or has not answered yet",
    unhealthy: "never, except that the check itself fails",
    details: { file: SOURCE_STATE, http: SOURCE_STATE, kubernetes: SOURCE_STATE },
    response: "See the runbook DiscoveryStale.",
  },
  streams: {
    critical: false,
    present: "where engines are followed",
    degraded: "a stream is not `exact`; the message has the counts and the reasons",
    unhealthy: "never, except that the check itself fails",
    details: {
      expected: integer("streams of the engines that are followed"),
      connected: integer("those that are connected"),
      exact: integer("those that are exact"),
    },
    response: "See the runbook StreamUntrusted, or run `kvsync doctor`.",
  },
  snapshot_store: {
    critical: false,
    present: "where snapshots are kept",
    degraded: null,
    unhealthy:
      "a small file cannot be written and read in the folder; the last snapshot was not written; or another machine's daemon has the folder",
    details: {
      folder: text("folder of snapshots"),
      last_snapshot_age_seconds: orNull(
        integer("age of the last snapshot"),
        "none was written or loaded yet",
      ),
    },
    response: "See the runbook StorageUnhealthy.",
  },
  tokenizer: {
    critical: false,
    present:
      "where `sync.tokenizer_endpoint` or `tokenizer.models` is set; the check shows the worst tokenizer",
    degraded: "it answers, and its circuit is not closed",
    unhealthy: "its `/health` does not answer below 500 within 2 seconds",
    details: {
      tokenizer: text("model with a tokenizer of its own, or `default`"),
      http_status: HTTP_STATUS,
      circuit: oneOf(["closed", "open", "half_open"], "state of the circuit"),
      last_failure: orNull(oneOf(TOKENIZER_FAILURES, "last failure of a lookup"), "the last answer was good"),
    },
    response: "See the runbook TokenizerUnavailable.",
  },
});

/** Any of `health.dependencies`, under the name that the settings give it. */
export const DEPENDENCY_CHECK = {
  critical: false,
  present: "one for each of `health.dependencies`, under its `name`; critical where `critical` is true",
  degraded: null,
  unhealthy: "no answer below 500 within `timeout_seconds`",
  details: { http_status: HTTP_STATUS },
  response: "Look at that service.",
} as const satisfies HealthCheckDefinition;

/** A name of a check. */
export type CheckName = keyof typeof HEALTH_CHECKS;

/** The definition behind a name, without its literal types. */
export function healthCheckOf(name: string): HealthCheckDefinition {
  return isCheckName(name) ? HEALTH_CHECKS[name] : DEPENDENCY_CHECK;
}

/** Whether the daemon has a check of its own with this name. */
export function isCheckName(name: string): name is CheckName {
  return Object.hasOwn(HEALTH_CHECKS, name);
}
