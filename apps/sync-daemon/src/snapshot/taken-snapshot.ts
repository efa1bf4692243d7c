/** A snapshot between being taken and being written. */

import type { IndexCopy } from "@kvsync/core";

import type { SnapshotStream } from "../engine/followed-rank.ts";

/** What the ingest thread gives: streams and index as they were at one moment. */
export interface TakenSnapshot {
  readonly takenMs: number;
  /** How long ingest stood still for it. */
  readonly stoodStillMs: number;
  readonly streams: readonly SnapshotStream[];
  readonly copy: IndexCopy;
}
