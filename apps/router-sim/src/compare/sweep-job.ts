/**
 * One run of a sweep, in any thread. A thread keeps the workload that it opened last. Runs of one
 * workload and seed follow each other, so a trace is read once for all of them.
 */
import { simulate } from "../simulate/simulation.ts";
import type { SimulationResult } from "../simulate/simulation-result.ts";
import type { Workload } from "../workload/workload.ts";
import {
  SimulationError,
  type SimulationFacts,
  type SimulationSettings,
} from "../simulate/simulation-settings.ts";
import { TraceError, type TraceFacts } from "../trace/request.ts";
import { openWorkload, type WorkloadSource } from "../workload/workload-source.ts";

/** One run; plain data, so that it can be sent to a thread. */
export interface SweepJob {
  readonly workload: WorkloadSource;
  readonly settings: SimulationSettings;
}

/** What became of a run, as plain data: an error thrown in another thread comes over without its class. */
export type SweepOutcome =
  | { readonly kind: "result"; readonly result: SimulationResult }
  | { readonly kind: "simulation_error"; readonly facts: SimulationFacts; readonly message: string }
  | { readonly kind: "trace_error"; readonly facts: TraceFacts; readonly message: string };

let lastOpened: { readonly key: string; readonly workload: Workload } | null = null;

/**
 * Runs it.
 *
 * @param job - see SweepJob.
 * @returns the result, or why there is none.
 */
export async function runSweepJob({ workload, settings }: SweepJob): Promise<SweepOutcome> {
  const key = JSON.stringify([workload, settings.seed]);
  try {
    if (lastOpened?.key !== key) lastOpened = { key, workload: await openWorkload(workload, settings.seed) };
    return { kind: "result", result: simulate(lastOpened.workload, settings).result };
  } catch (error) {
    const { message } = error as Error;
    if (error instanceof SimulationError) return { kind: "simulation_error", facts: error.facts, message };
    if (error instanceof TraceError) return { kind: "trace_error", facts: error.facts, message };
    throw error;
  }
}

/**
 * Reads an outcome where it is wanted.
 *
 * @param outcome - of runSweepJob.
 * @returns the result.
 * @throws SimulationError, TraceError.
 */
export function resultOf(outcome: SweepOutcome): SimulationResult {
  if (outcome.kind === "simulation_error") throw new SimulationError(outcome.facts, outcome.message);
  if (outcome.kind === "trace_error") throw new TraceError(outcome.facts, outcome.message);
  return outcome.result;
}
