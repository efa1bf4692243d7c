/**
 * Makes a workload that resembles the Mooncake conversation trace, for machines that do not have the trace.
 *
 * Model. Sessions begin at a constant rate. Every prompt of the service begins with the same 890-odd tokens of system
 * prompt (id 0 is its first block). A session's next turn comes after a think time. It repeats the
 * whole blocks of the turn before, followed by that turn's answer and a new question. Some turns
 * branch off from an earlier point instead (an edited or regenerated message). Arrivals fall on a
 * grid of three seconds, as the trace's do.
 *
 *     turn 1   │0│ document or question │
 *     turn 2   │0│ ─── same whole blocks ─── │ answer 1 + question 2 │
 *     turn 3   │0│ ─── same ─────────────────────────── │ …
 *
 * A session that has had k turns continues with probability (k + A) / (k + B). This is a Pólya urn:
 * sessions whose inclination to continue differs (Beta distributed). A and B, and the quantiles
 * below, are measured on
 * kvcache-ai/Mooncake `FAST25-release/traces/conversation_trace.jsonl` @ 3b5a5941 (Apache-2.0).
 *
 * It does not imitate the trace's content, or its slow rise over the hour beyond the part that
 * sessions cause.
 */
import { Prng, readDecimal } from "@kvsync/core";

import {
  INPUT_TOKENS_MAX,
  OUTPUT_TOKENS_MAX,
  TRACE_BLOCK_TOKENS,
  TraceError,
  type TraceRequest,
} from "./request.ts";

/** Quantiles of a distribution: [share of values below, value], by rising share, from 0 to 1. */
type Quantiles = readonly (readonly [number, number])[];

/** Input tokens of a session's first turn. */
const FIRST_INPUT_TOKENS: Quantiles = [
  [0, 891],
  [0.05, 897],
  [0.1, 905],
  [0.25, 1_336],
  [0.5, 5_264],
  [0.75, 13_056],
  [0.9, 25_561],
  [0.95, 38_538],
  [0.99, 89_869],
  [1, 126_195],
];

const OUTPUT_TOKENS: Quantiles = [
  [0, 1],
  [0.01, 3],
  [0.05, 10],
  [0.1, 24],
  [0.25, 156],
  [0.5, 350],
  [0.75, 472],
  [0.9, 597],
  [0.95, 698],
  [0.99, 1_120],
  [1, 2_000],
];

/** Tokens of a later turn's question, beyond the turn before and its answer. */
const QUESTION_TOKENS: Quantiles = [
  [0, 1],
  [0.25, 9],
  [0.5, 26],
  [0.75, 356],
  [0.9, 4_203],
  [0.95, 6_922],
  [0.99, 16_705],
  [1, 91_467],
];

/** Tokens after the point at which a branching turn leaves the one before. */
const BRANCH_TOKENS: Quantiles = [
  [0, 10],
  [0.05, 894],
  [0.1, 1_707],
  [0.25, 5_790],
  [0.5, 9_567],
  [0.75, 14_851],
  [0.9, 19_913],
  [0.99, 43_120],
  [1, 94_968],
];

const THINK_SECONDS: Quantiles = [
  [0, 3],
  [0.05, 27],
  [0.1, 39],
  [0.25, 66],
  [0.5, 123],
  [0.75, 266],
  [0.9, 480],
  [0.95, 618],
  [0.99, 1_482],
  [1, 3_030],
];

const CONTINUE_A = 0.59;
const CONTINUE_B = 4.19;
/** 699 of the trace's 4,658 later turns share less than all but the last block of a turn before. */
const BRANCH_SHARE = 0.15;
const ARRIVAL_GRID_MS = 3_000;
/** The longest prompt that the trace's service took, about 128k tokens. */
const CONTEXT_TOKENS_MAX = 126_195;
const TWO_32 = 4_294_967_296;
const REQUESTS_MAX = 1_000_000;
const MINUTES_MAX = 7 * 24 * 60;

/** What is asked of the generator. */
export interface WorkloadSpec {
  /** Requests to make. */
  readonly requests: number;
  /** Minutes over which they arrive. */
  readonly minutes: number;
  /** Factor on the lengths of prompts and answers, 0.01 … 1. */
  readonly scale: number;
}

/** The size of the Mooncake conversation trace. */
export const DEFAULT_WORKLOAD: WorkloadSpec = { requests: 12_031, minutes: 59, scale: 1 };

const SETTING_LIMITS: Readonly<Record<keyof WorkloadSpec, readonly [number, number, "integer" | "number"]>> =
  {
    requests: [1, REQUESTS_MAX, "integer"],
    minutes: [0.1, MINUTES_MAX, "number"],
    scale: [0.01, 1, "number"],
  };

/**
 * Reads a description such as `conversation`, or `requests=600,minutes=10,scale=0.25`.
 *
 * @param text - comma-separated settings; `conversation` alone, or first, stands for the defaults.
 * @returns the description, what is absent taken from DEFAULT_WORKLOAD.
 * @throws TraceError `workload_setting_wrong`.
 */
export function parseWorkloadSpec(text: string): WorkloadSpec {
  const spec: Record<keyof WorkloadSpec, number> = { ...DEFAULT_WORKLOAD };
  const parts = text.split(",");
  for (const part of parts[0] === "conversation" ? parts.slice(1) : parts) {
    const [name = "", value = "", ...rest] = part.split("=");
    const limits = isSetting(name) ? SETTING_LIMITS[name] : undefined;
    if (!isSetting(name) || limits === undefined || rest.length > 0) {
      throw settingError(part, part, "requests=…, minutes=… or scale=…, separated by commas");
    }
    const [min, max, kind] = limits;
    const number = readDecimal(value);
    if (!(number >= min && number <= max) || (kind === "integer" && !Number.isInteger(number))) {
      throw settingError(
        name,
        value,
        `${kind === "integer" ? "an integer" : "a number"} from ${min} to ${max}`,
      );
    }
    spec[name] = number;
  }
  return spec;
}

