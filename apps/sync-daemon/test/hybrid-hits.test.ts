/**
 * The answers of a daemon for hybrid models, over HTTP, against the engine's own hits. The engine
 * is the model of vLLM's cache coordinator with its random work. Both are in
 * packages/engine-sim. Its events come over ZeroMQ. Every question is asked twice: without a block
 * size, and with the index's, which is the greatest common divisor of the groups' sizes.
 *
 *     workload ─▶ KvCacheModel ─ events ─▶ sockets ─▶ daemon
 *        └─ question ─┬─▶ KvCacheModel.ask ─▶ held, reused
 *                     └─▶ POST /api/v1/match ─▶ matched_tokens, reusable_tokens, trust
 */
import { Prng, type Trust } from "@kvsync/core";
import { afterAll, beforeAll, expect, test } from "vitest";

import { KvCacheModel } from "../../../packages/engine-sim/src/coordinator/kv-cache-model.ts";
import {
  modelPrompt,
  runOnModel,
  takeStep,
} from "../../../packages/engine-sim/test/coordinator/model-runner.ts";
import { type Scenario, SCENARIOS } from "../../../packages/engine-sim/test/coordinator/scenarios.ts";
import {
  type Answer,
  workload,
  type WorkPrompt,
} from "../../../packages/engine-sim/test/coordinator/workload.ts";
import { type MatchAnswer, matchAnswer } from "../src/query/match-answer.ts";
import { type DaemonInProcess, startInProcess } from "./daemon-in-process.ts";
import { TestEngine, until } from "./fleet.ts";

const SEEDS = [0, 1];
const STEPS = 40;

let running: DaemonInProcess;
const engines: TestEngine[] = [];

beforeAll(async () => {
  running = await startInProcess();
});

afterAll(async () => {
  await running.stop();
  for (const engine of engines) await engine.stop();
});

type Match = MatchAnswer["matches"][number];

interface Difference {
  readonly seed: number;
  readonly question: number;
  readonly blockSize: number | null;
  readonly prompt: WorkPrompt;
  readonly engine: { readonly held: number; readonly reused: number };
  readonly answered: Match;
}

interface Outcome {
  questions: number;
  readonly byTrust: Record<Trust, number>;
  /** Answers that name more, or less, than the engine reuses. */
  readonly over: Difference[];
  readonly under: Difference[];
}

/** An engine of a model of its own, whose messages are the test's. */
async function join(scenario: Scenario, seed: number, dropsLastBlock: boolean): Promise<TestEngine> {
  const id = `engine-${engines.length}`;
  const dialect = scenario.dialect ?? "vllm-0.33";
  const engine = await TestEngine.start({ id, model: `${id}/model`, blockSize: 16, dialect }, seed);
  engines.push(engine);
  const payload = { ...engine.entry, report_mode: "delta", drops_last_block: dropsLastBlock };
  const created = await running.app.inject({ method: "POST", url: "/api/v1/engines", payload });
  expect(created.statusCode).toBe(201);
  await applied(engine, null);
  return engine;
}

/** Waits until the daemon has applied this message and is connected. */
async function applied({ engine }: TestEngine, sequenceNumber: number | null): Promise<void> {
  const slot = running.daemon.registry.engine(engine.settings.id)?.ranks[0]?.rankSlot ?? -1;
  const isApplied = (): boolean => {
    const { state, lastSequenceNumber } = running.daemon.board.status(slot);
    return state === "live" && lastSequenceNumber === sequenceNumber;
  };
  // Most messages take less than one poll.
  for (let i = 0; i < 200 && !isApplied(); i++) await new Promise((resolve) => setImmediate(resolve));
  await until(`message ${sequenceNumber} is applied`, () => Promise.resolve(isApplied()));
}

async function ask(
  model: string,
  { tokens, loraName, cacheSalt }: WorkPrompt,
  blockSize: number | null,
): Promise<Match> {
  const payload = {
    model,
    token_ids: tokens,
    lora_name: loraName,
    include_unmatched: true,
    ...(cacheSalt !== null && { cache_salt: cacheSalt }),
    ...(blockSize !== null && { block_size: blockSize }),
  };
  const response = await running.app.inject({ method: "POST", url: "/api/v1/match", payload });
  expect(response.statusCode).toBe(200);
  const [match] = matchAnswer.parse(response.json()).matches;
  if (match === undefined) throw new Error("an answer with include_unmatched has every rank");
  return match;
}

