/** Counts what a picker does, by kind: for people who ask for its status. */

import type { PickerWatch, PickReason, PickReport } from "./picker.ts";

/** Numbers since the start. */
export interface DecisionTotals {
  /** By what they were made by. */
  readonly decisions: Readonly<Record<PickReport["basis"], number>>;
  /** Those without the index, by the reason. */
  readonly reasons: Readonly<Partial<Record<PickReason, number>>>;
  readonly servedElsewhere: number;
  /** Streams that ended with an error. */
  readonly faults: number;
}

/** See the header. */
export class DecisionCounts implements PickerWatch {
  readonly #decisions: Record<PickReport["basis"], number> = { index: 0, own: 0, load: 0, immediate: 0 };
  readonly #reasons: Partial<Record<PickReason, number>> = {};
  #servedElsewhere = 0;
  #faults = 0;

  /** A copy of the numbers. */
  get totals(): DecisionTotals {
    return {
      decisions: { ...this.#decisions },
      reasons: { ...this.#reasons },
      servedElsewhere: this.#servedElsewhere,
      faults: this.#faults,
    };
  }

  /** See PickerWatch. */
  decided({ basis, reason }: PickReport): void {
    this.#decisions[basis] += 1;
    if (reason !== "none") this.#reasons[reason] = (this.#reasons[reason] ?? 0) + 1;
  }

  /** See PickerWatch. */
  servedElsewhere(): void {
    this.#servedElsewhere += 1;
  }

  /** See PickerWatch. */
  fault(): void {
    this.#faults += 1;
  }

  /** See PickerWatch. */
  firstToken(): void {
    // Not asked for.
  }

  /** See PickerWatch. */
  responseChunk(): void {
    // Not asked for.
  }

  /** See PickerWatch. */
  reported(): void {
    // Not asked for.
  }

  /** See PickerWatch. */
  checked(): void {
    // Not asked for.
  }

  /** See PickerWatch. */
  ended(): void {
    // Not asked for.
  }
}
