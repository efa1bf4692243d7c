/**
 * Parents that stores waited for when they were given up (parked-stores.ts). If such a parent is stored after all, the engine
 * can reach what was given up, and the index cannot.
 *
 *     parent's name ─▶ PROBES bits of the rank's filter        all set: the name was added, or it looks like one that was
 *
 * Invariants
 *  G1  A name that was added is found until its rank is cleared.
 *  G2  A rank takes FILTER_WORDS words at most. Beyond PARENTS_MAX names every name counts as one of them.
 *
 * At PARENTS_MAX names about one other name in a hundred thousand is taken for one of them. An engine that chooses its names
 * against the filter harms its own answers only: they become partial.
 */

/** Words of a rank's filter: 1 MB. Made with the first store that a rank gives up. */
const FILTER_WORDS = 262_144;
/** Bits that a name sets. */
const PROBES = 4;
/** Names of a rank; more than two minutes of an engine that announces a thousand stores a second with lost parents. */
export const PARENTS_MAX = 131_072;

interface Filter {
  readonly words: Uint32Array;
  added: number;
}

/** The parents of every rank's given-up stores. */
export class GivenUpParents {
  readonly #filters = new Map<number, Filter>();

  /** Notes a parent. */
  add(rankSlot: number, low: number, high: number): void {
    const known = this.#filters.get(rankSlot);
    const filter = known ?? { words: new Uint32Array(FILTER_WORDS), added: 0 };
    if (known === undefined) this.#filters.set(rankSlot, filter);
    filter.added += 1;
    for (let probe = 0; probe < PROBES; probe += 1) {
      const bit = bitOf(low, high, probe);
      filter.words[bit >>> 5] |= 1 << (bit & 31);
    }
  }

  /** Whether one of these names, low then high, is the parent of something that was given up. */
  hasAny(rankSlot: number, names: Uint32Array, count: number): boolean {
    const filter = this.#filters.get(rankSlot);
    if (filter === undefined) return false;
    if (filter.added > PARENTS_MAX) return true;
    for (let i = 0; i < count; i += 1) if (isIn(filter, names[2 * i], names[2 * i + 1])) return true;
    return false;
  }

  /** Forgets a rank. */
  clearRank(rankSlot: number): void {
    this.#filters.delete(rankSlot);
  }
}

function isIn({ words }: Filter, low: number, high: number): boolean {
  for (let probe = 0; probe < PROBES; probe += 1) {
    const bit = bitOf(low, high, probe);
    if (((words[bit >>> 5] >>> (bit & 31)) & 1) === 0) return false;
  }
  return true;
}

/** A bit of the filter; names may be hashes or small numbers. */
function bitOf(low: number, high: number, probe: number): number {
  let mixed = Math.imul(low ^ Math.imul(probe + 1, 0x9e3779b1), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 15) ^ high, 0xc2b2ae35);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0x27d4eb2f);
  return (mixed ^ (mixed >>> 16)) & (FILTER_WORDS * 32 - 1);
}
