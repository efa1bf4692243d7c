/**
 * One seeded workload on a real engine's cache, our model of it, and the daemon's code that follows
 * its events over ZeroMQ.
 *
 *     workload ─▶ real manager ─▶ real publisher ─ZeroMQ─▶ stream, decoder, index ─▶ answer
 *         │            └─ its own hit for a prompt ───────────────────────────────── = ?
 *         └─────▶ model ─▶ events and hits ────────────── = those of the real classes?
 */
import { EventBatchDecoder, type KvEvent, Prng, RecordingSink } from "@kvsync/core";
import { resolveCache } from "../src/coordinator/cache-settings.ts";
import { KvCacheModel } from "../src/coordinator/kv-cache-model.ts";
import { FollowedRank } from "../test/coordinator/followed-rank.ts";
import { loraIdOf, modelPrompt, runOnModel } from "../test/coordinator/model-runner.ts";
import type { Scenario } from "../test/coordinator/scenarios.ts";
import { Transcript } from "../test/coordinator/transcript.ts";
import {
  type Answer,
  type Command,
  workload,
  type WorkloadShape,
  type WorkPrompt,
} from "../test/coordinator/workload.ts";
import type { RealEngine } from "./real-engine.ts";

/** What runs of one scenario found. */
export interface Tally {
  prompts: number;
  /** Answers that name more, and less, than the engine reuses; and those of them that were `exact`. */
  over: number;
  under: number;
  overExact: number;
  underExact: number;
  /** Runs in which the model did something else than the real classes. */
  modelRuns: number;
  readonly trust: Map<string, number>;
  readonly examples: string[];
}

/** Nothing compared yet. */
export function emptyTally(): Tally {
  return {
    prompts: 0,
    over: 0,
    under: 0,
    overExact: 0,
    underExact: 0,
    modelRuns: 0,
    trust: new Map(),
    examples: [],
  };
}

type RealAnswer = Answer & { readonly published?: number; readonly held?: number; readonly reused?: number };

/** What a run gives away while it goes. */
interface Watcher {
  published(messages: readonly (readonly Uint8Array[])[]): void;
  asked(prompt: WorkPrompt, held: number, reused: number): void;
  answered(command: Command, answer: Answer): void;
}

/** Runs a workload on the real classes; the engine has just been started. */
async function runReal(
  engine: RealEngine,
  scenario: Scenario,
  shape: WorkloadShape,
  seed: number,
  port: number,
  watcher: Watcher,
): Promise<void> {
  await engine.open({ ...scenario.cache, hash: "sha256_cbor" }, port);
  watcher.published(await engine.messagesUpTo(0));
  const work = workload(resolveCache(scenario.cache), shape, new Prng(seed));
  for (let next = work.next(); next.done !== true; ) {
    const command = next.value;
    const answer = await engine.command<RealAnswer>(driverCommand(command));
    if (command.do === "publish") watcher.published(await engine.messagesUpTo(answer.published ?? 0));
    else if (command.do === "ask") watcher.asked(command.prompt, answer.held ?? -1, answer.reused ?? -1);
    else watcher.answered(command, answer);
    next = work.next(answer);
  }
}

/** Writes down what the real classes did. */
export async function recordRun(
  engine: RealEngine,
  scenario: Scenario,
  shape: WorkloadShape,
  seed: number,
  port: number,
): Promise<readonly string[]> {
  const real = new RealTranscript();
  await runReal(engine, scenario, shape, seed, port, real);
  // The first line is the reset with which the subscription began.
  return real.lines.slice(1);
}

/** What is known of an engine beside its events. */
export interface RunFacts {
  /** Whether the model is of this release. */
  readonly hasModel: boolean;
  /** vLLM before 0.14: adapters have numbers on the wire. */
  readonly adaptersById: boolean;
  readonly isSglang: boolean;
  /** Whether the entry says if a block is dropped for a drafter. */
  readonly isDeclared: boolean;
}

