/**
 * Lookups in contexts whose ranks have KV-cache groups: a match is the longest prefix that all groups allow.
 *
 *     block            0   1   2   3   4   5   6   7   8
 *     main group       ■   ■   ■   ■   ■   ■   ■   –          held: 7
 *     window of 3      –   –   ■   ■   ■   ■   –   –          allows 6 (blocks 3, 4, 5 are there), 5
 *     matched                                                 6
 *
 * Rules, in blocks of the group; e is the end of a prefix, s the context's blocks in a block of the
 * group.
 *  RUN     [0, e) are held. Full attention of any kind, and every kind without a rule of its own: no kind
 *          of attention needs more.
 *  WINDOW  the last max(1, ⌈(w − 1) / block size⌉) blocks before e are held; [0, e) when there are fewer.
 *  LAST    block e − 1 is held (Mamba: the state at that point), or e is 0.
 *  CHUNK   [start of the chunk that contains e, e) are held.
 *  And e is a multiple of all groups' block sizes.
 * A group of a coarse block size holds a block as the last of the s that it consists of.
 *
 * The end sinks from the main group's run (without a main group: from the query's end) until every rule
 * has agreed to it. Each rule gives the largest end that it allows below the one asked, so that no common
 * end is passed over.
 *
 * While the query is walked, its blocks are noted as segments with one holder set; rules look at these.
 *
 * Source: vLLM 0.33.0, v1/core/kv_cache_coordinator.py
 * (HybridKVCacheCoordinator.find_longest_cache_hit and verify_and_split_kv_cache_groups;
 * UnitaryKVCacheCoordinator for a single group) and v1/core/single_type_kv_cache_manager.py
 * (find_longest_cache_hit of each manager); block sizes: v1/core/kv_cache_utils.py
 * (resolve_kv_cache_block_sizes). Left out: the block that EAGLE drops, and partial hits inside a
 * block (Mamba with a finer prefix_match_unit). The last token of a prompt, which is always
 * computed, is left out too.
 */
import { COLUMN_BLOCKS_MAX, Context, GROUP_STATE_BYTES, groupOf, header, Header, HEADER, localRank, RANK_SLOTS_MAX, RankInContext, TIER_KINDS } from "./layout";
import { SET_HEAD, setAt, kindsOf } from "./holder-set";
import { LAST, RUN, WINDOW } from "./groups";
import { groupRank } from "./context";
import { allowByRule, allowUpTo, beginColumns, largestAllowed } from "./group-columns";
import {
  beginLookup,
  beginRows,
  changeSet,
  finishRows,
  locate,
  Reader,
  rowAt,
  ROW_WORDS,
  runEnd,
  runFrom,
} from "./match";

/** Lookups of one query while the lists of groups change: they change when an engine starts or is cleared. */
const ATTEMPTS_MAX: u32 = 4;
/** Looks at segments for one rank before its groups are looked at by bits. */
const LOOKS_MAX: u32 = 48;
/** No local number. */
const NOT_HERE: u32 = ~0;

/** What is known of one group while the end sinks. */
@unmanaged
class GroupState {
  local: u32;
  rule: u32;
  /** The context's blocks in one of the group. */
  stride: u32;
  /** WINDOW: blocks needed. CHUNK: tokens of a chunk. RUN: length of the run. */
  need: u32;
  /** WINDOW: blocks of the group known to be held, from here to the end asked for. */
  low: u32;
  /** Segment last looked at. */
  segment: u32;
}

/** Looks the first `count` blocks up and leaves rows that are cut to what all groups allow. */
export function matchGroups(reader: Reader, context: Context, count: u32): void {
  for (let attempt: u32 = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const version = atomic.load<u32>(HEADER + offsetof<Header>("groupsVersion"));
    beginLookup(reader);
    beginColumns(reader);
    const isLoose = hasLooseRanks(context);
    reader.walked = walkAll(reader, context, count, isLoose);
    reader.looksMax = reader.walked > COLUMN_BLOCKS_MAX ? ~0 : LOOKS_MAX;
    cutRows(reader, context);
    if (isLoose) addLooseRows(reader, context);
    const isSame = atomic.load<u32>(HEADER + offsetof<Header>("groupsVersion")) == version;
    if (isSame && (version & 1) == 0) return;
  }
  // Never more than the groups allow: what cannot be read is no match.
  reader.rowCount = 0;
}

