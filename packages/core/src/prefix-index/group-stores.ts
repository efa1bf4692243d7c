/**
 * Stores of a further KV-cache group of a rank. A block that any group of the rank has under its name gains a copy. The
 * others are stored from their tokens, each at the context's block that ends with the group's block.
 *
 *     the group's blocks      0           1                 stride 4
 *     the context's blocks    – – – 0     – – – 1           – is skipped: hashed past, not stored
 *
 * Invariant
 *  D1  Blocks that are not placed are reported: their hashes are the first in scratch, in order.
 */
import type { GroupStoreOutcome, Tier } from "./contract.ts";
import type { BlockStores } from "./block-stores.ts";
import { checkBlockCount } from "./call-checks.ts";
import type { KernelExports } from "./kernel.ts";
import { STORED } from "./kernel-boundary.generated.ts";
import type { StoreRequest } from "./store-calls.ts";
import type { WriterScratch } from "./writer-memory.ts";

/** The stores of groups of one writer. */
export class GroupStores {
  readonly #kernel: KernelExports;
  readonly #scratch: WriterScratch;
  readonly #stores: BlockStores;

  constructor(kernel: KernelExports, scratch: WriterScratch, stores: BlockStores) {
    this.#kernel = kernel;
    this.#scratch = scratch;
    this.#stores = stores;
  }

  /**
   * Stores the group's blocks in scratch; see `IndexWriter.storeGroupBlocks`.
   *
   * @param request - its `rankSlot` is the group's holder slot, its `blockCount` of the group.
   */
  store(request: StoreRequest, stride: number, hasTokens: boolean): GroupStoreOutcome {
    const { contextId, rankSlot, tier, blockCount, hasParent, parentLow, parentHigh, hasExtra } = request;
    checkBlockCount(blockCount * stride);
    const missedCount = this.#storeNamed(rankSlot, tier, blockCount);
    if (missedCount === null) return { outcome: "rejected_memory_limit", unplacedCount: 0 };
    if (missedCount === 0) return { outcome: "stored", unplacedCount: 0 };
    if (!hasTokens) {
      this.#gatherMissed(blockCount);
      return { outcome: "stored", unplacedCount: missedCount };
    }
    this.#spread(blockCount, stride, hasExtra);
    const outcome = this.#stores.store(
      contextId,
      rankSlot,
      tier,
      blockCount * stride,
      hasParent,
      parentLow,
      parentHigh,
      hasExtra,
      true,
      "count",
    );
    return { outcome, unplacedCount: 0 };
  }

  /** Adds copies by name; `skips` has 1 for each block that no group has, and they are counted. `null`: no memory. */
  #storeNamed(groupSlot: number, tier: Tier, blockCount: number): number | null {
    const { hashesAt, skips, skipsAt } = this.#scratch;
    if (this.#kernel.indexStoreNamed(groupSlot, tier, blockCount, hashesAt, skipsAt) !== STORED) return null;
    let missedCount = 0;
    for (let i = 0; i < blockCount; i++) missedCount += skips[i];
    return missedCount;
  }

  #gatherMissed(blockCount: number): void {
    const { hashes, skips } = this.#scratch;
    let kept = 0;
    for (let i = 0; i < blockCount; i++) if (skips[i] === 1) hashes.copyWithin(2 * kept++, 2 * i, 2 * i + 2);
  }

  /** Places a group's hashes and digests at the context's blocks, and makes of what was missed what is not to be skipped. */
  #spread(blockCount: number, stride: number, hasExtra: boolean): void {
    const { hashes, extraDigests, skips } = this.#scratch;
    for (let i = blockCount - 1; i >= 0; i--) {
      const isMissed = skips[i] === 1;
      const first = i * stride;
      const [low, high] = [hashes[2 * i], hashes[2 * i + 1]];
      const [extraLow, extraHigh] = [extraDigests[2 * i], extraDigests[2 * i + 1]];
      skips.fill(1, first, first + stride);
      hashes.fill(0, 2 * first, 2 * (first + stride));
      skips[first + stride - 1] = isMissed ? 0 : 1;
      hashes[2 * (first + stride) - 2] = low;
      hashes[2 * (first + stride) - 1] = high;
      if (!hasExtra) continue;
      extraDigests.fill(0, 2 * first, 2 * (first + stride));
      extraDigests[2 * first] = extraLow;
      extraDigests[2 * first + 1] = extraHigh;
    }
  }
}
