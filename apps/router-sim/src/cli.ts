/**
 * The command line: options, their checks, their help. Every option is checked before anything
 * starts. A wrong one ends with exit code 2. The message names the option, the given value and the
 * expected one.
 *
 *     exit codes   0 all is well   1 audit differences, or something expected did not come   2 usage   130 interrupted
 *                  141 the reader of stdout has gone (main.ts)
 */
import { CodedError, type Dialect, DIALECTS } from "@kvsync/core";
import { Command, CommanderError, Option } from "commander";

import { compareCommand } from "./compare/compare-command.ts";
import { LOOKUP_TIMEOUT_MS } from "./daemon/daemon-client.ts";
import { DEFAULT_DAEMON_PATH } from "./daemon/daemon-process.ts";
import { runDemo } from "./demo.ts";
import { loadCommand } from "./gateway/load-command.ts";
import { coded, numberOption, parsePolicies } from "./option-parsers.ts";
import { POLICY_NAMES, type PolicyName } from "./policy/policies.ts";
import { type FaultKind, parseFault, type PlannedFault } from "./replay/fault-plan.ts";
import { type ReplayOptions, runReplay } from "./replay/replay.ts";
import type { PlantedDifference } from "./replay/run.ts";
import { Console } from "./report/console.ts";
import { describeProvenance, provenanceOf, versionLine } from "./report/provenance.ts";
import { ReportFileError } from "./report/report-file.ts";
import { scenarioCommand } from "./scenario/scenario-command.ts";
import { ScenarioError } from "./scenario/scenario.ts";
import { simulateCommand } from "./simulate/simulate-command.ts";
import { SimulationError } from "./simulate/simulation-settings.ts";
import { parseWorkloadSpec, type WorkloadSpec } from "./trace/generator.ts";
import { writeMooncakeTrace } from "./trace/mooncake-writer.ts";
import { TraceError } from "./trace/request.ts";
import { describeTrace, traceStats } from "./trace/trace-stats.ts";
import {
  openWorkload,
  parseWorkloadSource,
  WORKLOAD_HELP,
  type WorkloadSource,
} from "./workload/workload-source.ts";

/** All is well. */
const EXIT_OK = 0;
/** Audit differences, a failed expectation, or a part that could not be run. */
const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const EXIT_INTERRUPTED = 130;

/** More would need more ports and memory than a test machine has. */
const ENGINES_MAX = 256;
const BLOCKS_MAX = 10_000_000;
const BLOCK_SIZE_MAX = 1_024;
const SPEEDUP_MAX = 10_000;
const U32_MAX = 4_294_967_295;

/** Commands that start processes or threads; so does `scenario --real`. */
const CLEANING_UP: ReadonlySet<string> = new Set(["replay", "demo", "compare"]);

/** What is wrong with them is in what was asked for, not in how it went. */
const USAGE_ERRORS = [TraceError, SimulationError, ScenarioError, ReportFileError] as const;

/**
 * Runs a command line.
 *
 * @param args - without node and script.
 * @param signal - aborted when the user interrupts.
 * @param listen - called before anything begins that has to be cleaned up when the user interrupts. Until then, and in commands that
 *     compute without a pause, a signal had better end the process at once: nobody could listen.
 * @returns the exit code; see the header.
 */
