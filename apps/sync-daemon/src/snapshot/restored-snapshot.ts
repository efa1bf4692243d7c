/** The result of a restore, from the ingest thread to the main thread. */

import type { ParkedRecord } from "@kvsync/core";

import type { SnapshotStream } from "../engine/followed-rank.ts";

/** The content of a restored file, or the reason why it was refused. */
export type RestoredSnapshot =
  | {
      readonly kind: "restored";
      readonly createdMs: number;
      readonly rows: number;
      readonly streams: readonly SnapshotStream[];
      /** Stores that wait for their parents; whoever follows their rank gets them. */
      readonly parked: readonly ParkedRecord[];
    }
  | { readonly kind: "refused"; readonly code: string; readonly message: string };
