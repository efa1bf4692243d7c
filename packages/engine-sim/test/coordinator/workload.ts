/**
 * Random work for a KV cache, the same for the model and for the real classes. It is a generator
 * that yields commands and is given their answers. So a synchronous model and a process at the end
 * of a pipe run it alike.
 *
 *     step: start some prompts │ advance every running one │ end some │ publish │ ask
 *
 * Prompts share prefixes: most continue the tokens of an earlier request, cut anywhere. Questions
 * are mostly such cuts too, at block ends and next to them. Everything follows from the seed.
 */
import type { Prng } from "@kvsync/core";
import type { ResolvedCache } from "../../src/coordinator/cache-settings.ts";

/** A prompt with what belongs to it. */
export interface WorkPrompt {
  readonly tokens: readonly number[];
  readonly loraName: string | null;
  readonly cacheSalt: string | null;
}

/** What the cache is told. */
export type Command =
  | {
      readonly do: "start";
      readonly id: string;
      readonly prompt: WorkPrompt;
      readonly report: boolean;
      /** Computed up to the first of these that is beyond the hit. */
      readonly stops: readonly number[];
    }
  | { readonly do: "advance"; readonly id: string; readonly count: number }
  | { readonly do: "append"; readonly id: string; readonly tokens: readonly number[] }
  | { readonly do: "free"; readonly id: string }
  | { readonly do: "reset" }
  | { readonly do: "publish" }
  | { readonly do: "ask"; readonly prompt: WorkPrompt };

/** What a cache answers; −1 when there was no room and the request is gone. */
export interface Answer {
  readonly hit?: number;
  readonly computed?: number;
}

/** How a workload behaves. */
export interface WorkloadShape {
  readonly steps: number;
  readonly asksPerStep: number;
  readonly runningMax: number;
  readonly promptTokensMax: number;
  /** Different tokens: few make different prompts begin alike. */
  readonly vocabulary: number;
  /** Chance that a request asks for a full report. */
  readonly reports: number;
  readonly loras: readonly string[];
  readonly salts: readonly string[];
  /** Chance of a reset in a step without running requests. */
  readonly resets: number;
}

/** A workload where nothing is rare. */
export const ORDINARY: WorkloadShape = {
  steps: 60,
  asksPerStep: 4,
  runningMax: 4,
  promptTokensMax: 60,
  vocabulary: 3,
  reports: 0,
  loras: [],
  salts: [],
  resets: 0.02,
};

interface Running {
  readonly id: string;
  readonly prompt: WorkPrompt;
  readonly tokens: number[];
  readonly outputMax: number;
  readonly stops: readonly number[];
  computed: number;
}

const HISTORY = 40;

/** Yields commands; each answer decides what comes next. */
export function* workload(
  cache: ResolvedCache,
  shape: WorkloadShape,
  random: Prng,
): Generator<Command, void, Answer> {
  const running: Running[] = [];
  const history: WorkPrompt[] = [];
  let count = 0;
  const remember = (prompt: WorkPrompt) => {
    history.push(prompt);
    if (history.length > HISTORY) history.shift();
  };
  for (let step = 0; step < shape.steps; step += 1) {
    while (running.length < shape.runningMax && random.chance(0.5)) {
      const prompt = newPrompt(history, shape, random);
      const id = `r${count++}`;
      const stops = stopsOf(cache, prompt.tokens.length, random);
      const { computed = -1 } = yield {
        do: "start",
        id,
        prompt,
        report: random.chance(shape.reports),
        stops,
      };
      remember(prompt);
      if (computed < 0) continue;
      running.push({
        id,
        prompt,
        tokens: [...prompt.tokens],
        outputMax: random.below(24),
        stops,
        computed,
      });
    }
    for (const request of [...running]) {
      const isGone = yield* advance(request, cache, random, shape);
      const isDone = request.tokens.length - request.prompt.tokens.length >= request.outputMax;
      if (isGone || (isDone && random.chance(0.5)) || random.chance(0.03)) {
        if (!isGone) yield { do: "free", id: request.id };
        remember({ ...request.prompt, tokens: request.tokens });
        running.splice(running.indexOf(request), 1);
      }
    }
    if (running.length === 0 && random.chance(shape.resets)) yield { do: "reset" };
    yield { do: "publish" };
    for (let i = 0; i < shape.asksPerStep; i += 1)
      yield { do: "ask", prompt: question(history, running, cache, shape, random) };
  }
  for (const { id } of running) yield { do: "free", id };
}

