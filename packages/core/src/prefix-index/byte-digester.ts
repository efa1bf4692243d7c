/** XXH3-64 of byte strings with an index's seed: they are copied into a buffer in its memory. One per side and thread. */
import { IndexError } from "./index-error.ts";
import { type KernelExports, type KernelMemory, reach } from "./kernel.ts";

/** Longest byte string: beyond any list of extra keys that a message can hold. Untouched, it costs address space only. */
const DIGEST_BYTES_MAX = 1_048_576;

/** Hashes byte strings. */
export class ByteDigester {
  readonly #kernel: KernelExports;
  readonly #bytes: Uint8Array;
  readonly #digest: Uint32Array;

  /**
   * @param kernel - an instance over `memory`, of the calling thread.
   * @param memory - an index's memory; 1 MiB of it is taken.
   */
  constructor(kernel: KernelExports, memory: KernelMemory) {
    this.#kernel = kernel;
    const at = kernel.scratchMake(DIGEST_BYTES_MAX + 8);
    reach(memory, at + 8 + DIGEST_BYTES_MAX);
    this.#bytes = new Uint8Array(memory.buffer, at + 8, DIGEST_BYTES_MAX);
    this.#digest = new Uint32Array(memory.buffer, at, 2);
  }

  /** Gives the buffer back; the digester must not be used afterwards. */
  release(): void {
    this.#kernel.scratchFree(this.#digest.byteOffset);
  }

  /**
   * Writes the hash of `bytes` to `out`, low and high at `index`, `index + 1`.
   *
   * @throws IndexError `too_many_bytes` beyond 1 MiB.
   */
  digest(bytes: Uint8Array, out: Uint32Array, index: number): void {
    if (bytes.length > DIGEST_BYTES_MAX)
      throw new IndexError(
        { code: "too_many_bytes", actual: bytes.length, expectedMax: DIGEST_BYTES_MAX },
        `${bytes.length} bytes to digest, at most ${DIGEST_BYTES_MAX} fit`,
      );
    this.#bytes.set(bytes);
    this.#kernel.hashDigest(this.#bytes.byteOffset, bytes.length, this.#digest.byteOffset);
    out[index] = this.#digest[0];
    out[index + 1] = this.#digest[1];
  }
}
