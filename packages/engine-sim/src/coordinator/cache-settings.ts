/**
 * The parts of a model of vLLM's KV cache: its groups of layers and their block sizes.
 *
 *     group           kind                     block size
 *     0               full attention           16 ┐
 *     1               sliding window of 128    16 ├─ hash block size = gcd, scheduler block size = lcm
 *     2               Mamba                   512 ┘
 *
 * A prompt's blocks are hashed once, at the hash block size; a group with larger blocks uses the
 * hash at the end of each. A hit ends at a multiple of the *alignment*. That is the scheduler block
 * size, or the hash block size where every group can look inside its blocks.
 *
 * Source: vllm/v1/core/kv_cache_utils.py (resolve_kv_cache_block_sizes, partial_hash_hits_enabled),
 * vllm/v1/kv_cache_interface.py, 0.33.0. Left out: context parallelism, retention intervals,
 * prefill checkpoints inside a chunk, HiSparse, R-SWA, cross attention.
 */
import { assert } from "@kvsync/core";
import type { OffloadSettings } from "./offload-tier.ts";

/** One group of layers that share a block table. */
export type GroupSettings =
  | { readonly kind: "full"; readonly blockSize: number; readonly eagle?: boolean }
  | { readonly kind: "window"; readonly blockSize: number; readonly window: number; readonly eagle?: boolean }
  | { readonly kind: "chunked"; readonly blockSize: number; readonly chunk: number; readonly eagle?: boolean }
  | { readonly kind: "mamba"; readonly blockSize: number; readonly eagle?: boolean };

/** A cache to model. */
export interface CacheSettings {
  readonly groups: readonly GroupSettings[];
  /** Physical blocks of the pool that all groups share; one is the null block. */
  readonly blocks: number;
  /** vLLM's `prefix_match_unit`; the greatest common divisor of the block sizes when left out. */
  readonly hashBlockSize?: number;
  /** Tokens after a block that its hash covers: 0, or what EAGLE and MTP need (vLLM ≥ 0.33). */
  readonly lookahead?: number;
  /** Chunks on the host, of a cache with one group of full attention. */
  readonly offload?: OffloadSettings;
  /** Whether the last matched block is dropped for a drafter (vLLM without lookahead hashes). */
  readonly eagle?: boolean;
}

/** Settings with everything that follows from them. */
export interface ResolvedCache {
  readonly groups: readonly GroupSettings[];
  readonly blocks: number;
  readonly hashBlockSize: number;
  readonly schedulerBlockSize: number;
  /** Hits end at multiples of it. */
  readonly alignment: number;
  readonly lookahead: number;
  /** Groups that drop a block for the drafter. */
  readonly dropsBlock: readonly boolean[];
}

/** Names of the kinds on the wire. */
export const WIRE_KINDS: Readonly<Record<GroupSettings["kind"], string>> = {
  full: "full_attention",
  window: "sliding_window",
  chunked: "chunked_local_attention",
  mamba: "mamba",
};

/** Works out what follows from the settings. */
export function resolveCache(settings: CacheSettings): ResolvedCache {
  const { groups } = settings;
  assert(groups.length > 0, "a cache has at least one group");
  const sizes = groups.map(({ blockSize }) => blockSize);
  const schedulerBlockSize = sizes.reduce((a, b) => (a / gcd(a, b)) * b);
  const hashBlockSize = settings.hashBlockSize ?? sizes.reduce(gcd);
  assert(
    sizes.every((size) => size % hashBlockSize === 0),
    "each block size is a multiple of the hash block size",
  );
  assert(groups.length > 1 || hashBlockSize === sizes[0], "a single group is hashed by its own blocks");
  const lookahead = settings.lookahead ?? 0;
  return {
    groups,
    blocks: settings.blocks,
    hashBlockSize,
    schedulerBlockSize,
    alignment: looksInsideBlocks(groups, hashBlockSize) ? hashBlockSize : schedulerBlockSize,
    lookahead,
    dropsBlock: blockDroppers(groups, settings.eagle === true && lookahead === 0),
  };
}

function blockDroppers(groups: readonly GroupSettings[], drops: boolean): boolean[] {
  const anyFlagged = groups.some((group) => group.eagle === true);
  return groups.map((group) => drops && (!anyFlagged || group.eagle === true));
}

// Windows and chunks are looked up by whole blocks only.
function looksInsideBlocks(groups: readonly GroupSettings[], hashBlockSize: number): boolean {
  return (
    groups.some(({ kind, blockSize }) => kind === "mamba" && blockSize > hashBlockSize) &&
    groups.every(({ kind, blockSize }) => kind === "full" || kind === "mamba" || blockSize === hashBlockSize)
  );
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
