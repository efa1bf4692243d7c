/**
 * Scenarios: the audit finds planted differences, and a wrong file is refused with the place of the
 * error. Q is of index-audit.ts.
 */
import { describe, expect, it } from "vitest";

import { openWorkload, parseWorkloadSource } from "../workload/workload-source.ts";
import type { Workload } from "../workload/workload.ts";
import { parseScenario, type Scenario, ScenarioError } from "./scenario.ts";
import { ScenarioPlayer } from "./scenario-player.ts";
import { firstDifference, runScenario } from "./scenario-run.ts";

async function open(text: string, path: string): Promise<{ scenario: Scenario; workload: Workload }> {
  const scenario = parseScenario(text, path);
  return { scenario, workload: await openWorkload(parseWorkloadSource(scenario.workload), scenario.seed) };
}

function small(timeline: string, rest = ""): Promise<{ scenario: Scenario; workload: Workload }> {
  const text = `
name: small
about: a test
workload: chat,requests=150,rate=10
engines: 3
timeline:
${timeline}
${rest}`;
  return open(text, "small.yaml");
}

describe("the audit", () => {
  it("finds a block that vanishes without a word, and names the event after which it was gone (Q2)", async () => {
    const { scenario, workload } = await small(`
  - { at: 3, expect: { audit: exact } }
  - { at: 6, corrupt: [1] }
  - { at: 9, expect: { audit: exact } }`);
    const report = runScenario(scenario, workload);
    expect(report.passed).toBe(false);
    expect(report.checks[0]).toMatchObject({ what: "3 s: audit exact", passed: true });
    expect(report.checks[1]).toMatchObject({ what: "9 s: audit exact", passed: false });
    expect(report.checks[1]?.detail).toMatch(
      /1 differences: missing [0-9a-f]{16} of engine 1 on the device \(held 1, indexed 0, last in message \d+\)/,
    );
    expect(report.checks[1]?.detail).toMatch(
      /First different after event \d+: at 6\.000000 s: the timeline: \{"corrupt":\[1\]\}$/,
    );
  });

  it("finds a block that the engine does not hold, unless the stream is stale (Q1)", async () => {
    const { scenario, workload } = await small("  - { at: 3, expect: { audit: exact } }");
    const player = new ScenarioPlayer(scenario, workload, true);
    while (player.simulation.nowSeconds < 5) player.next();
    expect(player.audit().differences).toEqual([]);
    player.simulation.index.writer(1).stored(Uint32Array.of(123, 456), 1, false);
    expect(player.audit().differences).toMatchObject([{ kind: "ghost", engine: 1 }]);
    player.simulation.close();
  });

  it("agrees with playing step by step where the first difference is", async () => {
    const { scenario, workload } = await small(
      "  - { at: 2, corrupt: [0] }",
      "end: { hit_rate: { min: 0 } }",
    );
    const player = new ScenarioPlayer(scenario, workload, true);
    while (player.audit().differences.length === 0) player.next();
    expect(firstDifference(scenario, workload, player.events + 40)).toEqual({
      event: player.events,
      description: player.describeLast(),
    });
    player.simulation.close();
  });
});

describe("an expectation", () => {
  it("that is not met fails with the figure, and the scenario with it", async () => {
    const { scenario, workload } = await small(
      "  - { at: 5, lose: { engines: all, share: 1, seconds: 60 } }\n  - { at: 8, expect: { audit: recovered, within: 1 } }",
      "end:\n  hit_rate: { min: 0.99 }\n  replays: { min: 1 }",
    );
    const { checks, passed } = runScenario(scenario, workload);
    expect(passed).toBe(false);
    expect(checks.map((check) => [check.what, check.passed])).toEqual([
      ["8 s: audit recovered within 1 s", false],
      ["end: hit_rate at least 0.99", false],
      ["end: replays at least 1", true],
    ]);
    expect(checks[0]?.detail).toMatch(/not everything that had been published was applied$/);
  });

  it("of exactness fails while a stream says that it may be wrong, and names the stream", async () => {
    const { scenario, workload } = await small(
      "  - { at: 4, poison: { engines: [1], count: 2 } }\n  - { at: 8, expect: { audit: sound } }\n  - { at: 8, expect: { audit: exact } }",
    );
    const { checks } = runScenario(scenario, workload);
    expect(checks.map(({ passed }) => passed)).toEqual([true, false]);
    expect(checks[1]?.detail).toMatch(/engine 1 is stale$/);
  });

  it("has its time also after the last request has ended", async () => {
    const { scenario, workload } = await small(
      "  - { at: 1, lose: { engines: [0], share: 1, seconds: 100 } }\n  - { at: 101, expect: { audit: recovered, within: 60 } }",
    );
    const { checks } = runScenario(scenario, workload);
    expect(checks).toHaveLength(1);
    expect(checks[0]?.passed).toBe(true);
  });
});

