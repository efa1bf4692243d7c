/**
 * The daemon's answers against the engine's own hits, over random work on every kind of cache that the
 * model of vLLM's coordinator knows. A failure names scenario, seed and question: run that seed alone
 * with `KVSYNC_SEED`, and make it a named example.
 */
import { expect, test } from "vitest";
import { type Difference, noOutcome, runDifferential } from "./differential.ts";
import { type Scenario, SCENARIOS } from "./scenarios.ts";

const SEED = process.env["KVSYNC_SEED"];
const QUESTIONS_PER_SCENARIO = 1200;
/** Scenarios whose answers are the engine's hits today. */
const followed = SCENARIOS.filter(({ name }) => /^(plain|adapters|salts|eagle|lookahead)/.test(name));

function run(scenario: Scenario): ReturnType<typeof noOutcome> {
  const outcome = noOutcome();
  if (SEED !== undefined) runDifferential(scenario, Number(SEED), outcome);
  else
    for (let seed = 0; outcome.questions < QUESTIONS_PER_SCENARIO; seed += 1)
      runDifferential(scenario, seed, outcome);
  return outcome;
}

function isExact({ answered }: Difference): boolean {
  return answered.trust === "exact";
}

test.each(followed)("$name: an exact answer is what the engine would reuse", (scenario) => {
  const { questions, byTrust, over, under } = run(scenario);
  expect(over.filter(isExact).slice(0, 3)).toEqual([]);
  expect(under.filter(isExact).slice(0, 3)).toEqual([]);
  expect(byTrust.exact / questions).toBeGreaterThanOrEqual(0.99);
});
