/**
 * The share of the last hour in which a rank was followed exactly, from the changes of its trust.
 *
 *     turns ─▶ exact ▓▓▓▓▓▓▓░░▓▓▓▓ ─▶ exact time / known time
 *              └ an hour ago, or the first turn that is kept
 *
 * Not here: where changes are recorded (board/rank-history.ts).
 */

import type { Turn } from "../board/rank-history.ts";

/** The time that is looked at. */
export const HOUR_MS = 3_600_000;
/** Steps of a share: it is rounded down, so that 1 is a whole hour. */
const STEPS = 1000;

/**
 * The share of a rank.
 *
 * @param turns - oldest first.
 * @param nowMs - since the Unix epoch.
 * @returns 0 to 1 in thousandths; null before the first turn.
 */
export function exactShare(turns: readonly Turn[], nowMs: number): number | null {
  const startMs = nowMs - HOUR_MS;
  let known = 0;
  let exact = 0;
  for (const [i, { atMs, trust }] of turns.entries()) {
    const untilMs = turns[i + 1]?.atMs ?? nowMs;
    const ms = Math.max(0, untilMs - Math.max(atMs, startMs));
    known += ms;
    if (trust === "exact") exact += ms;
  }
  return known === 0 ? null : Math.floor((exact / known) * STEPS) / STEPS;
}

/**
 * The changes of the last hour, and the one that led into it.
 *
 * @param turns - oldest first.
 * @param nowMs - since the Unix epoch.
 */
export function lastHour(turns: readonly Turn[], nowMs: number): readonly Turn[] {
  const first = turns.findIndex(({ atMs }) => atMs > nowMs - HOUR_MS);
  return first === -1 ? turns.slice(-1) : turns.slice(Math.max(0, first - 1));
}
