/**
 * A thread that writes one snapshot and ends: hashing and writing a large index takes longer than a lookup may wait.
 */

import { parentPort, workerData } from "node:worker_threads";

import { assert, type IndexCopy } from "@kvsync/core";

import { SnapshotError } from "./snapshot-error.ts";
import { type SnapshotHead, writeSnapshot } from "./snapshot-file.ts";

/** What it is started with. */
export interface SnapshotJob {
  readonly path: string;
  readonly head: SnapshotHead;
  readonly copy: IndexCopy;
}

/** What it says before it ends. */
export type SnapshotOutcome =
  | { readonly kind: "written"; readonly rows: number; readonly parked: number; readonly bytes: number }
  | { readonly kind: "failed"; readonly code: string; readonly message: string };

assert(parentPort !== null, "snapshot-thread runs as a worker thread");
const { path, head, copy } = workerData as SnapshotJob;
let outcome: SnapshotOutcome;
try {
  outcome = { kind: "written", ...writeSnapshot(path, head, copy) };
} catch (error) {
  if (!(error instanceof SnapshotError)) throw error;
  outcome = { kind: "failed", code: error.code, message: error.message };
}
parentPort.postMessage(outcome);
