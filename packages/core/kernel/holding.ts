/**
 * The blocks that a rank holds, and their names: the rules of contract.ts S1, S3 and S4 for one
 * block at a time.
 *
 *     kinds of (rank, block)      its names                                       its copies at a tier
 *     tiers only                  the agreed one: the block's engine hash         1 + `copies`
 *     tiers + OTHERWISE           one in the rank's own names                     1 + `copies`
 *     tiers + SEVERAL             all in a list; the not agreed in own names too  in the list, by name
 *
 * A block that was stored next to its parent, with the next id, is chained. The directory has no entry for it: a walk finds it
 * behind the parent. Any other block has an entry. Before a block goes, the one that is chained to it gets an entry (I2).
 *
 *     id           7         8         9         10                 when 8 goes: 9 gets an entry, 10 stays chained to 9
 *     directory    ■                   ■
 *                  7 ──────▶ 8         9 ──────▶ 10               ■ entry   ──▶ chained
 *
 * `kinds` 0 means that the rank does not hold the block, and then it has no name for it either. `mixed` is the mixed word of
 * the engine hash before it (id-table.ts): the caller has it, as mixing is dear.
 */
import { Context, header, localRank, OTHERWISE, RankInContext, rankOf, SEVERAL, TIER_KINDS } from "./layout";
import {
  CHUNK_BLOCKS,
  chainedWord,
  chunkOf,
  ENGINE_COLUMN,
  engineAddress,
  isChained,
  isNamed,
  PREFIX_COLUMN,
  prefixAddress,
  retireBlock,
  setAddress,
  setChained,
  setNamed,
} from "./arena";
import { idEnter, idFind, idInsert, idIsCrowded, idRemove, idSeek, mixKey } from "./id-table";
import {
  addReference,
  canonical,
  dropReference,
  dropReferences,
  kindsOf,
  planeWord,
  setAt,
  withKinds,
} from "./holder-set";
import { ownNameFind, ownNamePut, ownNameRemove } from "./own-names";
import {
  LIST_NAMES_MAX,
  listAppend,
  listCount,
  listFind,
  listMake,
  listNameAt,
  listRead,
  listRemove,
  listSetUnread,
  listUnread,
  tiersInList,
} from "./name-list";
import { wordCapacity, wordCount, wordEntry, wordFind, wordPut, wordRemove } from "./word-table";
import { LOST_TO_MEMORY, markEvicted } from "./losses";
import { release } from "./heap";
import { LIMBO_MEMORY, retire } from "./epoch";

// @ts-ignore: decorator
@inline
export function setOfBlock(context: Context, id: u32): usize {
  return <usize>load<u32>(setAddress(chunkOf(context, id), id));
}

/** The block under the context's agreed name, 0 for none. */
// @ts-ignore: decorator
@inline
export function findNamed(context: Context, engineHash: u64, mixed: u64): u32 {
  return idFind(context.chunks, context.names, ENGINE_COLUMN, engineHash, mixed);
}

/** The block that this rank has under an engine hash, 0 for none (S2). */
export function resolve(rank: RankInContext, engineHash: u64, mixed: u64): u32 {
  const context = rank.context;
  const own = ownNameFind(rank, engineHash, mixed);
  const id = own != 0 ? own : findNamed(context, engineHash, mixed);
  if (id == 0) return 0;
  const kinds = kindsOf(setOfBlock(context, id), rank.local);
  if ((kinds & SEVERAL) != 0) return nameIn(rank, listOf(rank, id), engineHash, mixed, id) != 0 ? id : 0;
  return own != 0 || ((kinds & TIER_KINDS) != 0 && (kinds & OTHERWISE) == 0) ? id : 0;
}

function listOf(rank: RankInContext, id: u32): usize {
  return <usize>wordFind(rank.lists, id);
}

/** Address of a name's entry in a block's list, 0 when it has none. */
export function nameIn(rank: RankInContext, list: usize, engineHash: u64, mixed: u64, id: u32): usize {
  const found = listFind(list, engineHash);
  const unread = listUnread(list);
  // A name of the rank's own for this block that no entry has is the one that is not filled in.
  if (found != 0 || unread == 0 || ownNameFind(rank, engineHash, mixed) != id) return found;
  listRead(list, engineHash);
  return unread;
}

