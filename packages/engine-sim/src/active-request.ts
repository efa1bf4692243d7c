/**
 * A request whose tokens are known: they are all drawn at its first admission, and its blocks are named by their hashes.
 *
 * The digests of blocks 0 … digestCount − 1 are known, and kept through a preemption. R1 and R2 are in scheduled-request.ts.
 */
import { Prng } from "@kvsync/core";
import type { EngineRequest } from "./engine-contract.ts";
import { DIGEST_BYTES } from "./engine-hash.ts";
import { ScheduledRequest } from "./scheduled-request.ts";

/** Generated token ids lie below it: a vocabulary the size of Llama 3's, so that ids beyond 65,535 occur. */
export const VOCABULARY_SIZE = 128_256;

const NO_BYTES = new Uint8Array(0);

/** See the header. */
export class ActiveRequest extends ScheduledRequest {
  readonly request: EngineRequest;
  /** 0 for the base model, i for adapter i − 1. */
  readonly context: number;
  readonly loraName: string | null;
  readonly cacheSalt: string | null;

  tokens: Uint32Array;
  digests: Uint8Array = NO_BYTES;
  digestCount = 0;
  /** Our prefix hash of the last registered block. */
  prefixLow = 0;
  prefixHigh = 0;

  constructor(request: EngineRequest, context: number, nowSeconds: number) {
    super(request.id, request.promptTokens.length, outputLength(request), nowSeconds);
    this.request = request;
    this.context = context;
    this.loraName = request.loraName ?? null;
    this.cacheSalt = request.cacheSalt ?? null;
    this.tokens = request.promptTokens;
  }

  /** See ScheduledRequest. */
  override open(blockSize: number): void {
    if (this.isOpen) return;
    const { request, promptLength, outputCount } = this;
    // Nothing to be generated is a probe: it only looks, at any length of prompt, and needs no copy.
    const tokens = outputCount === 0 ? request.promptTokens : new Uint32Array(promptLength + outputCount);
    if (outputCount > 0) tokens.set(request.promptTokens);
    if (request.output instanceof Uint32Array) tokens.set(request.output, promptLength);
    else {
      const random = new Prng(request.output.seed);
      for (let i = promptLength; i < tokens.length; i++) tokens[i] = random.below(VOCABULARY_SIZE);
    }
    this.tokens = tokens;
    this.blocks = new Int32Array(Math.ceil(tokens.length / blockSize));
    this.digests = new Uint8Array(Math.floor(tokens.length / blockSize) * DIGEST_BYTES);
  }
}

/**
 * Output tokens that a request asks for.
 *
 * @param request - as submitted.
 * @returns their number.
 */
export function outputLength(request: EngineRequest): number {
  return request.output instanceof Uint32Array ? request.output.length : request.output.count;
}
