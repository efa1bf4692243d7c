/**
 * The chain of block hashes (docs/architecture.md, "Two key spaces"), in plain code over an
 * external XXH3: hash-wasm wraps the C code of the algorithm's author. The kernel's hashes are
 * compared with it, byte for byte.
 *
 *     local      = XXH3-64(tokens of the block as u32 LE, and as many tokens after it as the lookahead)
 *     local      = XXH3-64(LE64(local) ‖ LE64(extra digest))         where the block has an extra digest, that is not 0
 *     prefix[0]  = local[0]
 *     prefix[i]  = XXH3-64(LE64(prefix[i − 1]) ‖ LE64(local[i]))     all with one seed
 *
 * Hashes are strings of 16 hex digits here, which compare and print well. Not for hot paths, not part of the package's
 * surface: tests and benchmarks only.
 */
import { createXXHash3, type IHasher } from "hash-wasm";
import { toHex } from "../block-hash.ts";

/** XXH3-64 with one seed, and the chain made of it. */
export class ReferenceHash {
  readonly #hasher: IHasher;

  protected constructor(base: IHasher | ReferenceHash) {
    this.#hasher = base instanceof ReferenceHash ? base.#hasher : base;
  }

  /** Whether prefixes are those of kernel/keyed-hash.ts (keyed-reference-hash.ts). */
  get isKeyed(): boolean {
    return false;
  }

  /**
   * Compiles hash-wasm's module, which it does asynchronously.
   *
   * @param seed - 0 … 2⁶⁴ − 1.
   */
  static async create(seed: number | bigint): Promise<ReferenceHash> {
    const [low, high] = [BigInt.asUintN(32, BigInt(seed)), BigInt(seed) >> 32n];
    return new ReferenceHash(await createXXHash3(Number(low), Number(high)));
  }

  /** XXH3-64 of any bytes, as 16 hex digits. */
  digest(bytes: Uint8Array): string {
    return this.#hasher.init().update(bytes).digest();
  }

  /** XXH3-64 of two hashes, each as LE64: what chains a block to its prefix and mixes in an extra digest. */
  join(first: string, second: string): string {
    return this.digest(bytesOf(Uint32Array.from([...wordsOf(first), ...wordsOf(second)])));
  }

  /**
   * Local hashes of consecutive blocks.
   *
   * @param tokens - `blockCount × blockSize` token ids, and `lookahead` more.
   * @param extraDigests - shape [2 × blockCount], low then high, 0 for none; null when no block has any.
   */
  locals(
    tokens: Uint32Array,
    blockCount: number,
    blockSize: number,
    lookahead: number,
    extraDigests: Uint32Array | null,
  ): string[] {
    return Array.from({ length: blockCount }, (_, i) => {
      const local = this.digest(bytesOf(tokens.slice(i * blockSize, (i + 1) * blockSize + lookahead)));
      const digest = extraDigests === null ? NO_DIGEST : hexAt(extraDigests, i);
      return digest === NO_DIGEST ? local : this.join(local, digest);
    });
  }

  /** Prefix hashes of blocks with these local hashes behind `parent`; null at the root of a chain. */
  prefixes(locals: readonly string[], parent: string | null): string[] {
    let prefix = parent;
    return locals.map((local) => (prefix = prefix === null ? local : this.join(prefix, local)));
  }
}

const NO_DIGEST = toHex(0, 0);

function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

/** The hash at `index` of a sequence of shape [2 × n], as 16 hex digits. */
export function hexAt(hashes: Uint32Array, index: number): string {
  return toHex(hashes[2 * index], hashes[2 * index + 1]);
}

/** Low and high word of 16 hex digits. */
export function wordsOf(hex: string): [number, number] {
  return [Number.parseInt(hex.slice(8), 16), Number.parseInt(hex.slice(0, 8), 16)];
}
