/**
 * Happenings in the fleet, in words for people: connections that were lost or made again, changes of
 * trust, gaps, replays that ended, and restarts. They come from the ranks' histories (board/rank-history.ts), which record them where they
 * happen. Nothing is kept here.
 *
 * Invariants
 *  N1  Each is reported once: those between two looks are those after the first look and not after the second.
 *  N2  At most HAPPENINGS_MAX at a look, the latest.
 */

import type { StreamState, Trust } from "@kvsync/core";

import type { Gap, RankHistoryReader, Turn } from "../board/rank-history.ts";
import type { EngineRegistry } from "../engine/engine-registry.ts";
import { ranksOf } from "./fleet-sums.ts";

/** Of one look, and in a snapshot. */
export const HAPPENINGS_MAX = 50;

/** One of them, as it is sent. */
export interface Happening {
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
  readonly kind: "gap" | "replay" | "trust" | "restart" | "disconnect" | "reconnect";
  readonly engine: string;
  readonly rank: number;
  readonly text: string;
  /** Of a gap: its first message. */
  readonly from?: number;
  readonly messages?: number;
  /** Of trust, and of a connection that changed it: from now on. */
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
    let previous: Turn | null = null;
    for (const turn of history.turns(rankSlot)) {
      if (isIn(turn.atMs)) found.push(...ofTurn(turn, previous, whose));
      previous = turn;
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

/** One for a turn: a connection that is lost and the trust that falls with it are one thing. */
function ofTurn(
  { atMs, state, trust }: Turn,
  previous: Turn | null,
  whose: { readonly engine: string; readonly rank: number },
): Happening[] {
  const isOther = trust !== previous?.trust;
  const text = isOther ? trustText(trust, previous?.trust ?? null) : null;
  const change = connectionChange(state, previous?.state ?? null);
  if (change === null) return text === null ? [] : [{ at: atMs, kind: "trust", ...whose, trust, text }];
  const [kind, words] = change;
  return [
    {
      at: atMs,
      kind,
      ...whose,
      ...(text === null ? {} : { trust }),
      text: text === null ? words : `${words}; ${text}`,
    },
  ];
}

/** What a change of state means for the connection; null when it means nothing. */
function connectionChange(
  state: StreamState,
  previous: StreamState | null,
): readonly ["disconnect" | "reconnect", string] | null {
  if (previous === null || (state === "disconnected") === (previous === "disconnected")) return null;
  return state === "disconnected"
    ? ["disconnect", "the connection was lost"]
    : ["reconnect", "connected again"];
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