/** Whether a rank without a main group may have blocks here. */
export function hasLooseRanks(context: Context): bool {
  if (header().looseCount == 0) return false;
  for (let local: u32 = 0; local < context.localCount; local++) {
    const slot = localRank(context, local).rankSlot;
    if (slot >= RANK_SLOTS_MAX && groupOf(slot).rule != 0 && groupOf(groupOf(slot).owner).kind == 0) return true;
  }
  return false;
}

/** Walks the query, to its end if `isWhole`, else until no main group goes on; returns the blocks walked. */
function walkAll(reader: Reader, context: Context, count: u32, isWhole: bool): u32 {
  let guess: u32 = 0;
  let isAlive = true;
  for (let at: u32 = 0; at < count; ) {
    const hashes = reader.hashes + (<usize>at << 3);
    const set = locate(context, guess, load<u64>(hashes));
    const run: u32 = set == 0 ? 1 : runFrom(set, hashes, count - at);
    if (set != 0) guess = runEnd;
    if (at == 0 || set != segmentSet(reader, reader.segmentCount - 1)) {
      addSegment(reader, at, set);
      if (isAlive) isAlive = changeRows(reader, context, set, at);
    }
    if (!isAlive && !isWhole) return at;
    at += run;
  }
  if (isAlive) finishRows(reader, count);
  return count;
}

/** Goes over to the set of block `at`, 0 for none. False when no main group goes on; then its rows are finished. */
function changeRows(reader: Reader, context: Context, set: usize, at: u32): bool {
  if (set == 0) {
    finishRows(reader, at);
    return false;
  }
  reader.set = set;
  return at == 0 ? beginRows(reader, context, set) : changeSet(reader, set, at);
}

function addSegment(reader: Reader, at: u32, set: usize): void {
  const segment = reader.segments + (<usize>reader.segmentCount << 3);
  store<u32>(segment, at);
  store<u32>(segment, <u32>set, 4);
  reader.segmentCount++;
  if (set != 0) reader.tiersSeen |= <u32>setAt(set).planes & TIER_KINDS;
}

// @ts-ignore: decorator
@inline
function segmentStart(reader: Reader, segment: u32): u32 {
  return load<u32>(reader.segments + (<usize>segment << 3));
}

// @ts-ignore: decorator
@inline
function segmentSet(reader: Reader, segment: u32): usize {
  return <usize>load<u32>(reader.segments + (<usize>segment << 3), 4);
}

/** The segment that a block lies in. */
function segmentOf(reader: Reader, block: u32): u32 {
  let low: u32 = 0;
  let high = reader.segmentCount;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (segmentStart(reader, middle) <= block) low = middle;
    else high = middle;
  }
  return low;
}

/** Whether a holder has the blocks of a set, at any tier. */
function isHeld(set: usize, local: u32): bool {
  if (set == 0 || local == NOT_HERE) return false;
  const words = <usize>setAt(set).words;
  const word = <usize>local >> 6;
  if (word >= words) return false;
  let at = set + SET_HEAD + (word << 3);
  for (let planes = <u32>setAt(set).planes & TIER_KINDS; planes != 0; planes &= planes - 1) {
    if (((load<u64>(at) >> (local & 63)) & 1) != 0) return true;
    at += words << 3;
  }
  return false;
}

/** Cuts the rows of ranks with groups; those that nothing is left of go. */
function cutRows(reader: Reader, context: Context): void {
  for (let row: u32 = 0; row < reader.rowCount; ) {
    const at = rowAt(reader, row);
    const rankSlot = load<u32>(at);
    const held = load<u32>(at, 4);
    const rank = groupOf(rankSlot);
    // Rows of a rank without a main group come from its groups.
    const usable = rank.next == 0 ? held : rank.kind == 0 ? 0 : sink(reader, context, rankSlot, held);
    if (usable == 0) {
      reader.rowCount--;
      memory.copy(at, rowAt(reader, reader.rowCount), ROW_WORDS << 2);
      continue;
    }
    if (usable < held) writeRow(reader, at, mainLocal(context, rankSlot), usable);
    row++;
  }
}

/** The local number of a rank that has a row. */
function mainLocal(context: Context, rankSlot: u32): u32 {
  const rank = groupRank(context, rankSlot);
  return rank == 0 ? NOT_HERE : changetype<RankInContext>(rank).local;
}

