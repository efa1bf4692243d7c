/**
 * The largest prefix that all groups of a rank allow, by bits. For queries along which holders change so often that going
 * down block by block would take long (match-groups.ts).
 *
 *     block                     0 1 2 3 4 5 6 7
 *     column of a window        1 1 0 1 1 1 0 1     which blocks it holds
 *     prefixes that it allows   1 1 0 0 0 1 0 0     bit e − 1: the prefix of e blocks; here a window of 3
 *     … the rank's other group  1 1 1 1 1 1 1 0     and so on: the answer is the last bit that all have
 *
 * Blocks before the query count as held, so that a window is whole there. A group of coarse blocks holds a block as the last of
 * the s that it consists of. Only each s-th bit of its column is looked at.
 *
 * Holder sets have a bit for each holder. 64 × 64 bits of them, of 64 holders and 64 blocks, are turned at once. A *sheet* has
 * the columns of 64 holders with neighboring numbers, for the whole query. A reader keeps the last ones: groups of an engine,
 * and engines that came together, have neighboring numbers.
 *
 * Invariants
 *  GC1 A rank's answer is that of the rules in match-groups.ts, for queries of at most `COLUMN_BLOCKS_MAX` blocks.
 *  GC2 A sheet is of this lookup: beginning one forgets all.
 *
 * Cost: O(blocks) words for a sheet, and for each group O(blocks / 64 × log(window)). Neither depends on what is held.
 *
 * Not here: how a group limits a lookup (match-groups.ts). Source of the turning: Warren, Hacker's Delight, 7-3.
 */
import { columnStride, SHEETS, TILE_BYTES } from "./column-sizes";
import { TIER_KINDS } from "./layout";
import { SET_HEAD, setAt } from "./holder-set";
import { LAST, RUN, WINDOW } from "./groups";
import { Reader } from "./match";

/** Words of the query's segments: first block, set. */
const SEGMENT_LOG: usize = 3;
/** Segments in a tile of 64 blocks up to which writing each by itself is quicker than turning. */
const FEW: u32 = 4;

/** Forgets the sheets of the lookup before. */
export function beginColumns(reader: Reader): void {
  memory.fill(reader.columns, 0xff, SHEETS * 4);
}

// @ts-ignore: decorator
@inline
function tileOf(reader: Reader): usize {
  return reader.columns + SHEETS * 4;
}

/** The prefixes that all groups allow so far. */
// @ts-ignore: decorator
@inline
function allowedOf(reader: Reader): usize {
  return tileOf(reader) + TILE_BYTES;
}

/** What the group at hand holds, and then allows. */
// @ts-ignore: decorator
@inline
function columnOf(reader: Reader): usize {
  return allowedOf(reader) + columnStride(reader.walked);
}

/** Begins with a rank: prefixes of up to `end` blocks are allowed. */
export function allowUpTo(reader: Reader, end: u32): void {
  const words = (end + 63) >> 6;
  memory.fill(allowedOf(reader), 0xff, <usize>words << 3);
  clearFrom(allowedOf(reader), end, words);
}

/** Allows only what a group with this rule allows, of prefixes up to `end` blocks. `local` is its number in the sets; `need` as in `GroupState`. */
export function allowByRule(reader: Reader, local: u32, rule: u32, stride: u32, need: u32, blockTokens: u32, end: u32): void {
  const words = (end + 63) >> 6;
  const allowed = allowedOf(reader);
  const column = columnOf(reader);
  memory.copy(column, sheetOf(reader, local >> 6) + <usize>(local & 63) * columnStride(reader.walked), <usize>words << 3);
  if (rule == RUN) {
    clearFrom(allowed, firstMissing(column, 0, end, stride), words);
    return;
  }
  if (rule == WINDOW) keepWindows(column, words, stride, need);
  else if (rule != LAST) keepChunks(column, end, stride, need, blockTokens);
  for (let word: u32 = 0; word < words; word++) {
    const at = allowed + (<usize>word << 3);
    store<u64>(at, load<u64>(at) & load<u64>(column + (<usize>word << 3)));
  }
}

/** The largest allowed prefix, up to `end` blocks, whose length is a multiple of `alignment` blocks; 0 when there is none. */
export function largestAllowed(reader: Reader, end: u32, alignment: u32): u32 {
  const allowed = allowedOf(reader);
  while (true) {
    end = lastBit(allowed, end);
    const rest = end % alignment;
    if (rest == 0) return end;
    end -= rest;
  }
}

