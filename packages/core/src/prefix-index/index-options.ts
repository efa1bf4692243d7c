/**
 * Limits of an index, what they are by default, and what they may be.
 *
 * Invariant
 *  O1  An option out of its range is an `IndexError` that names it, and nothing is made.
 */
import { type EvictionListener, PARTS_MAX } from "./contract.ts";
import { IndexError } from "./index-error.ts";

/** Limits of an index. All have defaults. */
export interface PrefixIndexOptions {
  /** Seed of the hashes, taken modulo 2⁶⁴. */
  readonly seed?: number | bigint | undefined;
  /** Whether prefix hashes are keyed: faster than XXH3's, which is the default, and of use to this index only. */
  readonly keyedHashes?: boolean | undefined;
  /**
   * Four u32 words that the tables mix their keys with, so that nobody can choose keys that share a place. By default drawn
   * at random; given where a run has to be repeated to the letter. Given out to nobody.
   */
  readonly secret?: TableSecret | undefined;
  /** What `PrefixIndexStats.allocatedBytes` may become; 1 MiB … 3 GiB. */
  readonly memoryBytesMax?: number | undefined;
  readonly contextCountMax?: number | undefined;
  readonly prefixesPerContextMax?: number | undefined;
  readonly parkedBytesMax?: number | undefined;
  readonly parkedStoresPerRankMax?: number | undefined;
  /** Age at which `passTime` gives a parked store up. */
  readonly parkedAgeMsMax?: number | undefined;
  readonly onEviction?: EvictionListener | undefined;
  /** Where several indexes are read as one (parts-reader.ts): which of them this is. By default the only one. */
  readonly part?: IndexPart | undefined;
}

/** One of the indexes that are read as one. */
export interface IndexPart {
  /** 0 … count − 1 */
  readonly number: number;
  /** 1 … `PARTS_MAX`, the same for all. */
  readonly count: number;
}

/** 128 bits, as u32 words. */
export type TableSecret = readonly [number, number, number, number];

type LimitName =
  | "memoryBytesMax"
  | "contextCountMax"
  | "prefixesPerContextMax"
  | "parkedBytesMax"
  | "parkedStoresPerRankMax"
  | "parkedAgeMsMax";

/** The same with every limit filled in. */
export type IndexLimits = PrefixIndexOptions &
  Readonly<Record<LimitName, number>> & { readonly part: IndexPart };

/** More prefixes than a context can have in one memory: by default, memory is the limit. */
const PREFIXES_PER_CONTEXT_MAX = 134_217_728;

const DEFAULTS: Readonly<Record<LimitName, number>> = {
  memoryBytesMax: 2_147_483_648,
  contextCountMax: 256,
  prefixesPerContextMax: PREFIXES_PER_CONTEXT_MAX,
  parkedBytesMax: 67_108_864,
  parkedStoresPerRankMax: 1024,
  /** Ten minutes: a parent that comes at all comes with a replay, within seconds. */
  parkedAgeMsMax: 600_000,
};

const RANGES: Readonly<Record<LimitName, readonly [number, number]>> = {
  memoryBytesMax: [1_048_576, 3_221_225_472],
  contextCountMax: [1, 4000],
  prefixesPerContextMax: [1, PREFIXES_PER_CONTEXT_MAX],
  parkedBytesMax: [0, Number.MAX_SAFE_INTEGER],
  parkedStoresPerRankMax: [0, Number.MAX_SAFE_INTEGER],
  parkedAgeMsMax: [0, Number.MAX_SAFE_INTEGER],
};

const ONLY_PART: IndexPart = { number: 0, count: 1 };

/**
 * Holds the limits to their ranges.
 *
 * @throws IndexError `invalid_option`.
 */
export function checkOptions(options: PrefixIndexOptions): void {
  const { number, count } = options.part ?? ONLY_PART;
  const isPart = Number.isInteger(count) && count >= 1 && count <= PARTS_MAX;
  if (!isPart || !Number.isInteger(number) || number < 0 || number >= count)
    throw new IndexError(
      {
        code: "invalid_option",
        option: "part",
        actual: number,
        expected: `0 … count − 1, at most ${PARTS_MAX}`,
      },
      `part ${number} of ${count} is none of at most ${PARTS_MAX} parts`,
    );
  for (const [name, [min, max]] of Object.entries(RANGES)) {
    const actual = options[name as LimitName];
    if (actual === undefined || (Number.isInteger(actual) && actual >= min && actual <= max)) continue;
    throw new IndexError(
      { code: "invalid_option", option: name, actual, expected: `${min} … ${max}` },
      `${name} is ${actual}, expected a whole number in ${min} … ${max}`,
    );
  }
}

/** The options with the default of every limit that is not given. */
export function limitsOf(options: PrefixIndexOptions): IndexLimits {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return { part: ONLY_PART, ...DEFAULTS, ...Object.fromEntries(given) };
}