function removeList(rank: RankInContext, id: u32): void {
  const list = listOf(rank, id);
  wordRemove(rank.lists, id);
  retire(rank.context, LIMBO_MEMORY, <u32>list);
}

/** Key of (tier, block) in a rank's copies. */
// @ts-ignore: decorator
@inline
function copiesKey(id: u32, tier: u32): u32 {
  return (id << 2) | tier;
}

/** Copies beyond the first, in a rank's table. */
export function extraCopies(rank: RankInContext, id: u32, tier: u32): u32 {
  return wordFind(rank.copies, copiesKey(id, tier));
}

function setExtraCopies(rank: RankInContext, id: u32, tier: u32, count: u32): void {
  const key = copiesKey(id, tier);
  if (count == 0) wordRemove(rank.copies, key);
  else rank.copies = wordPut(rank.context, rank.copies, key, count);
}

/**
 * What `count` blocks of one set (0: none yet, they are new) have in common that a rank becomes a holder of with `kinds` of one
 * tier: the counts, and the references of both sets.
 */
export function countHeld(rank: RankInContext, old: usize, set: usize, count: u32): void {
  rank.holdCount += count;
  rank.blockCount += count;
  rankOf(rank.rankSlot).blockCount += count;
  setAt(set).references += count;
  if (old == 0) rank.context.prefixCount += count;
  else dropReferences(rank.context, old, count);
}

/** A block's word of the directory that a caller did not mix, as the block was chained. */
export const NOT_MIXED: u64 = 1;

/**
 * Takes a block out of both tables and out of sight, for a caller that has mixed both keys and counts for many
 * (`countGone`). The block has an agreed name. `passRow` was before, and the next of the row or `settleRow` has to follow.
 */
// @ts-ignore: decorator
@inline
export function dropBlock(context: Context, chunk: usize, id: u32, mixedPrefix: u64, mixedName: u64): void {
  cutOff = isFollowed(context, id) ? id + 1 : 0;
  if (isChained(chunk, id)) setChained(chunk, id, false);
  else leaveDirectory(context, id, mixedPrefix == NOT_MIXED ? mixKey(load<u64>(prefixAddress(chunk, id))) : mixedPrefix);
  idRemove(context.names, mixedName, id);
  setNamed(chunk, id, false);
  retireBlock(context, id);
}

function leaveDirectory(context: Context, id: u32, mixed: u64): void {
  idRemove(context.directory, mixed, id);
  context.directoryCount--;
}

/** In a row of blocks that go: the one behind the last, which is chained to it. 0 for none. Within one call only. */
let cutOff: u32 = 0;

/** Goes on to block `id` of a row, before a look at it: what the last one left behind is entered, unless it is this. */
// @ts-ignore: decorator
@inline
export function passRow(context: Context, id: u32): void {
  if (cutOff != 0 && cutOff != id) enterCutOff(context);
}

/** Ends a row of blocks that go: what the last one left behind is entered. */
// @ts-ignore: decorator
@inline
export function settleRow(context: Context): void {
  if (cutOff != 0) enterCutOff(context);
}

function enterCutOff(context: Context): void {
  const id = cutOff;
  cutOff = 0;
  if (isChained(chunkOf(context, id), id)) enterChained(context, id);
}

/** Whether a block is chained to this one. */
// @ts-ignore: decorator
@inline
function isFollowed(context: Context, id: u32): bool {
  const next = id + 1;
  if (next >> 10 >= context.chunkCount) return false;
  const chunk = chunkOf(context, next);
  return chunk != 0 && isChained(chunk, next);
}

/**
 * Enters a chained block in the directory. Where a segment has no room, which only chosen keys bring about, a limit takes the block
 * and the next one is to be entered.
 */
