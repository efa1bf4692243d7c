/** What the kernel exports. u64 arguments come as two words: a bigint made for a call would cost more than the call. */
import { hashBytes, hashInit } from "./xxh3";
import { hashRun } from "./block-hash";

// @ts-ignore: decorator
@inline
function u64Of(low: u32, high: u32): u64 {
  return (<u64>high << 32) | low;
}

/** Sets the seed of this memory: once, before anything else. */
export function hashSeed(low: u32, high: u32): void {
  hashInit(u64Of(low, high));
}

/** Writes XXH3-64 of `bytes` bytes at `at` to `out`. */
export function hashDigest(at: usize, bytes: usize, out: usize): void {
  store<u64>(out, hashBytes(at, bytes));
}

/** Writes the prefix hashes of blocks to `out` (block-hash.ts). */
export function hashBlocks(
  tokens: usize,
  blockBytes: usize,
  isRoot: bool,
  parentLow: u32,
  parentHigh: u32,
  count: u32,
  out: usize,
): void {
  hashRun(tokens, blockBytes, blockBytes, 0, isRoot, u64Of(parentLow, parentHigh), count, out);
}