describe("a loss", () => {
  it("takes the place of the engine's earlier one: that one's end does not end it", async () => {
    const { scenario, workload } = await small(
      "  - { at: 2, lose: { engines: all, share: 1, seconds: 4 } }\n  - { at: 4, lose: { engines: [0], share: 1, seconds: 60 } }\n  - { at: 14, expect: { audit: recovered } }",
    );
    const { checks } = runScenario(scenario, workload);
    expect(checks[0]?.passed).toBe(false);
    const player = new ScenarioPlayer(scenario, workload, true);
    while (player.nextAt < 14) player.next();
    const applied = [0, 1, 2].map((engine) => player.wire.syncOf(engine).lastSequenceNumber ?? -1);
    const behind = player.publishedCounts.map((count, engine) => count - 1 - (applied[engine] ?? 0));
    player.simulation.close();
    expect(behind.map((messages) => messages > 10)).toEqual([true, false, false]);
  });
});

/** Nine times nine times … aliases of one list. */
function aliasBomb(): string {
  const list = (item: string): string => `[${Array(9).fill(item).join(", ")}]`;
  return `a: &a ${list("x")}\nb: &b ${list("*a")}\nc: &c ${list("*b")}\nd: ${list("*c")}\n`;
}

describe("a scenario file", () => {
  const base = "name: n\nabout: a\nworkload: chat\nengines: 2\n";

  it.each<[string, string, string]>([
    ["is no YAML", "name: [", "f.yaml: "],
    ["lacks a field", "name: n\nabout: a\nengines: 2", "f.yaml: workload: "],
    ["has a field too many", `${base}colour: red`, 'Unrecognized key: "colour"'],
    [
      "names an engine that there is not",
      `${base}timeline: [{ at: 1, restart: [2] }]`,
      "timeline.0: there is no engine 2; expected 0 to 1",
    ],
    [
      "does two things at once",
      `${base}timeline: [{ at: 1, restart: all, burn_number: all }]`,
      "timeline.0: expected `at` and exactly one of",
    ],
    ["does nothing", `${base}timeline: [{ at: 1 }]`, "timeline.0: expected `at` and exactly one of"],
    [
      "loses more than all",
      `${base}timeline: [{ at: 1, lose: { engines: all, share: 2, seconds: 1 } }]`,
      "timeline.0.lose.share: ",
    ],
    ["expects nothing", `${base}timeline: [{ at: 1, restart: all }]`, "the scenario expects nothing"],
    ["bounds a figure by nothing", `${base}end: { hit_rate: {} }`, "end.hit_rate: expected min, max or both"],
    [
      "bounds a figure by a contradiction",
      `${base}end: { hit_rate: { min: 0.9, max: 0.1 } }`,
      "end.hit_rate: expected min to be at most max",
    ],
    ["is a bomb of aliases", aliasBomb(), "f.yaml: Excessive alias count"],
    ["has a policy that there is not", `${base}policy: best`, "policy: "],
  ])("that %s is refused with the place", (_, text, message) => {
    expect(() => parseScenario(text, "f.yaml")).toThrow(ScenarioError);
    expect(() => parseScenario(text, "f.yaml")).toThrow(message);
  });

  it("is put in order of time, defaults filled in", () => {
    const scenario = parseScenario(
      `${base}timeline: [{ at: 5, expect: { audit: sound } }, { at: 1, lose_index: all }]`,
      "f.yaml",
    );
    expect(scenario.timeline.map(({ at }) => at)).toEqual([1, 5]);
    expect(scenario).toMatchObject({ policy: "kvsync", seed: 1, event_delay_ms: 20, end: {} });
  });
});
