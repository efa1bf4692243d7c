/**
 * Changes to any workload, generated or recorded, that keep what its prompts share:
 *
 *     speedup x     arrivals come x times as fast
 *     jitter s      every arrival moves by up to s seconds to the future, at random: recorded arrivals that were rounded to a
 *                   grid spread over it, and each seed gives another course of the same day
 *     duplicate n   n copies of every request at the same instant, each copy with blocks and sessions of its own: n times the
 *                   load, the same shares of reuse
 *     length f      every length times f, a power of two. The blocks grow with the prompts, so ids and what they share stay
 *     lora n        every session asks for one of n adapters (Zipf, exponent 1). Blocks under different adapters are different,
 *                   so what sessions of different adapters shared they share no more. A request without a session (a trace's)
 *                   counts as one with those that have its first two blocks in common
 *
 * They apply in this order: duplicate, length, speedup, lora, jitter. The shape of duplication and length follows Dynamo's
 * trace synthesizer (`benchmarks/data_generator`: copies of the prefix tree with disjoint ids, prefix multiplier).
 */
import { Prng } from "@kvsync/core";
import TinyQueue from "tinyqueue";

import { TraceError } from "../trace/request.ts";
import { uniform, Zipf } from "./distribution.ts";
import type { Workload, WorkloadRequest } from "./workload.ts";

const U32_MAX = 4_294_967_295;

/** An exponent of 1: the first of n adapters gets 1/ln n or so of all sessions. */
const ADAPTER_EXPONENT = 1;

/** See the header; 1 leaves things as they are, of `jitter` and `lora` 0. */
export interface WorkloadFactors {
  readonly speedup: number;
  /** Seconds. */
  readonly jitter: number;
  readonly duplicate: number;
  readonly length: number;
  readonly lora: number;
}

/** Leaves a workload as it is. */
export const NO_FACTORS: WorkloadFactors = { speedup: 1, jitter: 0, duplicate: 1, length: 1, lora: 0 };

/**
 * Applies factors.
 *
 * @param workload - the original; read when the result is read.
 * @param factors - `length` a power of two that keeps blocks at 16 tokens or more.
 * @param seed - chooses adapters.
 * @returns the changed workload, of the same name; reading it throws TraceError `ids_too_large` when copies or adapters
 * would need ids beyond u32.
 */
export function withFactors(workload: Workload, factors: WorkloadFactors, seed: number): Workload {
  const { duplicate, length, jitter } = factors;
  return {
    name: workload.name,
    requestCount: workload.requestCount * duplicate,
    blockTokens: workload.blockTokens * length,
    requests() {
      const made = changed(workload, factors, seed);
      return jitter === 0 ? made : jittered(made, jitter, seed);
    },
  };
}

function* changed(
  workload: Workload,
  factors: WorkloadFactors,
  seed: number,
): Generator<WorkloadRequest, void, undefined> {
  const { duplicate, length, lora } = factors;
  const adapters = lora === 0 ? null : new Adapters(lora, seed);
  for (const request of workload.requests()) {
    for (let copy = 0; copy < duplicate; copy++) {
      const made = scaled(copied(request, copy, duplicate), factors, workload.blockTokens * length);
      yield adapters === null ? made : adapters.assign(made);
    }
  }
}

/** Holds requests back until none that is still to come can be earlier: as many as arrive in `seconds`. */
function* jittered(
  requests: Iterable<WorkloadRequest>,
  seconds: number,
  seed: number,
): Generator<WorkloadRequest, void, undefined> {
  const unit = uniform(new Prng(seed));
  const held = new TinyQueue<{ readonly position: number; readonly request: WorkloadRequest }>(
    [],
    (a, b) => a.request.arrivalMs - b.request.arrivalMs || a.position - b.position,
  );
  let position = 0;
  for (const request of requests) {
    for (let next = held.peek(); next !== undefined && next.request.arrivalMs <= request.arrivalMs; ) {
      held.pop();
      yield next.request;
      next = held.peek();
    }
    const arrivalMs = request.arrivalMs + 1_000 * seconds * unit();
    held.push({ position: position++, request: { ...request, arrivalMs } });
  }
  for (let last = held.pop(); last !== undefined; last = held.pop()) yield last.request;
}

function copied(request: WorkloadRequest, copy: number, copies: number): WorkloadRequest {
  return copies === 1 ? request : renumbered(request, copy, copies, true);
}

/** Moves ids to the residue class `remainder` modulo `modulus`: disjoint from the other classes. */
function renumbered(
  request: WorkloadRequest,
  remainder: number,
  modulus: number,
  sessionToo: boolean,
): WorkloadRequest {
  const move = (id: number): number => {
    const moved = id * modulus + remainder;
    if (moved <= U32_MAX) return moved;
    throw new TraceError(
      { code: "ids_too_large", id, factor: modulus },
      `block id ${id} times ${modulus} (copies or adapters) is beyond ${U32_MAX}; expected smaller ids or factors`,
    );
  };
  const { hashIds, answerIds, sessionId } = request;
  return {
    ...request,
    hashIds: hashIds.map(move),
    ...(answerIds === undefined ? {} : { answerIds: answerIds.map(move) }),
    ...(sessionId === undefined || !sessionToo ? {} : { sessionId: move(sessionId) }),
  };
}

/** Lengths and arrival times. Rounding may not leave an answer without a token, nor move the prompt to another block. */
function scaled(request: WorkloadRequest, factors: WorkloadFactors, blockTokens: number): WorkloadRequest {
  const { speedup, length } = factors;
  if (speedup === 1 && length === 1) return request;
  let inputTokens = Math.ceil(request.inputTokens * length);
  let outputTokens = Math.ceil((request.inputTokens + request.outputTokens) * length) - inputTokens;
  if (outputTokens === 0) {
    // A prompt that ends with its block gives a token away, any other leaves room for one in its last block.
    if (inputTokens % blockTokens === 0) inputTokens -= 1;
    outputTokens = 1;
  }
  return { ...request, arrivalMs: request.arrivalMs / speedup, inputTokens, outputTokens };
}

class Adapters {
  readonly #count: number;
  readonly #seed: number;
  readonly #popularity: Zipf;

  constructor(count: number, seed: number) {
    this.#count = count;
    this.#seed = seed;
    this.#popularity = new Zipf(count, ADAPTER_EXPONENT);
  }

  assign(request: WorkloadRequest): WorkloadRequest {
    const { sessionId, hashIds } = request;
    const key = sessionId ?? hashIds[1] ?? hashIds[0] ?? 0;
    // A sequence of one number per session: no memory, whatever the order of its turns.
    const adapter = this.#popularity.rankAt(uniform(new Prng(key * 2 ** 20 + (this.#seed % 2 ** 20)))());
    return { ...renumbered(request, adapter, this.#count, false), loraName: `adapter-${adapter + 1}` };
  }
}
