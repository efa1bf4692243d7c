/**
 * The position of a stream, as plain data. It goes with a copy of the stream's blocks into a
 * snapshot, or to another thread, so that another `WorkerSync` continues from there.
 */
import type { NamesState } from "./content-names.ts";
import type { LedgerEntry } from "./copy-ledger.ts";
import type { FenceMarks } from "./publisher-fence.ts";
import type { CacheGroupsState } from "./cache-groups.ts";
import type { SignsState } from "./engine-signs.ts";
import type { RankContext } from "./name-contexts.ts";
import type { TrustReason } from "./trust-rule.ts";

/** What an applier knows beside the index. */
export interface ApplierState {
  readonly groups: CacheGroupsState;
  /** Block sizes stored in, the first one first; left out by snapshots of earlier versions. */
  readonly blockSizes?: readonly number[] | undefined;
  /** Whether copies were stored that an AllBlocksCleared may leave. */
  readonly outlivesClear: boolean;
  /** What is wrong with the rank until it begins again, oldest first. */
  readonly losses: readonly TrustReason[];
  /** Whether a store below the device waited for its parent; whether stores that waited were given up without a loss. */
  readonly hasParkedBelowDevice: boolean;
  readonly hasGivenUp: boolean;
  readonly uncertainCopies: readonly LedgerEntry[];
  readonly contentNames: NamesState;
  /** Contexts that the rank stores in; null when they were too many, left out by snapshots of earlier versions. */
  /** What was shown of the engine; left out by snapshots of earlier versions. */
  readonly signs?: SignsState | undefined;
  /**
   * Conditions that hold beside the losses, oldest first, each with the number of losses that are older; left out by snapshots
   * of earlier versions.
   */
  readonly conditions?: readonly (readonly [reason: TrustReason, olderLosses: number])[] | undefined;
  /** Kinds of groups without a rule; left out by snapshots of earlier versions. */
  readonly unknownKinds?: readonly string[] | undefined;
  readonly contexts?: readonly RankContext[] | null | undefined;
  readonly historyFrom: number;
  readonly overReportsSince: number;
}

/** Where a stream stood when its blocks were copied: everything beside the index that going on takes. Plain data. */
export interface StreamPosition {
  /** Last message applied. */
  readonly lastSequenceNumber: number;
  /** Message that the rank was last begun with. */
  readonly begunAt: number;
  readonly lastBatchTimestampSeconds: number | null;
  readonly fence: FenceMarks;
  /**
   * Since when the publisher may be another one, on the fence's clock: when this was taken, unless it was in doubt before. The
   * news of a new connection may have been on their way, and messages of that connection applied already. Left out: since
   * the last message.
   */
  readonly suspectSinceMs?: number | undefined;
  readonly applier: ApplierState;
}