async function run(scenario: Scenario, seed: number, outcome: Outcome): Promise<void> {
  const cache = new KvCacheModel(scenario.cache, seed);
  const engine = await join(scenario, seed, cache.settings.dropsBlock.includes(true));
  const { model } = engine.engine.settings;
  const { groups, hashBlockSize } = cache.settings;
  const work = workload(cache.settings, { ...scenario.shape, steps: STEPS }, new Prng(seed));
  let sequenceNumber = -1;
  let question = 0;
  for (let next = work.next(); next.done !== true; ) {
    const command = next.value;
    let answer: Answer = {};
    if (command.do === "publish") {
      const events = takeStep(cache);
      if (events !== null) {
        sequenceNumber += 1;
        const batch = { timestampSeconds: Date.now() / 1000, events, dataParallelRank: 0 };
        engine.server.publish({ sequenceNumber, batch });
        await applied(engine, sequenceNumber);
      }
    } else if (command.do === "ask" && sequenceNumber >= 0) {
      const { prompt } = command;
      const hit = cache.ask(modelPrompt(prompt));
      for (const blockSize of [hashBlockSize, null]) {
        const answered = await ask(model, prompt, blockSize);
        judge(outcome, { seed, question, blockSize, prompt, engine: hit, answered });
      }
      question += 1;
    } else if (command.do !== "ask") answer = runOnModel(cache, command);
    next = work.next(answer);
  }
  cache.check();
  for (const { blockSize } of groups)
    if (blockSize !== hashBlockSize) await isRefused(model, blockSize, hashBlockSize);
}

/** The index does not have the size of a coarser group. The answer names the one that it has. */
async function isRefused(model: string, blockSize: number, known: number): Promise<void> {
  const payload = { model, token_ids: [1, 2, 3], block_size: blockSize };
  const response = await running.app.inject({ method: "POST", url: "/api/v1/match", payload });
  expect(response.json()).toMatchObject({ code: "wrong_block_size", block_size: blockSize, known: [known] });
}

function judge(outcome: Outcome, difference: Difference): void {
  const { engine, answered } = difference;
  outcome.questions += 1;
  outcome.byTrust[answered.trust] += 1;
  const { matched_tokens: matched, reusable_tokens: reusable } = answered;
  if (matched > engine.held || reusable > engine.reused) outcome.over.push(difference);
  if (matched < engine.held || reusable < engine.reused) outcome.under.push(difference);
}

test.each<readonly [name: string, exactShare: number, missedShare: number]>([
  ["full, window and mamba of three block sizes", 0.99, 0],
  ["full, window and mamba, lookahead", 0.99, 0],
  ["full and window, lookahead, adapters and salts", 0.99, 0],
  // The events do not describe these in full: nearly all answers are partial, and may name too little.
  ["full and window of other block sizes", 0, 0.03],
  ["full and a larger mamba, hits inside", 0, 0.3],
])(
  "%s: an exact answer is the engine's own hit, and a partial one never more, with a block size and without one",
  async (name, exactShare, missedShare) => {
    const scenario = SCENARIOS.find((one) => one.name === name);
    if (scenario === undefined) throw new Error(`no scenario is called ${name}`);
    const outcome: Outcome = {
      questions: 0,
      byTrust: { exact: 0, partial: 0, stale: 0, unknown: 0 },
      over: [],
      under: [],
    };
    for (const seed of SEEDS) await run(scenario, seed, outcome);
    const { questions, byTrust, over, under } = outcome;
    expect(over.filter(({ answered }) => answered.trust !== "stale").slice(0, 3)).toEqual([]);
    expect(under.filter(({ answered }) => answered.trust === "exact").slice(0, 3)).toEqual([]);
    expect(byTrust.exact / questions).toBeGreaterThanOrEqual(exactShare);
    expect(under.length / questions).toBeLessThanOrEqual(missedShare);
  },
);
