/**
 * Lookup: how many leading blocks of a query does each rank hold, and on which tier each. Any thread, no locks.
 *
 * The blocks of a query are walked until no rank holds them all. Work on ranks is done only where
 * the set changes between two blocks, and there only for the ranks that leave a tier:
 *
 *     block        0   1   2   3   4   5   6
 *     set          A   A   A   B   B   B   –          A = {r1 device, r2 device}, B = {r1 host}
 *     r1           └ device ┘   └ host ─┘             row: 6 matched, 3 device, 3 host
 *     r2           └ device ┘                         row: 3 matched, 3 device
 *
 * Each rank in the first block's set gets a row. While a rank is alive, the row's "matched" word holds the block at which its
 * current tier began. `tiers[k]` is the bitset of the ranks whose fastest tier at the current block is k; their union is
 * the ranks alive. While all is on device, only `tiers[0]` is kept.
 *
 *     row   rank slot │ matched │ device │ host │ disk │ remote │ held by the main group      u32 each
 *
 * In a context with KV-cache groups, match-groups.ts cuts the rows to what all groups of a rank allow.
 */
import {
  Context,
  GROUP_STATE_BYTES,
  GROUPS_PER_RANK_MAX,
  HOLDER_SLOTS_MAX,
  localRank,
  RANK_SLOTS_MAX,
  TIER_KINDS,
} from "./layout";
import { readerOpen } from "./epoch";
import { chunkIn, PREFIX_COLUMN, prefixAddress, setAddress, touchRun } from "./arena";
import { idFind, mixKey } from "./id-table";
import { planeWord, SET_HEAD, setAt } from "./holder-set";
import { allocateScratch, releaseScratch } from "./heap";
import { columnBytes } from "./column-sizes";

export const ROW_WORDS: u32 = 7;
const WORDS_MAX: u32 = HOLDER_SLOTS_MAX / 64;
/** What a dump keeps between two calls (dump.ts). */
const CURSOR_BYTES: u32 = 16;

/** A reader's own memory. */
@unmanaged
export class Reader {
  line: u32;
  /** Blocks of the query; the caller writes it. */
  blockCount: u32;
  /** What a lookup answers. */
  rowCount: u32;
  /** The context at hand, and its shape. */
  context: usize;
  blockSize: u32;
  lookahead: u32;
  /** Blocks walked so far, the id behind the last one. */
  walked: u32;
  guess: u32;
  /** Words of the bitsets in this lookup. */
  words: u32;
  /** Whether tiers beyond device were seen in this lookup. */
  hasTiers: u32;
  /** Whether a rank has left a tier in this lookup. */
  hasLeft: u32;
  set: usize;
  tiers: usize;
  rowOf: usize;
  rows: usize;
  cursor: usize;
  hashes: usize;
  /** Runs of blocks with one set, as (first block, set); of contexts with groups only (match-groups.ts). */
  segments: usize;
  segmentCount: u32;
  /** State of the groups of the rank at hand. */
  groupStates: usize;
  /** The tiers that were seen, as bits of kinds. */
  tiersSeen: u32;
  /** Looks at segments for the rank at hand, and how many there may be before its groups are looked at by bits. */
  looks: u32;
  looksMax: u32;
  /** What group-columns.ts works in. */
  columns: usize;
}

/** Makes a reader for queries of up to `blocks` blocks; 0 when no line is free. Under the writers' lock. */
export function readerMake(blocks: u32): usize {
  const line = readerOpen();
  if (line == <u32>-1) return 0;
  const at = allocateScratch(<u32>offsetof<Reader>());
  const reader = changetype<Reader>(at);
  reader.line = line;
  reader.tiers = allocateScratch(4 * WORDS_MAX * 8);
  reader.rowOf = allocateScratch(2 * HOLDER_SLOTS_MAX);
  reader.rows = allocateScratch(4 * ROW_WORDS * RANK_SLOTS_MAX);
  reader.cursor = allocateScratch(CURSOR_BYTES);
  reader.hashes = allocateScratch(8 * blocks);
  reader.segments = allocateScratch(8 * (blocks + 1));
  reader.groupStates = allocateScratch(GROUP_STATE_BYTES * GROUPS_PER_RANK_MAX);
  reader.columns = allocateScratch(columnBytes(blocks));
  return at;
}

/** Gives a reader's memory back. */
export function readerFree(reader: Reader): void {
  releaseScratch(reader.tiers);
  releaseScratch(reader.rowOf);
  releaseScratch(reader.rows);
  releaseScratch(reader.cursor);
  releaseScratch(reader.hashes);
  releaseScratch(reader.segments);
  releaseScratch(reader.groupStates);
  releaseScratch(reader.columns);
  releaseScratch(changetype<usize>(reader));
}

/** Forgets the rows of the lookup before. */
export function beginLookup(reader: Reader): void {
  reader.rowCount = 0;
  reader.words = 0;
  reader.hasTiers = 0;
  reader.hasLeft = 0;
  reader.set = 0;
  reader.walked = 0;
  reader.guess = 0;
  reader.segmentCount = 0;
  reader.tiersSeen = 0;
}

