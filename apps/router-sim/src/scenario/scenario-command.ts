/**
 * The `scenario` command: plays scenario files, simulated or with everything real, and reports
 * which expectations came true.
 */
import { readFile } from "node:fs/promises";
import { Command } from "commander";

import { DEFAULT_DAEMON_PATH } from "../daemon/daemon-process.ts";
import { numberOption } from "../option-parsers.ts";
import type { Console } from "../report/console.ts";
import { describeProvenance, provenanceOf } from "../report/provenance.ts";
import type { Workload } from "../workload/workload.ts";
import { openWorkload, parseWorkloadSource } from "../workload/workload-source.ts";
import type { ScenarioCheck } from "./scenario-check.ts";
import { replayScenario } from "./scenario-replay.ts";
import { runScenario } from "./scenario-run.ts";
import { parseScenario, type Scenario, ScenarioError } from "./scenario.ts";

const SPEEDUP_MAX = 1_000;

/** What commander gives. */
interface ScenarioFlags {
  readonly real?: true;
  readonly speedup?: number;
  readonly daemon?: string;
  readonly daemonLog?: string;
}

/**
 * Makes the command.
 *
 * @param console - takes lines and progress.
 * @param signal - ends a real run early.
 * @param end - told whether every expectation came true.
 * @returns the command; its errors are ScenarioError, TraceError, SimulationError, and a real run's FleetError and DaemonError.
 */
export function scenarioCommand(
  console: Console,
  signal: AbortSignal,
  end: (passed: boolean) => void,
): Command {
  const command = new Command("scenario")
    .description(
      "Plays scenario files: a fleet, what goes wrong when, and what is expected. Ends with 1 when something is not met.",
    )
    .argument(
      "<files...>",
      "YAML; see scenarios/ for those that ship, scenarios/real/ for those made for --real",
    )
    .option("--real", "with real engines on ZeroMQ and the real daemon, instead of simulated")
    .option(
      "--speedup <x>",
      "workload seconds per second (default: 1; only with --real)",
      numberOption(0.1, SPEEDUP_MAX, "number"),
    )
    .option("--daemon <path>", "the daemon's main.js (only with --real)")
    .option("--daemon-log <file>", "append the daemon's log there (only with --real)");
  return command.action(async (files: readonly string[], flags: ScenarioFlags) => {
    const { real, ...others } = flags;
    const [useless] = Object.keys(others);
    if (real !== true && useless !== undefined)
      command.error(`error: --${useless === "daemonLog" ? "daemon-log" : useless} needs --real`, {
        exitCode: 2,
      });
    let passed = true;
    for (const path of files) {
      const checks = await playFile(path, flags, console, signal);
      for (const check of checks)
        console.line(`  ${check.passed ? "ok    " : "FAILED"} ${check.what}: ${check.detail}`);
      passed &&= checks.every((check) => check.passed);
    }
    end(passed);
  });
}

async function playFile(
  path: string,
  flags: ScenarioFlags,
  console: Console,
  signal: AbortSignal,
): Promise<readonly ScenarioCheck[]> {
  const scenario = parseScenario(await readScenario(path), path);
  const workload = await openWorkload(parseWorkloadSource(scenario.workload), scenario.seed);
  console.line(describeProvenance(await provenanceOf(scenario.seed)));
  console.line(`${scenario.name} (${path})`);
  if (flags.real !== true) return runScenario(scenario, workload).checks;
  return playReally(scenario, workload, path, flags, console, signal);
}

async function playReally(
  scenario: Scenario,
  workload: Workload,
  path: string,
  { speedup = 1, daemon = DEFAULT_DAEMON_PATH, daemonLog }: ScenarioFlags,
  console: Console,
  signal: AbortSignal,
): Promise<readonly ScenarioCheck[]> {
  const { engines, event_delay_ms: delay, event_reorder: reorder } = scenario;
  console.line(
    `  real: ${engines} engines and the daemon, ${speedup} times real time; the network's own delay and order, not ${delay} ms and ${reorder}`,
  );
  console.begin("scenario", workload.requestCount);
  try {
    const report = await replayScenario(
      scenario,
      workload,
      path,
      {
        daemonPath: daemon,
        daemonLogPath: daemonLog ?? null,
        speedup,
        announce: (line) => {
          console.line(`  ${line}`);
        },
        progress: (ended) => {
          console.progress(ended, `${scenario.timeline.length} entries in the timeline`);
        },
      },
      signal,
    );
    return report.checks;
  } finally {
    console.end();
  }
}

async function readScenario(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ScenarioError({ code: "scenario_unreadable", path }, `cannot read ${path}: ${reason}`, {
      cause,
    });
  }
}
