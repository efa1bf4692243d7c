/**
 * Happenings in the fleet, in words for people: changes of trust, gaps, replays that ended, and
 * restarts. They come from the ranks' histories (board/rank-history.ts), which record them where they
 * happen. Nothing is kept here.
 *
 * Invariants
 *  N1  Each is reported once: those between two looks are those after the first look and not after the second.
 *  N2  At most HAPPENINGS_MAX at a look, the latest.
 */

import type { Trust } from "@kvsync/core";

import type { Gap, RankHistoryReader } from "../board/rank-history.ts";
import type { EngineRegistry } from "../engine/engine-registry.ts";
import { ranksOf } from "./fleet-sums.ts";

/** Of one look, and in a snapshot. */
export const HAPPENINGS_MAX = 50;

/** One of them, as it is sent. */
export interface Happening {
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
  readonly kind: "gap" | "replay" | "trust" | "restart";
  readonly engine: string;
  readonly rank: number;
  readonly text: string;
  /** Of a gap: its first message. */
  readonly from?: number;
  readonly messages?: number;
  /** Of trust: from now on. */
  readonly trust?: Trust;
}

/** Where they are read. */
export interface HappeningSources {
  readonly registry: Pick<EngineRegistry, "engines">;
  readonly history: RankHistoryReader;
}

/**
 * What happened after one moment and not after another.
 *
 * @param sources - registry and histories.
 * @param afterMs - since the Unix epoch.
 * @param untilMs - likewise.
 * @returns oldest first.
 */
export function happeningsBetween(
  { registry, history }: HappeningSources,
  afterMs: number,
  untilMs: number,
): Happening[] {
  const found: Happening[] = [];
  const isIn = (atMs: number): boolean => atMs > afterMs && atMs <= untilMs;
  for (const [{ engine }, { dpRank: rank, rankSlot }] of ranksOf(registry)) {
    if (history.recorded(rankSlot) === 0) continue;
    const whose = { engine: engine.id, rank };
    let previous: Trust | null = null;
    for (const { atMs, trust } of history.turns(rankSlot)) {
      if (trust !== previous && isIn(atMs))
        found.push({ at: atMs, kind: "trust", ...whose, trust, text: trustText(trust, previous) });
      previous = trust;
    }
    for (const one of history.incidents(rankSlot)) {
      if (one.kind === "gap") found.push(...ofGap(one, whose, isIn));
      else if (isIn(one.atMs))
        found.push({
          at: one.atMs,
          kind: "restart",
          ...whose,
          text: "another publisher was found: the engine restarted",
        });
    }
  }
  return found.sort((a, b) => a.at - b.at).slice(-HAPPENINGS_MAX);
}

function trustText(trust: Trust, previous: Trust | null): string {
  return previous === null ? `answers are ${trust}` : `answers are ${trust}, and were ${previous}`;
}

function ofGap(
  { atMs, from, messages, outcome, seconds }: Gap,
  whose: { readonly engine: string; readonly rank: number },
  isIn: (atMs: number) => boolean,
): Happening[] {
  const found: Happening[] = [];
  const lost = `${messages} ${messages === 1 ? "message is" : "messages are"} missing`;
  if (isIn(atMs))
    found.push({ at: atMs, kind: "gap", ...whose, from, messages, text: `${lost} from number ${from}` });
  const endMs = outcome === null || seconds === null ? null : atMs + seconds * 1000;
  if (outcome !== null && endMs !== null && isIn(endMs))
    found.push({
      at: endMs,
      kind: "replay",
      ...whose,
      from,
      messages,
      text: `the replay for ${messages} missing ${messages === 1 ? "message" : "messages"} ended: ${outcome}`,
    });
  return found;
}
