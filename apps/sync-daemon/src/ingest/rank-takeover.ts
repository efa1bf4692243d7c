/**
 * A rank that another worker, or a daemon before this one, has followed. Its blocks are in the
 * index, and stores that wait for parents come along.
 *
 *     stream continues from its position ─▶ what waits is parked here ─▶ what does not fit makes the stream partial
 *
 * The order matters: a stream that does not exist yet cannot record a loss.
 */
import type { ParkedRecord, PrefixIndex } from "@kvsync/core";

import type { Ingest } from "./ingest.ts";
import type { FollowedRank } from "../engine/followed-rank.ts";

/**
 * Goes on with a rank.
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
  ingest.follow(rank);
  const importer = index.importer();
  for (const record of parked) importer.park(record);
  if (importer.incompleteRanks.size > 0) ingest.evicted("park_limit", [...importer.incompleteRanks]);
}
