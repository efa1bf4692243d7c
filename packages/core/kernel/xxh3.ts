/**
 * XXH3-64 with a seed, over bytes in linear memory; every length, byte-exact with the C code of its author.
 *
 *     bytes        0 │ 1–3 │ 4–8 │ 9–16 │ 17–128 │ 129–240 │ > 240
 *     what is hashed  prefix chain ──┘        │                └ blocks of more than 60 tokens
 *                     (two u64s)              └ blocks of 5–32 tokens; 16 tokens are 64 bytes
 *
 * `HASH_STATE` belongs to the one seed of this memory. It holds the seed, which hash prefixes have,
 * two words for short inputs, the standard secret, and the secret with the seed applied. `hashInit` writes it once;
 * then it is read-only, so threads share it.
 *
 * Source: the specification in github.com/Cyan4973/xxHash, doc/xxhash_spec.md and xxhash.h (BSD-2-Clause).
 */
import { HASH_STATE } from "./layout";

const SEED: usize = HASH_STATE;
/** 1 where prefix hashes are those of keyed-hash.ts, 0 where they are XXH3's. */
const IS_KEYED: usize = HASH_STATE + 8;
/** What inputs of 9 to 16 bytes are combined with: parts of the secret, seed applied. */
const FLIPS: usize = HASH_STATE + 16;
const SECRET: usize = HASH_STATE + 64;
const SEEDED_SECRET: usize = SECRET + 192;

const SECRET_BYTES: usize = 192;
const STRIPE_BYTES: usize = 64;
/** Stripes until the secret, which moves by 8 bytes a stripe, is used up. */
const STRIPES_PER_ROUND: usize = 16;

const PRIME32_1: u64 = 0x9e3779b1;
const PRIME32_2: u64 = 0x85ebca77;
const PRIME32_3: u64 = 0xc2b2ae3d;
const PRIME64_1: u64 = 0x9e3779b185ebca87;
const PRIME64_2: u64 = 0xc2b2ae3d27d4eb4f;
const PRIME64_3: u64 = 0x165667b19e3779f9;
const PRIME64_4: u64 = 0x85ebca77c2b2ae63;
const PRIME64_5: u64 = 0x27d4eb2f165667c5;
const PRIME_MX1: u64 = 0x165667919e3779f9;
const PRIME_MX2: u64 = 0x9fb21c651e98df25;

/** Writes the state for a seed. */
export function hashInit(seed: u64, keyed: bool): void {
  store<u64>(SEED, seed);
  store<u64>(IS_KEYED, keyed);
  putSecret(0, 0xbe4ba423396cfeb8, 0x1cad21f72c81017c);
  putSecret(16, 0xdb979083e96dd4de, 0x1f67b3b7a4a44072);
  putSecret(32, 0x78e5c0cc4ee679cb, 0x2172ffcc7dd05a82);
  putSecret(48, 0x8e2443f7744608b8, 0x4c263a81e69035e0);
  putSecret(64, 0xcb00c391bb52283c, 0xa32e531b8b65d088);
  putSecret(80, 0x4ef90da297486471, 0xd8acdea946ef1938);
  putSecret(96, 0x3f349ce33f76faa8, 0x1d4f0bc7c7bbdcf9);
  putSecret(112, 0x3159b4cd4be0518a, 0x647378d9c97e9fc8);
  putSecret(128, 0xc3ebd33483acc5ea, 0xeb6313faffa081c5);
  putSecret(144, 0x49daf0b751dd0d17, 0x9e68d429265516d3);
  putSecret(160, 0xfca1477d58be162b, 0xce31d07ad1b8f88f);
  putSecret(176, 0x280416958f3acb45, 0x7e404bbbcafbd7af);
  store<u64>(FLIPS, (load<u64>(SECRET, 24) ^ load<u64>(SECRET, 32)) + seed);
  store<u64>(FLIPS, (load<u64>(SECRET, 40) ^ load<u64>(SECRET, 48)) - seed, 8);
  for (let i: usize = 0; i < SECRET_BYTES; i += 16) {
    store<u64>(SEEDED_SECRET + i, load<u64>(SECRET + i) + seed);
    store<u64>(SEEDED_SECRET + i, load<u64>(SECRET + i, 8) - seed, 8);
  }
}