function enterChained(context: Context, id: u32): void {
  while (true) {
    const chunk = chunkOf(context, id);
    const mixed = mixKey(load<u64>(prefixAddress(chunk, id)));
    const set = <usize>load<u32>(setAddress(chunk, id));
    // A block without a set is being stored: stores are refused long before there is no room for them (id-table.ts T2).
    if (set == 0 || !idIsCrowded(context.directory, mixed, context.directoryCount)) {
      context.directory = idInsert(context, context.directory, PREFIX_COLUMN, mixed, id, context.directoryCount);
      context.directoryCount++;
      // Readers find it in one place or the other.
      setChained(chunk, id, false);
      return;
    }
    const hasNext = isFollowed(context, id);
    if (isDead(set)) {
      context.deadCount--;
    } else {
      evictFromRanks(context, set, id, LOST_TO_MEMORY);
      context.prefixCount--;
      context.hasEvicted = 1;
      header().evicted2++;
    }
    setChained(chunk, id, false);
    unname(context, id);
    retireBlock(context, id);
    dropReference(context, set);
    if (!hasNext) return;
    id++;
  }
}

/** Enters all chained blocks, for a caller that finds blocks by their prefix hashes alone. */
export function enterAllChained(context: Context): void {
  if (context.directoryCount == context.prefixCount + context.deadCount) return;
  for (let position: u32 = 0; position < context.chunkCount; position++) {
    const first = position << 10;
    const chunk = chunkOf(context, first);
    if (chunk == 0) continue;
    for (let id = first; id < first + CHUNK_BLOCKS; id += 64)
      for (let word = chainedWord(chunk, id); word != 0; word = chainedWord(chunk, id))
        enterChained(context, id | <u32>ctz(word));
  }
}

/** A limit takes a block from all ranks that hold it. */
export function evictFromRanks(context: Context, set: usize, id: u32, limit: u32): void {
  const words = <u32>setAt(set).words;
  for (let word: u32 = 0; word < words; word++) {
    let locals: u64 = 0;
    for (let kind: u32 = 0; kind < 4; kind++) locals |= planeWord(set, kind, word);
    for (; locals != 0; locals &= locals - 1) {
      const local = (word << 6) | <u32>ctz(locals);
      const rank = localRank(context, local);
      evictFromRank(rank, id, kindsOf(set, local));
      markEvicted(rank.rankSlot, limit);
    }
  }
}

/** What `count` blocks have in common that were dropped (`dropBlock`) with their only holder, at one tier each. */
export function countGone(rank: RankInContext, set: usize, count: u32): void {
  const context = rank.context;
  rank.holdCount -= count;
  rank.blockCount -= count;
  rankOf(rank.rankSlot).blockCount -= count;
  context.prefixCount -= count;
  context.namesCount -= count;
  dropReferences(context, set, count);
}

/** Whether a rank is the only one in a set, and at one tier only. */
export function isSoleHolder(rank: RankInContext, tier: u32, set: usize): bool {
  return setAt(set).rankCount == 1 && kindsOf(set, rank.local) == 1 << tier;
}

/** Counts what a rank holds more or less. */
function countHolds(rank: RankInContext, before: u32, after: u32): void {
  const holds = <i32>popcnt(after & TIER_KINDS) - <i32>popcnt(before & TIER_KINDS);
  const blocks: i32 = (after != 0 ? 1 : 0) - (before != 0 ? 1 : 0);
  rank.holdCount += <u32>holds;
  rank.blockCount += <u32>blocks;
  rankOf(rank.rankSlot).blockCount += <u32>blocks;
}

/** Makes the rank to the block what `after` says, from `before`; a block without holders goes. */
export function setKinds(rank: RankInContext, id: u32, before: u32, after: u32): void {
  if (before == after) return;
  const context = rank.context;
  const at = setAddress(chunkOf(context, id), id);
  const old = <usize>load<u32>(at);
  const set = withKinds(context, canonical(old), rank.local, after);
  countHolds(rank, before, after);
  if (set != 0) {
    addReference(set);
    store<u32>(at, <u32>set);
  } else {
    context.prefixCount--;
    forgetBlock(context, id);
  }
  if (old != 0) dropReference(context, old);
}

/** Takes a block out of both tables and out of sight. Its set is the caller's to drop. */
export function forgetBlock(context: Context, id: u32): void {
  if (isFollowed(context, id)) enterChained(context, id + 1);
  takeOut(context, id);
}

