/** A snapshot between being taken and being written. */

import type { IndexCopy } from "@kvsync/core";

import type { SnapshotStream } from "../engine/followed-rank.ts";

/** What ingest threads give: each its streams and its part of the index, as they were at one moment of that thread. */
export interface TakenSnapshot {
  readonly takenMs: number;
  /** How long a thread stood still for it; the longest time, where there are several. */
  readonly stoodStillMs: number;
  readonly streams: readonly SnapshotStream[];
  /** One of each part of the index, at least one. */
  readonly copies: readonly IndexCopy[];
}