/** The last bit that is set below bit `end`, plus 1; 0 when none is. */
function lastBit(column: usize, end: u32): u32 {
  while (end > 0) {
    const word = (end - 1) >> 6;
    const bits = load<u64>(column + (<usize>word << 3)) << (63 - ((end - 1) & 63));
    if (bits != 0) return end - <u32>clz(bits);
    end = word << 6;
  }
  return 0;
}

/** Clears the bits from `from` on. */
function clearFrom(column: usize, from: u32, words: u32): void {
  const first = from >> 6;
  if (first >= words) return;
  const at = column + (<usize>first << 3);
  store<u64>(at, load<u64>(at) & (((<u64>1) << (from & 63)) - 1));
  memory.fill(at + 8, 0, <usize>(words - first - 1) << 3);
}

/** The first block of the context, from `from` on, at which a block of the group begins that is not held; `to` when all are. */
function firstMissing(column: usize, from: u32, to: u32, stride: u32): u32 {
  if (stride > 1) {
    for (let start = from; start < to && start + stride <= to; start += stride) {
      const last = start + stride - 1;
      if (((load<u64>(column + (<usize>(last >> 6) << 3)) >> (last & 63)) & 1) == 0) return start;
    }
    return to;
  }
  for (let at = from; at < to; at = ((at >> 6) + 1) << 6) {
    const missing = ~load<u64>(column + (<usize>(at >> 6) << 3)) >> (at & 63);
    if (missing != 0) return min(to, at + <u32>ctz(missing));
  }
  return to;
}

/** Leaves the bits whose `need` blocks of the group, themselves included, are all set. Spans double: 1, 2, 4 … blocks. */
function keepWindows(column: usize, words: u32, stride: u32, need: u32): void {
  const whole = words << 6;
  for (let span: u32 = 1; span < need; ) {
    const step = min(span, need - span);
    // As far as the query goes back: what is before it is held.
    if (<u64>step * stride >= whole) return;
    andShifted(column, words, step * stride);
    span += step;
  }
}

/** Clears the bits whose bit `shift` further down is not set; what is below the column is. Downwards, so that none is read after its change. */
function andShifted(column: usize, words: u32, shift: u32): void {
  const whole = shift >> 6;
  const part = shift & 63;
  const rest = 63 - part;
  const back = (<usize>whole << 3) + 8;
  let word = words;
  for (; word >= whole + 3; word -= 2) {
    const at = column + (<usize>(word - 2) << 3);
    const low = i64x2.shr_u(i64x2.shr_u(v128.load(at - back), 1), rest);
    const high = i64x2.shl(v128.load(at - back + 8), part);
    v128.store(at, v128.and(v128.load(at), v128.or(high, low)));
  }
  for (; word > whole; word--) {
    const at = column + (<usize>(word - 1) << 3);
    const low: u64 = word > whole + 1 ? load<u64>(at - back) : ~0;
    store<u64>(at, load<u64>(at) & ((load<u64>(at - back + 8) << part) | ((low >> 1) >> rest)));
  }
}

/** Leaves the bits of prefixes whose chunk, up to their end, is held. */
function keepChunks(column: usize, blocks: u32, stride: u32, need: u32, blockTokens: u32): void {
  const chunk = <u64>max(need, 1);
  const tokens = <u64>blockTokens * stride;
  const ends = blocks / stride;
  for (let end: u32 = 1; end <= ends; ) {
    const number = (<u64>end * tokens) / chunk;
    const start = <u32>((number * chunk) / tokens);
    const next = min(<u64>ends + 1, ((number + 1) * chunk + tokens - 1) / tokens);
    const missing = firstMissing(column, start * stride, <u32>(next - 1) * stride, stride) / stride;
    for (; end < <u32>next; end++) setBit(column, end * stride - 1, end <= missing);
  }
}

function setBit(column: usize, bit: u32, isSet: bool): void {
  const at = column + (<usize>(bit >> 6) << 3);
  const mask = (<u64>1) << (bit & 63);
  store<u64>(at, isSet ? load<u64>(at) | mask : load<u64>(at) & ~mask);
}

