/**
 * The shard that follows a worker: rendezvous hashing over worker ids. Every daemon and every client
 * computes it alone, from the id and the number of shards.
 *
 *     id ─▶ UTF-8 ─▶ FNV-1a, 32 bits ─┬─▶ mix(hash ^ mix(1)) ─▶ weight of shard 0 ─┐
 *                                     ├─▶ mix(hash ^ mix(2)) ─▶ weight of shard 1 ─┼─▶ the greatest; of equals the first
 *                                     └─▶ …                                        ┘
 *
 * `mix` is the finalizer of MurmurHash3, so that the function is a dozen lines in any language. The
 * test has its golden vectors.
 *
 * Invariants (shard-of.test.ts)
 *  W1  The result depends on the id and the count alone.
 *  W2  A shard that is added takes workers, and moves none between the others. From `n` to `m` shards,
 *      m − n of m workers move on average. In the other direction likewise.
 *  W3  Each shard has its share of workers, as if each worker drew its shard.
 *
 * It spreads workers, not their load: an engine that publishes ten times as much counts as one.
 *
 * Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates" (1998).
 */

import { utf8 } from "./text-codec.ts";

/** Most shards of one fleet. */
export const SHARDS_MAX = 1024;

const FNV_OFFSET = 0x811c_9dc5;
const FNV_PRIME = 0x0100_0193;

/**
 * The shard of a worker.
 *
 * @param workerId - the engine's id; any text.
 * @param count - of shards, 1 … SHARDS_MAX.
 * @returns 0 … count − 1. Cost: O(bytes of the id + count).
 */
export function shardOf(workerId: string, count: number): number {
  let hash = FNV_OFFSET;
  for (const byte of utf8.encode(workerId)) hash = Math.imul(hash ^ byte, FNV_PRIME);
  let best = 0;
  let greatest = -1;
  for (let shard = 0; shard < count; shard++) {
    const weight = mix(hash ^ mix(shard + 1));
    if (weight <= greatest) continue;
    greatest = weight;
    best = shard;
  }
  return best;
}

/** MurmurHash3's fmix32. */
function mix(bits: number): number {
  let h = bits;
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