export async function runCli(
  args: readonly string[],
  signal: AbortSignal,
  listen: () => void,
): Promise<number> {
  let exitCode = EXIT_OK;
  const program = commandLine(args, signal, (code) => {
    exitCode = code;
  });
  program.hook("preAction", (_program, command) => {
    if (CLEANING_UP.has(command.name()) || command.getOptionValue("real") === true) listen();
  });
  try {
    await program.parseAsync(args, { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE;
    if (signal.aborted) return EXIT_INTERRUPTED;
    if (!(error instanceof CodedError)) throw error;
    process.stderr.write(`error: ${error.message}\n`);
    return USAGE_ERRORS.some((kind) => error instanceof kind) ? EXIT_USAGE : EXIT_FAILED;
  }
}

function commandLine(args: readonly string[], signal: AbortSignal, end: (exitCode: number) => void): Command {
  const program = new Command("router-sim")
    .description(
      "Drives a fleet of simulated engines against a real kvsync daemon, and audits the daemon's index.",
    )
    .version(versionLine())
    .exitOverride()
    .showHelpAfterError("(--help shows what is expected)")
    .addHelpText(
      "after",
      "\nExit codes: 0 all is well, 1 audit differences or a failed expectation, 2 usage.",
    );
  program.addCommand(replayCommand(signal, end));
  program.addCommand(demoCommand(signal, end));
  program.addCommand(
    simulateCommand((line) => {
      process.stdout.write(`${line}\n`);
    }),
  );
  program.addCommand(
    scenarioCommand(new Console(), signal, (passed) => {
      end(passed ? EXIT_OK : EXIT_FAILED);
    }),
  );
  program.addCommand(compareCommand(signal, args));
  program.addCommand(
    loadCommand(
      signal,
      (line) => {
        process.stdout.write(`${line}\n`);
      },
      (isWell) => {
        end(isWell ? EXIT_OK : EXIT_FAILED);
      },
    ),
  );
  program.addCommand(traceCommand());
  program.addCommand(renamedCommand("trace-stats", "trace stats"), { hidden: true });
  program.addCommand(generateTraceCommand());
  for (const command of [program, ...program.commands].flatMap(({ commands }) => commands)) {
    command.copyInheritedSettings(program);
  }
  return program;
}

/** What commander gives for `replay`; checked by the options' parsers. */
interface ReplayFlags {
  readonly trace?: string;
  readonly generate?: WorkloadSpec;
  readonly workload?: WorkloadSource;
  readonly policy: readonly PolicyName[];
  readonly engines: number;
  readonly blocks: number;
  readonly hostBlocks: number;
  readonly blockSize: number;
  readonly slowness: number;
  readonly dialect?: Dialect;
  readonly bufferSteps?: number;
  readonly speedup: number;
  readonly seed: number;
  readonly requests?: number;
  readonly dropPercent: number;
  readonly stallSubscriber?: PlannedFault;
  readonly restartEngines?: PlannedFault;
  readonly killDaemon?: PlannedFault | true;
  readonly truncateHistory?: PlannedFault;
  readonly settleSeconds: number;
  readonly recoverySeconds: number;
  readonly lookupTimeoutMs: number;
  readonly plantDifference?: PlantedDifference;
  readonly daemon: string;
  readonly daemonLog?: string;
  readonly json?: string;
}

function replayCommand(signal: AbortSignal, end: (exitCode: number) => void): Command {
  const command = new Command("replay")
    .description(
      "Replays a trace through N engines, once per policy, and compares what the engines hold with the index.",
    )
    .option("--trace <file>", "Mooncake trace, JSON Lines")
    .addOption(
      new Option(
        "--generate <spec>",
        "make a workload like the Mooncake conversation trace: `conversation`, or requests=N,minutes=M,scale=S",
      )
        .conflicts("trace")
        .argParser(coded(parseWorkloadSpec)),
    )
    .option("--policy <names>", `comma-separated, of ${POLICY_NAMES.join(", ")}, or all`, parsePolicies, [
      "kvsync" as const,
    ])
    .addOption(
      new Option("--workload <workload>", WORKLOAD_HELP)
        .conflicts(["trace", "generate"])
        .argParser(coded(parseWorkloadSource)),
    )
    .option("--requests <n>", "only the first n requests", numberOption(1, U32_MAX))
    .option("--engines <n>", "engines", numberOption(1, ENGINES_MAX), 16)
    .option("--blocks <n>", "device KV blocks per engine", numberOption(1, BLOCKS_MAX), 24_576)
    .option("--host-blocks <n>", "host KV blocks per engine", numberOption(0, BLOCKS_MAX), 0)
    .option("--block-size <n>", "tokens per KV block", numberOption(1, BLOCK_SIZE_MAX), 16)
    .option("--slowness <x>", "factor on the engines' modeled times", numberOption(0.01, 1_000, "number"), 1)
    .addOption(
      new Option("--dialect <name>", "engine version whose events are spoken").choices(Object.keys(DIALECTS)),
    )
    .option(
      "--buffer-steps <n>",
      "messages of replay history per engine (default: 10000)",
      numberOption(1, BLOCKS_MAX),
    )
    .option("--speedup <x>", "modeled seconds per second", numberOption(0.1, SPEEDUP_MAX, "number"), 30)
    .option("--seed <n>", "seeds the workload, policies and faults", numberOption(0, U32_MAX), 1)
    .option("--json <file>", "write the whole report there")
    .option("--daemon <path>", "the daemon's main.js", DEFAULT_DAEMON_PATH)
    .option("--daemon-log <file>", "append the daemon's log there");
  faultOptions(command);
  return command.addHelpText("after", REPLAY_EXAMPLES).action(async (flags: ReplayFlags) => {
    end((await runReplay(replayOptions(flags, command), new Console(), signal)) ? EXIT_OK : EXIT_FAILED);
  });
}

const REPLAY_EXAMPLES = `
A fault's VALUE may be followed by @PERCENT, the share of the workload at which it strikes (for example 2@50). After each fault
the recovery is timed, the fleet is paused, and the index is audited; then the run continues.

Examples:
  router-sim replay --generate requests=600,minutes=10,scale=0.25 --engines 4 --policy random,kvsync
  router-sim replay --trace conversation_trace.jsonl --speedup 30 --json report.json
  router-sim replay --generate conversation --requests 2000 --drop-percent 5 --restart-engines 2 --kill-daemon`;

function faultOptions(command: Command): void {
  const fault = (kind: FaultKind) => coded((text: string) => parseFault(kind, text));
  command
    .option(
      "--drop-percent <x>",
      "lose this share of live messages all the time",
      numberOption(0, 100, "number"),
      0,
    )
    .option("--stall-subscriber <seconds>", "freeze the daemon", fault("stall_subscriber"))
    .option("--restart-engines <n>", "restart n engines", fault("restart_engines"))
    .option("--kill-daemon [percent]", "kill the daemon (-9) and start it again", fault("kill_daemon"))
    .option(
      "--truncate-history <n>",
      "make a gap at the busiest engine, whose history keeps n messages",
      fault("truncate_history"),
    )
    .option(
      "--settle-seconds <s>",
      "most time for the daemon to catch up before an audit",
      numberOption(0.1, 3_600, "number"),
      60,
    )
    .option("--recovery-seconds <s>", "most time for a recovery", numberOption(0.1, 3_600, "number"), 30)
    .option(
      "--lookup-timeout-ms <n>",
      "most real time for a lookup; then the request is routed without advice",
      numberOption(1, 600_000, "integer"),
      LOOKUP_TIMEOUT_MS,
    )
    .addOption(
      new Option(
        "--plant-difference <kind>",
        "alter the truth before audits, which must then fail: a check of the audit",
      ).choices(["ghost", "missing"]),
    );
}

function replayOptions(flags: ReplayFlags, command: Command): ReplayOptions {
  const { trace, generate, workload, requests } = flags;
  if (trace === undefined && generate === undefined && workload === undefined) {
    command.error("error: one of --trace FILE, --generate SPEC and --workload WORKLOAD is needed", {
      exitCode: EXIT_USAGE,
    });
  }
  const kill = flags.killDaemon === true ? parseFault("kill_daemon", "") : flags.killDaemon;
  const { restartEngines } = flags;
  if (restartEngines?.kind === "restart_engines" && restartEngines.count > flags.engines) {
    command.error(
      `error: --restart-engines: ${restartEngines.count} of ${flags.engines} engines cannot be restarted; expected at most --engines`,
      { exitCode: EXIT_USAGE },
    );
  }
  const faults = [flags.stallSubscriber, restartEngines, kill, flags.truncateHistory];
  return {
    workload: replayWorkload(flags),
    requestsMax: requests ?? null,
    policies: flags.policy,
    engineCount: flags.engines,
    blockCount: flags.blocks,
    hostBlockCount: flags.hostBlocks,
    blockSize: flags.blockSize,
    slowness: flags.slowness,
    dialect: flags.dialect ?? null,
    bufferSteps: flags.bufferSteps ?? null,
    speedup: flags.speedup,
    seed: flags.seed,
    dropPercent: flags.dropPercent,
    faults: faults.filter((fault) => fault !== undefined),
    settleSecondsMax: flags.settleSeconds,
    recoverySecondsMax: flags.recoverySeconds,
    lookupTimeoutMs: flags.lookupTimeoutMs,
    plantedDifference: flags.plantDifference ?? null,
    daemonPath: flags.daemon,
    daemonLogPath: flags.daemonLog ?? null,
    jsonPath: flags.json ?? null,
  };
}

function replayWorkload({ trace, generate, workload }: ReplayFlags): ReplayOptions["workload"] {
  if (workload !== undefined) return { kind: "named", source: workload };
  return generate === undefined
    ? { kind: "trace", path: trace ?? "" }
    : { kind: "generated", spec: generate };
}

function demoCommand(signal: AbortSignal, end: (exitCode: number) => void): Command {
  return new Command("demo")
    .description(
      "Shows in about a minute what kvsync does: routing with and without it, then faults and recoveries.",
    )
    .option("--once", "end after one round, with exit code 0 or 1")
    .option("--seed <n>", "seeds everything", numberOption(0, U32_MAX, "integer"), 1)
    .option("--daemon <path>", "the daemon's main.js", DEFAULT_DAEMON_PATH)
    .option("--daemon-log <file>", "append the daemon's log there")
    .action(async (flags: { once?: true; seed: number; daemon: string; daemonLog?: string }) => {
      const passed = await runDemo(
        {
          once: flags.once === true,
          seed: flags.seed,
          daemonPath: flags.daemon,
          daemonLogPath: flags.daemonLog ?? null,
        },
        new Console(),
        signal,
      );
      end(passed ? EXIT_OK : EXIT_FAILED);
    });
}

/** What commander gives for `trace stats`. */
interface TraceStatsFlags {
  readonly seed: number;
  readonly cacheBlocks?: readonly number[];
  readonly json?: true;
}

/** What there is to know about traces. */
function traceCommand(): Command {
  const command = new Command("trace").description("Facts about workloads.");
  command.addCommand(
    new Command("stats")
      .description(
        "Prints a workload's lengths, how much of each prompt came up before, and what caches of several sizes would hit.",
      )
      .argument("<workload>", WORKLOAD_HELP, coded(parseWorkloadSource))
      .option("--seed <n>", "seeds a generated workload", numberOption(0, U32_MAX), 1)
      .option(
        "--cache-blocks <sizes>",
        "comma-separated sizes of LRU caches, in the workload's blocks",
        parseCacheSizes,
      )
      .option("--json", "print JSON")
      .action(async (source: WorkloadSource, flags: TraceStatsFlags) => {
        const workload = await openWorkload(source, flags.seed);
        const stats = await traceStats(workload.requests(), {
          blockTokens: workload.blockTokens,
          ...(flags.cacheBlocks === undefined ? {} : { capacities: flags.cacheBlocks }),
        });
        const provenance = await provenanceOf(flags.seed);
        const text =
          flags.json === true
            ? JSON.stringify({ provenance, workload: source.name, stats }, null, 2)
            : `${describeProvenance(provenance)}\n${describeTrace(source.name, stats)}`;
        process.stdout.write(`${text}\n`);
      }),
  );
  return command;
}

/** Says where a command of old went. */
function renamedCommand(before: string, now: string): Command {
  const command = new Command(before).argument("[arguments...]").allowUnknownOption();
  return command.action(() => command.error(`error: ${before} is now called ${now}`));
}

function parseCacheSizes(text: string): readonly number[] {
  return text.split(",").map(numberOption(1, U32_MAX));
}

function generateTraceCommand(): Command {
  return new Command("generate-trace")
    .description("Writes a workload as a Mooncake trace: its four fields, blocks of 512 tokens.")
    .argument("<workload>", WORKLOAD_HELP, coded(parseWorkloadSource))
    .argument("<file>", "where to")
    .option("--seed <n>", "seeds the workload", numberOption(0, U32_MAX, "integer"), 1)
    .action(async (source: WorkloadSource, file: string, flags: { seed: number }) => {
      await writeMooncakeTrace(file, await openWorkload(source, flags.seed));
    });
}
