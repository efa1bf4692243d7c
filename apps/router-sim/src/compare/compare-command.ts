/**
 * The options of `compare`, their checks and their help. Lists multiply: every workload with every fleet, event delay, policy
 * and seed; how many runs that makes is checked before the first begins.
 */
import { availableParallelism } from "node:os";
import { COST_MODEL_NAMES, type CostModelName } from "@kvsync/engine-sim";
import { Command, InvalidArgumentError, Option } from "commander";

import { coded, distinct, numberOption, parsePolicies } from "../option-parsers.ts";
import { POLICY_NAMES, type PolicyName } from "../policy/policies.ts";
import { Console } from "../report/console.ts";
import { PICKER_NEWS, type PickerNews } from "../simulate/simulation-result.ts";
import { PICKERS_MAX } from "../simulate/simulation-settings.ts";
import { parseWorkloadSource, WORKLOAD_HELP, type WorkloadSource } from "../workload/workload-source.ts";
import { runCompare } from "./compare.ts";
import { type SweepSettings, sweepJobs } from "./sweep.ts";

/** A night's worth of short runs; more is a slip of the keyboard. */
const RUNS_MAX = 20_000;
const ENGINES_MAX = 4_096;
const BLOCKS_MAX = 10_000_000;
const BLOCK_SIZE_MAX = 1_024;
const DELAY_MS_MAX = 600_000;
const THREADS_MAX = 64;
const SEEDS_MAX = 1_000;
const U32_MAX = 4_294_967_295;

/** What commander gives. */
interface CompareFlags {
  readonly workload: readonly WorkloadSource[];
  readonly policy: readonly PolicyName[];
  readonly engines: readonly number[];
  readonly eventDelayMs: readonly number[];
  readonly eventLossPercent: number;
  readonly pickers: readonly number[];
  readonly pickerNews: readonly PickerNews[];
  readonly pickerDelayMs: number;
  readonly seeds: readonly number[];
  readonly model: CostModelName;
  readonly blocks?: number;
  readonly hostBlocks: number;
  readonly blockSize?: number;
  readonly threads: number;
  readonly json?: string;
  readonly html?: string;
  readonly markdown?: string;
}

/**
 * Makes the command.
 *
 * @param signal - aborted when the user interrupts.
 * @param args - the whole command line, which reports repeat.
 * @returns the command.
 */
export function compareCommand(signal: AbortSignal, args: readonly string[]): Command {
  const command = new Command("compare")
    .description(
      "Compares policies in simulation: every workload with every fleet, event delay, policy and seed. " +
        "Prints means with confidence intervals, as a table, JSON and one HTML page.",
    )
    .requiredOption("--workload <workload>", `${WORKLOAD_HELP}; may be given several times`, collectWorkload)
    .option(
      "--policy <names>",
      `comma-separated, of ${POLICY_NAMES.join(", ")}, or all`,
      parsePolicies,
      POLICY_NAMES,
    )
    .option(
      "--engines <counts>",
      "comma-separated numbers of engines",
      listParser(1, ENGINES_MAX, "integer"),
      [16],
    )
    .option(
      "--event-delay-ms <delays>",
      "comma-separated delays from the end of an engine's step until the index has it",
      listParser(0, DELAY_MS_MAX, "number"),
      [0],
    )
    .option("--event-loss-percent <x>", "event messages lost in transit", numberOption(0, 100, "number"), 0)
    .option("--seeds <list>", "seeds: 1-5, or 1,7,9", parseSeeds, [1, 2, 3, 4, 5]);
  engineOptions(pickerOptions(command))
    .option(
      "--threads <n>",
      "runs at a time; changes nothing but the speed",
      numberOption(1, THREADS_MAX),
      Math.min(availableParallelism(), THREADS_MAX),
    )
    .option("--json <file>", "write the comparison there")
    .option("--html <file>", "write the page there")
    .option("--markdown <file>", "write verdicts and tables there");
  return command.addHelpText("after", EXAMPLES).action(async (flags: CompareFlags) => {
    const options = {
      sweep: sweepOf(flags),
      threads: flags.threads,
      jsonPath: flags.json ?? null,
      htmlPath: flags.html ?? null,
      markdownPath: flags.markdown ?? null,
      command: `router-sim ${args.join(" ")}`,
    };
    const runs = sweepJobs(options.sweep).length;
    if (runs > RUNS_MAX) command.error(`error: that would be ${runs} runs; expected at most ${RUNS_MAX}`);
    await runCompare(options, new Console(), signal);
  });
}

