/** The end of a restore: what ingest found in the file that it was started with. */

import type { ParkedRecord } from "@kvsync/core";

import type { SnapshotStream } from "../engine/followed-rank.ts";

/** What a file gave, or why it was not used. */
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