/** As `forgetBlock`, of many in the order of their ids, as a rule; `passRow` and `settleRow` as for `dropBlock`. */
export function forgetInRow(context: Context, id: u32): void {
  cutOff = isFollowed(context, id) ? id + 1 : 0;
  takeOut(context, id);
}

function takeOut(context: Context, id: u32): void {
  const chunk = chunkOf(context, id);
  if (isChained(chunk, id)) setChained(chunk, id, false);
  else leaveDirectory(context, id, mixKey(load<u64>(prefixAddress(chunk, id))));
  unname(context, id);
  retireBlock(context, id);
}

function unname(context: Context, id: u32): void {
  const chunk = chunkOf(context, id);
  if (!isNamed(chunk, id)) return;
  idRemove(context.names, mixKey(load<u64>(engineAddress(chunk, id))), id);
  context.namesCount--;
  setNamed(chunk, id, false);
}

/** Agrees on a name for a block. The name must be free, the block without one. */
export function nameBlock(context: Context, id: u32, engineHash: u64, mixed: u64): void {
  const chunk = chunkOf(context, id);
  store<u64>(engineAddress(chunk, id), engineHash);
  setNamed(chunk, id, true);
  context.names = idInsert(context, context.names, ENGINE_COLUMN, mixed, id, context.namesCount);
  context.namesCount++;
}

/** As `nameBlock` where the name is free, for a block whose engine hash is in its column. False where it is not. */
// @ts-ignore: decorator
@inline
export function nameIfFree(context: Context, chunk: usize, id: u32, engineHash: u64, mixed: u64): bool {
  if (idSeek(context.chunks, context.names, ENGINE_COLUMN, engineHash, mixed) != 0) return false;
  setNamed(chunk, id, true);
  context.names = idEnter(context, context.names, ENGINE_COLUMN, mixed, id, context.namesCount);
  context.namesCount++;
  return true;
}

/** Enters a block whose prefix hash, which is mixed to `mixed`, is in its column, and was just looked for (`idSeek`). */
// @ts-ignore: decorator
@inline
export function enterBlock(context: Context, id: u32, mixed: u64): void {
  context.directory = idEnter(context, context.directory, PREFIX_COLUMN, mixed, id, context.directoryCount);
  context.directoryCount++;
}

/** Whether the context calls the block by this hash, agreed for all who do not say otherwise. */
// @ts-ignore: decorator
@inline
export function isAgreed(context: Context, id: u32, engineHash: u64): bool {
  const chunk = chunkOf(context, id);
  return load<u64>(engineAddress(chunk, id)) == engineHash && isNamed(chunk, id);
}

/** Whether the rank has a copy at a tier under a name that it has for the block. */
export function hasCopy(rank: RankInContext, tier: u32, engineHash: u64, mixed: u64, id: u32): bool {
  const kinds = kindsOf(setOfBlock(rank.context, id), rank.local);
  if ((kinds & SEVERAL) == 0) return ((kinds >> tier) & 1) != 0;
  return load<u32>(nameIn(rank, listOf(rank, id), engineHash, mixed, id) + 8 + (<usize>tier << 2)) != 0;
}

/** Adds a copy at a tier under a name that the rank has for the block. */
export function addCopy(rank: RankInContext, tier: u32, engineHash: u64, mixed: u64, id: u32): void {
  const kinds = kindsOf(setOfBlock(rank.context, id), rank.local);
  const bit: u32 = 1 << tier;
  if ((kinds & SEVERAL) != 0) {
    const at = nameIn(rank, listOf(rank, id), engineHash, mixed, id) + 8 + (<usize>tier << 2);
    store<u32>(at, load<u32>(at) + 1);
    setKinds(rank, id, kinds, kinds | bit);
  } else if ((kinds & bit) == 0) {
    setKinds(rank, id, kinds, kinds | bit);
  } else {
    setExtraCopies(rank, id, tier, extraCopies(rank, id, tier) + 1);
  }
}

