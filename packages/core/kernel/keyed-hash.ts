/**
 * The prefix hashes of an index whose seed is secret. No client computes them, so that they need not be XXH3. WebAssembly lacks
 * its multiplications of 64 × 64 → 128 bits.
 *
 *     words    16 of a block (4 vectors), zeros behind its last one; longer blocks take a link for each 16 words
 *     sum a    Σ (v0 + k0)(v1 + k1) + (v2 + k2)(v3 + k3)      products of u32, sum of u64
 *     sum b    the same with k2, k3 and k4, k5
 *     link     x = (prefix + a + (b <<< 32) · c) · c1;   prefix = (x ^ (x >> 32)) · c2
 *     digest   a block with an extra digest has one more link: the digest in place of the sums
 *     root     begins with the prefix `start`
 *
 * The words k and the factors c (odd) are made from the seed. Each sum is NH: two blocks that differ have one sum for at
 * most one of 2³² keys, with any words. Both sums agree for one of 2⁶⁴. As their keys are shifted, not drawn twice, this
 * is NH's Toeplitz construction. All differences of both sums share a power of two: 2³¹ for a token that is chosen 2³¹ apart.
 * So the halves of b change places before `c` joins them, and no bits of the sum are the same for all keys. A link
 * is a bijection of the prefix before it. All blocks of a context have one length, so that zeros at the end add nothing new.
 *
 * Source: Black, Halevi, Krawczyk, Krovetz, Rogaway, "UMAC: Fast and Secure Message Authentication", 1999: NH, Toeplitz.
 * Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014: the words, and the shape of a link.
 */
import { LINK_KEYS } from "./layout";

const KEY_VECTORS: usize = 6;
const FACTORS: usize = LINK_KEYS + KEY_VECTORS * 16;
const LINK_BYTES: usize = 64;

/** Makes keys and factors from a seed. */
export function keyedInit(seed: u64): void {
  let state = seed;
  for (let at = LINK_KEYS; at < FACTORS + 32; at += 8) {
    state += 0x9e3779b97f4a7c15;
    let word = state;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9;
    word = (word ^ (word >> 27)) * 0x94d049bb133111eb;
    word ^= word >> 31;
    store<u64>(at, at >= FACTORS && at < FACTORS + 24 ? word | 1 : word);
  }
}

// @ts-ignore: decorator
@inline
function keyAt(i: usize): v128 {
  return v128.load(LINK_KEYS + (i << 4));
}

// @ts-ignore: decorator
@inline
function factorAt(i: usize): u64 {
  return load<u64>(FACTORS + (i << 3));
}

/** `hashRun` (block-hash.ts) with a secret seed. */
export function keyedRun(
  tokens: usize,
  blockBytes: usize,
  hashedBytes: usize,
  extras: usize,
  isRoot: bool,
  prefix: u64,
  count: u32,
  out: usize,
): u64 {
  if (count == 0) return prefix;
  if (isRoot) prefix = factorAt(3);
  if (hashedBytes == LINK_BYTES && extras == 0) return keyedPlain(tokens, blockBytes, prefix, count, out);
  for (const end = out + ((<usize>count) << 3); out < end; out += 8) {
    prefix = linkBlock(prefix, tokens, hashedBytes);
    if (extras != 0) {
      const extra = load<u64>(extras);
      if (extra != 0) prefix = join(prefix, extra, factorAt(1), factorAt(2));
      extras += 8;
    }
    store<u64>(out, prefix);
    tokens += blockBytes;
  }
  return prefix;
}

/** Blocks of 16 tokens and nothing else: a loop that keeps keys and factors in registers. */
function keyedPlain(tokens: usize, blockBytes: usize, prefix: u64, count: u32, out: usize): u64 {
  const k0 = keyAt(0);
  const k1 = keyAt(1);
  const k2 = keyAt(2);
  const k3 = keyAt(3);
  const k4 = keyAt(4);
  const k5 = keyAt(5);
  const c = factorAt(0);
  const c1 = factorAt(1);
  const c2 = factorAt(2);
  for (const end = out + ((<usize>count) << 3); out < end; out += 8) {
    const v0 = v128.load(tokens);
    const v1 = v128.load(tokens, 16);
    const v2 = v128.load(tokens, 32);
    const v3 = v128.load(tokens, 48);
    const a = i64x2.add(products(v0, v1, k0, k1), products(v2, v3, k2, k3));
    const b = i64x2.add(products(v0, v1, k2, k3), products(v2, v3, k4, k5));
    prefix = join(prefix, weigh(a, b, c), c1, c2);
    store<u64>(out, prefix);
    tokens += blockBytes;
  }
  return prefix;
}

/** The links of one block. */
function linkBlock(prefix: u64, at: usize, bytes: usize): u64 {
  const c = factorAt(0);
  const c1 = factorAt(1);
  const c2 = factorAt(2);
  for (let left = <isize>bytes; left > 0; left -= <isize>LINK_BYTES) {
    const v0 = vectorAt(at, left);
    const v1 = vectorAt(at + 16, left - 16);
    const v2 = vectorAt(at + 32, left - 32);
    const v3 = vectorAt(at + 48, left - 48);
    const a = i64x2.add(products(v0, v1, keyAt(0), keyAt(1)), products(v2, v3, keyAt(2), keyAt(3)));
    const b = i64x2.add(products(v0, v1, keyAt(2), keyAt(3)), products(v2, v3, keyAt(4), keyAt(5)));
    prefix = join(prefix, weigh(a, b, c), c1, c2);
    at += LINK_BYTES;
  }
  return prefix;
}

/** Four words of which `left` bytes are the block's; zeros for the others. */
function vectorAt(at: usize, left: isize): v128 {
  if (left >= 16) return v128.load(at);
  let words = i32x4.splat(0);
  if (left > 0) words = i32x4.replace_lane(words, 0, load<i32>(at));
  if (left > 4) words = i32x4.replace_lane(words, 1, load<i32>(at, 4));
  if (left > 8) words = i32x4.replace_lane(words, 2, load<i32>(at, 8));
  return words;
}

/** NH of two vectors: lanes 0 and 2, 1 and 3 in one sum each. */
// @ts-ignore: decorator
@inline
function products(first: v128, second: v128, firstKey: v128, secondKey: v128): v128 {
  const x = i32x4.add(first, firstKey);
  const y = i32x4.add(second, secondKey);
  return i64x2.add(i64x2.extmul_low_i32x4_u(x, y), i64x2.extmul_high_i32x4_u(x, y));
}

/** a + (b <<< 32) · c, of sums in two lanes each. */
// @ts-ignore: decorator
@inline
function weigh(a: v128, b: v128, c: u64): u64 {
  const sums = i64x2.add(i64x2.shuffle(a, b, 0, 2), i64x2.shuffle(a, b, 1, 3));
  return <u64>i64x2.extract_lane(sums, 0) + rotl<u64>(<u64>i64x2.extract_lane(sums, 1), 32) * c;
}

// @ts-ignore: decorator
@inline
function join(prefix: u64, sum: u64, c1: u64, c2: u64): u64 {
  const x = (prefix + sum) * c1;
  return (x ^ (x >> 32)) * c2;
}
