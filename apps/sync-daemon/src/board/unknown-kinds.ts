/**
 * The unknown kinds of KV-cache groups by rank, as the main thread shows them. Core reports each
 * kind once for a stream; the ingest thread sends the report as a message, since the board has only
 * numbers.
 *
 * Invariants
 *  U1  A rank has at most UNKNOWN_KINDS_MAX names of at most KIND_CHARACTERS_MAX characters each.
 *      Each name is listed once, and names beyond the limit are left out.
 *  U2  A forgotten rank has none: the next rank in its slot does not show them.
 *
 * A name stays while the daemon follows the rank, also when the engine has restarted without it.
 */

import { UNKNOWN_KINDS_MAX } from "@kvsync/core";

/** Characters of a kind as the engine spells it; the longest known has 24. */
export const KIND_CHARACTERS_MAX = 64;

const NO_KINDS: readonly string[] = [];

/** Unknown kinds by rank slot. */
export class UnknownKinds {
  readonly #kinds = new Map<number, string[]>();

  /**
   * Adds a kind to those of a rank.
   *
   * @param kind - as the engine spells it.
   */
  note(rankSlot: number, kind: string): void {
    const kinds = this.#kinds.get(rankSlot) ?? [];
    const name = kind.slice(0, KIND_CHARACTERS_MAX);
    if (kinds.length >= UNKNOWN_KINDS_MAX || kinds.includes(name)) return;
    kinds.push(name);
    this.#kinds.set(rankSlot, kinds);
  }

  /**
   * Lists the kinds of a rank.
   *
   * @returns in the order of their reports.
   */
  of(rankSlot: number): readonly string[] {
    return this.#kinds.get(rankSlot) ?? NO_KINDS;
  }

  /** Removes the kinds of a rank (U2). */
  forget(rankSlot: number): void {
    this.#kinds.delete(rankSlot);
  }
}
