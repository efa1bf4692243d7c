/**
 * An index filled from a snapshot file, before anything is followed.
 *
 *     file ─▶ rows, orders ─▶ index
 *          └▶ parked stores ─▶ the index's park, for its limits ─▶ out again: any worker may come to follow their ranks
 *
 * A file that cannot be used leaves the index empty. The positions record the losses to limits:
 * those streams are partial.
 *
 * Not here: which file (snapshot-source.ts), which workers follow the ranks (the registry, through
 * ingest-pool.ts).
 */

import { CodedError, type PrefixIndex, RANK_SLOTS_MAX } from "@kvsync/core";

import type { SnapshotStream } from "../engine/followed-rank.ts";
import { loadSnapshot } from "../snapshot/snapshot-file.ts";
import type { RestoredSnapshot } from "../snapshot/restored-snapshot.ts";

/**
 * Fills an index.
 *
 * @param index - empty, followed by nobody.
 * @param path - of the file.
 * @param evicted - rank slots that the index's listener was told of meanwhile; read at the end.
 * @returns where the streams stood and what waits for parents, or why the file is not used.
 */
export function restoreSnapshot(
  index: PrefixIndex,
  path: string,
  evicted: ReadonlySet<number>,
): RestoredSnapshot {
  const importer = index.importer();
  try {
    const { head, rows } = loadSnapshot(path, importer, String(index.seed));
    const streams = head.streams.map((stream) =>
      importer.incompleteRanks.has(stream.rankSlot) || evicted.has(stream.rankSlot)
        ? incomplete(stream)
        : stream,
    );
    const parked = new Map(streams.map(({ rankSlot }) => [rankSlot, index.takeParked(rankSlot)] as const));
    return { kind: "restored", createdMs: head.createdMs, rows, streams, parked };
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    for (let slot = 0; slot < RANK_SLOTS_MAX; slot++) index.clearRank(slot);
    const { code } = error as CodedError<{ readonly code: string }>;
    return { kind: "refused", code, message: error.message };
  }
}

/** Limits of this daemon are smaller than those of the one that wrote it: something is missing up to here. */
function incomplete(stream: SnapshotStream): SnapshotStream {
  const { position } = stream;
  const losses = [...position.applier.losses, "snapshot_incomplete" as const];
  const applier = { ...position.applier, losses, historyFrom: position.lastSequenceNumber + 1 };
  return { ...stream, position: { ...position, applier } };
}
