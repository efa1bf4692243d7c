/**
 * Walks a whole context and counts what is wrong, by the numbers of the invariants in src/prefix-index/README.md. Quiescent:
 * under the writers' lock. Slow, for tests and audits.
 */
import {
  Context,
  contextAt,
  FIRST_GROUP_SLOT,
  groupOf,
  header,
  HOLDER_SLOTS_MAX,
  localRank,
  OTHERWISE,
  RANK_SLOTS_MAX,
  RankInContext,
  rankOf,
  SEVERAL,
  TIER_KINDS,
} from "./layout";
import { heapFault } from "./heap";
import {
  CHUNK_BLOCKS,
  CHUNK_LOG,
  chunkFreeCount,
  chunkOf,
  ENGINE_COLUMN,
  engineAddress,
  isChained,
  isNamed,
  isUsed,
  PREFIX_COLUMN,
  prefixAddress,
  setAddress,
} from "./arena";
import { idCount, idFind, mixKey, segmentAt, segmentIsSound } from "./id-table";
import { kindsOf, setAt, setIsSound } from "./holder-set";
import { ownNamesGood, ownNamesStored } from "./own-names";
import { wordCapacity, wordEntry, wordFind } from "./word-table";
import { LIST_NAMES_MAX, listCount, tiersInList } from "./name-list";
import { isDead } from "./holding";
import { alignmentOf } from "./groups";
import { FAULT_WORDS, FAULTS_MAX } from "./codes";

let faultsAt: usize = 0;
let faultCount: u32 = 0;

function fault(invariant: u32, first: u32, second: u32): void {
  if (faultCount == FAULTS_MAX) return;
  const at = faultsAt + <usize>(faultCount * FAULT_WORDS << 2);
  store<u32>(at, invariant);
  store<u32>(at, first, 4);
  store<u32>(at, second, 8);
  faultCount++;
}

/** Checks everything; faults go to `out`, twelve bytes each. Returns their number. */
export function check(out: usize): u32 {
  faultsAt = out;
  faultCount = 0;
  const heapAt = heapFault();
  if (heapAt != 0) fault(1, <u32>heapAt, 0);
  for (let slot: u32 = 0; slot < header().contextSlots; slot++) {
    const context = contextAt(slot);
    if (context.serial != 0) checkContext(context);
  }
  for (let slot: u32 = 0; slot < HOLDER_SLOTS_MAX; slot++) checkRankSlot(slot);
  checkGroups();
  return faultCount;
}

function checkContext(context: Context): void {
  for (let set = context.sets; set != 0; set = setAt(set).next) setAt(set).recount = 0;
  for (let local: u32 = 0; local < context.localCount; local++) localRank(context, local).recount = 0;
  checkBlocks(context);
  checkSets(context);
  for (let local: u32 = 0; local < context.localCount; local++) checkRank(context, localRank(context, local));
}

function checkBlocks(context: Context): void {
  let live: u32 = 0;
  let dead: u32 = 0;
  let named: u32 = 0;
  let free: u32 = 0;
  let chained: u32 = 0;
  for (let position: u32 = 0; position < context.chunkCount; position++) {
    const chunk = chunkOf(context, position << CHUNK_LOG);
    if (chunk == 0) continue;
    let unused: u32 = 0;
    for (let id = position << CHUNK_LOG; id < (position + 1) << CHUNK_LOG; id++) {
      const set = <usize>load<u32>(setAddress(chunk, id));
      if (!isUsed(chunk, id)) unused++;
      if (set == 0 && isChained(chunk, id)) fault(2, id, 0);
      if (set == 0) continue;
      if (isDead(set)) dead++;
      else live++;
      if (isNamed(chunk, id)) named++;
      if (isChained(chunk, id)) chained++;
      checkBlock(context, chunk, id, set);
    }
    if (unused != chunkFreeCount(chunk)) fault(9, position, unused);
    free += unused;
  }
  if (free != context.freeCount) fault(9, free, context.freeCount);
  if (live != context.prefixCount) fault(10, live, context.prefixCount);
  if (dead != context.deadCount) fault(10, dead, context.deadCount);
  const entered = live + dead - chained;
  if (idCount(context.directory) != entered) fault(2, idCount(context.directory), entered);
  if (idCount(context.names) != named) fault(3, idCount(context.names), named);
  if (context.directoryCount != entered) fault(2, context.directoryCount, entered);
  if (context.namesCount != named) fault(3, context.namesCount, named);
  checkTable(context.directory);
  checkTable(context.names);
}

