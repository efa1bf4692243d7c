/**
 * A rank that another worker, or a daemon before this one, has followed. Its blocks are in this
 * worker's part of the index, or come along from another part. Stores that wait for parents come along.
 *
 *     rows, page by page ─▶ this part is the rank's home ─▶ what waits is parked here ─▶ stream continues from its position
 *                      └▶ do not fit: this part forgets the rank, and the worker before keeps following it
 *
 * Parked stores that do not fit make the stream partial.
 *
 * Invariants (rank-takeover.test.ts)
 *  T1  An import takes no room that would make this part evict.
 *  T2  Lookups count the rows here from the moment at which all of them are here, and not before.
 *  T3  A stream begins with what waits for parents in the park. So it is `waiting_for_parent` from its first moment
 *      (ingest.test.ts, snapshot-restore.property.test.ts).
 */
import {
  type ContextKey,
  INDEX_ROW_BYTES,
  type ParkedRecord,
  type PrefixIndex,
  type RankHomes,
  RankImport,
  type RankRows,
  rowCount,
} from "@kvsync/core";

import type { Ingest } from "./ingest.ts";
import type { FollowedRank } from "../engine/followed-rank.ts";
import { boundCopies } from "../snapshot/snapshot-file.ts";
import { withSlots } from "../snapshot/slot-plans.ts";
import type { IngestSettings, MovedStream } from "./thread-messages.ts";

/** Memory of a row at most: one block without sharing takes about 35 bytes, and tables grow in steps. */
const ROW_BYTES_MAX = 100;

/** Where a moved rank goes on. */
export interface NewHome {
  readonly ingest: Ingest;
  readonly index: PrefixIndex;
  readonly homes: RankHomes;
  /** Number of this part. */
  readonly part: number;
  readonly limits: Pick<
    IngestSettings["index"],
    "contextCountMax" | "prefixesPerContextMax" | "memoryBytesMax"
  >;
  /** Lets other work be done between two pages. */
  readonly turn: () => Promise<unknown>;
}

/**
 * Continues a rank whose rows are in another part.
 *
 * @param home - this worker.
 * @param rank - as the worker before followed it.
 * @param moved - what that one released.
 * @returns false where the rank does not fit: then nothing of it is here.
 */
export async function adopt(home: NewHome, rank: FollowedRank, moved: MovedStream): Promise<boolean> {
  const { ingest, index, homes, part, limits } = home;
  const { rankSlot } = rank;
  const { rows, parked, position } = moved;
  if (!hasRoom(index, rows, limits)) return false;
  index.setRankOwner(rankSlot, rank.engineSlot);
  for (const page of rows.pages) boundCopies(page.rows);
  const moving = RankImport.begin(index.importer(), rows);
  if (moving !== null) while (moving.step()) await home.turn();
  if (moving?.isWhole !== true) {
    ingest.forget(rankSlot);
    return false;
  }
  homes.place(rankSlot, part);
  const slots = new Map([[rankSlot, rankSlot], ...moving.slots]);
  const waiting = parked.map((store) => ({
    ...store,
    rankSlot: slots.get(store.rankSlot) ?? store.rankSlot,
  }));
  takeOver(ingest, index, { ...rank, resumeFrom: withSlots(position, slots) }, waiting);
  return true;
}

/** T1. Blocks that other ranks have here already are counted as new ones. */
function hasRoom(index: PrefixIndex, rows: RankRows, limits: NewHome["limits"]): boolean {
  const { contextCountMax, prefixesPerContextMax, memoryBytesMax } = limits;
  if (index.stats().allocatedBytes + ROW_BYTES_MAX * rowCount(rows) > memoryBytesMax) return false;
  const blocks = new Map<string, number>();
  const add = (key: ContextKey, count: number): void => {
    const text = JSON.stringify([key.model, key.loraName, key.blockSize, key.lookahead]);
    blocks.set(text, (blocks.get(text) ?? 0) + count);
  };
  // Empty ones make room for others.
  for (const { key, prefixCount } of index.contexts()) if (prefixCount > 0) add(key, prefixCount);
  for (const { contexts } of rows.orders) for (const key of contexts) add(key, 0);
  for (const page of rows.pages) add(page.context, page.rows.byteLength / INDEX_ROW_BYTES);
  return blocks.size <= contextCountMax && Math.max(0, ...blocks.values()) <= prefixesPerContextMax;
}

/**
 * Continues a rank.
 *
 * @param ingest - of this worker.
 * @param index - of this worker; its park may be fuller than the one that the stores come from.
 * @param rank - see `Ingest.follow`.
 * @param parked - its stores that wait for their parents, in the order in which they came.
 */
export function takeOver(
  ingest: Ingest,
  index: PrefixIndex,
  rank: FollowedRank,
  parked: readonly ParkedRecord[],
): void {
  index.setRankOwner(rank.rankSlot, rank.engineSlot);
  const importer = index.importer();
  for (const record of parked) importer.park(record);
  ingest.follow(rank);
  if (importer.incompleteRanks.size > 0) ingest.evicted("park_limit", [...importer.incompleteRanks]);
}