/** Walks on to block `end` of the query. False when it ends before. */
export function walk(reader: Reader, end: u32): bool {
  const context = changetype<Context>(reader.context);
  let guess = reader.guess;
  let at = reader.walked;
  while (at < end) {
    const run = walkRun(reader, context, guess, reader.hashes + (<usize>at << 3), at, end - at);
    if (run == 0) break;
    guess = runEnd;
    at += run;
  }
  reader.guess = guess;
  reader.walked = at;
  return at == end;
}

/** Id behind the last run. A second return value, of this thread's own instance. */
export let runEnd: u32 = 0;

/** Walks blocks that lie one behind the other and have one set. Returns how many; 0 when the query ends here. */
function walkRun(reader: Reader, context: Context, guess: u32, hashes: usize, at: u32, count: u32): u32 {
  const set = locate(context, guess, load<u64>(hashes));
  if (set == 0) return 0;
  if (set != reader.set) {
    const isAlive = reader.words == 0 ? beginRows(reader, context, set) : changeSet(reader, set, at);
    if (!isAlive) return 0;
    reader.set = set;
  }
  return runFrom(set, hashes, count);
}

/** Where `locate` found a block. */
let foundId: u32 = 0;
let foundChunk: usize = 0;

/** The set of the block with a hash, which may be `guess`; 0 when there is none. */
// @ts-ignore: decorator
@inline
export function locate(context: Context, guess: u32, hash: u64): usize {
  const chunks = context.chunks;
  let id = guess;
  let chunk = chunkIn(chunks, id);
  let set: usize = chunk == 0 ? 0 : <usize>atomic.load<u32>(setAddress(chunk, id));
  if (set == 0 || load<u64>(prefixAddress(chunk, id)) != hash) {
    id = idFind(chunks, context.directory, PREFIX_COLUMN, hash, mixKey(hash));
    if (id == 0) return 0;
    chunk = chunkIn(chunks, id);
    if (chunk == 0) return 0;
    set = <usize>atomic.load<u32>(setAddress(chunk, id));
    // Seen by the directory and taken back since.
    if (set == 0 || load<u64>(prefixAddress(chunk, id)) != hash) return 0;
  }
  foundId = id;
  foundChunk = chunk;
  return set;
}

/** How many blocks from the one that was located on lie one behind the other and have its set; marks them as matched. */
// @ts-ignore: decorator
@inline
export function runFrom(set: usize, hashes: usize, count: u32): u32 {
  const id = foundId;
  const from = id & 1023;
  const run = extend(foundChunk, id, <u32>set, hashes, min(count, 1024 - from));
  touchRun(foundChunk, from, from + run - 1);
  runEnd = id + run;
  return run;
}

/** How many blocks from `id` on have these hashes and this set; at least 1, as the first is known to. */
function extend(chunk: usize, id: u32, set: u32, hashes: usize, count: u32): u32 {
  let sets = setAddress(chunk, id) + 4;
  let prefixes = prefixAddress(chunk, id) + 8;
  const end = hashes + (<usize>count << 3);
  let hash = hashes + 8;
  if ((sets & 4) != 0 && hash < end) {
    if (atomic.load<u32>(sets) != set || load<u64>(prefixes) != load<u64>(hash)) return 1;
    sets += 4;
    prefixes += 8;
    hash += 8;
  }
  const pair = (<u64>set << 32) | set;
  // Four at a time, where they are all alike; what differs is found below.
  while (hash + 32 <= end) {
    if (((atomic.load<u64>(sets) ^ pair) | (atomic.load<u64>(sets, 8) ^ pair)) != 0) break;
    const first = v128.xor(v128.load(prefixes), v128.load(hash));
    const second = v128.xor(v128.load(prefixes, 16), v128.load(hash, 16));
    if (v128.any_true(v128.or(first, second))) break;
    sets += 16;
    prefixes += 32;
    hash += 32;
  }
  while (hash + 16 <= end) {
    if (atomic.load<u64>(sets) != pair) break;
    if (v128.any_true(v128.xor(v128.load(prefixes), v128.load(hash)))) break;
    sets += 8;
    prefixes += 16;
    hash += 16;
  }
  if (hash < end && atomic.load<u32>(sets) == set && load<u64>(prefixes) == load<u64>(hash)) hash += 8;
  return <u32>((hash - hashes) >> 3);
}

// @ts-ignore: decorator
@inline
function tierWord(reader: Reader, tier: u32, word: u32): usize {
  return reader.tiers + (<usize>(tier * WORDS_MAX + word) << 3);
}

// @ts-ignore: decorator
@inline
export function rowAt(reader: Reader, row: u32): usize {
  return reader.rows + <usize>row * (ROW_WORDS << 2);
}