/** The seed of this memory. */
export function seedOf(): u64 {
  return load<u64>(SEED);
}

/** Whether prefix hashes of this memory are those of keyed-hash.ts. */
// @ts-ignore: decorator
@inline
export function isKeyed(): bool {
  return load<u64>(IS_KEYED) != 0;
}

function putSecret(offset: usize, first: u64, second: u64): void {
  store<u64>(SECRET + offset, first);
  store<u64>(SECRET + offset, second, 8);
}

/** The 128-bit product, its halves folded by XOR. Wasm multiplies 64 × 64 → 64 only, so the upper half is made of four. */
// @ts-ignore: decorator
@inline
function mulFold(a: u64, b: u64): u64 {
  const aLow = a & 0xffffffff;
  const aHigh = a >> 32;
  const bLow = b & 0xffffffff;
  const bHigh = b >> 32;
  const highLow = aHigh * bLow;
  const cross = ((aLow * bLow) >> 32) + (highLow & 0xffffffff) + aLow * bHigh;
  return (a * b) ^ ((highLow >> 32) + (cross >> 32) + aHigh * bHigh);
}

// @ts-ignore: decorator
@inline
function avalanche(hash: u64): u64 {
  hash ^= hash >> 37;
  hash *= PRIME_MX1;
  return hash ^ (hash >> 32);
}

// @ts-ignore: decorator
@inline
function avalanche64(hash: u64): u64 {
  hash ^= hash >> 33;
  hash *= PRIME64_2;
  hash ^= hash >> 29;
  hash *= PRIME64_3;
  return hash ^ (hash >> 32);
}

// @ts-ignore: decorator
@inline
function mix16(at: usize, secret: usize, seed: u64): u64 {
  return mulFold(
    load<u64>(at) ^ (load<u64>(secret) + seed),
    load<u64>(at, 8) ^ (load<u64>(secret, 8) - seed),
  );
}

/** XXH3-64 of two u64s, as LE64(first) ‖ LE64(second): a link of the prefix chain. */
// @ts-ignore: decorator
@inline
export function hashPair(first: u64, second: u64): u64 {
  return hashPairWith(first, second, flipAt(0), flipAt(8));
}

/** `hashPair` with what both are combined with. */
// @ts-ignore: decorator
@inline
export function hashPairWith(first: u64, second: u64, flip0: u64, flip1: u64): u64 {
  const low = first ^ flip0;
  const high = second ^ flip1;
  return avalanche(16 + bswap<u64>(low) + high + mulFold(low, high));
}

/** XXH3-64 of 64 bytes: a block of 16 tokens. */
// @ts-ignore: decorator
@inline
export function hash64Bytes(at: usize): u64 {
  return hash64With(at, secretAt(0), secretAt(16), secretAt(32), secretAt(48));
}

/** Part of the seeded secret: a loop keeps it in registers, as the compiler does not know that nothing writes over it. */
// @ts-ignore: decorator
@inline
export function secretAt(offset: usize): v128 {
  return v128.load(SEEDED_SECRET + offset);
}

/** `hash64Bytes` with the four parts of the seeded secret. */
// @ts-ignore: decorator
@inline
export function hash64With(at: usize, secret0: v128, secret1: v128, secret2: v128, secret3: v128): u64 {
  const first = mixPair(v128.xor(v128.load(at), secret0), v128.xor(v128.load(at, 16), secret2));
  const second = mixPair(v128.xor(v128.load(at, 32), secret3), v128.xor(v128.load(at, 48), secret1));
  const sum = i64x2.add(first, second);
  return avalanche(64 * PRIME64_1 + <u64>i64x2.extract_lane(sum, 0) + <u64>i64x2.extract_lane(sum, 1));
}

