/**
 * What the main thread and the ingest thread say to each other. Rare things only: engines come and go. Messages, lookups
 * and status never pass this way.
 */

import type { SharedPrefixIndex, StreamPosition } from "@kvsync/core";
import type { SlotAnnouncement } from "@kvsync/observability";

import type { SnapshotStream } from "../snapshot/snapshot-file.ts";
import type { TakenSnapshot } from "../snapshot/taken-snapshot.ts";
import type { QueueLimits } from "./ingest-queue.ts";

/** What an ingest thread is started with. */
export interface IngestSettings {
  /** Its name in metrics and logs. */
  readonly worker: string;
  readonly board: SharedArrayBuffer;
  readonly queue: QueueLimits;
  readonly tickMs: number;
  readonly replayTimeoutMs: number;
  readonly replaysMax: number;
  readonly reconnectMsMin: number;
  readonly reconnectMsMax: number;
  readonly index: {
    readonly contextCountMax: number;
    readonly prefixesPerContextMax: number;
    readonly memoryBytesMax: number;
  };
  /** File to fill the index from, found whole before; null for a cold start. */
  readonly restoreFrom: string | null;
}

/** One DP rank to follow. */
export interface FollowedRank {
  readonly rankSlot: number;
  readonly workerId: string;
  readonly model: string;
  readonly dpRank: number;
  readonly endpoint: string;
  readonly replayEndpoint: string | null;
  readonly topic: string;
  readonly reportMode: "delta" | "full";
  /** Where a snapshot left it; null to begin afresh. Its blocks are in the index under this slot. */
  readonly resumeFrom: StreamPosition | null;
}

/** What became of the file to restore from. */
export type RestoredSnapshot =
  | {
      readonly kind: "restored";
      readonly createdMs: number;
      readonly rows: number;
      readonly streams: readonly SnapshotStream[];
    }
  | { readonly kind: "refused"; readonly code: string; readonly message: string };

/** To the ingest thread. */
export type ToIngest =
  | { readonly kind: "follow"; readonly rank: FollowedRank }
  | { readonly kind: "forget"; readonly rankSlot: number }
  | { readonly kind: "snapshot" }
  | { readonly kind: "stop" };

/** A line for the log. */
export interface LogLine {
  readonly level: "debug" | "info" | "warn" | "error";
  /** Code of what happened. */
  readonly event: string;
  readonly message: string;
  readonly facts: Readonly<Record<string, string | number | boolean | null>>;
}

/** From the ingest thread. */
export type FromIngest =
  | { readonly kind: "ready"; readonly index: SharedPrefixIndex; readonly restored: RestoredSnapshot | null }
  | { readonly kind: "snapshot"; readonly taken: TakenSnapshot }
  /** Everything of the rank is gone from the index: its slot may be given to another. */
  | { readonly kind: "forgotten"; readonly rankSlot: number }
  | { readonly kind: "metrics"; readonly announcement: SlotAnnouncement }
  | { readonly kind: "log"; readonly line: LogLine };