/** Gives the rank a name for a block that it did not have, with one copy at a tier. The name means nothing else to it. */
export function addName(rank: RankInContext, tier: u32, engineHash: u64, mixed: u64, id: u32): void {
  const context = rank.context;
  const before = kindsOf(setOfBlock(context, id), rank.local);
  if (before != 0) {
    addSeveral(rank, tier, engineHash, mixed, id, before);
    return;
  }
  const chunk = chunkOf(context, id);
  if (!isNamed(chunk, id) && findNamed(context, engineHash, mixed) == 0)
    nameBlock(context, id, engineHash, mixed);
  if (isAgreed(context, id, engineHash)) {
    setKinds(rank, id, 0, 1 << tier);
  } else {
    setKinds(rank, id, 0, (1 << tier) | OTHERWISE);
    ownNamePut(rank, engineHash, mixed, id);
  }
}

function addSeveral(
  rank: RankInContext,
  tier: u32,
  engineHash: u64,
  mixed: u64,
  id: u32,
  before: u32,
): void {
  const context = rank.context;
  let list = (before & SEVERAL) != 0 ? listOf(rank, id) : listFromOne(rank, id, before);
  if (listCount(list) == LIST_NAMES_MAX) {
    forgetFirstName(rank, list, id);
    // Its copies are gone, with the tiers that only it had.
    before = kindsOf(setOfBlock(context, id), rank.local);
  }
  list = listAppend(context, list, engineHash);
  store<u32>(listNameAt(list, listCount(list) - 1) + 8 + (<usize>tier << 2), 1);
  rank.lists = wordPut(context, rank.lists, id, <u32>list);
  setKinds(rank, id, before, ((before | (1 << tier)) & ~OTHERWISE) | SEVERAL);
  if (!isAgreed(context, id, engineHash)) ownNamePut(rank, engineHash, mixed, id);
}

/** Makes room in a list: a limit takes a name with its copies. One of those read, as the other may be anywhere. */
function forgetFirstName(rank: RankInContext, list: usize, id: u32): void {
  const first = listNameAt(list, 0);
  dropFromList(rank, list, first == listUnread(list) ? listNameAt(list, 1) : first, id);
  markEvicted(rank.rankSlot, LOST_TO_MEMORY);
  header().evicted2++;
  settleList(rank, id, list, kindsOf(setOfBlock(rank.context, id), rank.local));
}

/** A list with the one name that the rank has for a block, and its copies. */
function listFromOne(rank: RankInContext, id: u32, kinds: u32): usize {
  const context = rank.context;
  const list = listAppend(context, listMake(context), load<u64>(engineAddress(chunkOf(context, id), id)));
  if ((kinds & OTHERWISE) != 0) listSetUnread(list);
  for (let tier: u32 = 0; tier < 4; tier++) {
    if (((kinds >> tier) & 1) == 0) continue;
    store<u32>(listNameAt(list, 0) + 8 + (<usize>tier << 2), 1 + extraCopies(rank, id, tier));
    setExtraCopies(rank, id, tier, 0);
  }
  return list;
}

/** What became of a copy that was to be taken away: there was none; it was one of several; it was the last of its name. */
export const NO_COPY: u32 = 0;
export const ONE_OF_SEVERAL: u32 = 1;
export const LAST_COPY: u32 = 2;

/** Takes a copy at a tier away from a name of the rank's (S3). */
export function removeCopy(rank: RankInContext, tier: u32, engineHash: u64, mixed: u64, id: u32): u32 {
  const kinds = kindsOf(setOfBlock(rank.context, id), rank.local);
  if ((kinds & SEVERAL) != 0) return removeFromList(rank, tier, engineHash, mixed, id, kinds);
  if (((kinds >> tier) & 1) == 0) return NO_COPY;
  const extra = extraCopies(rank, id, tier);
  if (extra > 0) {
    setExtraCopies(rank, id, tier, extra - 1);
    return ONE_OF_SEVERAL;
  }
  let after = kinds & ~(1 << tier);
  if ((after & TIER_KINDS) == 0) {
    if ((kinds & OTHERWISE) != 0) ownNameRemove(rank, engineHash, mixed);
    after = 0;
  }
  setKinds(rank, id, kinds, after);
  return LAST_COPY;
}

