/**
 * Random variables as data, so that a workload's statistics can be stated, printed and tested. Each
 * has a mean that it is drawn around, in the unit of its user.
 *
 *     fixed                        always the mean
 *     log-normal (mean, cv)        lengths and think times: positive, right-skewed; cv = standard deviation ÷ mean
 *     geometric (mean)             numbers of turns: 1, 2, 3 …, each turn as likely as the one before to be the last
 *     gamma gaps (mean, cv)        times between arrivals: cv 1 is a Poisson process, above 1 arrivals come in bursts
 *     Zipf (count, exponent)       which of `count` things: the k-th has weight k^−exponent
 *
 * The algorithms are d3-random's, driven by our seeded sequence. Gamma gaps for bursts follow vLLM's benchmark
 * (`vllm/benchmarks/serve.py`, --burstiness), whose burstiness is 1 ÷ cv².
 */
import type { Prng } from "@kvsync/core";
import { randomGamma, randomGeometric, randomLogNormal } from "d3-random";

const TWO_32 = 4_294_967_296;

/** A positive quantity. */
export interface Spread {
  readonly mean: number;
  /** Standard deviation ÷ mean; 0 for a fixed value. */
  readonly cv: number;
}

/** Draws a number. */
export type Draw = () => number;

/** @returns uniform draws from [0, 1). */
export function uniform(random: Prng): Draw {
  return () => random.nextU32() / TWO_32;
}

/**
 * @param spread - mean > 0.
 * @returns log-normal draws, or the mean itself when cv is 0.
 */
export function logNormal(spread: Spread, random: Prng): Draw {
  const { mean, cv } = spread;
  if (cv === 0) return () => mean;
  const variance = Math.log(1 + cv * cv);
  return randomLogNormal.source(uniform(random))(Math.log(mean) - variance / 2, Math.sqrt(variance));
}

/**
 * @param mean - ≥ 1.
 * @returns geometric draws: integers from 1.
 */
export function geometric(mean: number, random: Prng): Draw {
  return mean === 1 ? () => 1 : randomGeometric.source(uniform(random))(1 / mean);
}

/**
 * @param spread - mean > 0 and cv > 0.
 * @returns gamma draws.
 */
export function gammaGaps({ mean, cv }: Spread, random: Prng): Draw {
  const shape = 1 / (cv * cv);
  return randomGamma.source(uniform(random))(shape, mean / shape);
}

/** Popularity of ranked things; see the header. */
export class Zipf {
  readonly #cumulated: Float64Array;

  /**
   * @param count - things, ≥ 1.
   * @param exponent - 0 makes all equal.
   */
  constructor(count: number, exponent: number) {
    this.#cumulated = new Float64Array(count);
    let sum = 0;
    for (let rank = 0; rank < count; rank++) {
      sum += (rank + 1) ** -exponent;
      this.#cumulated[rank] = sum;
    }
    for (let rank = 0; rank < count; rank++) this.#cumulated[rank] = (this.#cumulated[rank] ?? 0) / sum;
  }

  /**
   * Turns a uniform number into a rank. O(log count).
   *
   * @param position - in [0, 1).
   * @returns the rank, from 0.
   */
  rankAt(position: number): number {
    let low = 0;
    let high = this.#cumulated.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (position < (this.#cumulated[middle] ?? 1)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** @returns the share of draws that have this rank, from 0. */
  shareOf(rank: number): number {
    return (this.#cumulated[rank] ?? 0) - (this.#cumulated[rank - 1] ?? 0);
  }
}
