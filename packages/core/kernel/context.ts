/**
 * Contexts: made on first use, dropped when they are empty for some time or too many. And the ranks in them.
 *
 *     slot      0 … contextSlots − 1: the place of the record; some more than contexts are allowed, for dropped ones that
 *               readers are still in
 *     serial    1, 2, 3, … never given twice: an id is (slot, serial), so an old id finds nothing
 *
 * A rank's contexts are a list, the one it last stored to first, since removals do not name a
 * context.
 */
import { Context, contextAt, fence, FIRST_GROUP_SLOT, header, localRank, RANK_SLOTS_MAX, RankInContext, rankOf } from "./layout";
import { allocate, allocateScratch, allocateZeroed, release } from "./heap";
import { markEvicted } from "./losses";
import { LIMBO_CONTEXT, LIMBO_MEMORY, retire } from "./epoch";
import { arenaInit, releaseChunkTable } from "./arena";
import { idTableMake, segmentAt } from "./id-table";
import { forgetTransitions, setAt, setsInit } from "./holder-set";
import { dropRankTables } from "./holding";
import { wordCapacity, wordEntry } from "./word-table";

/** Dropped contexts that may wait for readers beside the ones in use. */
const SLOTS_WAITING: u32 = 8;
const LOCALS_FIRST: u32 = 14;
const RANKS_FIRST: u32 = 30;

/** Makes room for `max` contexts. */
export function contextsInit(max: u32): void {
  const h = header();
  h.contextsMax = max;
  h.contextSlots = max + SLOTS_WAITING;
  const bytes = h.contextSlots * <u32>offsetof<Context>();
  h.contexts = allocateScratch(bytes);
  memory.fill(h.contexts, 0, bytes);
}

/** The context with this slot and serial, null when it was dropped. No context has serial 0, which empty slots have. */
// @ts-ignore: decorator
@inline
export function contextOf(slot: u32, serial: u32): Context | null {
  if (serial == 0 || slot >= header().contextSlots) return null;
  const context = contextAt(slot);
  return atomic.load<u32>(changetype<usize>(context) + offsetof<Context>("serial")) == serial ? context : null;
}

/** Slot of the context with this name and shape, −1 when there is none. Under the writers' lock. */
export function contextNamed(blockSize: u32, lookahead: u32, name: usize, nameBytes: u32): u32 {
  const slots = header().contextSlots;
  for (let slot: u32 = 0; slot < slots; slot++) {
    const context = contextAt(slot);
    if (context.serial == 0 || context.blockSize != blockSize || context.lookahead != lookahead) continue;
    if (context.nameBytes == nameBytes && memory.compare(context.name, name, nameBytes) == 0) return slot;
  }
  return <u32>-1;
}

/** A free slot, or `contextSlots` when all are taken. */
export function freeSlot(): u32 {
  const slots = header().contextSlots;
  for (let slot: u32 = 0; slot < slots; slot++) if (contextAt(slot).isTaken == 0) return slot;
  return slots;
}

/** Makes a context in a free slot. `name` is copied. */
export function contextMake(slot: u32, blockSize: u32, lookahead: u32, name: usize, nameBytes: u32): Context {
  const h = header();
  const context = contextAt(slot);
  memory.fill(changetype<usize>(context), 0, offsetof<Context>());
  context.isTaken = 1;
  context.blockSize = blockSize;
  context.lookahead = lookahead;
  context.lastStore = h.tick;
  context.name = allocate(context, nameBytes + 1);
  context.nameBytes = nameBytes;
  memory.copy(context.name, name, nameBytes);
  arenaInit(context);
  context.directory = idTableMake(context);
  context.names = idTableMake(context);
  setsInit(context);
  context.ranksCapacity = RANKS_FIRST;
  context.ranks = allocateZeroed(context, RANKS_FIRST << 2);
  context.localsCapacity = LOCALS_FIRST;
  context.locals = allocateZeroed(context, LOCALS_FIRST << 2);
  h.contextCount++;
  h.lastSerial++;
  h.contextsVersion++;
  atomic.store<u32>(changetype<usize>(context) + offsetof<Context>("serial"), h.lastSerial);
  return context;
}

/**
 * The context to go first when memory is short, other than `kept`: an empty one, else the one stored to longest ago. Lookups
 * count for nothing: what engines hold is not given up for what callers ask about. Null when there is no other.
 */
export function leastRecentlyStored(kept: Context | null): Context | null {
  const slots = header().contextSlots;
  let first: Context | null = null;
  for (let slot: u32 = 0; slot < slots; slot++) {
    const context = contextAt(slot);
    if (context.serial == 0 || context === kept) continue;
    if (first === null || goesBefore(context, first)) first = context;
  }
  return first;
}

function goesBefore(one: Context, other: Context): bool {
  const isEmpty = one.prefixCount == 0;
  return isEmpty != (other.prefixCount == 0) ? isEmpty : one.lastStore < other.lastStore;
}

/** The slot that stands for a rank's engine. */
// @ts-ignore: decorator
@inline
function ownerOf(rankSlot: u32): u32 {
  const owner = rankOf(rankSlot).owner;
  return owner == 0 ? rankSlot : owner - 1;
}