/** Rows of the ranks that have no main group. */
function addLooseRows(reader: Reader, context: Context): void {
  const locals = context.localCount;
  for (let local: u32 = 0; local < locals && reader.rowCount < RANK_SLOTS_MAX; local++) {
    const slot = localRank(context, local).rankSlot;
    if (slot < RANK_SLOTS_MAX || groupOf(slot).rule == 0) continue;
    const owner = groupOf(slot).owner;
    if (groupOf(owner).kind != 0 || firstHere(context, owner) != slot) continue;
    const usable = sink(reader, context, owner, reader.walked);
    if (usable == 0) continue;
    const at = rowAt(reader, reader.rowCount);
    reader.rowCount++;
    store<u32>(at, owner);
    store<u32>(at, usable, 24);
    writeRow(reader, at, local, usable);
  }
}

/** The first of a rank's groups that holds blocks in this context; 0 for none. */
function firstHere(context: Context, owner: u32): u32 {
  for (let slot = groupOf(owner).next; slot != 0; slot = groupOf(slot).next) {
    const rank = groupRank(context, slot);
    if (rank != 0 && changetype<RankInContext>(rank).blockCount > 0) return slot;
  }
  return 0;
}

/**
 * Writes matched blocks and their tiers, from what a holder has of them. Blocks that it does not have (before a window) count
 * at the tier of the next one that it has, and where it has none as on device.
 */
function writeRow(reader: Reader, at: usize, local: u32, usable: u32): void {
  store<u32>(at, usable, 4);
  store<u64>(at, 0, 8);
  store<u64>(at, 0, 16);
  if (reader.tiersSeen == 1) {
    addBlocks(at, 0, usable);
    return;
  }
  let tier: u32 = 0;
  let isKnown = false;
  let unknown: u32 = 0;
  let end = usable;
  while (end > 0) {
    const segment = segmentOf(reader, end - 1);
    const start = segmentStart(reader, segment);
    const set = segmentSet(reader, segment);
    const kinds = local == NOT_HERE ? 0 : kindsOf(set, local) & TIER_KINDS;
    if (kinds != 0) {
      tier = ctz(kinds);
      if (!isKnown) addBlocks(at, tier, unknown);
      isKnown = true;
    }
    if (isKnown) addBlocks(at, tier, end - start);
    else unknown += end - start;
    end = start;
  }
  if (!isKnown) addBlocks(at, 0, unknown);
}

// @ts-ignore: decorator
@inline
function addBlocks(row: usize, tier: u32, count: u32): void {
  const at = row + 8 + (<usize>tier << 2);
  store<u32>(at, load<u32>(at) + count);
}

/** The largest end up to `end` that all groups of a rank allow, in blocks of the context. */
function sink(reader: Reader, context: Context, rankSlot: u32, end: u32): u32 {
  const tokens = groupOf(rankSlot).alignment;
  const alignment = tokens / context.blockSize;
  if (alignment == 0 || alignment * context.blockSize != tokens) return 0;
  if (groupOf(rankSlot).kind != 0 && groupOf(rankSlot).blockSize % context.blockSize != 0) return 0;
  reader.looks = 0;
  const count = readGroups(reader, context, rankSlot);
  if (count == NOT_HERE) return 0;
  end = floorTo(end, alignment);
  while (end > 0) {
    if (reader.looks > reader.looksMax) return sinkByBits(reader, context, count, end, alignment);
    const before = end;
    for (let i: u32 = 0; i < count && end > 0; i++) {
      end = floorTo(limitOf(reader, context, stateAt(reader, i), end), alignment);
    }
    // With looks left, all have been answered to their end.
    if (end == before && reader.looks <= reader.looksMax) break;
  }
  return end;
}

/** The multiple of a size at or below `blocks`. Most sizes are 1: a division takes longer than a look. */
// @ts-ignore: decorator
@inline
function floorTo(blocks: u32, size: u32): u32 {
  return size == 1 ? blocks : blocks - (blocks % size);
}

/** As `sink`, for a rank whose groups change often along the query (group-columns.ts). */
function sinkByBits(reader: Reader, context: Context, count: u32, end: u32, alignment: u32): u32 {
  allowUpTo(reader, end);
  for (let i: u32 = 0; i < count; i++) {
    const state = stateAt(reader, i);
    allowByRule(reader, state.local, state.rule, state.stride, state.need, context.blockSize, end);
  }
  return largestAllowed(reader, end, alignment);
}

// @ts-ignore: decorator
@inline
function stateAt(reader: Reader, i: u32): GroupState {
  return changetype<GroupState>(reader.groupStates + <usize>(i * GROUP_STATE_BYTES));
}