/** A row for each rank of the first block. False when there are none. */
export function beginRows(reader: Reader, context: Context, set: usize): bool {
  const words = <u32>setAt(set).words;
  reader.words = words;
  if (((<u32>setAt(set).planes) & TIER_KINDS & ~1) != 0) splitTiers(reader);
  let rows: u32 = 0;
  for (let word: u32 = 0; word < words; word++) {
    let left: u64 = 0;
    for (let tier: u32 = 0; tier < 4; tier++) {
      const fastest = planeWord(set, tier, word) & ~left;
      if (tier == 0 || reader.hasTiers != 0) store<u64>(tierWord(reader, tier, word), fastest);
      left |= fastest;
    }
    for (; left != 0; left &= left - 1) {
      const local = (word << 6) | <u32>ctz(left);
      const rankSlot = localRank(context, local).rankSlot;
      if (rankSlot >= RANK_SLOTS_MAX) {
        hideGroup(reader, word, left & (~left + 1));
        continue;
      }
      const row = rowAt(reader, rows);
      store<u64>(row, rankSlot);
      v128.store(row, i64x2.splat(0), 8);
      store<u16>(reader.rowOf + (<usize>local << 1), <u16>rows);
      rows++;
    }
  }
  reader.rowCount = rows;
  return rows > 0;
}

/** Groups have no rows: takes one out of the ranks alive. */
function hideGroup(reader: Reader, word: u32, bit: u64): void {
  for (let tier: u32 = 0; tier < 4; tier++) {
    if (tier > 0 && reader.hasTiers == 0) return;
    const at = tierWord(reader, tier, word);
    store<u64>(at, load<u64>(at) & ~bit);
  }
}

/** Starts to keep all four bitsets; the ranks alive are all on device so far. */
function splitTiers(reader: Reader): void {
  reader.hasTiers = 1;
  memory.fill(tierWord(reader, 1, 0), 0, 3 * WORDS_MAX * 8);
}

/** Goes over to the set of block `at`. False when no rank is left. */
export function changeSet(reader: Reader, set: usize, at: u32): bool {
  const planes = <u32>setAt(set).planes & TIER_KINDS;
  if (reader.hasTiers == 0 && (planes & ~1) != 0) splitTiers(reader);
  return reader.hasTiers == 0 ? changeDevice(reader, set, planes, at) : changeTiers(reader, set, at);
}

function changeDevice(reader: Reader, set: usize, planes: u32, at: u32): bool {
  const setWords: u32 = planes == 0 ? 0 : <u32>setAt(set).words;
  let alive: u64 = 0;
  for (let word: u32 = 0; word < reader.words; word++) {
    const address = tierWord(reader, 0, word);
    const before = load<u64>(address);
    const after = word < setWords ? before & load<u64>(set + SET_HEAD + (<usize>word << 3)) : 0;
    if (before != after) {
      store<u64>(address, after);
      leaveTier(reader, 0, word, before ^ after, at);
    }
    alive |= after;
  }
  return alive != 0;
}

function changeTiers(reader: Reader, set: usize, at: u32): bool {
  let alive: u64 = 0;
  for (let word: u32 = 0; word < reader.words; word++) {
    let left: u64 = 0;
    for (let tier: u32 = 0; tier < 4; tier++) left |= load<u64>(tierWord(reader, tier, word));
    for (let tier: u32 = 0; tier < 4; tier++) {
      const address = tierWord(reader, tier, word);
      const before = load<u64>(address);
      const after = left & planeWord(set, tier, word);
      left &= ~after;
      alive |= after;
      if (before == after) continue;
      store<u64>(address, after);
      leaveTier(reader, tier, word, before & ~after, at);
    }
  }
  return alive != 0;
}

/** Credits ranks that leave a tier at block `at` with the blocks since they came to it. */
function leaveTier(reader: Reader, tier: u32, word: u32, ranks: u64, at: u32): void {
  reader.hasLeft = 1;
  for (; ranks != 0; ranks &= ranks - 1) {
    const local = (word << 6) | <u32>ctz(ranks);
    const row = rowAt(reader, load<u16>(reader.rowOf + (<usize>local << 1)));
    const count = row + 8 + (<usize>tier << 2);
    store<u32>(count, load<u32>(count) + at - load<u32>(row, 4));
    store<u32>(row, at, 4);
    store<u32>(row, at, 24);
  }
}

/** Ends the rows of the ranks still alive at block `end`. */
export function finishRows(reader: Reader, end: u32): void {
  if (reader.hasLeft == 0 && reader.hasTiers == 0) {
    // Every rank holds every block on device.
    for (let row: u32 = 0; row < reader.rowCount; row++) {
      const at = rowAt(reader, row);
      store<u32>(at, end, 4);
      store<u32>(at, end, 8);
      store<u32>(at, end, 24);
    }
    return;
  }
  const tiers: u32 = reader.hasTiers == 0 ? 1 : 4;
  for (let tier: u32 = 0; tier < tiers; tier++)
    for (let word: u32 = 0; word < reader.words; word++)
      leaveTier(reader, tier, word, load<u64>(tierWord(reader, tier, word)), end);
}
