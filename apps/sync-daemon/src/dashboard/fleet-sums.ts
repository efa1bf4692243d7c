/**
 * Sums over the fleet at a moment, and the rates between two moments.
 *
 *     ranks of the registry ─▶ board, index ─▶ FleetSums ──two of them──▶ rates
 *
 * A rank that comes or goes between two moments makes a sum smaller or larger by all that it ever
 * counted. Rates therefore add up the growth of each rank; see `EventGrowth`.
 */

import type { PrefixReader } from "@kvsync/core";

import { type BoardReader, type EventCounts, NOT_APPLIED_REASONS } from "../board/stream-board.ts";
import type { RegisteredEngine, RegisteredRank } from "../engine/engine-directory.ts";
import type { EngineRegistry } from "../engine/engine-registry.ts";

/** Where the figures come from. */
export interface FleetSources {
  readonly registry: Pick<EngineRegistry, "engines">;
  readonly board: BoardReader;
  readonly reader: Pick<PrefixReader, "contexts" | "rankBlockCount">;
}

/** What a rank had counted at the last look. */
interface LastCounts extends EventCounts {
  readonly owner: RegisteredEngine;
}

const NO_EVENTS: EventCounts = { stored: 0, removed: 0, cleared: 0 };

/** Every rank that is followed, with its engine. */
export function* ranksOf(
  registry: Pick<EngineRegistry, "engines">,
): Generator<readonly [RegisteredEngine, RegisteredRank]> {
  for (const registered of registry.engines()) for (const rank of registered.ranks) yield [registered, rank];
}

/** Events applied between two looks. It keeps the last counts of the ranks that are followed, by slot. */
export class EventGrowth {
  #last = new Map<number, LastCounts>();

  /**
   * Adds up what grew since the last look.
   *
   * @param sources - registry and board.
   * @param look - gets each rank on the way.
   * @returns events since then; zeros at the first look.
   */
  since(
    { registry, board }: Pick<FleetSources, "registry" | "board">,
    look: (owner: RegisteredEngine, rank: RegisteredRank) => void = () => undefined,
  ): EventCounts {
    const next = new Map<number, LastCounts>();
    const grown = { stored: 0, removed: 0, cleared: 0 };
    for (const [owner, rank] of ranksOf(registry)) {
      const counts = board.events(rank.rankSlot);
      const { stored, removed, cleared } = counts;
      const known = this.#last.get(rank.rankSlot);
      // A rank that came since began at zero, unless this is the first look.
      const before = known?.owner === owner ? known : this.#last.size === 0 ? counts : NO_EVENTS;
      grown.stored += Math.max(0, stored - before.stored);
      grown.removed += Math.max(0, removed - before.removed);
      grown.cleared += Math.max(0, cleared - before.cleared);
      next.set(rank.rankSlot, { owner, stored, removed, cleared });
      look(owner, rank);
    }
    this.#last = next;
    return grown;
  }
}

/** Memory and blocks of the index. */
export interface IndexSums {
  readonly used: number;
  readonly mappings: number;
}

/**
 * Adds up the contexts of the index.
 *
 * @param reader - of the index.
 */
export function indexSums(reader: Pick<PrefixReader, "contexts">): IndexSums {
  let used = 0;
  let mappings = 0;
  for (const { bytes, mappingCount } of reader.contexts()) {
    used += bytes;
    mappings += mappingCount;
  }
  return { used, mappings };
}

/**
 * Drops of all ranks by reason.
 *
 * @param sources - registry and board.
 * @returns by position in NOT_APPLIED_REASONS.
 */
export function dropSums({ registry, board }: Pick<FleetSources, "registry" | "board">): Float64Array {
  const sums = new Float64Array(NOT_APPLIED_REASONS.length);
  for (const [, { rankSlot }] of ranksOf(registry)) board.addDrops(rankSlot, sums);
  return sums;
}
