/**
 * Percentiles of measured durations: nearest rank, on all samples, so that a p99 is a duration that was measured.
 * Keeps 8 bytes a sample; a run has one per request.
 */

/** Grows with what it is given; read at the end. */
export class Samples {
  #values = new Float64Array(1024);
  #count = 0;

  /** Samples taken. */
  get count(): number {
    return this.#count;
  }

  /** @param value - one measurement, in whatever unit the owner keeps to. */
  add(value: number): void {
    if (this.#count === this.#values.length) {
      const grown = new Float64Array(2 * this.#count);
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[this.#count] = value;
    this.#count += 1;
  }

  /**
   * Reads one sample.
   *
   * @param position - from 0, in the order of adding.
   * @returns the sample; undefined beyond the last.
   */
  at(position: number): number | undefined {
    return position < this.#count ? this.#values[position] : undefined;
  }

  /**
   * Reads percentiles.
   *
   * @param shares - each in 0 … 1.
   * @returns the samples at ⌈share · count⌉ (at least the first), in the order of `shares`; null without samples.
   */
  percentiles(shares: readonly number[]): readonly number[] | null {
    if (this.#count === 0) return null;
    const sorted = this.#values.slice(0, this.#count).sort();
    return shares.map((share) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0);
  }

  /** The mean; 0 without samples. */
  get mean(): number {
    if (this.#count === 0) return 0;
    return this.#values.subarray(0, this.#count).reduce((sum, value) => sum + value, 0) / this.#count;
  }
}
