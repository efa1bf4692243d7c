/**
 * A DP rank as ingest follows it, and the same rank as a snapshot stores it. The registry, ingest
 * and snapshots share these types.
 */

import type { ReportMode, StreamPosition } from "@kvsync/core";

import type { MessageIdentity } from "../message-identity.ts";

/** One DP rank to follow. */
export interface FollowedRank {
  readonly rankSlot: number;
  /** Slot of its engine's first rank: ranks of one engine have one share of the index's contexts. */
  readonly engineSlot: number;
  readonly workerId: string;
  readonly model: string;
  readonly dpRank: number;
  readonly endpoint: string;
  readonly replayEndpoint: string | null;
  readonly topic: string;
  /** Whether the daemon listens at the endpoint, and the engine connects. */
  readonly bind: boolean;
  /** The engine's own CURVE public key; null for that of the fleet, or none. */
  readonly curveServerKey: string | null;
  /** Whether other ranks publish through the same socket. */
  readonly sharedSocket: boolean;
  readonly reportMode: ReportMode;
  /** Whether the engine computes the last matched block again, null when nobody said; see core's SyncSettings. */
  readonly dropsLastBlock: boolean | null;
  /** Where a snapshot left it; null to begin afresh. Its blocks are in the index under this slot. */
  readonly resumeFrom: StreamPosition | null;
  /** Messages during which the process died before; absent without any. */
  readonly setAside?: readonly MessageIdentity[];
}

/** One stream of a snapshot: who it was, and where it stood. */
export interface SnapshotStream {
  readonly rankSlot: number;
  readonly workerId: string;
  readonly model: string;
  readonly dpRank: number;
  readonly endpoint: string;
  readonly topic: string;
  readonly reportMode: ReportMode;
  readonly position: StreamPosition;
}
