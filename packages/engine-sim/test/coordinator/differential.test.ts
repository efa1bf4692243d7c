/**
 * The daemon's answers against the engine's own hits, over random work on every kind of cache that the
 * model of vLLM's coordinator knows. A failure names scenario, seed and question: run that seed alone
 * with `KVSYNC_SEED`, and make it a named example.
 */
import type { ReportMode } from "@kvsync/core";
import { describe, expect, test } from "vitest";
import { type Difference, noOutcome, runDifferential } from "./differential.ts";
import { OFFLOAD_SCENARIOS, type Scenario, SCENARIOS } from "./scenarios.ts";

const SEED = process.env["KVSYNC_SEED"];
const QUESTIONS_PER_SCENARIO = 1500;

/** Kinds whose every answer is exact and right, where the operator says that no client asks for reports. */
const FOLLOWED = [
  "eagle",
  "plain",
  "adapters",
  "salts",
  "lookahead 1",
  "lookahead 3",
  "window only",
  "full and window",
  "two windows",
  "full and mamba",
  "full, window and mamba, lookahead",
  "full, window and mamba of three block sizes",
  "full and window, lookahead, adapters and salts",
];
/**
 * Where nothing is said of reports, a copy of the shortest prefix that can be reused looks like a report of it. Such prefixes
 * are computed again all the time by these small prompts of few different tokens; the rest is exact there too.
 */
const SHARE_WITHOUT_HINT = 0.95;
const LOWER_SHARES: Readonly<Record<string, number>> = {
  // A prompt of one or two blocks is computed again, whatever is held.
  eagle: 0.85,
  "two windows": 0.94,
};
/** Kinds whose clients ask for reports. */
const REPORTED: readonly (readonly [name: string, mode: ReportMode, share: number])[] = [
  ["report", "auto", 0.55],
  ["report", "full", 0.85],
  ["full and two windows, reports", "auto", 0.45],
];
/** Kinds that the events do not describe in full: trust is lower, and what is exact is right. */
const DOUBTED = [
  "full and window of other block sizes",
  "full and a sparse window",
  "two full groups",
  "chunked",
  "full of larger blocks and mamba, hits inside both",
  "offload of single blocks",
  "offload of chunks that describe themselves",
  "offload of chunks by name",
];

function named(names: readonly string[]): Scenario[] {
  const all = [...SCENARIOS, ...OFFLOAD_SCENARIOS];
  return names.map((name) => {
    const found = all.find((scenario) => scenario.name === name);
    if (found === undefined) throw new Error(`no scenario is called ${name}`);
    return found;
  });
}

function run(scenario: Scenario, reportMode: ReportMode): ReturnType<typeof noOutcome> {
  const outcome = noOutcome();
  if (SEED !== undefined) runDifferential(scenario, Number(SEED), outcome, reportMode);
  else
    for (let seed = 0; outcome.questions < QUESTIONS_PER_SCENARIO; seed += 1)
      runDifferential(scenario, seed, outcome, reportMode);
  return outcome;
}

function exactOnes(differences: readonly Difference[]): readonly Difference[] {
  return differences.filter(({ answered }) => answered.trust === "exact").slice(0, 3);
}

describe("an exact answer is what the engine would reuse, no more and no less", () => {
  test.each(named(FOLLOWED))("$name", (scenario) => {
    const { questions, byTrust, over, under } = run(scenario, "delta");
    expect(exactOnes(over)).toEqual([]);
    expect(exactOnes(under)).toEqual([]);
    expect(byTrust.exact / questions).toBeGreaterThanOrEqual(0.99);
  });

  test.each(named(FOLLOWED))("$name, where clients may ask for reports", (scenario) => {
    const { questions, byTrust, over, under } = run(scenario, "auto");
    expect(exactOnes(over)).toEqual([]);
    expect(exactOnes(under)).toEqual([]);
    const share = LOWER_SHARES[scenario.name] ?? SHARE_WITHOUT_HINT;
    expect(byTrust.exact / questions).toBeGreaterThanOrEqual(share);
  });

  test.each(REPORTED)("%s, in mode %s", (name, mode, share) => {
    const [scenario] = named([name]);
    const { questions, byTrust, over, under } = run(scenario!, mode);
    expect(exactOnes(over)).toEqual([]);
    expect(exactOnes(under)).toEqual([]);
    expect(byTrust.exact / questions).toBeGreaterThanOrEqual(share);
  });

  test.each(named(DOUBTED))("$name, of which the events do not say all", (scenario) => {
    const { over, under } = run(scenario, "auto");
    expect(exactOnes(over)).toEqual([]);
    expect(exactOnes(under)).toEqual([]);
  });
});
