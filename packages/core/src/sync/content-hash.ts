/**
 * Whether a page's name is Python's hash of its tokens. SGLang before 0.5.6 names pages so. Such a name does not depend on the
 * pages before it, and the first page of such an engine shows it.
 *
 *     name = hash((t0, t1, …))       pages of pairs: hash(((t0, t1), (t1, t2), …))
 *
 * CPython's hash of a tuple has no seed, and neither has that of an integer. The name of an engine that chains its hashes
 * equals it with a chance of 2^-64.
 *
 * Invariant (content-hash.test.ts)
 *  H1  `tupleHash` is CPython's, 3.8 and later.
 *
 * Not here: the effect on the rank (event-applier.ts, A12). The hash is computed once for a stream: bigint is quick enough.
 *
 * Sources: SGLang 0.5.5, srt/mem_cache/radix_cache.py (_record_store_event); CPython Objects/tupleobject.c (tuplehash).
 */
import type { DecodedBlockStored } from "../wire/events.ts";

const PRIME_1 = 11_400_714_785_074_694_791n;
const PRIME_2 = 14_029_467_366_897_019_727n;
const PRIME_5 = 2_870_177_450_012_600_261n;
const MASK = 0xffff_ffff_ffff_ffffn;
/** What CPython gives for a result of −1, which means an error there. */
const INSTEAD_OF_ERROR = 1_546_275_796n;

/** CPython's hash of a tuple of items with these hashes, as an unsigned number. */
export function tupleHash(lanes: readonly bigint[]): bigint {
  let sum = PRIME_5;
  for (const lane of lanes) {
    sum = (sum + lane * PRIME_2) & MASK;
    sum = ((sum << 31n) | (sum >> 33n)) & MASK;
    sum = (sum * PRIME_1) & MASK;
  }
  sum = (sum + (BigInt(lanes.length) ^ (PRIME_5 ^ 3_527_539n))) & MASK;
  return sum === MASK ? INSTEAD_OF_ERROR : sum;
}

/** Whether a store of one page names it by its tokens alone. Tokens and names are in the decoder's scratch. */
export function isNamedByContent(
  { blockSize, lookahead }: DecodedBlockStored,
  tokens: Uint32Array,
  hashes: Uint32Array,
): boolean {
  const tokenAt = (i: number): bigint => BigInt(tokens[i]);
  const lanes = Array.from({ length: blockSize }, (_, i) =>
    lookahead === 0 ? tokenAt(i) : tupleHash([tokenAt(i), tokenAt(i + 1)]),
  );
  return tupleHash(lanes) === ((BigInt(hashes[1]) << 32n) | BigInt(hashes[0]));
}
