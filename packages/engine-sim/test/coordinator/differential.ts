/**
 * One seeded workload on the model of vLLM's cache, followed by the daemon's code. The daemon's
 * answer to each question is compared with the engine's own hit.
 */
import type { ReportMode } from "@kvsync/core";
import { encodeEventBatch, Prng, type Trust } from "@kvsync/core";
import { KvCacheModel } from "../../src/coordinator/kv-cache-model.ts";
import { type FollowedAnswer, FollowedRank } from "./followed-rank.ts";
import { modelPrompt, runOnModel, takeStep } from "./model-runner.ts";
import type { Scenario } from "./scenarios.ts";
import { type Answer, workload, type WorkPrompt } from "./workload.ts";

/** A question that was answered differently, and where it can be found again. */
export interface Difference {
  readonly scenario: string;
  readonly seed: number;
  /** The question's number in its run. A run with fewer steps that still has it fails alike. */
  readonly question: number;
  readonly prompt: WorkPrompt;
  readonly answered: FollowedAnswer;
  readonly engine: { readonly held: number; readonly reused: number };
}

/** What a run found. */
export interface Outcome {
  questions: number;
  readonly byTrust: Record<Trust, number>;
  /** Answers that name more, or less, than the engine reuses, whatever their trust. */
  readonly over: Difference[];
  readonly under: Difference[];
}

/** Whether the engine's entry says if its last matched block is dropped. */
export type DrafterHint = "declared" | "undeclared";

/** Runs one scenario with one seed. Before its first message a rank is `unknown`: nothing is asked then. */
export function runDifferential(
  scenario: Scenario,
  seed: number,
  outcome: Outcome,
  reportMode: ReportMode,
  says: DrafterHint = "declared",
): void {
  const model = new KvCacheModel(scenario.cache, seed);
  const dropsLastBlock = says === "declared" ? model.settings.dropsBlock.includes(true) : undefined;
  const rank = new FollowedRank({ reportMode, dropsLastBlock });
  const work = workload(model.settings, scenario.shape, new Prng(seed));
  let sequenceNumber = 0;
  let question = 0;
  for (let next = work.next(); next.done !== true; ) {
    const command = next.value;
    let answer: Answer = {};
    if (command.do === "publish") {
      const events = takeStep(model);
      if (events !== null) {
        const batch = { timestampSeconds: 1 + sequenceNumber, events, dataParallelRank: 0 };
        rank.receivePayload(sequenceNumber++, encodeEventBatch(batch, scenario.dialect ?? "vllm-0.33"));
      }
    } else if (command.do === "ask" && sequenceNumber > 0) {
      const { prompt } = command;
      const answered = rank.ask(prompt);
      const engine = model.ask(modelPrompt(prompt));
      outcome.questions += 1;
      outcome.byTrust[answered.trust] += 1;
      judge(outcome, { scenario: scenario.name, seed, question, prompt, answered, engine });
      question += 1;
    } else if (command.do !== "ask") answer = runOnModel(model, command);
    next = work.next(answer);
  }
  model.check();
  rank.close();
}

/** Nothing asked yet. */
export function noOutcome(): Outcome {
  return {
    questions: 0,
    byTrust: { exact: 0, partial: 0, stale: 0, unknown: 0 },
    over: [],
    under: [],
  };
}

function judge(outcome: Outcome, difference: Difference): void {
  const { answered, engine } = difference;
  if (answered.usable > engine.held || answered.reusable > engine.reused) outcome.over.push(difference);
  if (answered.usable < engine.held || answered.reusable < engine.reused) outcome.under.push(difference);
}
