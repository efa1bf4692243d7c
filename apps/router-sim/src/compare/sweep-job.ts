/**
 * One run of a sweep, in whatever thread. A thread keeps the workload that it opened last: runs of one workload and seed follow each
 * other, and a trace is read once for all of them.
 */
import { simulate } from "../simulate/simulation.ts";
import type { SimulationResult } from "../simulate/simulation-result.ts";
import type { Workload } from "../workload/workload.ts";
import type { SimulationSettings } from "../simulate/simulation-settings.ts";
import { openWorkload, type WorkloadSource } from "../workload/workload-source.ts";

/** One run; plain data, so that it can be sent to a thread. */
export interface SweepJob {
  readonly workload: WorkloadSource;
  readonly settings: SimulationSettings;
}

let lastOpened: { readonly key: string; readonly workload: Workload } | null = null;

/**
 * Runs it.
 *
 * @param job - see SweepJob.
 * @returns the result.
 * @throws SimulationError, TraceError.
 */
export async function runSweepJob({ workload, settings }: SweepJob): Promise<SimulationResult> {
  const key = JSON.stringify([workload, settings.seed]);
  if (lastOpened?.key !== key) lastOpened = { key, workload: await openWorkload(workload, settings.seed) };
  return simulate(lastOpened.workload, settings).result;
}
