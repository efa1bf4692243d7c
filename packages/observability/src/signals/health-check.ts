/**
 * The definition of a health check, as typed data: its name, the cases of each status, its details
 * and what to do. The daemon's checks and the reference page are projections of it.
 */

import { type Facts, type Fields, faultsOf } from "./field.ts";

/** A health check. */
export interface HealthCheckDefinition {
  /** Whether the whole process is unhealthy when this check is. */
  readonly critical: boolean;
  /** Where the check exists. */
  readonly present: string;
  /** The condition of each status; null where the check never has it. */
  readonly degraded: string | null;
  readonly unhealthy: string;
  /** Fields of `details`. */
  readonly details: Fields;
  /** What an operator does then; sentences. */
  readonly response: string;
}

/** Health checks by name. */
export type HealthCheckDefinitions = Readonly<Record<string, HealthCheckDefinition>>;

/** The details that a check must return. */
export type Details<One extends HealthCheckDefinition> = Facts<One["details"]>;

/**
 * Defines health checks.
 *
 * @param definitions - by name.
 * @returns the same, with names and details as literal types.
 */
export function healthChecks<const Written extends HealthCheckDefinitions>(definitions: Written): Written {
  return definitions;
}

/**
 * What is wrong with the details of a check, at run time: for tests that ask a running process.
 *
 * @param definition - of the check.
 * @param details - as answered; empty when the check ran out of time.
 * @returns a phrase for each missing detail, unknown detail, and value of another type.
 */
export function detailFaults(
  { details: declared }: HealthCheckDefinition,
  details: Readonly<Record<string, unknown>>,
): string[] {
  return faultsOf(declared, details);
}
