/**
 * The messages between the main thread and the ingest thread. Rare messages only: engines come and
 * go. Messages, lookups and status never pass this way.
 */

import type { HashSeed, ParkedRecord, RankRows, SharedPrefixIndex, StreamPosition } from "@kvsync/core";
import type { SlotAnnouncement } from "@kvsync/observability/slots";

import type { FollowedRank } from "../engine/followed-rank.ts";
import type { LogLine } from "../log/log-line.ts";
import type { DialKeys } from "../security/curve-keys.ts";
import type { FinishedSpan } from "../telemetry/finished-span.ts";
import type { RestoredSnapshot, RestoreOrder } from "../snapshot/restored-snapshot.ts";
import type { TakenSnapshot } from "../snapshot/taken-snapshot.ts";
import type { QueueLimits } from "./ingest-queue.ts";
import type { JournalOrder } from "./message-journal.ts";

/** What an ingest thread is started with. */
export interface IngestSettings {
  /** Its name in metrics and logs. */
  readonly worker: string;
  /** Its place on the board, from 0. */
  readonly workerNumber: number;
  /** How many there are. Each has a part of the index. */
  readonly workerCount: number;
  /** In which part each rank is (core's rank-homes.ts). */
  readonly homes: SharedArrayBuffer;
  readonly board: SharedArrayBuffer;
  /** Where to record messages before they are applied; null after a clean stop. */
  readonly journal: JournalOrder | null;
  /** Memory of the log's level. */
  readonly logLevel: SharedArrayBuffer;
  /** Share of messages whose application is traced; null when tracing is off. */
  readonly tracedRatio: number | null;
  readonly queue: QueueLimits;
  /** Bytes that this worker's streams together hold while replays run. */
  readonly holdBytesMax: number;
  readonly tickMs: number;
  readonly replayTimeoutMs: number;
  /** The same once it has begun. */
  readonly replayStallMs: number;
  readonly replaysMax: number;
  /** Connections dialled per second, and at once after a quiet time. */
  readonly dials: { readonly perSecond: number; readonly burst: number };
  readonly reconnectMsMin: number;
  readonly reconnectMsMax: number;
  /** Who reads plain ZeroMQ; CURVE is always libzmq's. */
  readonly transport: "own" | "libzmq";
  /** Parts of a message beyond which its connection ends. */
  readonly messagePartsMax: number;
  readonly curve: DialKeys;
  /** DNS servers for engines' names; none for the system's resolver. */
  readonly dnsServers: readonly string[];
  /** From where engines may connect to addresses that the daemon listens at. */
  readonly publisherRanges: readonly string[];
  /** Limits of this worker's part. */
  readonly index: {
    readonly contextCountMax: number;
    readonly prefixesPerContextMax: number;
    readonly memoryBytesMax: number;
    readonly parkedBytesMax: number;
  };
  /** Of the hashes in all parts. */
  readonly hashSeed: HashSeed;
  /** What to fill the index from; null for a cold start. */
  readonly restoreFrom: RestoreOrder | null;
}

/** What a worker leaves to the one that goes on with a stream. */
export interface MovedStream {
  readonly position: StreamPosition;
  readonly parked: readonly ParkedRecord[];
  readonly rows: RankRows;
}

/** Its large parts, to be given away with the message that has it. */
export function buffersOf({ rows }: MovedStream): ArrayBuffer[] {
  return rows.pages.map(({ rows: page }) => page.buffer as ArrayBuffer);
}

/** To the ingest thread. */
export type ToIngest =
  /** `parked` are stores of the rank that wait for their parents, of a snapshot or of this worker. The rank's blocks are here. */
  | { readonly kind: "follow"; readonly rank: FollowedRank; readonly parked: readonly ParkedRecord[] }
  /** Stop following it and leave its blocks: another worker goes on. */
  | { readonly kind: "release"; readonly rankSlot: number }
  /** Take its rows into this part, and go on with it. */
  | { readonly kind: "adopt"; readonly rank: FollowedRank; readonly moved: MovedStream }
  | { readonly kind: "forget"; readonly rankSlot: number }
  | { readonly kind: "redial"; readonly rankSlot: number }
  | { readonly kind: "snapshot" }
  | { readonly kind: "stop" };

/** From the ingest thread. */
export type FromIngest =
  | { readonly kind: "ready"; readonly index: SharedPrefixIndex; readonly restored: RestoredSnapshot | null }
  | { readonly kind: "snapshot"; readonly taken: TakenSnapshot }
  /** Null when the rank cannot be gone on from now: then it is followed as before. */
  | { readonly kind: "released"; readonly rankSlot: number; readonly moved: MovedStream | null }
  /** False when it did not fit: then nothing of it is in this part. */
  | { readonly kind: "adopted"; readonly rankSlot: number; readonly fits: boolean }
  /** Everything of the rank is gone from the index: its slot may be given to another. */
  | { readonly kind: "forgotten"; readonly rankSlot: number }
  /** The rank has a KV-cache group of a kind that no rule is known for; UNKNOWN_KINDS_MAX of these for a stream. */
  | { readonly kind: "unknown_kind"; readonly rankSlot: number; readonly name: string }
  /** An error that nothing caught: the thread does nothing from now on. */
  | { readonly kind: "failed"; readonly error: Readonly<Record<"name" | "message" | "stack", string>> }
  | { readonly kind: "metrics"; readonly announcement: SlotAnnouncement }
  | { readonly kind: "log"; readonly line: LogLine }
  | { readonly kind: "span"; readonly span: FinishedSpan };
