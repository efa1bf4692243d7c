/**
 * Ranks that lost blocks to a limit. The writer reports them after its call (`evictionsTake`).
 * Readers check them after a lookup, until the rank is cleared.
 */
import { EVICTED_RANKS, Rank, rankOf } from "./layout";
import { ownerOfHolder } from "./groups";

/** Which limit took blocks; readers find it in `Rank.lostTo`, where 0 is none. */
export const LOST_TO_CONTEXTS: u32 = 1;
export const LOST_TO_PREFIXES: u32 = 2;
export const LOST_TO_MEMORY: u32 = 3;

/** Notes a rank that under-reports from now on, for its writer and, in the same moment, for readers. */
export function markEvicted(slot: u32, limit: u32): void {
  const rankSlot = ownerOfHolder(slot);
  const at = EVICTED_RANKS + (<usize>(rankSlot >> 5) << 2);
  store<u32>(at, load<u32>(at) | (1 << (rankSlot & 31)));
  atomic.store<u32>(changetype<usize>(rankOf(rankSlot)) + offsetof<Rank>("lostTo"), limit);
}
