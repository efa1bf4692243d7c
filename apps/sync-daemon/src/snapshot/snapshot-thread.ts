/**
 * A thread that writes one snapshot, or a part of one, and ends. Hashing and writing a large index takes longer than a lookup may
 * wait.
 */

import { parentPort, workerData } from "node:worker_threads";

import { assert, type IndexCopy } from "@kvsync/core";

import { FleetShard } from "../engine/fleet-shard.ts";
import { SnapshotError } from "./snapshot-error.ts";
import { type SnapshotHead, writePart, writeSnapshot } from "./snapshot-file.ts";

/** What it is started with: a copy to write, or a file of whose workers a shard's are to be written. */
export type SnapshotJob =
  | {
      readonly kind: "whole";
      readonly path: string;
      readonly head: SnapshotHead;
      readonly copies: readonly IndexCopy[];
    }
  | {
      readonly kind: "part";
      readonly path: string;
      readonly from: string;
      readonly shard: { readonly index: number; readonly count: number };
    };

/** What it says before it ends. */
export type SnapshotOutcome =
  | { readonly kind: "written"; readonly rows: number; readonly parked: number; readonly bytes: number }
  | { readonly kind: "parted" }
  | { readonly kind: "failed"; readonly code: string; readonly message: string };

assert(parentPort !== null, "snapshot-thread runs as a worker thread");

function work(job: SnapshotJob): SnapshotOutcome {
  if (job.kind === "whole") return { kind: "written", ...writeSnapshot(job.path, job.head, ...job.copies) };
  const shard = new FleetShard(job.shard.index, job.shard.count);
  writePart(job.from, job.path, (workerId) => shard.owns(workerId));
  return { kind: "parted" };
}

let outcome: SnapshotOutcome;
try {
  outcome = work(workerData as SnapshotJob);
} catch (error) {
  if (!(error instanceof SnapshotError)) throw error;
  outcome = { kind: "failed", code: error.code, message: error.message };
}
parentPort.postMessage(outcome);