const EXAMPLES = `
Examples:
  router-sim compare --workload chat --workload agents --policy random,overlap-cost,kvsync --html report.html
  router-sim compare --workload conversation_trace.jsonl --engines 8,16,32 --event-delay-ms 0,50,500 --seeds 1-3`;

function pickerOptions(command: Command): Command {
  return command
    .option(
      "--pickers <counts>",
      "comma-separated numbers of pickers, among which requests are spread by chance",
      listParser(1, PICKERS_MAX, "integer"),
      [1],
    )
    .option(
      "--picker-news <kinds>",
      `comma-separated, the knowledge of several pickers about each other: ${PICKER_NEWS.join(", ")}`,
      parseNews,
      ["none" as const],
    )
    .option(
      "--picker-delay-ms <ms>",
      "from a picker's decision until the others have it, when they share",
      numberOption(0, DELAY_MS_MAX, "number"),
      2,
    );
}

function engineOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--model <name>", "model and GPUs of every engine, which give steps their times")
        .choices(COST_MODEL_NAMES)
        .default(COST_MODEL_NAMES[0]),
    )
    .option(
      "--blocks <n>",
      "device KV blocks per engine (default: the machine's room)",
      numberOption(1, BLOCKS_MAX),
    )
    .option("--host-blocks <n>", "host KV blocks per engine", numberOption(0, BLOCKS_MAX), 0)
    .option("--block-size <n>", "tokens per KV block (default: 16)", numberOption(1, BLOCK_SIZE_MAX));
}

function sweepOf(flags: CompareFlags): SweepSettings {
  return {
    workloads: flags.workload,
    engineCounts: flags.engines,
    eventDelaysSeconds: flags.eventDelayMs.map((milliseconds) => milliseconds / 1_000),
    policies: flags.policy,
    pickerCounts: flags.pickers,
    pickerNews: flags.pickerNews,
    seeds: flags.seeds,
    common: {
      pickerDelaySeconds: flags.pickerDelayMs / 1_000,
      costModel: flags.model,
      blockCount: flags.blocks,
      hostBlockCount: flags.hostBlocks,
      blockSize: flags.blockSize,
      eventLoss: flags.eventLossPercent / 100,
    },
  };
}

function collectWorkload(text: string, before: readonly WorkloadSource[] = []): readonly WorkloadSource[] {
  return [...before, coded(parseWorkloadSource)(text)];
}

function listParser(
  min: number,
  max: number,
  kind: "integer" | "number",
): (text: string) => readonly number[] {
  const parse = numberOption(min, max, kind);
  return (text) => distinct(text.split(",").map(parse), text);
}

function parseNews(text: string): readonly PickerNews[] {
  const kinds = text.split(",").map((kind) => {
    const known = PICKER_NEWS.find((one) => one === kind);
    if (known !== undefined) return known;
    throw new InvalidArgumentError(`"${kind}" is none of ${PICKER_NEWS.join(", ")}.`);
  });
  return distinct(kinds, text);
}

function parseSeeds(text: string): readonly number[] {
  const range = /^(\d+)-(\d+)$/.exec(text);
  if (range === null) return listParser(0, U32_MAX, "integer")(text);
  const [first, last] = [Number(range[1]), Number(range[2])];
  if (first > last || last > U32_MAX || last - first >= SEEDS_MAX)
    throw new InvalidArgumentError(`Expected a rising range of at most ${SEEDS_MAX} seeds, as 1-5.`);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
