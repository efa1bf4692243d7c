/**
 * Codes and sizes of the kernel's answers: outcomes of stores, notes of blocks, reports. Callers get them from boundary.ts.
 *
 *     outcome of a store         STORED … REPEATED │ + EVICTED │ + NOTED
 *     count of a removal, …      blocks │ + COUNT_EVICTED
 */
import { RANK_SLOTS_MAX } from "./layout";

export const STORED: u32 = 0;
export const UNKNOWN_PARENT: u32 = 1;
export const MEMORY_LIMIT: u32 = 2;
export const TOO_MANY_BLOCKS: u32 = 3;
/** The context of a store was dropped by another writer. */
export const CONTEXT_GONE: u32 = 4;
/** All blocks were there already, and nothing was changed. */
export const REPEATED: u32 = 5;
/** Added to the outcome of a store: limits took blocks. */
export const EVICTED: u32 = 16;
/** Added to STORED: a block has a note. */
export const NOTED: u32 = 32;
/** Added to the count that a removal or a store of known blocks returns: limits took blocks. */
export const COUNT_EVICTED: u32 = 0x40000000;

/** A store's blocks that the holder has under these very names gain a copy. */
export const REPEATS_COUNT: u32 = 0;
/** If the holder has all blocks, the store changes nothing; else they gain a copy. */
export const REPEATS_IF_ALL: u32 = 1;
/** Blocks that the holder has do not gain a copy, and get a note. */
export const REPEATS_EACH: u32 = 2;

/** Note of a stored block: it was there already and gained no copy. */
export const NOTE_REPEATED: u32 = 1;
/** Note of a stored block: its name meant another block until now. */
export const NOTE_RENAMED: u32 = 2;
/** Note of a removed block: no copy was found under its name. */
export const NOTE_MISSING: u32 = 1;
/** Note of a removed block: its name has no copy at the tier any more. */
export const NOTE_LAST_COPY: u32 = 2;
/** Note of a block that was asked for: the holder has a copy at the tier. */
export const NOTE_HELD: u32 = 1;

/** Words of `indexStats`. */
export const STATS_WORDS: u32 = 9;
/** Reasons of evictions, and words of `evictionsTake`: a count for each reason, then a bitset of rank slots. */
export const EVICTION_REASONS: u32 = 3;
export const EVICTION_WORDS: u32 = EVICTION_REASONS + RANK_SLOTS_MAX / 32;
/** Faults that a check reports at most, and words of each: invariant, first, second. */
export const FAULTS_MAX: u32 = 64;
export const FAULT_WORDS: u32 = 3;
