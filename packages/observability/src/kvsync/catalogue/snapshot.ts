/**
 * Families about snapshots. A restarted daemon or a new replica continues from one.
 */

import { doubling } from "../../definition.ts";
import { counter, gauge, histogram } from "../namespace.ts";

/** What is done with a snapshot: made, read at the start, taken from a running daemon. */
const OPERATIONS = ["write", "read", "fetch"] as const;

/** Families about snapshots. */
export const SNAPSHOT_METRICS = {
  snapshotOperations: counter({
    name: "kv_snapshot_operations_total",
    help: "Snapshots made, read at the start, and taken from a running daemon, by outcome.",
    unit: "none",
    labels: { operation: OPERATIONS, status: ["ok", "failed"] },
    preset: "zero is a fact",
    why: "Shows whether a restart can continue from a snapshot.",
  }),
  snapshotErrors: counter({
    name: "kv_snapshot_errors_total",
    help: "Snapshot operations that failed; the log has the code.",
    unit: "none",
    labels: { operation: OPERATIONS },
    preset: "zero is a fact",
    why: "A full or read-only volume shows here first.",
  }),
  snapshotSize: gauge({
    name: "kv_snapshot_size_bytes",
    help: "Bytes of the last snapshot made.",
    unit: "bytes",
    labels: {},
    preset: "absent until known",
    why: "How large the volume has to be: twice this, and once more while one is written.",
  }),
  snapshotEntries: gauge({
    name: "kv_snapshot_entries",
    help: "Holders of blocks (block, rank and tier) in the last snapshot made.",
    unit: "none",
    labels: {},
    preset: "absent until known",
    why: "An index that shrinks from one snapshot to the next has lost engines.",
  }),
  snapshotAge: gauge({
    name: "kv_snapshot_age_seconds",
    help: "Seconds since the index was last saved in a snapshot, or since the daemon started when none was; absent when no snapshots are kept.",
    unit: "seconds",
    labels: {},
    preset: "absent until known",
    why: "A restart now would have to replay this much time.",
  }),
  snapshotDuration: histogram({
    name: "kv_snapshot_duration_seconds",
    help: "Time of a snapshot operation, from asking the ingest thread for a copy to the renamed file.",
    unit: "seconds",
    labels: { operation: OPERATIONS },
    preset: "zero is a fact",
    buckets: doubling(0.01, 14),
    why: "It has to stay far below the interval.",
  }),
};
