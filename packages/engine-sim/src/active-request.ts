/**
 * A request from its submission to its last token, as scheduler and cache see it.
 *
 *     tokens   │ prompt │ generated so far │ still to come │       all drawn at the first admission
 *              0     promptLength      tokenCount     capacity
 *     blocks   │ named (registered) │ held │ –              │       physical block ids
 *              0                registered blockCount
 *
 *  R1  registered × blockSize ≤ computed ≤ tokenCount, and computed ≤ blockCount × blockSize, while it runs.
 *  R2  A waiting request holds no block: registered = blockCount = computed = 0.
 *  R3  digests of blocks 0 … digestCount − 1 are known; they outlive a preemption.
 */
import { Prng } from "@kvsync/core";
import type { EngineRequest } from "./engine-contract.ts";
import { DIGEST_BYTES } from "./engine-hash.ts";

/** Generated token ids lie below it: a vocabulary the size of Llama 3's, so that ids beyond 65,535 occur. */
export const VOCABULARY_SIZE = 128_256;

const NO_BYTES = new Uint8Array(0);
const NO_BLOCKS = new Int32Array(0);

/** Mutable state of one request. Its fields belong to scheduler and cache; nobody else writes them. */
export class ActiveRequest {
  readonly request: EngineRequest;
  readonly promptLength: number;
  readonly outputCount: number;
  /** 0 for the base model, i for adapter i − 1. */
  readonly context: number;
  readonly loraName: string | null;
  readonly cacheSalt: string | null;
  readonly submittedAtSeconds: number;

  tokens: Uint32Array;
  tokenCount: number;
  computed = 0;
  /** While `computed` stays below it, one more token neither needs nor fills a block. */
  quietUntil = 0;
  blocks: Int32Array = NO_BLOCKS;
  blockCount = 0;
  registered = 0;
  digests: Uint8Array = NO_BYTES;
  digestCount = 0;
  /** Our prefix hash of the last registered block. */
  prefixLow = 0;
  prefixHigh = 0;
  /** What the last `match` found: leading device blocks, then host blocks after them. */
  matchedDevice = 0;
  matchedHost = 0;

  /** −1 until the first admission. */
  cachedBlocks = -1;
  cachedHostBlocks = 0;
  preemptions = 0;
  firstTokenAtSeconds = -1;

  constructor(request: EngineRequest, context: number, nowSeconds: number) {
    this.request = request;
    this.promptLength = request.promptTokens.length;
    this.outputCount = outputLength(request);
    this.context = context;
    this.loraName = request.loraName ?? null;
    this.cacheSalt = request.cacheSalt ?? null;
    this.submittedAtSeconds = nowSeconds;
    this.tokens = request.promptTokens;
    this.tokenCount = this.promptLength;
  }

  /** Makes room for its tokens, blocks and digests; called once, when it first comes to the head of the queue. */
  open(blockSize: number): void {
    if (this.blocks !== NO_BLOCKS) return;
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
