/**
 * Answers about the last hour of ranks, as they are kept while their rows are shown.
 *
 * Invariants (rank-hours.test.ts)
 *  B1  A question has at most SLOTS_MAX slots: those without an answer, then those with the oldest.
 *  B2  At most KEPT_MAX answers are kept, the latest.
 *  B3  An answer about another engine, which had the slot before, is not shown.
 *
 * Not here: when they are asked for, and how they are drawn (last-hour.tsx).
 */
import type { RankHour } from "@kvsync/client";

import type { RankRow } from "../stream/fleet-store.ts";

/** An older answer is asked for again. */
const FRESH_MS = 15_000;
/** As many as the daemon takes. */
export const SLOTS_MAX = 64;
/** Several screens. */
export const KEPT_MAX = 256;

/** An answer, and when it came. */
interface Kept {
  readonly hour: RankHour;
  readonly atMs: number;
}

/** Answers by slot, the latest last. */
export type Hours = ReadonlyMap<number, Kept>;

/** The slots to ask for: those without an answer first. */
export function dueSlots(slots: readonly number[], hours: Hours, nowMs: number): readonly number[] {
  const age = (slot: number): number => nowMs - (hours.get(slot)?.atMs ?? 0);
  return [...new Set(slots)]
    .filter((slot) => age(slot) > FRESH_MS)
    .sort((a, b) => age(b) - age(a))
    .slice(0, SLOTS_MAX);
}

/** The answers with some more; the oldest leave. */
export function withRanks(hours: Hours, ranks: readonly RankHour[], nowMs: number): Hours {
  const kept = new Map(hours);
  for (const hour of ranks) {
    kept.delete(hour.rank_slot);
    kept.set(hour.rank_slot, { hour, atMs: nowMs });
  }
  for (const slot of kept.keys()) {
    if (kept.size <= KEPT_MAX) break;
    kept.delete(slot);
  }
  return kept;
}

/** The answer about a rank; null when it is about another engine that had the slot. */
export function hourOf(hours: Hours, { slot, id }: RankRow): RankHour | null {
  const hour = hours.get(slot)?.hour;
  return hour?.engine === id ? hour : null;
}
