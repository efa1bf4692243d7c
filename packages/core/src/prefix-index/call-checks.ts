/**
 * Arguments of the index's calls: slots of ranks and holders, numbers of blocks, lookaheads. Only foreign values are
 * checked; context ids are the caller's promise.
 *
 * Invariant
 *  K1  A value out of its range is an `IndexError` that names it, before anything is changed.
 */
import { HOLDER_SLOTS_MAX, LOOKAHEAD_MAX, RANK_SLOTS_MAX } from "./contract.ts";
import { IndexError } from "./index-error.ts";
import { STORE_BLOCKS_MAX } from "./writer-memory.ts";

/**
 * Holds a lookahead to its range.
 *
 * @throws IndexError `invalid_lookahead`.
 */
export function checkLookahead(lookahead: number): void {
  if (Number.isInteger(lookahead) && lookahead >= 0 && lookahead <= LOOKAHEAD_MAX) return;
  throw new IndexError(
    { code: "invalid_lookahead", lookahead, lookaheadMax: LOOKAHEAD_MAX },
    `a lookahead of ${lookahead} tokens is not a whole number in 0 … ${LOOKAHEAD_MAX}`,
  );
}

/**
 * Holds a rank slot to its range.
 *
 * @throws IndexError `invalid_rank_slot`.
 */
export function checkRankSlot(rankSlot: number): void {
  if (Number.isInteger(rankSlot) && rankSlot >= 0 && rankSlot < RANK_SLOTS_MAX) return;
  throw new IndexError(
    { code: "invalid_rank_slot", rankSlot, rankSlotsMax: RANK_SLOTS_MAX },
    `rank slot ${rankSlot} is not a whole number in 0 … ${RANK_SLOTS_MAX - 1}`,
  );
}

/**
 * Holds the slot of a rank or of one of its further groups to its range.
 *
 * @throws IndexError `invalid_rank_slot`.
 */
export function checkHolderSlot(slot: number): void {
  if (!(Number.isInteger(slot) && slot >= RANK_SLOTS_MAX && slot < HOLDER_SLOTS_MAX)) checkRankSlot(slot);
}

/**
 * Holds the number of a call's blocks to what scratch has room for.
 *
 * @throws IndexError `too_many_blocks`.
 */
export function checkBlockCount(blockCount: number): void {
  if (blockCount <= STORE_BLOCKS_MAX) return;
  throw new IndexError(
    { code: "too_many_blocks", actual: blockCount, expectedMax: STORE_BLOCKS_MAX },
    `${blockCount} blocks in one call, at most ${STORE_BLOCKS_MAX} fit`,
  );
}
