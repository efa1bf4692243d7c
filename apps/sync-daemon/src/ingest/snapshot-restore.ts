/**
 * An index filled from snapshot files, before anything is followed.
 *
 *     files ─▶ rows, orders ─▶ index          of several files each worker comes from the newest that has it
 *          └▶ parked stores ─▶ the index's park, for its limits ─▶ out again: any worker may come to follow their ranks
 *
 * A file that cannot be used leaves the index empty. The positions record the losses to limits:
 * those streams are partial.
 *
 * Not here: which file (snapshot-source.ts), which workers follow the ranks (the registry, through
 * ingest-pool.ts).
 */

import { CodedError, type IndexImport, type PrefixIndex, RANK_SLOTS_MAX } from "@kvsync/core";

import { FleetShard, WHOLE_FLEET } from "../engine/fleet-shard.ts";
import type { SnapshotStream } from "../engine/followed-rank.ts";
import type { RestoredSnapshot, RestoreOrder } from "../snapshot/restored-snapshot.ts";
import { SlotPlans } from "../snapshot/slot-plans.ts";
import {
  loadSnapshot,
  openSnapshot,
  type OpenSnapshot,
  otherSeed,
  seedText,
} from "../snapshot/snapshot-file.ts";

/**
 * Fills an index.
 *
 * @param index - empty, followed by nobody.
 * @param order - the files, and whose rows are taken.
 * @param evicted - rank slots that the index's listener was told of meanwhile; read at the end.
 * @returns where the streams stood and what waits for parents, or why the files are not used.
 */
export function restoreSnapshot(
  index: PrefixIndex,
  order: RestoreOrder,
  evicted: ReadonlySet<number>,
): RestoredSnapshot {
  const importer = index.importer();
  try {
    const { createdMs, rows, streams: found } = load(order, importer, seedText(index));
    const streams = found.map((stream) =>
      importer.incompleteRanks.has(stream.rankSlot) || evicted.has(stream.rankSlot)
        ? incomplete(stream)
        : stream,
    );
    const parked = new Map(streams.map(({ rankSlot }) => [rankSlot, index.takeParked(rankSlot)] as const));
    return { kind: "restored", createdMs, rows, streams, parked };
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    for (let slot = 0; slot < RANK_SLOTS_MAX; slot++) index.clearRank(slot);
    const { code } = error as CodedError<{ readonly code: string }>;
    return { kind: "refused", code, message: error.message };
  }
}

/** What was loaded. `createdMs` is that of the oldest file. */
interface Loaded {
  readonly createdMs: number;
  readonly rows: number;
  readonly streams: readonly SnapshotStream[];
}

function load(order: RestoreOrder, importer: IndexImport, seed: string): Loaded {
  const { paths, shard, part } = order;
  const [only = "", ...others] = paths;
  const isPart = part !== undefined && part.count > 1;
  if (shard !== null || others.length > 0 || isPart) return loadWorkers(order, importer, seed);
  const { head, rows } = loadSnapshot(only, importer, seed);
  return { ...head, rows };
}

/** Takes workers out of several files, or those of one part of the index. A file of another seed is as none. */
function loadWorkers({ paths, shard, part }: RestoreOrder, importer: IndexImport, seed: string): Loaded {
  const fleet = shard === null ? WHOLE_FLEET : new FleetShard(shard.index, shard.count);
  const plans = new SlotPlans((workerId) => fleet.owns(workerId), part);
  const files: OpenSnapshot[] = [];
  try {
    for (const path of paths) files.push(openSnapshot(path));
    const usable = files.filter(({ summary }) => summary.head.hashSeed === seed);
    if (usable.length === 0) throw otherSeed(paths.join(", "));
    usable.sort((a, b) => b.summary.head.createdMs - a.summary.head.createdMs);
    const streams: SnapshotStream[] = [];
    let rows = 0;
    for (const file of usable) {
      const plan = plans.next(file.summary.head.streams);
      rows += file.load(importer, plan);
      streams.push(...plan.streams);
    }
    return { createdMs: usable.at(-1)?.summary.head.createdMs ?? 0, rows, streams };
  } finally {
    for (const file of files) file.close();
  }
}

/** Limits of this daemon are smaller than those of the one that wrote it: something is missing up to here. */
function incomplete(stream: SnapshotStream): SnapshotStream {
  const { position } = stream;
  const losses = [...position.applier.losses, "snapshot_incomplete" as const];
  const applier = { ...position.applier, losses, historyFrom: position.lastSequenceNumber + 1 };
  return { ...stream, position: { ...position, applier } };
}
