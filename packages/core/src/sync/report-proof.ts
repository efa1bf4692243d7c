/**
 * Decides whether a store from the root can be a report of blocks that the engine reuses.
 *
 *     block             0   1   2   3           a store from the root of blocks 0 … 3
 *     main group        ■   ■   ■   ■           allows 4
 *     window of 2       ■   ■   ■   –           does not: no request reuses four blocks, so this is no report
 *
 * A report announces, for each group, the blocks of one request's hit, whose end every group
 * allows. Where one group of the rank does not, the store is a physical copy. The index decides
 * this where it has all that the engine holds.
 *
 * Invariants
 *  R1  Where the engine may reuse the blocks, the answer is true. Uncertain blocks count as held:
 *      names that the ledger of copies has open, and groups whose blocks the store's do not divide
 *      into. A group of a kind without a rule allows all.
 *
 * Not here: the block that EAGLE drops, for which an engine needs more than this asks. The answer is then true too often.
 *
 * Source: vLLM 0.33.0, v1/core/kv_cache_manager.py (get_computed_blocks), v1/core/kv_cache_coordinator.py
 * (emit_cached_block_events, find_longest_cache_hit); the rules of groups: kernel/match-groups.ts.
 */
import { type GroupKind, type GroupRule, HELD_BLOCK, type IndexWriter } from "../prefix-index/contract.ts";
import type { HolderShape } from "./cache-groups.ts";

const FULL_KINDS: ReadonlySet<GroupKind> = new Set([
  "full_attention",
  "mla_attention",
  "sink_full_attention",
]);

/** Whether the engine may hold block `i` of the store in a group where the index has no copy of it. */
export type MayHold = (slot: number, i: number) => boolean;

/** Blocks of `blockSize` tokens from the root, whose names are in the index's scratch. Overwrites the index's notes. */
export function canBeReport(
  index: IndexWriter,
  holders: readonly HolderShape[],
  blockSize: number,
  blockCount: number,
  mayHold: MayHold,
): boolean {
  return holders.every((holder) => {
    if (!hasKnownRule(holder)) return true;
    const stride = holder.blockSize / blockSize;
    const blocks = blockCount / stride;
    if (!Number.isInteger(stride) || stride === 0 || !Number.isInteger(blocks)) return true;
    index.noteHeld(holder.slot, 0, blockCount);
    for (let block = firstNeeded(holder, blocks); block < blocks; block += 1) {
      const i = (block + 1) * stride - 1;
      if (index.notes[i] !== HELD_BLOCK && !mayHold(holder.slot, i)) return false;
    }
    return true;
  });
}

/** A group of a kind without a rule has that of full attention, and may allow what that does not. */
function hasKnownRule({ rule, kind }: HolderShape): boolean {
  return rule !== "run" || FULL_KINDS.has(kind);
}

/** The first block that a group needs for a prefix of so many of its blocks. */
function firstNeeded({ rule, windowTokens, blockSize }: HolderShape, blocks: number): number {
  const first: Record<GroupRule, () => number> = {
    run: () => 0,
    window: () => Math.max(0, blocks - Math.max(1, Math.ceil((windowTokens - 1) / blockSize))),
    last: () => blocks - 1,
    chunk: () => Math.floor((Math.floor((blocks * blockSize) / windowTokens) * windowTokens) / blockSize),
  };
  return first[rule]();
}