/** No engine, or several. */
const NO_OWNER: u32 = ~0;

/** The engine that alone lives in a context. Counts all engines that live there in `countedAt`, and those not yet counted. */
function soloOwner(context: Context, mark: u32): u32 {
  let solo: u32 = NO_OWNER;
  let isShared = false;
  for (let local: u32 = 0; local < context.localCount; local++) {
    const rank = localRank(context, local);
    if (rank.blockCount == 0) continue;
    const owner = ownerOf(rank.rankSlot);
    if (rankOf(owner).countedAt != mark) {
      rankOf(owner).countedAt = mark;
      rankOf(owner).soloCount = 0;
      engineCount++;
    }
    if (solo != NO_OWNER && solo != owner) isShared = true;
    solo = owner;
  }
  return isShared ? NO_OWNER : solo;
}

/** Engines that `contextVictim` met. Within one call only. */
let engineCount: u32 = 0;

/**
 * The context to go for a new one of a rank (−1: of none), when there are too many: an empty one; else one in which the
 * rank's engine lives alone, if these are an equal share or more; else one of the engine that has most, if these are
 * more than a share; else any. Among these, the one stored to longest ago. O(contexts × ranks in them).
 */
export function contextVictim(rankSlot: u32): Context | null {
  const h = header();
  const asking = rankSlot < RANK_SLOTS_MAX ? ownerOf(rankSlot) : NO_OWNER;
  const first = leastRecentlyStored(null);
  if (first === null || first.prefixCount == 0) return first;
  const mark = ++h.countMark;
  engineCount = 0;
  let hog: u32 = NO_OWNER;
  for (let slot: u32 = 0; slot < h.contextSlots; slot++) {
    const context = contextAt(slot);
    if (context.serial == 0) continue;
    const owner = soloOwner(context, mark);
    context.soloOwner = owner;
    if (owner == NO_OWNER) continue;
    const count = ++rankOf(owner).soloCount;
    if (hog == NO_OWNER || count > rankOf(hog).soloCount) hog = owner;
  }
  const share = h.contextsMax / max(engineCount, 1);
  const asked: u32 = asking != NO_OWNER && rankOf(asking).countedAt == mark ? rankOf(asking).soloCount : 0;
  if (asked > 0 && asked >= share) hog = asking;
  else if (hog == NO_OWNER || rankOf(hog).soloCount <= share) return first;
  let oldest: Context | null = null;
  for (let slot: u32 = 0; slot < h.contextSlots; slot++) {
    const context = contextAt(slot);
    if (context.serial == 0 || context.soloOwner != hog) continue;
    if (oldest === null || context.lastStore < oldest.lastStore) oldest = context;
  }
  return oldest;
}

/**
 * Drops a context: nobody finds it any more, and its memory goes when the readers in it have left. `limit` (losses.ts) is why, if
 * it has blocks.
 */
export function contextDrop(context: Context, limit: u32): void {
  const h = header();
  // Before the context is out of sight: a reader that misses it finds its ranks marked.
  for (let local: u32 = 0; local < context.localCount; local++)
    if (localRank(context, local).blockCount > 0) markEvicted(localRank(context, local).rankSlot, limit);
  atomic.store<u32>(changetype<usize>(context) + offsetof<Context>("serial"), 0);
  h.contextCount--;
  h.contextsVersion++;
  if (context.sweepLeft > 0) h.sweeping--;
  context.sweepLeft = 0;
  for (let local: u32 = 0; local < context.localCount; local++) {
    const rank = localRank(context, local);
    rankOf(rank.rankSlot).blockCount -= rank.blockCount;
    unlist(rank);
  }
  retire(context, LIMBO_CONTEXT, 0);
}

/** Gives back everything of a dropped context. */
export function contextFree(context: Context): void {
  for (let local: u32 = 0; local < context.localCount; local++) freeRank(context, localRank(context, local));
  for (let i: u32 = 0; i < context.chunkCount; i++) {
    const chunk = <usize>load<u32>(context.chunks + (<usize>i << 2));
    if (chunk != 0) release(context, chunk);
  }
  releaseChunkTable(context);
  freeTable(context, context.directory);
  freeTable(context, context.names);
  for (let set = context.sets; set != 0; ) {
    const next = setAt(set).next;
    release(context, set);
    set = next;
  }
  forgetTransitions();
  release(context, context.interned);
  release(context, context.ranks);
  if (context.groups != 0) release(context, context.groups);
  release(context, context.locals);
  release(context, context.name);
  context.isTaken = 0;
}

function freeTable(context: Context, root: usize): void {
  const slots: u32 = 1 << load<u32>(root);
  // From the end: a segment's first slot comes last, and it is read until then.
  for (let i = slots; i > 0; i--) {
    const segment = segmentAt(root, i - 1);
    if (segment != 0) release(context, segment);
  }
  release(context, root);
}

