/**
 * The mixing of keys for every table. Engines choose their block hashes, and callers choose what is
 * stored: under a fixed mix they could choose keys that all fall on one place. So the mix has a
 * secret, drawn when the index is made (or given, in tests), and it never leaves the index.
 *
 *     TABLE_SECRET + 0   u64   is added by XOR
 *                    8   u64   first factor, odd
 *                   16   u64   second factor, odd
 *
 * The first product brings the low bits of a key up, the shift brings them down again, the second
 * product spreads both. Without the secret, no two keys are known to differ in few bits of the
 * result. The mix is no cipher. It relies on hidden results: no answer depends on the place of a
 * key.
 *
 * Source of the shape: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014 (the finalizer), with
 * secret factors in place of fixed ones.
 */
import { TABLE_SECRET } from "./layout";

/** Spreads any key over 64 bits: engine hashes may be small numbers, or chosen. */
// @ts-ignore: decorator
@inline
export function mix(key: u64): u64 {
  return mixWith(key, secretFlip(), secretFirst(), secretSecond());
}

/** The same for a loop that keeps the secret in locals: the compiler does not know that nothing writes over it. */
// @ts-ignore: decorator
@inline
export function mixWith(key: u64, flip: u64, firstFactor: u64, secondFactor: u64): u64 {
  const first = (key ^ flip) * firstFactor;
  return (first ^ (first >> 32)) * secondFactor;
}

// @ts-ignore: decorator
@inline
export function secretFlip(): u64 {
  return load<u64>(TABLE_SECRET);
}

// @ts-ignore: decorator
@inline
export function secretFirst(): u64 {
  return load<u64>(TABLE_SECRET, 8);
}

// @ts-ignore: decorator
@inline
export function secretSecond(): u64 {
  return load<u64>(TABLE_SECRET, 16);
}

/** Sets the secret of this memory: once, before any table is made. */
export function mixInit(low: u64, high: u64): void {
  store<u64>(TABLE_SECRET, scramble(low));
  store<u64>(TABLE_SECRET, scramble(high ^ 0xa0761d6478bd642f) | 1, 8);
  store<u64>(TABLE_SECRET, scramble(low + rotl<u64>(high, 32) + 0xe7037ed1a0b428db) | 1, 16);
}

/** The finalizer of SplitMix64: secrets that differ little, as those of tests do, give words that differ much. */
function scramble(word: u64): u64 {
  let x = word + 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}
