/**
 * Prefix hashes without an index: for clients that send hashes instead of tokens, and for simulated engines. They have XXH3's,
 * in a memory for prompts (prompt-memory.ts). Runs longer than it are hashed in pieces, each continuing the chain of the one before.
 * Definition of the hash: docs/architecture.md ("Two key spaces"), kernel/block-hash.ts.
 */
import { DEFAULT_HASH_SEED } from "./contract.ts";
import { IndexError } from "./index-error.ts";
import { assert } from "../assert.ts";
import { PromptMemory } from "./prompt-memory.ts";

/**
 * Most tokens in one block. Engines use 1 to a few hundred (TensorRT-LLM 32, SGLang 1, hybrid vLLM models up to some
 * thousand); more is a broken configuration.
 */
export const BLOCK_SIZE_MAX = 65_536;

/** Twice the largest block fits, so that a piece always has at least one. */
const TOKENS_MAX = 2 * BLOCK_SIZE_MAX;
const BLOCKS_MAX = TOKENS_MAX;

/** Chains block hashes as the index does. One per thread; holds 3 MiB of address space. */
export class PrefixHasher {
  readonly #memory: PromptMemory;

  private constructor(seed: bigint) {
    this.#memory = new PromptMemory({ value: seed, isKeyed: false }, TOKENS_MAX, BLOCKS_MAX);
  }

  /**
   * Makes a hasher.
   *
   * @param seed - of XXH3, taken modulo 2⁶⁴; the one of the index whose hashes are wanted. An index with `keyedHashes` has
   *   others, which no hasher gives.
   */
  static create(seed: number | bigint = DEFAULT_HASH_SEED): PrefixHasher {
    return new PrefixHasher(BigInt.asUintN(64, BigInt(seed)));
  }

  /**
   * XXH3-64 of any bytes, with this hasher's seed: the digest of a cache salt, see `saltDigest`.
   *
   * @param bytes - at most 8 × `BLOCK_SIZE_MAX`, the room for tokens.
   * @param out - receives low and high word at `index`, `index + 1`.
   * @throws IndexError `too_many_bytes` when `bytes` is longer.
   */
  digestBytes(bytes: Uint8Array, out: Uint32Array, index: number): void {
    const { tokens, hashes } = this.#memory;
    const staging = new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength);
    if (bytes.length > staging.length)
      throw new IndexError(
        { code: "too_many_bytes", actual: bytes.length, expectedMax: staging.length },
        `${bytes.length} bytes to digest, but there is room for ${staging.length}`,
      );
    staging.set(bytes);
    this.#memory.digestBytes(bytes.length);
    out.set(hashes.subarray(0, 2), index);
  }

  /**
   * Prefix hashes of consecutive blocks.
   *
   * @param tokens - token ids, block after block; at least `blockCount × blockSize`.
   * @param blockCount - blocks to hash; 0 writes nothing.
   * @param blockSize - tokens per block, 1 … `BLOCK_SIZE_MAX`.
   * @param parent - prefix hash of the block before the first; null at the root of a chain.
   * @param out - receives the prefix hashes, shape [2 × blockCount], low then high.
   * @throws IndexError `invalid_block_size` when `blockSize` is out of range; `too_many_blocks` when `tokens` or `out` is
   *   too short for `blockCount`.
   */
  hash(
    tokens: Uint32Array,
    blockCount: number,
    blockSize: number,
    parent: { readonly low: number; readonly high: number } | null,
    out: Uint32Array,
  ): void {
    checkBlockSize(blockSize);
    const blocksMax = Math.floor(Math.min(tokens.length / blockSize, out.length / 2));
    if (!Number.isInteger(blockCount) || blockCount < 0 || blockCount > blocksMax)
      throw new IndexError(
        { code: "too_many_blocks", actual: blockCount, expectedMax: blocksMax },
        `${blockCount} blocks of ${blockSize} tokens asked for, but the arrays given have room for ${blocksMax}`,
      );
    const pieceMax = Math.min(BLOCKS_MAX, Math.floor(TOKENS_MAX / blockSize));
    let before = parent;
    for (let done = 0; done < blockCount; ) {
      const piece = Math.min(pieceMax, blockCount - done);
      assert(piece > 0, "a piece has at least one block");
      this.#memory.tokens.set(tokens.subarray(done * blockSize, (done + piece) * blockSize));
      this.#memory.hash(blockSize, 0, 0, piece, false, before);
      const { hashes } = this.#memory;
      out.set(hashes.subarray(0, 2 * piece), 2 * done);
      before = { low: hashes[2 * piece - 2], high: hashes[2 * piece - 1] };
      done += piece;
    }
  }
}

/**
 * Holds a block size from outside to its range.
 *
 * @throws IndexError `invalid_block_size`.
 */
export function checkBlockSize(blockSize: number): void {
  if (Number.isInteger(blockSize) && blockSize >= 1 && blockSize <= BLOCK_SIZE_MAX) return;
  throw new IndexError(
    { code: "invalid_block_size", blockSize, blockSizeMax: BLOCK_SIZE_MAX },
    `block size ${blockSize} is not a whole number of tokens in 1 … ${BLOCK_SIZE_MAX}`,
  );
}
