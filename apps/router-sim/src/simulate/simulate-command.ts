/** The `simulate` command: options, the run of each policy, the table, the JSON. */
import { existsSync } from "node:fs";
import { join, parse, resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { COST_MODEL_NAMES, type CostModelName } from "@kvsync/engine-sim";
import { Command, Option } from "commander";

import { coded, numberOption, parsePolicies } from "../option-parsers.ts";
import { type CustomPolicy, POLICY_NAMES, type PolicyName } from "../policy/policies.ts";
import { describeProvenance, provenanceOf } from "../report/provenance.ts";
import { checkReportFiles, writeReportFile } from "../report/report-file.ts";
import {
  openWorkload,
  parseWorkloadSource,
  WORKLOAD_HELP,
  type WorkloadSource,
} from "../workload/workload-source.ts";
import { requestLines } from "./request-csv.ts";
import { type SimulationRun, simulate } from "./simulation.ts";
import { PICKER_NEWS, type PickerNews } from "./simulation-result.ts";
import { ENGINES_MAX, PICKERS_MAX, SimulationError, type SimulationSettings } from "./simulation-settings.ts";
import { simulationTable, speedLine } from "./simulation-table.ts";

const U32_MAX = 4_294_967_295;
const BLOCKS_MAX = 10_000_000;
const MS = 1_000;
const PERCENT = 100;

interface SimulateFlags {
  readonly workload: WorkloadSource;
  readonly policy: readonly PolicyName[];
  readonly policyFile?: string;
  readonly engines: number;
  readonly model: CostModelName;
  readonly blockSize?: number;
  readonly blocks?: number;
  readonly hostBlocks: number;
  readonly maxBatchedTokens?: number;
  readonly maxSequences?: number;
  readonly eventDelayMs: number;
  readonly eventLossPercent: number;
  readonly eventReorderPercent: number;
  readonly wire?: true;
  readonly historyMessages?: number;
  readonly pickers: number;
  readonly pickerNews: PickerNews;
  readonly seed: number;
  readonly json?: string;
  readonly requestsCsv?: string;
  readonly decisions?: string;
}

/**
 * Makes the command.
 *
 * @param write - takes lines for the terminal.
 * @returns the command; its errors are SimulationError, TraceError, ReportFileError and commander's.
 */
export function simulateCommand(write: (line: string) => void): Command {
  const command = new Command("simulate")
    .description(
      "Runs a workload through a fleet in virtual time, once per policy. Equal seeds give equal results, byte for byte.",
    )
    .addOption(
      new Option("--workload <workload>", WORKLOAD_HELP)
        .argParser(coded(parseWorkloadSource))
        .makeOptionMandatory(),
    )
    .option("--policy <names>", `comma-separated, of ${POLICY_NAMES.join(", ")}, or all`, parsePolicies, [
      "kvsync" as const,
    ])
    .option("--policy-file <file>", "module that exports a policy of your own, run after these")
    .option("--engines <n>", "engines", numberOption(1, ENGINES_MAX), 16)
    .addOption(
      new Option("--model <name>", "model and GPUs, which give steps their times")
        .choices(COST_MODEL_NAMES)
        .default("llama-3.1-8b/1xh100"),
    )
    .option("--block-size <n>", "tokens per KV block (default: 16)", numberOption(8, U32_MAX))
    .option(
      "--blocks <n>",
      "device KV blocks per engine (default: the room that the model leaves)",
      numberOption(1, BLOCKS_MAX),
    )
    .option("--host-blocks <n>", "host KV blocks per engine", numberOption(0, BLOCKS_MAX), 0)
    .option("--max-batched-tokens <n>", "token budget of a step (default: 8192)", numberOption(1, BLOCKS_MAX))
    .option("--max-sequences <n>", "requests running at once (default: 256)", numberOption(1, 100_000));
  eventOptions(command);
  return command
    .option(
      "--pickers <n>",
      "pickers among which requests are spread by chance",
      numberOption(1, PICKERS_MAX),
      1,
    )
    .addOption(
      new Option("--picker-news <kind>", "the knowledge of several pickers about each other")
        .choices(PICKER_NEWS)
        .default("none"),
    )
    .option("--seed <n>", "seeds workload, policies and network", numberOption(0, U32_MAX), 1)
    .option("--json <file>", "write the results there")
    .option(
      "--requests-csv <file>",
      "write a line per request there; with several policies, one file each: name.policy.csv",
    )
    .option(
      "--decisions <file>",
      "write the first 1,000 decisions there, with all that they were made by; kvsync and one picker only",
    )
    .addHelpText("after", EXAMPLES)
    .action(async (flags: SimulateFlags) => {
      await runSimulate(flags, write);
    });
}

const EXAMPLES = `
Examples:
  router-sim simulate --workload chat --engines 64 --policy random,kvsync
  router-sim simulate --workload conversation_trace.jsonl --policy all --block-size 512 --json result.json
  router-sim simulate --workload agents --event-delay-ms 50 --event-loss-percent 1`;

function eventOptions(command: Command): void {
  command
    .option(
      "--event-delay-ms <ms>",
      "from a step's end until the index has its events",
      numberOption(0, 3_600_000, "number"),
      0,
    )
    .option(
      "--event-loss-percent <x>",
      "live messages lost, which streams must find and repair",
      numberOption(0, 100, "number"),
      0,
    )
    .option(
      "--event-reorder-percent <x>",
      "messages held up, so that other engines' later ones overtake them",
      numberOption(0, 100, "number"),
      0,
    )
    .option("--wire", "encode every event and run the streams' state machines, also without loss")
    .option(
      "--history-messages <n>",
      "messages that publishers keep for replays (default: 1000)",
      numberOption(0, 100_000),
    );
}

async function runSimulate(flags: SimulateFlags, write: (line: string) => void): Promise<void> {
  const custom = flags.policyFile === undefined ? [] : [await readPolicyFile(flags.policyFile)];
  const policies = [...flags.policy, ...custom];
  const names = policies.map((policy) => (typeof policy === "string" ? policy : policy.name));
  const csvPaths = names.map((name) => requestsPath(flags, name, names.length));
  await checkReportFiles([flags.json, flags.decisions, ...csvPaths]);
  const provenance = await provenanceOf(flags.seed);
  write(describeProvenance(provenance));
  const workload = await openWorkload(flags.workload, flags.seed);
  const runs: SimulationRun[] = [];
  for (const [i, policy] of policies.entries()) {
    const run = simulate(workload, settingsOf(flags, policy));
    write(speedLine(run.result.config.policy, run.speed));
    const csvPath = csvPaths[i];
    if (csvPath !== undefined && run.requests !== null)
      await writeReportFile(csvPath, requestLines(run.requests));
    if (flags.decisions !== undefined && run.decisions !== null)
      await writeReportFile(flags.decisions, `${run.decisions.join("\n")}\n`);
    runs.push({ ...run, requests: null, decisions: null });
  }
  const results = runs.map(({ result }) => result);
  write(`\n${simulationTable(results)}`);
  if (flags.json !== undefined)
    await writeReportFile(flags.json, `${JSON.stringify({ provenance, results }, null, 1)}\n`);
}

/** Of several policies, `a/b.csv` becomes `a/b.kvsync.csv`; undefined when none is asked for. */
function requestsPath({ requestsCsv }: SimulateFlags, policy: string, count: number): string | undefined {
  if (requestsCsv === undefined || count === 1) return requestsCsv;
  const { dir, name, ext } = parse(requestsCsv);
  return join(dir, `${name}.${policy}${ext}`);
}

/** Loads the module and takes its `policy`. */
async function readPolicyFile(file: string): Promise<CustomPolicy> {
  const wrong = (actual: string): SimulationError => {
    const expected = `a module that exports "policy" with a name of its own and a function "make"`;
    const facts = { code: "simulation_setting_wrong", setting: "policy-file", actual, expected } as const;
    return new SimulationError(facts, `--policy-file ${file}: ${actual}; expected ${expected}`);
  };
  const path = resolve(file);
  if (!existsSync(path)) throw wrong("no such file");
  const { policy } = (await import(pathToFileURL(path).href)) as { readonly policy?: Partial<CustomPolicy> };
  const { name, make } = policy ?? {};
  if (name === undefined || make === undefined) throw wrong('no usable "policy"');
  if (POLICY_NAMES.some((known) => known === name)) throw wrong(`the name ${name} is taken`);
  return { name, make };
}

function settingsOf(flags: SimulateFlags, policy: PolicyName | CustomPolicy): SimulationSettings {
  return {
    seed: flags.seed,
    policy,
    engineCount: flags.engines,
    costModel: flags.model,
    blockSize: flags.blockSize,
    blockCount: flags.blocks,
    hostBlockCount: flags.hostBlocks,
    maxBatchedTokens: flags.maxBatchedTokens,
    maxSequences: flags.maxSequences,
    eventDelaySeconds: flags.eventDelayMs / MS,
    eventLoss: flags.eventLossPercent / PERCENT,
    eventReorder: flags.eventReorderPercent / PERCENT,
    ...(flags.wire === true ? { eventPath: "wire" } : {}),
    historyMessages: flags.historyMessages,
    pickerCount: flags.pickers,
    pickerNews: flags.pickerNews,
    keepRequests: flags.requestsCsv !== undefined,
    keepDecisions: flags.decisions !== undefined,
  };
}
