/**
 * The hashes of prompts: a module of its own, over a memory that no other thread has. Writing to a shared memory takes
 * JavaScript three times as long (docs/decisions/0031).
 *
 *     tokens ─ written by the caller ─▶ promptHash ─▶ prefix hashes ─ carry.wat ─▶ reader's hashes in the index's memory (lookup.ts)
 *
 * The memory has the state of hashes (`HASH_STATE`, `LINK_KEYS` of layout.ts) and behind it what its owner places there.
 */
import { hashBytes, hashInit } from "./xxh3";
import { hashRun } from "./block-hash";
import { keyedInit } from "./keyed-hash";
import { digestChunks } from "./chunk-digest";

// @ts-ignore: decorator
@inline
function u64Of(low: u32, high: u32): u64 {
  return (<u64>high << 32) | low;
}

/** Sets the seed of this memory, and which hash prefixes have: once, before anything else. */
export function promptSeed(low: u32, high: u32, isKeyed: bool): void {
  hashInit(u64Of(low, high), isKeyed);
  keyedInit(u64Of(low, high));
}

/** Writes XXH3-64 of `bytes` bytes at `at` to `out`. */
export function promptDigest(at: usize, bytes: usize, out: usize): void {
  store<u64>(out, hashBytes(at, bytes));
}

/** Writes the prefix hashes of blocks to `out` (block-hash.ts). */
export function promptHash(
  tokens: usize,
  blockBytes: usize,
  hashedBytes: usize,
  extras: usize,
  isRoot: bool,
  parentLow: u32,
  parentHigh: u32,
  count: u32,
  out: usize,
): void {
  hashRun(tokens, blockBytes, hashedBytes, extras, isRoot, u64Of(parentLow, parentHigh), count, out);
}

/** Writes a digest of each chunk to `out` (chunk-digest.ts). */
export function promptChunks(at: usize, chunkBytes: usize, count: u32, out: usize): void {
  digestChunks(at, chunkBytes, count, out);
}
