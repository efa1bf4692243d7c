/** The choice that most policies end with: the least of something, fairly among equals. */
import type { Prng } from "@kvsync/core";

/**
 * Finds the least.
 *
 * @param choices - at least one.
 * @param costOf - asked once for each, in order.
 * @param random - decides between equals; drawn from only when there are some.
 * @returns a position in `choices`.
 */
export function leastBy<Choice>(
  choices: readonly Choice[],
  costOf: (choice: Choice, position: number) => number,
  random: Prng,
): number {
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  let equals = 0;
  for (const [position, choice] of choices.entries()) {
    const cost = costOf(choice, position);
    if (cost > least) continue;
    equals = cost < least ? 1 : equals + 1;
    least = cost;
    // The k-th of equals replaces the one before with probability 1/k: each is as likely as the next.
    if (equals === 1 || random.below(equals) === 0) best = position;
  }
  return best;
}