// @ts-ignore: decorator
@inline
export function flipAt(offset: usize): u64 {
  return load<u64>(FLIPS + offset);
}

/**
 * Two of `mix16` with a seeded secret, a lane each.
 *
 *     v0 = a₀ b₀   v1 = a₁ b₁     a = a₀ᴸ a₁ᴸ a₀ᴴ a₁ᴴ   b likewise     products of halves: LL  HH, with b turned LH  HL
 */
// @ts-ignore: decorator
@inline
function mixPair(v0: v128, v1: v128): v128 {
  const a = i32x4.shuffle(v0, v1, 0, 4, 1, 5);
  const b = i32x4.shuffle(v0, v1, 2, 6, 3, 7);
  const turned = i64x2.shuffle(b, b, 1, 0);
  const mask = i64x2.splat(0xffffffff);
  const lowLow = i64x2.extmul_low_i32x4_u(a, b);
  const highLow = i64x2.extmul_high_i32x4_u(a, turned);
  const cross = i64x2.add(
    i64x2.add(i64x2.shr_u(lowLow, 32), v128.and(highLow, mask)),
    i64x2.extmul_low_i32x4_u(a, turned),
  );
  const high = i64x2.add(
    i64x2.add(i64x2.shr_u(highLow, 32), i64x2.shr_u(cross, 32)),
    i64x2.extmul_high_i32x4_u(a, b),
  );
  return v128.xor(i32x4.shuffle(lowLow, i64x2.shl(cross, 32), 0, 5, 2, 7), high);
}

/** XXH3-64 of `bytes` bytes at `at`. */
export function hashBytes(at: usize, bytes: usize): u64 {
  if (bytes <= 16) return hashUpTo16(at, bytes);
  if (bytes <= 128) return hashUpTo128(at, bytes);
  if (bytes <= 240) return hashUpTo240(at, bytes);
  return hashLong(at, bytes);
}

function hashUpTo16(at: usize, bytes: usize): u64 {
  const seed = load<u64>(SEED);
  if (bytes > 8) {
    const low = load<u64>(at) ^ load<u64>(FLIPS);
    const high = load<u64>(at + bytes - 8) ^ load<u64>(FLIPS, 8);
    return avalanche(<u64>bytes + bswap<u64>(low) + high + mulFold(low, high));
  }
  if (bytes >= 4) {
    const flip = (load<u64>(SECRET, 8) ^ load<u64>(SECRET, 16)) - (seed ^ ((<u64>bswap<u32>(<u32>seed)) << 32));
    let hash = (<u64>load<u32>(at + bytes - 4) + ((<u64>load<u32>(at)) << 32)) ^ flip;
    hash ^= rotl<u64>(hash, 49) ^ rotl<u64>(hash, 24);
    hash *= PRIME_MX2;
    hash ^= (hash >> 35) + <u64>bytes;
    hash *= PRIME_MX2;
    return hash ^ (hash >> 28);
  }
  if (bytes > 0) {
    const first = <u32>load<u8>(at);
    const middle = <u32>load<u8>(at + (bytes >> 1));
    const last = <u32>load<u8>(at + bytes - 1);
    const combined = (first << 16) | (middle << 24) | last | (<u32>bytes << 8);
    return avalanche64(<u64>combined ^ (<u64>(load<u32>(SECRET) ^ load<u32>(SECRET, 4)) + seed));
  }
  return avalanche64(seed ^ load<u64>(SECRET, 56) ^ load<u64>(SECRET, 64));
}

function hashUpTo128(at: usize, bytes: usize): u64 {
  const seed = load<u64>(SEED);
  let sum: u64 = <u64>bytes * PRIME64_1;
  if (bytes > 96) sum += mix16(at + 48, SECRET + 96, seed) + mix16(at + bytes - 64, SECRET + 112, seed);
  if (bytes > 64) sum += mix16(at + 32, SECRET + 64, seed) + mix16(at + bytes - 48, SECRET + 80, seed);
  if (bytes > 32) sum += mix16(at + 16, SECRET + 32, seed) + mix16(at + bytes - 32, SECRET + 48, seed);
  return avalanche(sum + mix16(at, SECRET, seed) + mix16(at + bytes - 16, SECRET + 16, seed));
}

