/**
 * Turns a trace's ids into token ids. Token j of block `id` is a pure function of (seed, id, j), so
 * equal ids always give equal tokens. A partial last block is the beginning of the full one. So two
 * requests with the same last id and different lengths share the shorter one's tokens.
 *
 *     prompt   ├ tokens of id₀: 512 ┤├ id₁: 512 ┤├ id₂: the rest ┤
 *     answer   with ids: what follows in the blocks of the prompt's last id and the answer's ids, for others to share
 *              without: tokens of (request number), in a stream of their own: no two requests answer alike
 *
 * Tokens are in a vocabulary of 128,256 (Llama 3's), so that ids above 65,535, five bytes on the wire, occur.
 *
 * Source of the mixing constants: C. Wellons, "Prospecting for Hash Functions" (nullprogram.com, 2018), the 32-bit
 * finalizer `lowbias32`, public domain.
 */
import type { WorkloadRequest } from "../workload/workload.ts";
import { TRACE_BLOCK_TOKENS } from "./request.ts";

/** Token ids lie in 0 … VOCABULARY_SIZE − 1. */
export const VOCABULARY_SIZE = 128_256;

const TO_VOCABULARY = VOCABULARY_SIZE / 4_294_967_296;
const GOLDEN_RATIO_32 = 0x9e37_79b9;
const PROMPT_STREAM = 1;
const ANSWER_STREAM = 2;

/**
 * Makes a request's prompt.
 *
 * @param request - its ids and length count.
 * @param seed - the workload's; equal seeds give equal prompts.
 * @returns the token ids, `inputTokens` of them; the caller's to keep. O(tokens), about 3 ns each.
 */
export function promptTokens(request: WorkloadRequest, seed: number): Uint32Array<ArrayBuffer> {
  return tokensOfIds(request.hashIds, request.inputTokens, seed);
}

function tokensOfIds(ids: readonly number[], count: number, seed: number): Uint32Array<ArrayBuffer> {
  const tokens = new Uint32Array(count);
  const stream = deriveSeed(seed, PROMPT_STREAM);
  ids.forEach((id, position) => {
    const begin = position * TRACE_BLOCK_TOKENS;
    fillTokens(tokens, begin, Math.min(begin + TRACE_BLOCK_TOKENS, tokens.length), deriveSeed(stream, id));
  });
  return tokens;
}

/**
 * Makes a request's answer.
 *
 * @param request - its output length counts.
 * @param requestIndex - position of the request in the workload.
 * @param seed - the workload's.
 * @returns the token ids, `outputTokens` of them; the caller's to keep.
 */
export function answerTokens(
  request: WorkloadRequest,
  requestIndex: number,
  seed: number,
): Uint32Array<ArrayBuffer> {
  const { hashIds, answerIds, inputTokens, outputTokens } = request;
  if (answerIds !== undefined)
    return tokensOfIds([...hashIds, ...answerIds], inputTokens + outputTokens, seed).slice(inputTokens);
  const tokens = new Uint32Array(outputTokens);
  fillTokens(tokens, 0, tokens.length, deriveSeed(deriveSeed(seed, ANSWER_STREAM), requestIndex));
  return tokens;
}

function fillTokens(tokens: Uint32Array, begin: number, end: number, blockSeed: number): void {
  for (let i = begin; i < end; i++) {
    tokens[i] = mix32(blockSeed + Math.imul(i - begin + 1, GOLDEN_RATIO_32)) * TO_VOCABULARY;
  }
}

/** Names a stream of random values inside another one. */
function deriveSeed(seed: number, label: number): number {
  return mix32(mix32(seed + GOLDEN_RATIO_32) ^ label);
}

/** A bijection of 32 bits in which every input bit sways every output bit. */
function mix32(value: number): number {
  let x = value | 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb_352d);
  x = Math.imul(x ^ (x >>> 15), 0x846c_a68b);
  return (x ^ (x >>> 16)) >>> 0;
}
