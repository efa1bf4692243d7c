/**
 * The prefix hashes of an index with a secret seed, in plain code (kernel/keyed-hash.ts has the definition). A local hash has the
 * sums of a block's links, joined by dashes, and behind them its extra digest.
 *
 * Not for hot paths, not part of the package's surface: tests and benchmarks only.
 */
import { toHex } from "../block-hash.ts";
import { hexAt, ReferenceHash } from "./reference-hash.ts";

const LINK_WORDS = 16;
/** Positions of the words that are multiplied with the word four behind them. */
const FIRSTS = [0, 1, 2, 3, 8, 9, 10, 11];
const KEY_WORDS = 24;

/** As `ReferenceHash`; digests of bytes are the same. */
export class KeyedReferenceHash extends ReferenceHash {
  readonly #keys: readonly bigint[];
  readonly #weight: bigint;
  readonly #factors: readonly [bigint, bigint];
  readonly #start: string;

  private constructor(base: ReferenceHash, seed: bigint) {
    super(base);
    const words = wordsFrom(seed, KEY_WORDS / 2 + 4);
    this.#keys = words.slice(0, KEY_WORDS / 2).flatMap((word) => [low32(word), word >> 32n]);
    const [weight = 0n, first = 0n, second = 0n, start = 0n] = words.slice(KEY_WORDS / 2);
    this.#weight = weight | 1n;
    this.#factors = [first | 1n, second | 1n];
    this.#start = hexOf(start);
  }

  /**
   * Makes one.
   *
   * @param seed - 0 … 2⁶⁴ − 1.
   */
  static override async create(seed: number | bigint): Promise<KeyedReferenceHash> {
    return new KeyedReferenceHash(await ReferenceHash.create(seed), BigInt(seed));
  }

  /** Always: see `ReferenceHash`. */
  override get isKeyed(): boolean {
    return true;
  }

  /** As in `ReferenceHash`; each is the sums of its links. */
  override locals(
    tokens: Uint32Array,
    blockCount: number,
    blockSize: number,
    lookahead: number,
    extraDigests: Uint32Array | null,
  ): string[] {
    return Array.from({ length: blockCount }, (_, i) => {
      const block = tokens.slice(i * blockSize, (i + 1) * blockSize + lookahead);
      const sums: string[] = [];
      for (let at = 0; at < block.length; at += LINK_WORDS) sums.push(this.#sum(block, at));
      const digest = extraDigests === null ? toHex(0, 0) : hexAt(extraDigests, i);
      return (digest === toHex(0, 0) ? sums : [...sums, digest]).join("-");
    });
  }

  /** As in `ReferenceHash`. */
  override prefixes(locals: readonly string[], parent: string | null): string[] {
    let prefix = parent ?? this.#start;
    return locals.map(
      (local) => (prefix = local.split("-").reduce((before, sum) => this.#link(before, sum), prefix)),
    );
  }

  #sum(block: Uint32Array, at: number): string {
    const word = (i: number): bigint => BigInt(block.at(at + i) ?? 0);
    const sum = (shift: number): bigint =>
      FIRSTS.reduce(
        (sum, i) =>
          sum + low32(word(i) + this.#keys[i + shift]) * low32(word(i + 4) + this.#keys[i + 4 + shift]),
        0n,
      );
    const other = low64(sum(8));
    return hexOf(sum(0) + ((other >> 32n) + (low32(other) << 32n)) * this.#weight);
  }

  #link(prefix: string, sum: string): string {
    const [first, second] = this.#factors;
    const x = low64((BigInt(`0x${prefix}`) + BigInt(`0x${sum}`)) * first);
    return hexOf((x ^ (x >> 32n)) * second);
  }
}

/** SplitMix64. */
function wordsFrom(seed: bigint, count: number): bigint[] {
  let state = seed;
  return Array.from({ length: count }, () => {
    state = low64(state + 0x9e3779b97f4a7c15n);
    let word = state;
    word = low64((word ^ (word >> 30n)) * 0xbf58476d1ce4e5b9n);
    word = low64((word ^ (word >> 27n)) * 0x94d049bb133111ebn);
    return word ^ (word >> 31n);
  });
}

function low32(value: bigint): bigint {
  return value & 0xffff_ffffn;
}

function low64(value: bigint): bigint {
  return BigInt.asUintN(64, value);
}

function hexOf(value: bigint): string {
  return low64(value).toString(16).padStart(16, "0");
}
