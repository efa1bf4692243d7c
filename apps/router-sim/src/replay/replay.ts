/** The `replay` command: a workload, a run per policy, one report. */
import type { Dialect } from "@kvsync/core";

import type { PolicyName } from "../policy/policies.ts";
import type { Console } from "../report/console.ts";
import { describeProvenance, provenanceOf } from "../report/provenance.ts";
import { checkReportFiles, writeReportFile } from "../report/report-file.ts";
import { reportOf, type RunReport } from "../report/run-report.ts";
import { resultTable, runDetails } from "../report/table.ts";
import { generateWorkload, type WorkloadSpec } from "../trace/generator.ts";
import { loadMooncakeTrace } from "../trace/mooncake.ts";
import { TRACE_BLOCK_TOKENS, TraceError } from "../trace/request.ts";
import { openWorkload, type WorkloadSource } from "../workload/workload-source.ts";
import type { Workload, WorkloadRequest } from "../workload/workload.ts";
import { describeFault, type PlannedFault } from "./fault-plan.ts";
import { runFaults } from "./faults.ts";
import { type PlantedDifference, runPolicy, type RunSettings } from "./run.ts";

/** The model that every engine of a replay serves. */
export const MODEL = "mooncake/conversation";

/** What a replay is told; the command line's options, checked. */
export interface ReplayOptions {
  readonly workload:
    | { readonly kind: "trace"; readonly path: string }
    | { readonly kind: "generated"; readonly spec: WorkloadSpec }
    | { readonly kind: "named"; readonly source: WorkloadSource };
  /** Only so many requests; null for all. */
  readonly requestsMax: number | null;
  readonly policies: readonly PolicyName[];
  readonly engineCount: number;
  readonly blockCount: number;
  readonly hostBlockCount: number;
  readonly blockSize: number;
  readonly slowness: number;
  readonly dialect: Dialect | null;
  readonly bufferSteps: number | null;
  readonly speedup: number;
  readonly seed: number;
  readonly dropPercent: number;
  readonly faults: readonly PlannedFault[];
  readonly settleSecondsMax: number;
  readonly recoverySecondsMax: number;
  readonly lookupTimeoutMs: number;
  readonly plantedDifference: PlantedDifference | null;
  readonly daemonPath: string;
  readonly daemonLogPath: string | null;
  readonly jsonPath: string | null;
}

/**
 * Runs every policy and prints the comparison.
 *
 * @param options - see ReplayOptions.
 * @param console - where lines and progress go.
 * @param signal - ends it early.
 * @returns whether every expectation was met.
 * @throws TraceError, ReportFileError, FleetError, DaemonError, EngineError when a part cannot be run at all.
 */
export async function runReplay(
  options: ReplayOptions,
  console: Console,
  signal: AbortSignal,
): Promise<boolean> {
  await checkReportFiles([options.jsonPath, options.daemonLogPath]);
  const provenance = await provenanceOf(options.seed);
  console.line(describeProvenance(provenance));
  const requests = await loadWorkload(options);
  console.line(describeReplay(options, requests));
  const reports: RunReport[] = [];
  for (const policy of options.policies) {
    reports.push(await runOnce(options, policy, requests, console, signal));
  }
  console.line(`\n${resultTable(reports, "all")}`);
  for (const report of reports) console.line(`\n${report.policy}\n${runDetails(report)}`);
  if (options.jsonPath !== null) {
    const { plantedDifference, faults, ...rest } = options;
    const document = { provenance, options: { ...rest, plantedDifference, faults }, runs: reports };
    await writeReportFile(options.jsonPath, `${JSON.stringify(document, null, 2)}\n`);
  }
  return reports.every(({ failures }) => failures.length === 0);
}

/**
 * Runs one policy with a progress bar.
 *
 * @returns its report.
 */
export async function runOnce(
  options: ReplayOptions,
  policy: PolicyName,
  requests: readonly WorkloadRequest[],
  console: Console,
  signal: AbortSignal,
): Promise<RunReport> {
  console.begin(policy, requests.length);
  try {
    const result = await runPolicy(
      runSettings(options, policy, requests),
      {
        announce: (line) => {
          console.line(`  ${line}`);
        },
        progress: (ended, modelledSeconds) => {
          console.progress(ended, `${modelledSeconds.toFixed(0)} s modelled`);
        },
      },
      signal,
    );
    return reportOf(result, options.blockSize);
  } finally {
    console.end();
  }
}