/** The sheet of 64 holders. */
function sheetOf(reader: Reader, number: u32): usize {
  const place = number & (SHEETS - 1);
  const stride = columnStride(reader.walked);
  const sheet = columnOf(reader) + stride + <usize>(place << 6) * stride;
  const known = reader.columns + (<usize>place << 2);
  if (load<u32>(known) != number) {
    fillSheet(reader, sheet, stride, number);
    store<u32>(known, number);
  }
  return sheet;
}

function fillSheet(reader: Reader, sheet: usize, stride: u32, number: u32): void {
  const tile = tileOf(reader);
  let segment: u32 = 0;
  let value = holdersOf(reader, 0, number);
  let next = segmentEnd(reader, 0);
  for (let block: u32 = 0; block < reader.walked; block += 64) {
    const isFew = segment + FEW >= reader.segmentCount || segmentEnd(reader, segment + FEW - 1) >= block + 64;
    for (let row: u32 = 0; row < 64; ) {
      while (next <= block + row) {
        segment++;
        value = holdersOf(reader, segment, number);
        next = segmentEnd(reader, segment);
      }
      if (isFew) {
        const end = min(64, next - block);
        spread(tile, value, row, end);
        row = end;
      } else {
        store<u64>(tile + (<usize>row << 3), value);
        row++;
      }
    }
    if (!isFew) turn(tile);
    let at = sheet + <usize>(block >> 3);
    for (let i: usize = 0; i < 512; i += 8) {
      store<u64>(at, load<u64>(tile + i));
      at += stride;
    }
  }
}

/** Writes rows `row` up to `end` of a tile, which are alike, already turned. Row 0 comes first. */
function spread(tile: usize, value: u64, row: u32, end: u32): void {
  const values = i64x2.splat(value);
  const rows = i64x2.splat((~(<u64>0) << row) & (~(<u64>0) >> (64 - end)));
  let bits = i64x2(1, 2);
  for (let i: usize = 0; i < 512; i += 16) {
    const column = v128.and(i64x2.eq(v128.and(values, bits), bits), rows);
    v128.store(tile + i, row == 0 ? column : v128.or(column, v128.load(tile + i)));
    bits = i64x2.shl(bits, 2);
  }
}

// @ts-ignore: decorator
@inline
function segmentEnd(reader: Reader, segment: u32): u32 {
  return segment + 1 < reader.segmentCount ? load<u32>(reader.segments + (<usize>(segment + 1) << SEGMENT_LOG)) : ~0;
}

/** Which of 64 holders have the blocks of a segment, at any tier. */
function holdersOf(reader: Reader, segment: u32, number: u32): u64 {
  const set = <usize>load<u32>(reader.segments + (<usize>segment << SEGMENT_LOG), 4);
  if (set == 0 || number >= <u32>setAt(set).words) return 0;
  const planeBytes = <usize>setAt(set).words << 3;
  let at = set + SET_HEAD + (<usize>number << 3);
  let holders: u64 = 0;
  for (let planes = <u32>setAt(set).planes & TIER_KINDS; planes != 0; planes &= planes - 1) {
    holders |= load<u64>(at);
    at += planeBytes;
  }
  return holders;
}

/** Turns 64 words of 64 bits: bit j of word i becomes bit i of word j. */
function turn(tile: usize): void {
  let mask: u64 = 0xffffffff;
  for (let width: u32 = 32; width > 1; width >>= 1) {
    const masks = i64x2.splat(mask);
    for (let i: u32 = 0; i < 64; i = (i + width + 2) & ~width) {
      const low = tile + (<usize>i << 3);
      const high = low + (<usize>width << 3);
      const a = v128.load(low);
      const b = v128.load(high);
      const swapped = v128.and(v128.xor(i64x2.shr_u(a, width), b), masks);
      v128.store(low, v128.xor(a, i64x2.shl(swapped, width)));
      v128.store(high, v128.xor(b, swapped));
    }
    mask ^= mask << (width >> 1);
  }
  for (let i: usize = 0; i < 64; i += 2) {
    const at = tile + (i << 3);
    const a = load<u64>(at);
    const b = load<u64>(at, 8);
    const swapped = ((a >> 1) ^ b) & mask;
    store<u64>(at, a ^ (swapped << 1));
    store<u64>(at, b ^ swapped, 8);
  }
}