/** Compares one run; adds to `tally`. */
export async function compareRun(
  engine: RealEngine,
  scenario: Scenario,
  seed: number,
  port: number,
  facts: RunFacts,
  tally: Tally,
): Promise<void> {
  const real = new RealTranscript();
  const { hasModel, adaptersById, isSglang, isDeclared } = facts;
  const { eagle = false, lookahead = 0 } = scenario.cache;
  const rank = new FollowedRank({
    dropsLastBlock: isDeclared ? eagle && lookahead === 0 : undefined,
    recomputesPair: isSglang,
    ...(adaptersById && { adapterIdOf: loraIdOf }),
  });
  const ours = new Transcript();
  const model = new KvCacheModel(scenario.cache);
  await runReal(engine, scenario, scenario.shape, seed, port, {
    published: (messages) => {
      for (const frames of messages) rank.receive(frames);
      real.published(messages);
      ours.published(model.takeEvents());
    },
    asked: (prompt, held, reused) => {
      real.asked(prompt, held, reused);
      if (hasModel) {
        const modelled = model.ask(modelPrompt(prompt));
        ours.asked(modelled.held, modelled.reused);
      }
      judge(rank, prompt, held, reused, `${scenario.name}, seed ${seed}`, tally);
    },
    answered: (command, answer) => {
      real.answered(command, answer);
      if (!hasModel || command.do === "publish" || command.do === "ask") return;
      ours.answered(command, runOnModel(model, command));
    },
  });
  rank.close();
  // The real cache was reset before the subscription was there; the model began empty.
  const different = hasModel ? firstDifference(ours.lines, real.lines.slice(1)) : null;
  if (different === null) return;
  tally.modelRuns += 1;
  tally.examples.push(`${scenario.name}, seed ${seed}: the model differs: ${different}`);
}

function judge(
  rank: FollowedRank,
  prompt: WorkPrompt,
  held: number,
  reused: number,
  where: string,
  tally: Tally,
): void {
  const { usable, reusable, trust } = rank.ask(prompt);
  tally.prompts += 1;
  tally.trust.set(trust, (tally.trust.get(trust) ?? 0) + 1);
  const isOver = usable > held || reusable > reused;
  const isUnder = usable < held || reusable < reused;
  if (isOver) tally.over += 1;
  if (isUnder) tally.under += 1;
  if (!(isOver || isUnder) || trust !== "exact") return;
  if (isOver) tally.overExact += 1;
  if (isUnder) tally.underExact += 1;
  const { length } = prompt.tokens;
  tally.examples.push(
    `${where}: of ${length} tokens ${usable} usable, ${reusable} reusable; engine ${held}, ${reused}`,
  );
}

function firstDifference(ours: readonly string[], real: readonly string[]): string | null {
  const line = ours.findIndex((text, index) => text !== real[index]);
  if (line < 0 && ours.length === real.length) return null;
  const at = line < 0 ? ours.length : line;
  return `line ${at}\n      ours ${ours[at]}\n      real ${real[at]}`;
}

/** The real side of a run, written down from the wire. */
class RealTranscript implements Watcher {
  readonly #transcript = new Transcript();
  readonly #scratch = { tokens: new Uint32Array(65_536), hashes: new Uint32Array(65_536) };
  readonly #decoder = new EventBatchDecoder(this.#scratch);

  get lines(): readonly string[] {
    return this.#transcript.lines;
  }

  published(messages: readonly (readonly Uint8Array[])[]): void {
    for (const frames of messages) this.#transcript.published(this.#decode(frames));
  }

  asked(_prompt: WorkPrompt, held: number, reused: number): void {
    this.#transcript.asked(held, reused);
  }

  answered(command: Command, answer: Answer): void {
    this.#transcript.answered(command, answer);
  }

  #decode(frames: readonly Uint8Array[]): readonly KvEvent[] {
    const sink = new RecordingSink(this.#scratch);
    const payload = frames[2];
    if (payload === undefined) throw new Error("a message has three frames");
    this.#decoder.decode(payload, sink);
    const fault = sink.faults[0];
    if (fault !== undefined) throw fault.error;
    return sink.events;
  }
}

function driverPrompt({ tokens, loraName, cacheSalt }: WorkPrompt): object {
  return {
    tokens,
    ...(loraName !== null && { lora: loraName, loraNumber: loraIdOf(loraName) }),
    ...(cacheSalt !== null && { salt: cacheSalt }),
  };
}

function driverCommand(command: Command): object {
  if (command.do === "ask") return { do: "ask", ...driverPrompt(command.prompt) };
  if (command.do !== "start") return command;
  const { id, prompt, report, stops } = command;
  return { do: "start", id, report, stops, ...driverPrompt(prompt) };
}
