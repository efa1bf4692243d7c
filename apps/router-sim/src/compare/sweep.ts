/**
 * Every combination of workloads, fleets, event delays, policies and seeds, run by as many threads as one likes. Runs know nothing
 * of each other and results are kept by position, so neither the number of threads nor who ends first changes anything.
 *
 *     workload ─▶ seed ─▶ engines ─▶ event delay ─▶ policy ─▶ pickers      the order of runs; seeds also seed generated workloads
 *
 * One thread means this one: no worker is started.
 */
import { Tinypool } from "tinypool";

import type { PolicyName } from "../policy/policies.ts";
import type { PickerNews, SimulationResult } from "../simulate/simulation-result.ts";
import type { SimulationSettings } from "../simulate/simulation-settings.ts";
import type { WorkloadSource } from "../workload/workload-source.ts";
import { resultOf, runSweepJob, type SweepJob, type SweepOutcome } from "./sweep-job.ts";

/** What a sweep goes through. */
export interface SweepSettings {
  readonly workloads: readonly WorkloadSource[];
  readonly engineCounts: readonly number[];
  readonly eventDelaysSeconds: readonly number[];
  readonly policies: readonly PolicyName[];
  readonly pickerCounts: readonly number[];
  /** What pickers know of each other. One picker is run once. */
  readonly pickerNews: readonly PickerNews[];
  readonly seeds: readonly number[];
  /** What all runs have in common. */
  readonly common: Omit<
    SimulationSettings,
    "seed" | "policy" | "engineCount" | "eventDelaySeconds" | "pickerCount" | "pickerNews"
  >;
}

/**
 * Lists the runs.
 *
 * @param sweep - what it goes through.
 * @returns one job per combination, in the order of the header.
 */
export function sweepJobs(sweep: SweepSettings): SweepJob[] {
  const { workloads, engineCounts, eventDelaysSeconds, policies, seeds, common } = sweep;
  const pickers = sweep.pickerCounts.flatMap((pickerCount) =>
    pickerCount === 1
      ? [{ pickerCount }]
      : sweep.pickerNews.map((pickerNews) => ({ pickerCount, pickerNews })),
  );
  return workloads.flatMap((workload) =>
    seeds.flatMap((seed) =>
      engineCounts.flatMap((engineCount) =>
        eventDelaysSeconds.flatMap((eventDelaySeconds) =>
          policies.flatMap((policy) =>
            pickers.map((several) => ({
              workload,
              settings: { ...common, engineCount, eventDelaySeconds, policy, seed, ...several },
            })),
          ),
        ),
      ),
    ),
  );
}

/**
 * Runs them.
 *
 * @param jobs - see sweepJobs.
 * @param threads - at least one; more than jobs are not started.
 * @param ended - called after each run with the number of runs that have ended.
 * @param signal - ends it early: no run is begun after that, those under way in threads are cut off.
 * @returns one result per job, in their order.
 * @throws SimulationError, TraceError of the first run that cannot be made, or the signal's reason.
 */
export async function runSweep(
  jobs: readonly SweepJob[],
  threads: number,
  ended: (count: number) => void,
  signal: AbortSignal,
): Promise<SimulationResult[]> {
  let count = 0;
  const one = async (run: () => Promise<SweepOutcome>): Promise<SimulationResult> => {
    const result = resultOf(await run());
    count += 1;
    ended(count);
    return result;
  };
  const threadCount = Math.min(threads, jobs.length);
  signal.throwIfAborted();
  if (threadCount <= 1) {
    const results: SimulationResult[] = [];
    for (const job of jobs) {
      signal.throwIfAborted();
      results.push(await one(() => runSweepJob(job)));
      // A run keeps the thread to itself: signals and the progress line get their turn between runs.
      await new Promise(setImmediate);
    }
    return results;
  }
  const pool = new Tinypool({
    filename: new URL("./sweep-job.js", import.meta.url).href,
    name: runSweepJob.name,
    minThreads: threadCount,
    maxThreads: threadCount,
  });
  const cutOff = new Promise<never>((_, reject) => {
    signal.addEventListener(
      "abort",
      () => {
        reject(signal.reason as Error);
      },
      { once: true },
    );
  });
  try {
    const runs = jobs.map((job) => one(() => pool.run(job) as Promise<SweepOutcome>));
    return await Promise.race([Promise.all(runs), cutOff]);
  } finally {
    await pool.destroy();
  }
}
