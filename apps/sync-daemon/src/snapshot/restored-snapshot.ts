/** The result of a restore, from the ingest thread to the main thread. */

import type { IndexPart, ParkedRecord } from "@kvsync/core";

import type { SnapshotStream } from "../engine/followed-rank.ts";

/** What an index is filled from. */
export interface RestoreOrder {
  /** Snapshots that were found whole, at least one. */
  readonly paths: readonly string[];
  /** The part of the fleet whose workers are taken; null for all that the only file has. */
  readonly shard: { readonly index: number; readonly count: number } | null;
  /** The part of the index that is filled; without it, the whole. */
  readonly part?: IndexPart;
}

/** The content of a restored file, or the reason why it was refused. */
export type RestoredSnapshot =
  | {
      readonly kind: "restored";
      readonly createdMs: number;
      readonly rows: number;
      readonly streams: readonly SnapshotStream[];
      /** Stores of a rank and of its groups that wait for their parents, in the order of parking; by rank slot. */
      readonly parked: ReadonlyMap<number, readonly ParkedRecord[]>;
    }
  | { readonly kind: "refused"; readonly code: string; readonly message: string };