function isSetting(name: string): name is keyof WorkloadSpec {
  return Object.hasOwn(SETTING_LIMITS, name);
}

function settingError(setting: string, actual: string, expected: string): TraceError {
  return new TraceError(
    { code: "workload_setting_wrong", setting, actual, expected },
    `workload setting ${setting}: got "${actual}", expected ${expected}`,
  );
}

/** A session between two turns. */
interface Session {
  turns: number;
  /** Blocks of the turn before, the last possibly partial. */
  hashIds: readonly number[];
  inputTokens: number;
  outputTokens: number;
  /** When the next turn comes. */
  nextMs: number;
}

/**
 * Makes the workload.
 *
 * @param spec - its size.
 * @param seed - a u32; equal specs and seeds give equal workloads.
 * @returns `spec.requests` requests in order of arrival (T1, T2 of request.ts).
 */
export function generateWorkload(spec: WorkloadSpec, seed: number): TraceRequest[] {
  return new WorkloadGenerator(spec, seed).run();
}

class WorkloadGenerator {
  readonly #spec: WorkloadSpec;
  readonly #random: Prng;
  readonly #requests: TraceRequest[] = [];
  #nextId = 1;

  constructor(spec: WorkloadSpec, seed: number) {
    this.#spec = spec;
    this.#random = new Prng(seed);
  }

  /**
   * Makes sessions, each with all the turns that fall into the time, until there are enough requests, then sorts. The
   * begin of sessions is uniform over the time, so that cutting off the surplus leaves whole sessions out.
   */
  run(): TraceRequest[] {
    const endMs = this.#spec.minutes * 60_000;
    while (this.#requests.length < this.#spec.requests) {
      for (
        let session: Session | null = this.#firstTurn(this.#unit() * endMs);
        session !== null && session.nextMs < endMs && this.#requests.length < this.#spec.requests;
        session = this.#laterTurn(session)
      );
    }
    return this.#requests.sort((a, b) => a.arrivalMs - b.arrivalMs);
  }

  /** Adds a session's first request. */
  #firstTurn(arrivalMs: number): Session {
    const inputTokens = this.#tokens(FIRST_INPUT_TOKENS);
    return this.#request(arrivalMs, 1, [0], inputTokens);
  }

  /** Adds a session's next request, or ends the session. */
  #laterTurn(session: Session): Session | null {
    const { turns, hashIds, inputTokens, outputTokens, nextMs } = session;
    if (this.#unit() >= (turns + CONTINUE_A) / (turns + CONTINUE_B)) return null;
    const wholeBlocks = Math.floor(inputTokens / TRACE_BLOCK_TOKENS);
    if (this.#random.chance(BRANCH_SHARE) && wholeBlocks > 2) {
      const kept = 2 + this.#random.below(wholeBlocks - 2);
      const tokens = kept * TRACE_BLOCK_TOKENS + this.#tokens(BRANCH_TOKENS);
      return this.#request(nextMs, turns + 1, hashIds.slice(0, kept), tokens);
    }
    const tokens = inputTokens + outputTokens + this.#tokens(QUESTION_TOKENS);
    if (tokens > CONTEXT_TOKENS_MAX) return null;
    // Even a prompt within the first block keeps the system prompt's id.
    return this.#request(nextMs, turns + 1, hashIds.slice(0, Math.max(1, wholeBlocks)), tokens);
  }

  #request(atMs: number, turns: number, shared: readonly number[], tokens: number): Session {
    const inputTokens = Math.min(tokens, CONTEXT_TOKENS_MAX, INPUT_TOKENS_MAX);
    const outputTokens = Math.min(this.#tokens(OUTPUT_TOKENS), OUTPUT_TOKENS_MAX);
    const blockCount = Math.ceil(inputTokens / TRACE_BLOCK_TOKENS);
    const hashIds = shared.slice(0, blockCount);
    while (hashIds.length < blockCount) hashIds.push(this.#nextId++);
    const arrivalMs = Math.floor(atMs / ARRIVAL_GRID_MS) * ARRIVAL_GRID_MS;
    this.#requests.push({ arrivalMs, inputTokens, outputTokens, hashIds });
    const thinkMs = 1_000 * sampleQuantiles(THINK_SECONDS, this.#unit());
    return { turns, hashIds, inputTokens, outputTokens, nextMs: atMs + thinkMs };
  }

  /** Uniform in [0, 1). */
  #unit(): number {
    return this.#random.nextU32() / TWO_32;
  }

  #tokens(quantiles: Quantiles): number {
    const tokens = sampleQuantiles(quantiles, this.#unit()) * this.#spec.scale;
    return Math.max(1, Math.round(tokens));
  }
}

/** Inverse of a distribution function given by its quantiles; between two of them the logarithm is linear. */
function sampleQuantiles(quantiles: Quantiles, share: number): number {
  let [lowShare, lowValue] = quantiles[0] ?? [0, 1];
  for (const [highShare, highValue] of quantiles) {
    if (share < highShare) {
      const position = (share - lowShare) / (highShare - lowShare);
      return Math.exp(Math.log(lowValue) + position * Math.log(highValue / lowValue));
    }
    [lowShare, lowValue] = [highShare, highValue];
  }
  return lowValue;
}
