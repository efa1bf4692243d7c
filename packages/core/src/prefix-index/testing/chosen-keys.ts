/**
 * Keys chosen against an index whose table secret is known (kernel/mix.ts), or against a mix without a secret. Tests only: not
 * part of the package's surface.
 */
import type { TableSecret } from "../index-options.ts";

const MASK = 2n ** 64n - 1n;

/** What the tables multiplied keys with before they had a secret: any constant that an attacker knows. */
const GOLDEN = 0x9e3779b97f4a7c15n;

/** Finds keys by what the index makes of them: the mix is a permutation, and this is its inverse. */
export class KeyChooser {
  readonly #flip: bigint;
  readonly #first: bigint;
  readonly #second: bigint;

  /** @param secret - the index's; null for a mix that is one multiplication with a known factor. */
  constructor(secret: TableSecret | null) {
    const [low0, low1, high0, high1] = (secret ?? [0, 0, 0, 0]).map(BigInt);
    const [low, high] = [(low1 << 32n) | low0, (high1 << 32n) | high0];
    const rotated = ((high << 32n) | (high >> 32n)) & MASK;
    this.#flip = secret === null ? 0n : scramble(low);
    this.#first = secret === null ? 1n : inverse(scramble(high ^ 0xa0761d6478bd642fn) | 1n);
    this.#second =
      secret === null ? inverse(GOLDEN) : inverse(scramble(low + rotated + 0xe7037ed1a0b428dbn) | 1n);
    this.#isPlain = secret === null;
  }

  readonly #isPlain: boolean;

  /** The key that is mixed to this word. */
  keyOf(mixed: bigint): bigint {
    const folded = (mixed * this.#second) & MASK;
    const first = this.#isPlain ? folded : folded ^ (folded >> 32n);
    return ((first * this.#first) & MASK) ^ this.#flip;
  }

  /**
   * Keys that share a segment at any depth, a tag, and a bucket (kernel/id-table.ts).
   *
   * @param upper - the 32 bits that they share.
   */
  sameBucket(count: number, upper: bigint): bigint[] {
    return Array.from({ length: count }, (_, i) => this.inBucket(BigInt(i) + 1n, upper));
  }

  /** One of the keys of `sameBucket`. */
  inBucket(i: bigint, upper: bigint): bigint {
    // The bucket is the low byte of the lower half XOR the upper half.
    return this.keyOf((upper << 32n) | ((i & 0xff_ffffn) << 8n) | (upper & 255n));
  }

  /** Keys that share the lower half of mixed word XOR its upper half: one place in a table without segments. */
  samePlace(count: number): bigint[] {
    return Array.from({ length: count }, (_, i) => this.atPlace(BigInt(i + 1) * 40_503n));
  }

  /** One of the keys of `samePlace`. */
  atPlace(i: bigint): bigint {
    const upper = i & 0xffff_ffffn;
    return this.keyOf((upper << 32n) | (upper ^ 77n));
  }
}

function scramble(word: bigint): bigint {
  let x = (word + GOLDEN) & MASK;
  x = ((x ^ (x >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
  x = ((x ^ (x >> 27n)) * 0x94d049bb133111ebn) & MASK;
  return x ^ (x >> 31n);
}

/** Of an odd word modulo 2⁶⁴, by Newton's steps: each doubles the bits that are right. */
function inverse(word: bigint): bigint {
  let x = word;
  for (let i = 0; i < 6; i++) x = (x * (2n - word * x)) & MASK;
  return x & MASK;
}