function hashUpTo240(at: usize, bytes: usize): u64 {
  const seed = load<u64>(SEED);
  let sum: u64 = <u64>bytes * PRIME64_1;
  for (let i: usize = 0; i < 128; i += 16) sum += mix16(at + i, SECRET + i, seed);
  sum = avalanche(sum);
  const whole = bytes & ~15;
  for (let i: usize = 128; i < whole; i += 16) sum += mix16(at + i, SECRET + i - 128 + 3, seed);
  return avalanche(sum + mix16(at + bytes - 16, SECRET + 136 - 17, seed));
}

/** Eight lanes of u64 in four registers; a stripe adds to them, and the secret's end scrambles them. */
function hashLong(at: usize, bytes: usize): u64 {
  let lanes0 = i64x2(PRIME32_3, PRIME64_1);
  let lanes1 = i64x2(PRIME64_2, PRIME64_3);
  let lanes2 = i64x2(PRIME64_4, PRIME32_2);
  let lanes3 = i64x2(PRIME64_5, PRIME32_1);
  const stripes = (bytes - 1) / STRIPE_BYTES;
  let inRound: usize = 0;
  for (let i: usize = 0; i <= stripes; i++) {
    // The last stripe overlaps the one before it, and has a place of its own in the secret.
    const isLast = i == stripes;
    const from = isLast ? at + bytes - STRIPE_BYTES : at + i * STRIPE_BYTES;
    const secret = isLast ? SEEDED_SECRET + SECRET_BYTES - STRIPE_BYTES - 7 : SEEDED_SECRET + inRound * 8;
    lanes0 = accumulate(lanes0, from, secret);
    lanes1 = accumulate(lanes1, from + 16, secret + 16);
    lanes2 = accumulate(lanes2, from + 32, secret + 32);
    lanes3 = accumulate(lanes3, from + 48, secret + 48);
    if (++inRound == STRIPES_PER_ROUND && !isLast) {
      inRound = 0;
      const end = SEEDED_SECRET + SECRET_BYTES - STRIPE_BYTES;
      lanes0 = scramble(lanes0, end);
      lanes1 = scramble(lanes1, end + 16);
      lanes2 = scramble(lanes2, end + 32);
      lanes3 = scramble(lanes3, end + 48);
    }
  }
  const sum =
    <u64>bytes * PRIME64_1 +
    merge(lanes0, SEEDED_SECRET + 11) +
    merge(lanes1, SEEDED_SECRET + 27) +
    merge(lanes2, SEEDED_SECRET + 43) +
    merge(lanes3, SEEDED_SECRET + 59);
  return avalanche(sum);
}

// @ts-ignore: decorator
@inline
function accumulate(lanes: v128, at: usize, secret: usize): v128 {
  const value = v128.load(at);
  const keyed = v128.xor(value, v128.load(secret));
  // u32 lanes: 0 and 2 are the low halves, 1 and 3 the high ones.
  const low = v128.and(keyed, i64x2.splat(0xffffffff));
  const product = i64x2.mul(low, i64x2.shr_u(keyed, 32));
  const swapped = i64x2.shuffle(value, value, 1, 0);
  return i64x2.add(i64x2.add(lanes, swapped), product);
}

// @ts-ignore: decorator
@inline
function scramble(lanes: v128, secret: usize): v128 {
  const mixed = v128.xor(v128.xor(lanes, i64x2.shr_u(lanes, 47)), v128.load(secret));
  return i64x2.mul(mixed, i64x2.splat(PRIME32_1));
}

// @ts-ignore: decorator
@inline
function merge(lanes: v128, secret: usize): u64 {
  return mulFold(
    <u64>i64x2.extract_lane(lanes, 0) ^ load<u64>(secret),
    <u64>i64x2.extract_lane(lanes, 1) ^ load<u64>(secret, 8),
  );
}
