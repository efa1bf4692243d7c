/** The `scenario` command: plays scenario files and says what came true. */
import { readFile } from "node:fs/promises";
import { Command } from "commander";

import { describeProvenance, provenanceOf } from "../report/provenance.ts";
import { openWorkload, parseWorkloadSource } from "../workload/workload-source.ts";
import { parseScenario, ScenarioError } from "./scenario.ts";
import { runScenario, type ScenarioReport } from "./scenario-run.ts";

/**
 * Makes the command.
 *
 * @param write - takes lines for the terminal.
 * @param end - told whether every expectation came true.
 * @returns the command; its errors are ScenarioError, TraceError and SimulationError.
 */
export function scenarioCommand(write: (line: string) => void, end: (passed: boolean) => void): Command {
  return new Command("scenario")
    .description(
      "Plays scenario files: a simulated fleet, what goes wrong when, and what is expected. Ends with 1 when something is not met.",
    )
    .argument("<files...>", "YAML; see scenarios/ for those that ship")
    .action(async (files: readonly string[]) => {
      let passed = true;
      for (const path of files) {
        const report = await playFile(path, write);
        for (const check of report.checks)
          write(`  ${check.passed ? "ok    " : "FAILED"} ${check.what}: ${check.detail}`);
        passed &&= report.passed;
      }
      end(passed);
    });
}

async function playFile(path: string, write: (line: string) => void): Promise<ScenarioReport> {
  const scenario = parseScenario(await readScenario(path), path);
  write(describeProvenance(await provenanceOf(scenario.seed)));
  write(`${scenario.name} (${path})`);
  return runScenario(scenario, await openWorkload(parseWorkloadSource(scenario.workload), scenario.seed));
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
