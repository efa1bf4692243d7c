/**
 * Seeded random numbers for tests, benchmarks and simulation: sfc32, a 128-bit state that passes PractRand, by Chris
 * Doty-Humphrey ("Small Fast Counting"). Equal seeds give equal sequences on every machine. Not for secrets.
 */

/** A sequence of random numbers that its seed determines. */
export class Prng {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** @param seed - any number; its low 53 bits count. */
  constructor(seed: number) {
    this.#a = seed >>> 0;
    this.#b = Math.floor(seed / 2 ** 32) >>> 0;
    this.#c = 0x9e37_79b9;
    // Twelve rounds spread a small seed over the state, as the algorithm's author does.
    for (let i = 0; i < 12; i++) this.nextU32();
  }

  /** The next 32 bits, as u32. */
  nextU32(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** An integer in 0 … `count` − 1, for counts up to 2³²; its bias is below 2⁻³² of `count`. */
  below(count: number): number {
    return Math.floor((this.nextU32() / 2 ** 32) * count);
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.nextU32() < probability * 2 ** 32;
  }

  /** One of `choices`, which must not be empty, each as likely as the next. */
  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)];
  }
}