function removeFromList(
  rank: RankInContext,
  tier: u32,
  engineHash: u64,
  mixed: u64,
  id: u32,
  kinds: u32,
): u32 {
  const list = listOf(rank, id);
  const name = nameIn(rank, list, engineHash, mixed, id);
  const at = name + 8 + (<usize>tier << 2);
  const copies = load<u32>(at);
  if (copies == 0) return NO_COPY;
  store<u32>(at, copies - 1);
  if (load<u64>(name, 8) == 0 && load<u64>(name, 16) == 0) dropFromList(rank, list, name, id);
  settleList(rank, id, list, kinds);
  return copies == 1 ? LAST_COPY : ONE_OF_SEVERAL;
}

function dropFromList(rank: RankInContext, list: usize, name: usize, id: u32): void {
  const engineHash = load<u64>(name);
  // Looked for even where the name is agreed: it may have become so after this rank made it its own.
  const mixed = mixKey(engineHash);
  if (ownNameFind(rank, engineHash, mixed) == id) ownNameRemove(rank, engineHash, mixed);
  listRemove(list, name);
}

/** Makes the rank's kinds what its list says. */
function settleList(rank: RankInContext, id: u32, list: usize, kinds: u32): void {
  if (listCount(list) == 0) {
    removeList(rank, id);
    setKinds(rank, id, kinds, 0);
  } else {
    setKinds(rank, id, kinds, tiersInList(list) | SEVERAL);
  }
}

/** Takes a name from the rank with all its copies, since it comes to mean another block (S4). */
export function stripName(rank: RankInContext, engineHash: u64, mixed: u64, id: u32): void {
  const kinds = kindsOf(setOfBlock(rank.context, id), rank.local);
  if ((kinds & SEVERAL) != 0) {
    const list = listOf(rank, id);
    dropFromList(rank, list, nameIn(rank, list, engineHash, mixed, id), id);
    settleList(rank, id, list, kinds);
    return;
  }
  for (let tier: u32 = 0; tier < 4; tier++) setExtraCopies(rank, id, tier, 0);
  if ((kinds & OTHERWISE) != 0) ownNameRemove(rank, engineHash, mixed);
  setKinds(rank, id, kinds, 0);
}

/** A limit takes a block from the rank. Its own names for it stay behind, and fail their check (own-names.ts). */
function evictFromRank(rank: RankInContext, id: u32, kinds: u32): void {
  if ((kinds & SEVERAL) != 0) removeList(rank, id);
  if (wordCount(rank.copies) > 0) for (let tier: u32 = 0; tier < 4; tier++) setExtraCopies(rank, id, tier, 0);
  countHolds(rank, kinds, 0);
}

/** Takes a dead block (its holders were cleared) back into use for a new holder. */
export function reviveBlock(context: Context, id: u32, engineHash: u64): void {
  const at = setAddress(chunkOf(context, id), id);
  const dead = <usize>load<u32>(at);
  if (!isAgreed(context, id, engineHash)) unname(context, id);
  store<u32>(at, 0);
  dropReference(context, dead);
  context.deadCount--;
  context.prefixCount++;
}

/** Whether all holders of a block were cleared, and the sweep has not come by yet. */
// @ts-ignore: decorator
@inline
export function isDead(set: usize): bool {
  return set != 0 && setAt(set).rankCount == 0;
}

/** Gives back a cleared rank's own tables, whatever their size. */
export function dropRankTables(rank: RankInContext): void {
  const context = rank.context;
  for (let i: u32 = 0; i < wordCapacity(rank.lists); i++) {
    const at = wordEntry(rank.lists, i);
    if (load<u32>(at) != 0) retire(context, LIMBO_MEMORY, load<u32>(at, 4));
  }
  if (rank.lists != 0) retire(context, LIMBO_MEMORY, <u32>rank.lists);
  if (rank.copies != 0) retire(context, LIMBO_MEMORY, <u32>rank.copies);
  if (rank.ownNames != 0) release(context, rank.ownNames);
  rank.lists = 0;
  rank.copies = 0;
  rank.ownNames = 0;
  rank.ownNamesCapacity = 0;
  rank.ownNamesCount = 0;
}