function freeRank(context: Context, rank: RankInContext): void {
  for (let i: u32 = 0; i < wordCapacity(rank.lists); i++) {
    const at = wordEntry(rank.lists, i);
    if (load<u32>(at) != 0) release(context, load<u32>(at, 4));
  }
  if (rank.lists != 0) release(context, rank.lists);
  if (rank.copies != 0) release(context, rank.copies);
  if (rank.ownNames != 0) release(context, rank.ownNames);
  release(context, changetype<usize>(rank));
}

/** The record of a holder slot in a context, made on first use. */
export function rankIn(context: Context, slot: u32): RankInContext {
  const known = groupRank(context, slot);
  if (known != 0) return changetype<RankInContext>(known);
  const isGroup = slot >= FIRST_GROUP_SLOT;
  if (isGroup) growGroups(context, slot - FIRST_GROUP_SLOT);
  else growRanks(context, slot);
  const rank = changetype<RankInContext>(allocateZeroed(context, <u32>offsetof<RankInContext>()));
  rank.context = context;
  rank.rankSlot = slot;
  rank.local = context.localCount;
  if (context.localCount == context.localsCapacity) growLocals(context);
  store<u32>(context.locals + (<usize>rank.local << 2), <u32>changetype<usize>(rank));
  context.localCount++;
  const at = isGroup
    ? context.groups + (<usize>(slot - FIRST_GROUP_SLOT) << 2)
    : context.ranks + (<usize>slot << 2);
  store<u32>(at, <u32>changetype<usize>(rank));
  if (isGroup) context.groupCount++;
  return rank;
}

/** Address of a holder slot's record in a context, 0 when it has not been there. Any thread. */
// @ts-ignore: decorator
@inline
export function groupRank(context: Context, slot: u32): usize {
  const base = changetype<usize>(context);
  // The capacity first: the table that is read after it is at least as large.
  if (slot < FIRST_GROUP_SLOT) {
    if (slot >= atomic.load<u32>(base + offsetof<Context>("ranksCapacity"))) return 0;
    return <usize>load<u32>(<usize>atomic.load<u32>(base + offsetof<Context>("ranks")) + (<usize>slot << 2));
  }
  const group = slot - FIRST_GROUP_SLOT;
  if (group >= atomic.load<u32>(base + offsetof<Context>("groupsCapacity"))) return 0;
  return <usize>load<u32>(<usize>atomic.load<u32>(base + offsetof<Context>("groups")) + (<usize>group << 2));
}

function growRanks(context: Context, slot: u32): void {
  if (slot < context.ranksCapacity) return;
  const capacity = max(slot + 1, 2 * context.ranksCapacity);
  const ranks = allocateZeroed(context, capacity << 2);
  memory.copy(ranks, context.ranks, <usize>context.ranksCapacity << 2);
  retire(context, LIMBO_MEMORY, <u32>context.ranks);
  fence();
  context.ranks = ranks;
  atomic.store<u32>(changetype<usize>(context) + offsetof<Context>("ranksCapacity"), capacity);
}

function growGroups(context: Context, group: u32): void {
  if (group < context.groupsCapacity) return;
  const capacity = max(group + 1, 2 * context.groupsCapacity + 6);
  const groups = allocateZeroed(context, capacity << 2);
  if (context.groups != 0) {
    memory.copy(groups, context.groups, <usize>context.groupsCapacity << 2);
    retire(context, LIMBO_MEMORY, <u32>context.groups);
  }
  fence();
  context.groups = groups;
  atomic.store<u32>(changetype<usize>(context) + offsetof<Context>("groupsCapacity"), capacity);
}

/** Readers turn local numbers into rank slots by this table, so the old one goes to limbo. */
function growLocals(context: Context): void {
  const locals = allocateZeroed(context, 2 * context.localsCapacity << 2);
  memory.copy(locals, context.locals, <usize>context.localsCapacity << 2);
  retire(context, LIMBO_MEMORY, <u32>context.locals);
  fence();
  context.locals = locals;
  context.localsCapacity *= 2;
}

/** Makes a context the first in its rank's list. */
export function listFirst(rank: RankInContext): void {
  const owner = rankOf(rank.rankSlot);
  const at = changetype<usize>(rank);
  if (owner.first == at) return;
  if (rank.isListed != 0) unlist(rank);
  rank.previous = 0;
  rank.next = owner.first;
  if (owner.first != 0) changetype<RankInContext>(owner.first).previous = at;
  owner.first = at;
  rank.isListed = 1;
}

function unlist(rank: RankInContext): void {
  if (rank.isListed == 0) return;
  if (rank.previous != 0) changetype<RankInContext>(rank.previous).next = rank.next;
  else rankOf(rank.rankSlot).first = rank.next;
  if (rank.next != 0) changetype<RankInContext>(rank.next).previous = rank.previous;
  rank.isListed = 0;
}

/** Forgets what a rank holds in a context but for its blocks' sets: its counts, names and copies, its place in the list. */
export function clearRankRecord(rank: RankInContext): void {
  unlist(rank);
  rank.blockCount = 0;
  rank.holdCount = 0;
  dropRankTables(rank);
}
