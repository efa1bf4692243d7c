/**
 * The reasons that hold for one rank, and which of them speaks: the worst trust, then the oldest reason.
 *
 *     note / hold ──▶ reasons in order of age ──▶ { trust, reason }
 *
 * A Map keeps its keys in the order in which they were first set, which is their age. It is touched only when a reason
 * begins or ends; between that, trust and reason are two fields.
 *
 * Invariants (trust-ledger.test.ts)
 *  L1  `reason` is null exactly when `trust` is `exact`.
 *  L2  No reason that holds has a worse trust than `trust`; `reason` is the oldest of those that have it.
 *  L3  A reason that is noted again keeps its age.
 */
import { TRUST_LEVELS, TRUST_REASONS, type Trust, type TrustReason } from "./trust-rule.ts";

/** See the head of this file. */
export class TrustLedger {
  /** Each with its position in TRUST_LEVELS. */
  readonly #levels = new Map<TrustReason, number>();
  #losses = 0;
  #trust: Trust = "exact";
  #reason: TrustReason | null = null;

  /** The worst trust of the reasons that hold. */
  get trust(): Trust {
    return this.#trust;
  }

  /** The oldest reason of that trust; null for `exact`. */
  get reason(): TrustReason | null {
    return this.#reason;
  }

  /** Whether a reason holds that is no condition: then the rank may lack blocks, whatever else. */
  get hasLoss(): boolean {
    return this.#losses > 0;
  }

  /** How many losses and traits hold. */
  get lossCount(): number {
    return this.#losses;
  }

  /** Whether this reason holds. */
  has(reason: TrustReason): boolean {
    return this.#levels.has(reason);
  }

  /** From now on this reason holds. */
  note(reason: TrustReason): void {
    if (this.#levels.has(reason)) return;
    const { trust, kind } = TRUST_REASONS[reason];
    this.#levels.set(reason, TRUST_LEVELS.indexOf(trust));
    if (kind !== "condition") this.#losses += 1;
    this.#choose();
  }

  /** From now on this reason does not hold. */
  end(reason: TrustReason): void {
    if (!this.#levels.delete(reason)) return;
    if (TRUST_REASONS[reason].kind !== "condition") this.#losses -= 1;
    this.#choose();
  }

  /**
   * Ends every loss: the rank begins again. Conditions stay.
   *
   * @param isSameEngine - its traits stay too.
   */
  endLosses(isSameEngine: boolean): void {
    if (this.#losses === 0) return;
    for (const reason of this.losses()) {
      if (isSameEngine && TRUST_REASONS[reason].kind === "trait") continue;
      this.#levels.delete(reason);
      this.#losses -= 1;
    }
    this.#choose();
  }

  /** Every reason that holds, oldest first. A fresh array. */
  reasons(): TrustReason[] {
    return [...this.#levels.keys()];
  }

  /** The losses and traits that hold, oldest first. A fresh array. */
  losses(): TrustReason[] {
    return [...this.#levels.keys()].filter((reason) => TRUST_REASONS[reason].kind !== "condition");
  }

  #choose(): void {
    let worst = 0;
    this.#reason = null;
    for (const [reason, level] of this.#levels) {
      if (level <= worst) continue;
      worst = level;
      this.#reason = reason;
    }
    this.#trust = TRUST_LEVELS[worst];
  }
}