function checkTable(root: usize): void {
  const slots: u32 = 1 << load<u32>(root);
  for (let i: u32 = 0; i < slots; i++) {
    const segment = segmentAt(root, i);
    if (segment != 0 && !segmentIsSound(segment)) fault(13, <u32>segment, i);
  }
}

function checkBlock(context: Context, chunk: usize, id: u32, set: usize): void {
  if (!isUsed(chunk, id)) fault(9, id, 0);
  const prefix = load<u64>(prefixAddress(chunk, id));
  const found = idFind(context.chunks, context.directory, PREFIX_COLUMN, prefix, mixKey(prefix));
  if (isChained(chunk, id) ? found != 0 || !isBlock(context, id - 1) : found != id) fault(2, id, found);
  if (isNamed(chunk, id)) {
    const name = load<u64>(engineAddress(chunk, id));
    const named = idFind(context.chunks, context.names, ENGINE_COLUMN, name, mixKey(name));
    if (named != id) fault(3, id, named);
  }
  setAt(set).recount++;
  for (let local: u32 = 0; local < <u32>setAt(set).words << 6; local++) {
    const kinds = kindsOf(set, local);
    if (kinds == 0) continue;
    const rank = localRank(context, local);
    rank.recount++;
    if ((kinds & TIER_KINDS) == 0) fault(6, id, rank.rankSlot);
    const list = <usize>wordFind(rank.lists, id);
    if ((kinds & SEVERAL) != 0 ? list == 0 || tiersInList(list) != (kinds & TIER_KINDS) : list != 0)
      fault(8, id, rank.rankSlot);
    if ((kinds & OTHERWISE) == 0 && (kinds & SEVERAL) == 0 && !isNamed(chunk, id)) fault(8, id, rank.rankSlot);
  }
}

/** Whether there is a block with an id. */
function isBlock(context: Context, id: u32): bool {
  const chunk = chunkOf(context, id);
  return chunk != 0 && load<u32>(setAddress(chunk, id)) != 0;
}

function checkSets(context: Context): void {
  let sets: u32 = 0;
  for (let set = context.sets; set != 0; set = setAt(set).next) {
    const one = setAt(set);
    sets++;
    if (one.recount + one.forwarders != one.references) fault(4, <u32>set, one.references);
    if (one.references == 0 && one.isZombie == 0) fault(4, <u32>set, 0);
    if (!setIsSound(context, set)) fault(5, <u32>set, one.hash);
    if (context.sweepLeft == 0 && one.recount > 0 && (one.forward != 0 || one.rankCount == 0))
      fault(11, <u32>set, one.references);
  }
  if (sets != context.setCount) fault(4, sets, context.setCount);
}

function checkRank(context: Context, rank: RankInContext): void {
  if (rank.recount != rank.blockCount) fault(6, rank.rankSlot, rank.blockCount);
  if (rank.blockCount > 0 && rank.isListed == 0) fault(12, rank.rankSlot, context.serial);
  for (let i: u32 = 0; i < wordCapacity(rank.copies); i++) {
    const entry = wordEntry(rank.copies, i);
    const key = load<u32>(entry);
    if (key == 0) continue;
    const chunk = chunkOf(context, key >> 2);
    const kinds = chunk == 0 ? 0 : kindsOf(<usize>load<u32>(setAddress(chunk, key >> 2)), rank.local);
    if (((kinds >> (key & 3)) & 1) == 0 || (kinds & SEVERAL) != 0 || load<u32>(entry, 4) == 0)
      fault(7, rank.rankSlot, key >> 2);
  }
  checkNames(context, rank);
}

