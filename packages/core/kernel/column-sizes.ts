/**
 * The sizes of what a reader keeps for group-columns.ts:
 *
 *     number of each sheet │ a tile of 64 words │ the prefixes allowed │ a column │ sheets of 64 columns
 *
 * Not here: their use (group-columns.ts).
 */
import { COLUMN_BLOCKS_MAX } from "./layout";

/** Sheets of a reader: the numbers of holders decide which one takes which place. */
export const SHEETS: u32 = 4;
/** 64 words, for turning. */
export const TILE_BYTES: u32 = 512;

/** Bytes of a reader's columns, for queries of so many tokens or blocks. */
export function columnBytes(tokens: u32): u32 {
  return SHEETS * 4 + TILE_BYTES + (64 * SHEETS + 2) * columnStride(min(tokens, COLUMN_BLOCKS_MAX));
}

/** Bytes of one column: an odd number of words, so that the 64 of a sheet do not all fall into one set of the cache. */
// @ts-ignore: decorator
@inline
export function columnStride(blocks: u32): u32 {
  return ((((blocks + 63) >> 6) | 1) << 3);
}
