/**
 * The daemon's answers against the engine's own hits, over random work on every kind of cache that
 * the model of vLLM's coordinator has. A failure names scenario, seed and question: run that seed
 * alone with `KVSYNC_SEED`, and make it a named example.
 */
import type { ReportMode } from "@kvsync/core";
import { describe, expect, test } from "vitest";
import { type Difference, type DrafterHint, noOutcome, runDifferential } from "./differential.ts";
import { OFFLOAD_SCENARIOS, type Scenario, SCENARIOS } from "./scenarios.ts";

const SEED = process.env["KVSYNC_SEED"];
const QUESTIONS_PER_SCENARIO = 1500;
const QUESTIONS_OF_A_VARIANT = 700;

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
  "full and a larger mamba, hits inside",
  "full and window, eagle",
  "full and mamba, eagle",
  "full and window of other block sizes",
  "full and a sparse window",
  "two full groups",
  "chunked",
  "full of larger blocks and mamba, hits inside both",
  "offload of single blocks",
  "offload of chunks that describe themselves",
  "offload of chunks by name",
];

/** Those of them that the model can make a report of: it has none of hits inside blocks. */
const REPORTING = DOUBTED.filter((name) => !name.includes("mamba"));
/** Shares of answers that miss something where a loss costs no block of the groups' records. */
const MISSED_SHARES: Readonly<Record<string, number>> = {
  chunked: 0.4,
  "two full groups": 0,
  "full and window of other block sizes": 0.03,
};
/** Kinds with several groups: what is not known of a drafter is shown by their stores, or never. */
const HYBRID: readonly (readonly [name: string, share: number])[] = [
  ["full and window", 0.65],
  ["two windows", 0.6],
  ["full and mamba", 0.6],
  ["full, window and mamba of three block sizes", 0],
  ["full and two windows, reports", 0],
  ["full and a larger mamba, hits inside", 0],
  ["full and window of other block sizes", 0],
  ["full and window, eagle", 0],
  ["full and mamba, eagle", 0],
  ["full, window and mamba, lookahead", 0.9],
];
/** Runs that begin anew, so that most questions are asked before an engine has announced much. */
const BEGINNINGS = 80;
const BEGINNING_STEPS = 3;

function named(names: readonly string[]): Scenario[] {
  const all = [...SCENARIOS, ...OFFLOAD_SCENARIOS];
  return names.map((name) => {
    const found = all.find((scenario) => scenario.name === name);
    if (found === undefined) throw new Error(`no scenario is called ${name}`);
    return found;
  });
}

function run(
  scenario: Scenario,
  reportMode: ReportMode,
  hint: DrafterHint = "declared",
  questionsMin = QUESTIONS_PER_SCENARIO,
): ReturnType<typeof noOutcome> {
  const outcome = noOutcome();
  if (SEED !== undefined) runDifferential(scenario, Number(SEED), outcome, reportMode, hint);
  else
    for (let seed = 0; outcome.questions < questionsMin; seed += 1)
      runDifferential(scenario, seed, outcome, reportMode, hint);
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

  test.each(HYBRID)("%s, where nobody said whether there is a drafter", (name, share) => {
    const [scenario] = named([name]);
    const { questions, byTrust, over, under } = run(scenario!, "auto", "undeclared", QUESTIONS_OF_A_VARIANT);
    expect(exactOnes(over)).toEqual([]);
    expect(exactOnes(under)).toEqual([]);
    // `partial` may miss, and never names too much.
    expect(over.filter(({ answered }) => answered.trust === "partial").slice(0, 3)).toEqual([]);
    expect(byTrust.exact / questions).toBeGreaterThanOrEqual(share);
  });

  test.each(named(REPORTING))("$name, whose clients ask for reports, names too much nowhere", (scenario) => {
    const shape = { ...scenario.shape, reports: 0.4 };
    const { over, under } = run({ ...scenario, shape }, "auto", "declared", QUESTIONS_OF_A_VARIANT);
    expect(over.filter(({ answered }) => answered.trust === "partial").slice(0, 3)).toEqual([]);
    expect(exactOnes(over)).toEqual([]);
    expect(exactOnes(under)).toEqual([]);
  });

  test.each([...named(FOLLOWED), ...named(DOUBTED)])("$name, at its beginning", (scenario) => {
    const outcome = noOutcome();
    const shape = { ...scenario.shape, steps: BEGINNING_STEPS };
    for (let seed = 0; seed < BEGINNINGS; seed += 1)
      runDifferential({ ...scenario, shape }, seed, outcome, "auto");
    expect(exactOnes(outcome.over)).toEqual([]);
    expect(exactOnes(outcome.under)).toEqual([]);
  });

  test.each(named(DOUBTED))("$name, of which the events do not say all", (scenario) => {
    const { questions, over, under } = run(scenario, "auto");
    const missed = MISSED_SHARES[scenario.name];
    if (missed !== undefined) expect(under.length / questions).toBeLessThanOrEqual(missed);
    expect(over.filter(({ answered }) => answered.trust === "partial").slice(0, 3)).toEqual([]);
    expect(exactOnes(over)).toEqual([]);
    expect(exactOnes(under)).toEqual([]);
  });
});