// A step of a request: the next chunk of its prompt, or one token of output and its computation.
function* advance(
  request: Running,
  cache: ResolvedCache,
  random: Prng,
  shape: WorkloadShape,
): Generator<Command, boolean, Answer> {
  const { id, tokens, prompt } = request;
  if (request.computed < prompt.tokens.length) {
    const stop = request.stops.find((at) => at > request.computed) ?? prompt.tokens.length;
    const { computed = -1 } = yield { do: "advance", id, count: stop - request.computed };
    request.computed = computed;
    return computed < 0;
  }
  const hasStates = cache.groups.some(({ kind }) => kind === "mamba");
  const fresh = Array.from({ length: hasStates ? 1 : 1 + random.below(3) }, () =>
    random.below(shape.vocabulary),
  );
  tokens.push(...fresh);
  yield { do: "append", id, tokens: fresh };
  const { computed = -1 } = yield { do: "advance", id, count: fresh.length };
  request.computed = computed;
  return computed < 0;
}

/**
 * Where a prompt's chunks may end. A Mamba state exists at the end of a chunk, so that vLLM ends chunks
 * at block ends, and never runs past the last position that a later request can use.
 */
function stopsOf(cache: ResolvedCache, tokens: number, random: Prng): readonly number[] {
  const stops = new Set([tokens]);
  const mamba = cache.groups.find(({ kind }) => kind === "mamba");
  if (mamba === undefined) {
    for (let at = 1 + random.below(20); at < tokens; at += 1 + random.below(30)) stops.add(at);
    return [...stops].sort((a, b) => a - b);
  }
  const { hashBlockSize, lookahead } = cache;
  const size = cache.schedulerBlockSize;
  const looksInside = cache.alignment < size;
  const drops = cache.dropsBlock.includes(true);
  const lastEnd = (unit: number) =>
    Math.max(
      drops
        ? Math.floor(tokens / unit) * unit - unit
        : Math.floor((tokens - Math.max(1, lookahead)) / unit) * unit,
      0,
    );
  for (let at = size; at < tokens; at += size) if (looksInside || random.chance(0.5)) stops.add(at);
  if (lastEnd(size) > 0) stops.add(lastEnd(size));
  if (looksInside && lastEnd(hashBlockSize) > lastEnd(size)) stops.add(lastEnd(hashBlockSize));
  return [...stops].sort((a, b) => a - b);
}

function newPrompt(history: readonly WorkPrompt[], shape: WorkloadShape, random: Prng): WorkPrompt {
  const previous = history.length > 0 && random.chance(0.8) ? random.pick(history) : null;
  if (previous !== null && random.chance(0.25)) return previous;
  const kept = previous?.tokens.slice(0, random.below(previous.tokens.length + 1)) ?? [];
  const fresh = Array.from({ length: 1 + random.below(30) }, () => random.below(shape.vocabulary));
  const tokens = [...kept, ...fresh].slice(0, shape.promptTokensMax);
  if (previous !== null) return { ...previous, tokens };
  return {
    tokens,
    loraName: random.pick([null, ...shape.loras]),
    cacheSalt: random.pick([null, ...shape.salts]),
  };
}

function question(
  history: readonly WorkPrompt[],
  running: readonly Running[],
  cache: ResolvedCache,
  shape: WorkloadShape,
  random: Prng,
): WorkPrompt {
  const all = [...history, ...running.map(({ prompt, tokens }) => ({ ...prompt, tokens: [...tokens] }))];
  const known = all.length > 0 ? random.pick(all) : newPrompt(history, shape, random);
  let length = random.below(known.tokens.length) + 1;
  if (random.chance(0.4)) {
    const size = random.pick(cache.groups).blockSize;
    length = Math.max(1, Math.floor(length / size) * size + random.pick([0, 0, 1, -1]));
  }
  if (random.chance(0.3)) length = known.tokens.length;
  const tokens = known.tokens.slice(0, length);
  while (random.chance(0.3)) tokens.push(random.below(shape.vocabulary));
  if (random.chance(0.05)) tokens[random.below(tokens.length)] = random.below(shape.vocabulary);
  // Now and then another tenant asks for the same text.
  if (random.chance(0.9)) return { ...known, tokens };
  return {
    tokens,
    loraName: random.pick([null, ...shape.loras]),
    cacheSalt: random.pick([null, ...shape.salts]),
  };
}
