/**
 * Prompts and their hashes, in a memory that only this thread has (kernel/prompt.ts):
 *
 *     0        1 KiB          64 KiB
 *     │ unused │ seed, secrets │ tokens ……… │ extra digests ……… │ hashes ……… │
 *
 * JavaScript copies to a shared memory word by word, three times as slowly as to this one. So a prompt is written here and
 * hashed here, and only its hashes go to the index's memory (kernel/carry.wat).
 *
 * It does not know blocks of a context or an index; prefix-reader.ts and prefix-hasher.ts do.
 */
import type { HashSeed } from "./contract.ts";
import {
  instantiateCarry,
  instantiatePromptKernel,
  type KernelMemory,
  makePromptMemory,
  PAGE_BYTES,
  type PromptKernelExports,
  type PromptKernelMemory,
} from "./kernel.ts";
import { DIGEST_WORDS } from "./kernel-boundary.generated.ts";

const TOKENS_AT = PAGE_BYTES;

/** Room for one prompt. Untouched, it costs address space only. */
export class PromptMemory {
  /** Token ids. Written by the caller. */
  readonly tokens: Uint32Array;
  /** Digests of extra keys, shape [2 × blocks], 0 for none. Written by the caller. */
  readonly extraDigests: Uint32Array;
  /** Prefix hashes, shape [2 × blocks], low then high. Of those that are not hashed here, written by the caller. */
  readonly hashes: Uint32Array;
  readonly #memory: PromptKernelMemory;
  readonly #kernel: PromptKernelExports;

  /**
   * @param seed - of the hashes.
   * @param tokens - most token ids, and most extra digests.
   * @param blocks - most prefix hashes.
   */
  constructor(seed: HashSeed, tokens: number, blocks: number) {
    // Eight bytes before each array of u64s.
    const extrasAt = TOKENS_AT + 8 * Math.ceil(tokens / 2);
    const hashesAt = extrasAt + 8 * tokens;
    const memory = makePromptMemory(Math.ceil((hashesAt + 8 * blocks) / PAGE_BYTES));
    this.#memory = memory;
    this.#kernel = instantiatePromptKernel(memory);
    this.#kernel.promptSeed(
      Number(seed.value & 0xffff_ffffn),
      Number(seed.value >> 32n),
      Number(seed.isKeyed),
    );
    this.tokens = new Uint32Array(memory.buffer, TOKENS_AT, tokens);
    this.extraDigests = new Uint32Array(memory.buffer, extrasAt, 2 * tokens);
    this.hashes = new Uint32Array(memory.buffer, hashesAt, 2 * blocks);
  }

  /**
   * Hashes blocks of `tokens` into `hashes`.
   *
   * @param blockSize - tokens from one block to the next.
   * @param lookahead - tokens after a block that its hash covers.
   * @param from - first block; the hash before it is there, `parent` for block 0.
   * @param to - block behind the last one.
   * @param hasExtra - whether `extraDigests` counts.
   * @param parent - of block 0; null at the root of a chain.
   */
  hash(
    blockSize: number,
    lookahead: number,
    from: number,
    to: number,
    hasExtra: boolean,
    parent: { readonly low: number; readonly high: number } | null,
  ): void {
    const { hashes } = this;
    this.#kernel.promptHash(
      TOKENS_AT + 4 * blockSize * from,
      4 * blockSize,
      4 * (blockSize + lookahead),
      hasExtra ? this.extraDigests.byteOffset + 8 * from : 0,
      Number(from === 0 && parent === null),
      from === 0 ? (parent?.low ?? 0) : hashes[2 * from - 2],
      from === 0 ? (parent?.high ?? 0) : hashes[2 * from - 1],
      to - from,
      hashes.byteOffset + 8 * from,
    );
  }

  /**
   * Makes what carries hashes of blocks to an index's memory.
   *
   * @param index - the memory.
   * @param at - address there of the hash of block 0.
   */
  carrierTo(index: KernelMemory, at: number): (from: number, to: number) => void {
    const { carry } = instantiateCarry(index, this.#memory);
    const { byteOffset } = this.hashes;
    return (from, to) => {
      carry(at + 8 * from, byteOffset + 8 * from, 8 * (to - from));
    };
  }

  /** Writes digests of the first chunks of `tokens` (kernel/chunk-digest.ts) in place of hashes; a view of them. */
  digestChunks(chunkTokens: number, count: number): Uint32Array {
    this.#kernel.promptChunks(TOKENS_AT, 4 * chunkTokens, count, this.hashes.byteOffset);
    return this.hashes.subarray(0, DIGEST_WORDS * count);
  }

  /** Writes XXH3-64 of the first bytes of `tokens` in place of the first hash. */
  digestBytes(bytes: number): void {
    this.#kernel.promptDigest(TOKENS_AT, bytes, this.hashes.byteOffset);
  }
}