/** Readies the states of a rank's groups; their number, or `NOT_HERE` when a group's blocks do not divide into the context's. */
function readGroups(reader: Reader, context: Context, rankSlot: u32): u32 {
  let count: u32 = 0;
  for (let slot = groupOf(rankSlot).next; slot != 0; slot = groupOf(slot).next) {
    const group = groupOf(slot);
    const state = stateAt(reader, count);
    const rank = groupRank(context, slot);
    state.local = rank == 0 ? NOT_HERE : changetype<RankInContext>(rank).local;
    state.rule = group.rule;
    state.stride = group.blockSize / context.blockSize;
    if (state.stride == 0 || state.stride * context.blockSize != group.blockSize) return NOT_HERE;
    state.low = ~0;
    state.segment = reader.segmentCount - 1;
    if (group.rule == RUN) state.need = runLength(reader, state);
    else if (group.rule == WINDOW) state.need = max(1, (group.window + group.blockSize - 2) / group.blockSize);
    else state.need = group.window;
    count++;
  }
  return count;
}

// @ts-ignore: decorator
@inline
function hasLooks(reader: Reader): bool {
  return reader.looks <= reader.looksMax;
}

/** Whether a group holds its block `index`. Quick when asked for one block after the other, downwards. */
function holds(reader: Reader, state: GroupState, index: u32): bool {
  const block = (index + 1) * state.stride - 1;
  let segment = state.segment;
  while (segmentStart(reader, segment) > block) segment--;
  reader.looks += 1 + state.segment - segment;
  state.segment = segment;
  return isHeld(segmentSet(reader, segment), state.local);
}

/**
 * The largest end up to `end` that one group allows; in blocks of the context, and `end` is a multiple of the group's. Once no
 * looks are left it is an end that is not below that one.
 */
function limitOf(reader: Reader, context: Context, state: GroupState, end: u32): u32 {
  const stride = state.stride;
  if (state.rule == RUN) return min(end, state.need);
  const blocks = stride == 1 ? end : end / stride;
  if (state.rule == WINDOW) return limitOfWindow(reader, state, blocks) * stride;
  if (state.rule == LAST) {
    let last = blocks;
    while (last > 0 && hasLooks(reader) && !holds(reader, state, last - 1)) last = below(reader, state, last - 1);
    return last * stride;
  }
  return limitOfChunk(reader, context, state, blocks) * stride;
}

/** The first block of the group in the segment last looked at, up to `index`: all from there on are held alike. */
function below(reader: Reader, state: GroupState, index: u32): u32 {
  const start = segmentStart(reader, state.segment);
  return min(index, state.stride == 1 ? start : start / state.stride);
}

function limitOfWindow(reader: Reader, state: GroupState, blocks: u32): u32 {
  let low = min(state.low, blocks);
  const bottom = blocks > state.need ? blocks - state.need : 0;
  while (low > bottom && hasLooks(reader)) {
    const isThere = holds(reader, state, low - 1);
    low = below(reader, state, low - 1);
    if (!isThere) {
      state.low = low;
      return low;
    }
  }
  state.low = low;
  return blocks;
}

function limitOfChunk(reader: Reader, context: Context, state: GroupState, blocks: u32): u32 {
  const blockTokens = <u64>state.stride * context.blockSize;
  const chunk = <u64>max(state.need, 1);
  const start = <u32>(((<u64>blocks * blockTokens) / chunk) * chunk / blockTokens);
  state.segment = segmentOf(reader, blocks * state.stride - 1);
  // Downwards, since that is how segments are walked: the first that is missing is the last one seen.
  let missing = blocks;
  for (let index = blocks; index > start && hasLooks(reader); ) {
    const isThere = holds(reader, state, index - 1);
    index = max(start, below(reader, state, index - 1));
    if (!isThere) missing = index;
  }
  return missing;
}

/** Blocks of the context from the first on whose group blocks are all held. */
function runLength(reader: Reader, state: GroupState): u32 {
  const stride = state.stride;
  let end: u32 = 0;
  for (let segment: u32 = 0; segment < reader.segmentCount && hasLooks(reader); segment++) {
    reader.looks++;
    const next = segment + 1 < reader.segmentCount ? segmentStart(reader, segment + 1) : ~0;
    // The group's blocks whose last block lies in this segment.
    if (end + stride > next) continue;
    if (!isHeld(segmentSet(reader, segment), state.local)) return end;
    end = next == ~0 ? ~0 : next - (next % stride);
  }
  return end;
}