/** Every block that the rank calls otherwise has an own name; blocks with lists have those that are not agreed. */
function checkNames(context: Context, rank: RankInContext): void {
  let atLeast: u32 = 0;
  let atMost: u32 = 0;
  for (let position: u32 = 0; position < context.chunkCount; position++) {
    const chunk = chunkOf(context, position << CHUNK_LOG);
    if (chunk == 0) continue;
    for (let i: u32 = 0; i < CHUNK_BLOCKS; i++) {
      const id = (position << CHUNK_LOG) | i;
      const kinds = kindsOf(<usize>load<u32>(setAddress(chunk, id)), rank.local);
      if ((kinds & OTHERWISE) != 0) {
        atLeast++;
        atMost++;
      }
      if ((kinds & SEVERAL) == 0) continue;
      const names = listCount(<usize>wordFind(rank.lists, id));
      if (names > LIST_NAMES_MAX) fault(14, rank.rankSlot, id);
      atLeast += names - 1;
      atMost += names;
    }
  }
  const good = ownNamesGood(rank);
  if (ownNamesStored(rank) != rank.ownNamesCount) fault(8, rank.rankSlot, rank.ownNamesCount);
  if (good < atLeast || good > atMost) fault(8, rank.rankSlot, good);
}

/** What a group of the rank has for `Rank.owner` (groups.ts G4). */
function engineOf(rankSlot: u32): u32 {
  return rankOf(rankSlot).owner == 0 ? rankSlot + 1 : rankOf(rankSlot).owner;
}

/** The lists of groups: each group slot in use in its owner's list once, alignments and the count of loose ranks (I15). */
function checkGroups(): void {
  let listed: u32 = 0;
  let loose: u32 = 0;
  for (let rankSlot: u32 = 0; rankSlot < RANK_SLOTS_MAX; rankSlot++) {
    const rank = groupOf(rankSlot);
    for (let slot = rank.next; slot != 0; slot = groupOf(slot).next) {
      if (slot < FIRST_GROUP_SLOT || groupOf(slot).owner != rankSlot || groupOf(slot).rule == 0) fault(15, rankSlot, slot);
      if (groupOf(slot).kind == 0 || rankOf(slot).owner != engineOf(rankSlot)) fault(15, rankSlot, slot);
      listed++;
    }
    if (rank.next == 0) continue;
    if (rank.kind == 0) loose++;
    const alignment = alignmentOf(rankSlot);
    if (rank.alignment != (alignment > <u64>0xffffffff ? 0 : <u32>alignment)) fault(15, rankSlot, rank.alignment);
  }
  let used: u32 = 0;
  for (let slot = FIRST_GROUP_SLOT; slot < HOLDER_SLOTS_MAX; slot++) {
    if (groupOf(slot).rule != 0) used++;
    else if (rankOf(slot).blockCount != 0) fault(15, slot, rankOf(slot).blockCount);
  }
  if (used != listed || used != header().groupsOpen) fault(15, used, listed);
  if (loose != header().looseCount) fault(15, loose, header().looseCount);
}

function checkRankSlot(rankSlot: u32): void {
  let blocks: u32 = 0;
  let previous: usize = 0;
  for (let at = rankOf(rankSlot).first; at != 0; ) {
    const rank = changetype<RankInContext>(at);
    if (rank.rankSlot != rankSlot || rank.previous != previous) fault(12, rankSlot, rank.context.serial);
    blocks += rank.blockCount;
    previous = at;
    at = rank.next;
  }
  if (blocks != rankOf(rankSlot).blockCount) fault(6, rankSlot, blocks);
}