/**
 * Loads or makes the workload that the options name.
 *
 * @throws TraceError when a trace cannot be read.
 */
export async function loadWorkload({
  workload,
  seed,
  requestsMax,
}: ReplayOptions): Promise<readonly WorkloadRequest[]> {
  if (workload.kind === "named") {
    const requests = wholeTextRequests(await openWorkload(workload.source, seed));
    return requestsMax === null ? requests : requests.slice(0, requestsMax);
  }
  if (workload.kind === "trace") return await loadMooncakeTrace(workload.path, requestsMax ?? undefined);
  const requests = generateWorkload(workload.spec, seed);
  return requestsMax === null ? requests : requests.slice(0, requestsMax);
}

/**
 * What the engines and the daemon of a replay can be sent: one model, texts made of whole ids.
 *
 * @param workload - opened.
 * @returns its requests, all at once.
 * @throws TraceError `workload_setting_wrong`, when it has adapters or ids of another length.
 */
export function wholeTextRequests(workload: Workload): readonly WorkloadRequest[] {
  const requests = [...workload.requests()];
  const adapters = requests.some(({ loraName }) => loraName !== undefined);
  if (!adapters && workload.blockTokens === TRACE_BLOCK_TOKENS) return requests;
  const [setting, expected] = adapters
    ? ["lora", "0: the engines of a replay serve one model"]
    : ["length", `1: a replay's texts are made of ids of ${TRACE_BLOCK_TOKENS} tokens`];
  throw new TraceError(
    { code: "workload_setting_wrong", setting, actual: workload.name, expected },
    `workload ${workload.name} cannot be replayed: ${setting} has to be ${expected}`,
  );
}

function runSettings(
  options: ReplayOptions,
  policy: PolicyName,
  requests: readonly WorkloadRequest[],
): RunSettings {
  const { engineCount, blockCount, hostBlockCount, blockSize, slowness, dialect } = options;
  const { bufferSteps, speedup, seed, dropPercent } = options;
  return {
    policy,
    fleet: {
      engineCount,
      model: MODEL,
      blockSize,
      blockCount,
      hostBlockCount,
      dialect,
      costModel: "llama-3.1-8b/1xh100",
      slowness,
      bufferSteps,
      speedup,
      seed,
      dropPercent,
      requests,
      tellsHeldBlocks: policy === "oracle",
    },
    daemonPath: options.daemonPath,
    daemonLogPath: options.daemonLogPath,
    trouble: (subjects, workloadEnded) => runFaults(options.faults, subjects, workloadEnded),
    settledWhen: "trusted",
    settleSecondsMax: options.settleSecondsMax,
    recoverySecondsMax: options.recoverySecondsMax,
    lookupTimeoutMs: options.lookupTimeoutMs,
    plantedDifference: options.plantedDifference,
  };
}

function describeReplay(options: ReplayOptions, requests: readonly WorkloadRequest[]): string {
  const { workload, engineCount, blockCount, blockSize, speedup, dropPercent, faults } = options;
  const source = describeSource(workload);
  const troubles = [
    ...(dropPercent > 0 ? [`${dropPercent} % of live messages lost`] : []),
    ...faults.map(describeFault),
  ];
  return (
    `${requests.length.toLocaleString("en-US")} requests, ${source}; ${engineCount} engines of ` +
    `${blockCount.toLocaleString("en-US")} blocks of ${blockSize} tokens; ${speedup} times real time` +
    (troubles.length === 0 ? "" : `; ${troubles.join("; ")}`)
  );
}

function describeSource(workload: ReplayOptions["workload"]): string {
  switch (workload.kind) {
    case "trace":
      return workload.path;
    case "named":
      return workload.source.name;
    case "generated": {
      const settings = Object.entries(workload.spec).map(([name, value]) => `${name}=${value}`);
      return `generated (${settings.join(",")})`;
    }
  }
}
