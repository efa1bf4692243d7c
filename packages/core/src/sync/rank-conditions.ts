/**
 * The conditions of one rank that follow from what its index and its ledgers hold. They begin and end by themselves.
 *
 *     bit     0                   1                 2                3
 *     reason  waiting_for_parent  copies_uncertain  drafter_unknown  groups_unseen
 *
 * Invariants (rank-conditions.test.ts)
 *  K1  After `settle` the ledger holds exactly those of the four reasons that were given as true. It is not touched when
 *      none of them changed.
 *  K2  A ledger that is restored from `state` has the reasons of the first one in the order of their age.
 *  K3  What is restored and does not hold any more ends with the next `settle`.
 *
 * Not here: when a condition holds (event-applier.ts, A9, A10, A15, A16), losses.
 */
import type { TrustLedger } from "./trust-ledger.ts";
import type { TrustReason } from "./trust-rule.ts";

/** The position is the bit. */
const CONDITIONS = [
  "waiting_for_parent",
  "copies_uncertain",
  "drafter_unknown",
  "groups_unseen",
] as const satisfies readonly TrustReason[];

/** A condition that holds, with the number of losses that are older. */
type AgedCondition = readonly [reason: TrustReason, olderLosses: number];

/** See the head of this file. */
export class RankConditions {
  readonly #doubts: TrustLedger;
  /** Those that are in the ledger; −1 when that is not known. */
  #bits = 0;

  /** @param doubts - where the conditions are noted. */
  constructor(doubts: TrustLedger) {
    this.#doubts = doubts;
  }

  /** Begins and ends conditions (K1). */
  settle(isWaiting: boolean, areUncertain: boolean, isDrafterUnknown: boolean, areUnseen: boolean): void {
    const bits =
      (isWaiting ? 1 : 0) | (areUncertain ? 2 : 0) | (isDrafterUnknown ? 4 : 0) | (areUnseen ? 8 : 0);
    if (bits === this.#bits) return;
    this.#bits = bits;
    CONDITIONS.forEach((reason, bit) => {
      if ((bits & (1 << bit)) !== 0) this.#doubts.note(reason);
      else this.#doubts.end(reason);
    });
  }

  /** The conditions that hold, each with the number of these losses that are older. A fresh array. */
  state(losses: readonly TrustReason[]): AgedCondition[] {
    const reasons = this.#doubts.reasons();
    return CONDITIONS.filter((reason) => reasons.includes(reason))
      .sort((a, b) => reasons.indexOf(a) - reasons.indexOf(b))
      .map((reason) => {
        const older = reasons.slice(0, reasons.indexOf(reason));
        return [reason, losses.filter((loss) => older.includes(loss)).length];
      });
  }

  /** Notes losses and conditions in the order of their age (K2). */
  restore(losses: readonly TrustReason[], conditions: readonly AgedCondition[]): void {
    for (let older = 0; older <= losses.length; older += 1) {
      for (const [reason, olderLosses] of conditions) if (olderLosses === older) this.#doubts.note(reason);
      if (older < losses.length) this.#doubts.note(losses[older]);
    }
    // K3
    this.#bits = -1;
  }
}
