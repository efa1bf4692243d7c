/**
 * Names that were announced once, each with the first block that was stored behind it.
 *
 *     place = hash of the name        name low │ name high │ behind low │ behind high │ state
 *                                                                                      0 free, 1 announced, 2 with a block behind
 *
 * Direct-mapped: a name takes the place of another with the same hash, so that each step is one look. Chosen names can only
 * make it forget.
 *
 * Not here: the proof that the names give (drafter-proof.ts).
 */
const WORDS = 5;
const FREE = 0;
const ANNOUNCED = 1;
const FOLLOWED = 2;

/** See the head of this file. */
export class FirstNames {
  readonly #words: Uint32Array;
  readonly #mask: number;

  /** @param places - a power of two. */
  constructor(places: number) {
    this.#words = new Uint32Array(WORDS * places);
    this.#mask = places - 1;
  }

  /** A name is announced for the first time. */
  put(low: number, high: number): void {
    const at = this.#placeOf(low, high);
    this.#words[at] = low;
    this.#words[at + 1] = high;
    this.#words[at + 4] = ANNOUNCED;
  }

  /** A name is gone, or was announced again. */
  erase(low: number, high: number): void {
    const at = this.#placeOf(low, high);
    if (this.#has(at, low, high)) this.#words[at + 4] = FREE;
  }

  /**
   * Notes that a block is stored behind a name.
   *
   * @returns whether another block was stored behind it before, and the name was announced once.
   */
  isSecondBehind(low: number, high: number, behindLow: number, behindHigh: number): boolean {
    const words = this.#words;
    const at = this.#placeOf(low, high);
    if (!this.#has(at, low, high)) return false;
    if (words[at + 4] === FOLLOWED) return words[at + 2] !== behindLow || words[at + 3] !== behindHigh;
    words[at + 2] = behindLow;
    words[at + 3] = behindHigh;
    words[at + 4] = FOLLOWED;
    return false;
  }

  /** Forgets everything. */
  clear(): void {
    this.#words.fill(0);
  }

  #has(at: number, low: number, high: number): boolean {
    const words = this.#words;
    return words[at + 4] !== FREE && words[at] === low && words[at + 1] === high;
  }

  #placeOf(low: number, high: number): number {
    return WORDS * ((Math.imul(low, 0x9e37_79b1) ^ high) & this.#mask);
  }
}
