/**
 * Orders workers by a cost, fairly among equals. Most policies end with it.
 *
 * One worker is found per pass, so that asking for one draws random numbers exactly as a plain search
 * for the least does. Callers want a few workers: a sort would not be faster.
 */
import type { RandomSource, WorkerView } from "./policy.ts";

/**
 * Writes the eligible workers of least cost, ascending.
 *
 * @param views - by position.
 * @param costOf - called for every eligible worker, once per pass, in order; the same in each pass.
 * @param random - decides between equals, and is drawn from only where there are some; `null`: the
 *   lower position wins.
 * @param into - receives positions; its length is how many are wanted.
 * @returns how many were written.
 */
export function leastBy(
  views: readonly WorkerView[],
  costOf: (view: WorkerView, position: number) => number,
  random: RandomSource | null,
  into: Uint32Array,
): number {
  let count = 0;
  while (count < into.length) {
    const best = findLeast(views, costOf, random, into.subarray(0, count));
    if (best < 0) break;
    into[count] = best;
    count += 1;
  }
  return count;
}

function findLeast(
  views: readonly WorkerView[],
  costOf: (view: WorkerView, position: number) => number,
  random: RandomSource | null,
  placed: Uint32Array,
): number {
  let best = -1;
  let least = Number.POSITIVE_INFINITY;
  let equals = 0;
  for (let position = 0; position < views.length; position++) {
    const view = views[position];
    if (view?.isEligible !== true) continue;
    const cost = costOf(view, position);
    // Most workers cost more: few are looked up among those placed.
    if (cost > least || placed.includes(position)) continue;
    const isEqual = cost === least && best >= 0;
    if (isEqual && random === null) continue;
    equals = isEqual ? equals + 1 : 1;
    least = cost;
    // The k-th of equals replaces the one before with probability 1/k: each is as likely as the next.
    if (equals === 1 || random?.below(equals) === 0) best = position;
  }
  return best;
}

/** How many workers are eligible. */
export function eligibleCount(views: readonly WorkerView[]): number {
  let count = 0;
  for (const view of views) if (view.isEligible) count += 1;
  return count;
}

/** Position of the `nth` eligible worker not yet placed, from 0; −1 when there are fewer. */
export function nthEligible(views: readonly WorkerView[], nth: number, placed: Uint32Array): number {
  let left = nth;
  for (const [position, view] of views.entries()) {
    if (!view.isEligible || placed.includes(position)) continue;
    if (left === 0) return position;
    left -= 1;
  }
  return -1;
}
