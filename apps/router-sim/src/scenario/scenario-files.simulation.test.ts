/** The scenarios that ship come true, and the audit (index-audit.ts) holds at any moment of the worst of them. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

import { openWorkload, parseWorkloadSource } from "../workload/workload-source.ts";
import type { Workload } from "../workload/workload.ts";
import { parseScenario, type Scenario } from "./scenario.ts";
import { ScenarioPlayer } from "./scenario-player.ts";
import { runScenario } from "./scenario-run.ts";

const FOLDER = join(import.meta.dirname, "../../scenarios");
const SHIPPED = readdirSync(FOLDER).filter((file) => file.endsWith(".yaml"));

async function shipped(file: string): Promise<{ scenario: Scenario; workload: Workload }> {
  const scenario = parseScenario(readFileSync(join(FOLDER, file), "utf8"), file);
  return { scenario, workload: await openWorkload(parseWorkloadSource(scenario.workload), scenario.seed) };
}

describe("the scenarios that ship", () => {
  it.each(SHIPPED)("%s comes true", async (file) => {
    const { scenario, workload } = await shipped(file);
    const report = runScenario(scenario, workload);
    expect(report.checks.filter(({ passed }) => !passed)).toEqual([]);
    expect(report.checks.length).toBeGreaterThan(1);
    expect(report.passed).toBe(true);
  });
});

describe("the audit", () => {
  it("holds at any moment of the worst of them (Q2, Q3)", async () => {
    const { scenario, workload } = await shipped("everything-at-once.yaml");
    const player = new ScenarioPlayer(scenario, workload, true);
    let audits = 0;
    let doubtful = 0;
    while (player.nextAt < Infinity) {
      player.next();
      if (player.events % 307 !== 0) continue;
      const { differences } = player.audit();
      expect(differences, player.describeLast()).toEqual([]);
      audits++;
      if (!player.isExact) doubtful++;
    }
    // Otherwise the claim would be about quiet streams.
    expect(audits).toBeGreaterThan(30);
    expect(doubtful).toBeGreaterThan(10);
    player.simulation.close();
  });
});
