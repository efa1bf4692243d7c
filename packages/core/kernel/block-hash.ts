/**
 * The prefix hashes of a run of blocks, from their tokens.
 *
 *     local     = XXH3-64(tokens of the block as u32 LE; with a lookahead, and that many tokens after it)
 *     local     = XXH3-64(LE64(local) ‖ LE64(extra digest))        where there is a digest, that is not 0
 *     prefix[0] = local[0]                                         at the root of a chain
 *     prefix[i] = XXH3-64(LE64(prefix[i − 1]) ‖ LE64(local[i]))
 *
 * With a secret seed prefixes are those of keyed-hash.ts instead: a memory has one or the other.
 *
 * Source: the hash that Mooncake's RFC #1527 recommends for indexers; with seed 1337 the one of Dynamo and SMG.
 */
import { keyedRun } from "./keyed-hash";
import { flipAt, hash64Bytes, hash64With, hashBytes, hashPair, hashPairWith, isKeyed, secretAt } from "./xxh3";

/**
 * Hashes `count` blocks.
 *
 * @param tokens - address of the first block's tokens.
 * @param blockBytes - bytes from one block to the next.
 * @param hashedBytes - bytes hashed of each: `blockBytes`, 4 more for each token of lookahead.
 * @param extras - address of one u64 digest a block; 0 when no block has any.
 * @param isRoot - whether the first block has no parent; else `prefix` is its parent's hash.
 * @param out - address of the first of `count` u64 prefix hashes.
 * @returns the last prefix hash, `prefix` when there are no blocks.
 */
export function hashRun(
  tokens: usize,
  blockBytes: usize,
  hashedBytes: usize,
  extras: usize,
  isRoot: bool,
  prefix: u64,
  count: u32,
  out: usize,
): u64 {
  if (isKeyed()) return keyedRun(tokens, blockBytes, hashedBytes, extras, isRoot, prefix, count, out);
  if (hashedBytes == 64 && extras == 0) return hashPlain(tokens, blockBytes, isRoot, prefix, count, out);
  const end = out + ((<usize>count) << 3);
  while (out < end) {
    let local = hashedBytes == 64 ? hash64Bytes(tokens) : hashBytes(tokens, hashedBytes);
    if (extras != 0) {
      const extra = load<u64>(extras);
      if (extra != 0) local = hashPair(local, extra);
      extras += 8;
    }
    prefix = isRoot ? local : hashPair(prefix, local);
    isRoot = false;
    store<u64>(out, prefix);
    tokens += blockBytes;
    out += 8;
  }
  return prefix;
}

/** As `hashRun`, of blocks of 16 tokens and nothing else: a loop with nothing to ask. */
function hashPlain(tokens: usize, blockBytes: usize, isRoot: bool, prefix: u64, count: u32, out: usize): u64 {
  const end = out + ((<usize>count) << 3);
  const secret0 = secretAt(0);
  const secret1 = secretAt(16);
  const secret2 = secretAt(32);
  const secret3 = secretAt(48);
  const flip0 = flipAt(0);
  const flip1 = flipAt(8);
  if (isRoot && out < end) {
    prefix = hash64Bytes(tokens);
    store<u64>(out, prefix);
    tokens += blockBytes;
    out += 8;
  }
  for (; out < end; out += 8) {
    prefix = hashPairWith(prefix, hash64With(tokens, secret0, secret1, secret2, secret3), flip0, flip1);
    store<u64>(out, prefix);
    tokens += blockBytes;
  }
  return prefix;
}
