/**
 * Compares a real engine, the model and the daemon on every scenario. README.md shows how to run
 * it.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { RECORDED, type Recording } from "../test/coordinator/recording.ts";
import { type Scenario, SCENARIOS, SGLANG_SCENARIOS } from "../test/coordinator/scenarios.ts";
import { compareRun, emptyTally, recordRun, type Tally } from "./comparison.ts";
import { RealEngine } from "./real-engine.ts";

const { values } = parseArgs({
  options: {
    /** Interpreter with the packages of README.md. */
    python: { type: "string", default: "python3" },
    /** Release of the installation: scenarios that it does not know are left out. */
    version: { type: "string", default: "99.0.0" },
    seeds: { type: "string", default: "5" },
    first: { type: "string", default: "0" },
    /** One scenario by name. */
    only: { type: "string" },
    port: { type: "string", default: "15600" },
    /** The model is of 0.33.0; older releases evict in another order. */
    "without-model": { type: "boolean", default: false },
    /** Leaves out of the engine's entry whether a block is dropped for a drafter. */
    undeclared: { type: "boolean", default: false },
    /** Writes what the real classes did in one short run per scenario to this file. */
    record: { type: "string" },
  },
});
const EXAMPLES_MAX = 5;
const isSglang = process.env["KVSYNC_SGLANG"] !== undefined;
if (!isSglang && process.env["KVSYNC_VLLM"] === undefined)
  throw new Error("KVSYNC_VLLM or KVSYNC_SGLANG: expected the folder that holds the package vllm or sglang");
const script = new URL(isSglang ? "./sglang_engine.py" : "./vllm_engine.py", import.meta.url).pathname;
let port = Number(values.port);

async function withEngine<T>(work: (engine: RealEngine, port: number) => Promise<T>): Promise<T> {
  const engine = new RealEngine(values.python, script);
  port += 1;
  const result = await work(engine, port);
  await engine.close();
  return result;
}

const facts = {
  hasModel: !values["without-model"] && !isSglang,
  adaptersById: !isSglang && !isAtLeast(values.version, "0.14.0"),
  isSglang,
  isDeclared: !values.undeclared,
};

async function compare(scenario: Scenario): Promise<Tally> {
  const tally = emptyTally();
  const first = Number(values.first);
  for (let seed = first; seed < first + Number(values.seeds); seed += 1)
    await withEngine((engine, at) => compareRun(engine, scenario, seed, at, facts, tally));
  return tally;
}

function print(name: string, tally: Tally): void {
  const { prompts, over, under, overExact, underExact, modelRuns, examples } = tally;
  const trust = [...tally.trust].map(([level, count]) => `${level} ${count}`).join(", ");
  const model = !facts.hasModel ? "not compared" : `${modelRuns} runs differ`;
  console.log(`| ${[name, prompts, trust, over, under, overExact, underExact, model].join(" | ")} |`);
  for (const example of examples.slice(0, EXAMPLES_MAX)) console.log(`    ${example}`);
}

function isAtLeast(version: string, since: string): boolean {
  const [have, need] = [version, since].map((text) => text.split(".").map(Number));
  for (let at = 0; at < 3; at += 1)
    if (have?.[at] !== need?.[at]) return (have?.[at] ?? 0) > (need?.[at] ?? 0);
  return true;
}

const scenarios = (isSglang ? SGLANG_SCENARIOS : SCENARIOS).filter(
  (scenario) =>
    (values.only === undefined || scenario.name === values.only) && isAtLeast(values.version, scenario.since),
);
if (values.record === undefined) {
  console.log("| scenario | prompts | trust | over | under | over as exact | under as exact | model |");
  console.log("| --- | --- | --- | --- | --- | --- | --- | --- |");
  for (const scenario of scenarios) print(scenario.name, await compare(scenario));
} else {
  const recordings: Recording[] = [];
  for (const scenario of scenarios) {
    const shape = { ...scenario.shape, ...RECORDED.shape };
    const lines = await withEngine((engine, at) => recordRun(engine, scenario, shape, RECORDED.seed, at));
    recordings.push({ scenario: scenario.name, lines });
  }
  writeFileSync(values.record, `${JSON.stringify(recordings, null, 2)}\n`);
}
