/**
 * Each block's parent, rebuilt from the prompts. A prefix hash names a whole prefix. So the prompts
 * are enough to chain the hashes again and find which follows which. Independent of the engines and
 * of the daemon except for the hash itself.
 */
import { PrefixHasher } from "@kvsync/core";

/**
 * Finds parents.
 *
 * @param wanted - prefix hashes whose parents are asked for.
 * @param prompts - the token ids (prompt, then answer) of every request that may have made them; read one by one.
 * @param blockSize - tokens per KV block.
 * @returns by prefix hash, the parent's; null for the first block of a prompt; what no prompt contains is absent.
 */
export function lineageFromPrompts(
  wanted: ReadonlySet<bigint>,
  prompts: Iterable<Uint32Array>,
  blockSize: number,
): Map<bigint, bigint | null> {
  const hasher = PrefixHasher.create();
  const parents = new Map<bigint, bigint | null>();
  for (const tokens of prompts) {
    const blockCount = Math.floor(tokens.length / blockSize);
    const words = new Uint32Array(2 * blockCount);
    hasher.hash(tokens, blockCount, blockSize, null, words);
    // Low word first is the u64 of a little-endian machine.
    const hashes = new BigUint64Array(words.buffer);
    hashes.forEach((hash, position) => {
      if (wanted.has(hash)) parents.set(hash, position === 0 ? null : (hashes[position - 1] ?? null));
    });
  }
  return parents;
}
