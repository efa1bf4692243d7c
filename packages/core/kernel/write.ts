/**
 * The writer's calls: store, add known copies, remove, clear. One thread at a time, under the lock of the header.
 *
 * A store works in passes over the whole run, then over pieces of 256 blocks, so that the cache misses of a pass overlap:
 *
 *     hash       prefix hashes of the whole run
 *     limits     are there enough free ids and bytes for what is new? evict or refuse before anything is changed
 *     follow     ids of the first blocks, while they are known and lie behind their parent, one after the other
 *     warm       mix the prefix hashes of the others, load the directory's buckets that they will need
 *     find       ids of the blocks that are known; new ids and keys for the others, which are chained to the block before them
 *                where it has the id before theirs (holding.ts), else entered in the directory
 *     warm       the same for the names of what is new; of a short piece the buckets of both tables in the first warming
 *     fence      if a block is new: so that no reader sees a set before the keys of its block
 *     apply      names, sets and counts, block by block (holding.ts)
 */
import {
  Context,
  fence,
  header,
  Header,
  HEADER,
  MIXED_NAMES,
  MIXED_PREFIXES,
  PIECE_BLOCKS,
  PIECE_IDS,
  RankInContext,
  rankOf,
  TIER_KINDS,
  WARMED,
} from "./layout";
import {
  arenaGrowthBytes,
  chunkOf,
  closeIds,
  engineAddress,
  hasFreeIds,
  isChained,
  isNamed,
  PREFIX_COLUMN,
  prefixAddress,
  setAddress,
  setChained,
  takeId,
  touchBlock,
} from "./arena";
import { heapReach } from "./heap";
import {
  homeBucket,
  idFind,
  idIsClosed,
  idSeek,
  idTableGrowthBytes,
  mixKey,
  mixKeys,
  warmBuckets,
} from "./id-table";
import { canonical, clearFromSets, freeZombies, kindsOf, setAt, withKinds } from "./holder-set";
import {
  addCopy,
  addName,
  countGone,
  countHeld,
  dropBlock,
  enterBlock,
  extraCopies,
  findNamed,
  hasCopy,
  isAgreed,
  isDead,
  isSoleHolder,
  LAST_COPY,
  nameBlock,
  nameIfFree,
  NO_COPY,
  NOT_MIXED,
  passRow,
  removeCopy,
  resolve,
  reviveBlock,
  setKinds,
  setOfBlock,
  settleRow,
  stripName,
} from "./holding";
import {
  clearRankRecord,
  contextDrop,
  contextMake,
  contextVictim,
  freeSlot,
  leastRecentlyStored,
  listFirst,
  rankIn,
} from "./context";
import { dropIfLarge, evict, reclaim, relieve, startSweep, sweepAll } from "./reclaim";
import {
  MEMORY_LIMIT,
  NOTE_HELD,
  NOTE_LAST_COPY,
  NOTE_MISSING,
  NOTE_RENAMED,
  NOTE_REPEATED,
  NOTED,
  REPEATED,
  REPEATS_EACH,
  REPEATS_IF_ALL,
  STORED,
  TOO_MANY_BLOCKS,
} from "./codes";
import { ownNamesGrowthBytes } from "./own-names";
import { LOST_TO_CONTEXTS, LOST_TO_MEMORY, LOST_TO_PREFIXES } from "./losses";

/** In a piece's ids: the block was made by this store. Ids take 27 bits. */
const IS_NEW: u32 = 0x80000000;
/** In a piece's ids: the block is not to be stored, only hashed past. */
const IS_SKIPPED: u32 = 0x40000000;
const ID_MASK: u32 = 0x3fffffff;
/** A piece with so few unknown blocks has both its tables warmed together. */
const SHORT_BLOCKS: u32 = 4;
/** Sets, records of ranks and growth of small tables in one call: what the estimate of a store's bytes adds. */
export const SLACK_BYTES: u32 = 131072;

/** Waits for the lock, in a futex when another thread has it. */
export function lockTake(): void {
  const lock = HEADER + offsetof<Header>("lock");
  if (atomic.cmpxchg<u32>(lock, 0, 1) != 0) {
    while (atomic.xchg<u32>(lock, 2) != 0) atomic.wait<i32>(lock, 2, -1);
  }
  heapReach();
}

/** Lets the lock go, and one waiting thread take it. */
export function lockLeave(): void {
  const lock = HEADER + offsetof<Header>("lock");
  if (atomic.xchg<u32>(lock, 0) == 2) atomic.notify(lock, 1);
}

/** Makes a context for a rank (−1: for none), dropping another if there are too many (`contextVictim`). Returns its slot. */
export function contextOpen(blockSize: u32, lookahead: u32, name: usize, nameBytes: u32, rankSlot: u32): u32 {
  const h = header();
  h.tick++;
  if (h.contextCount >= h.contextsMax) {
    const victim = contextVictim(rankSlot);
    if (victim !== null) {
      h.evicted0 += victim.prefixCount;
      contextDrop(victim, LOST_TO_CONTEXTS);
    }
  }
  reclaim();
  let slot = freeSlot();
  while (slot == h.contextSlots) {
    // Readers are in all the dropped ones: they leave within a lookup's time.
    atomic.wait<i32>(HEADER + offsetof<Header>("sink"), <i32>h.sink, 100000);
    reclaim();
    slot = freeSlot();
  }
  contextMake(slot, blockSize, lookahead, name, nameBytes);
  return slot;
}

/**
 * Stores a run whose prefix hashes are at `prefixes`. `parent` is the block before it, 0 for none. `isRun` is false for blocks that
 * do not follow each other. `skips` is 0, or one byte a block: 1 is not to be stored. `notes` is 0, or room for a byte a block.
 */
export function storeRun(
  context: Context,
  rankSlot: u32,
  tier: u32,
  parent: u32,
  isRun: bool,
  count: u32,
  prefixes: usize,
  engineHashes: usize,
  skips: usize,
  repeats: u32,
  notes: usize,
): u32 {
  const rank = rankIn(context, rankSlot);
  if (repeats == REPEATS_IF_ALL && areRepeated(rank, tier, count, prefixes, engineHashes)) return REPEATED;
  if (context.hasClosed != 0 && isAnyClosed(context, parent, count, prefixes, engineHashes)) return MEMORY_LIMIT;
  const refused = makeRoom(rank, parent, count, prefixes);
  if (refused != STORED) return refused;
  listFirst(rank);
  let noted: u32 = 0;
  previous = parent;
  for (let done: u32 = 0; done < count; done += PIECE_BLOCKS) {
    const piece = min(PIECE_BLOCKS, count - done);
    const offset = <usize>done << 3;
    // A limit may have taken the parent, and a block that is left out may have gone with its name.
    if (previous != 0 && load<u32>(setAddress(chunkOf(context, previous), previous)) == 0) previous = 0;
    // The first piece had its look above. What came before stays: a leading part of a run is as good as a shorter run.
    if (done > 0) {
      freeZombies(context, false);
      if (!hasRoomFor(context, previous, piece, prefixes + offset, engineHashes + offset)) return MEMORY_LIMIT;
    }
    const pieceSkips: usize = skips == 0 ? 0 : skips + done;
    const pieceNotes: usize = notes == 0 ? 0 : notes + done;
    noted |= storePiece(
      rank,
      tier,
      isRun,
      piece,
      prefixes + offset,
      engineHashes + offset,
      pieceSkips,
      repeats == REPEATS_EACH,
      pieceNotes,
    );
  }
  return noted == 0 ? STORED : STORED | NOTED;
}

/** Whether the holder has all these blocks under these names. */
function areRepeated(rank: RankInContext, tier: u32, count: u32, prefixes: usize, engineHashes: usize): bool {
  const context = rank.context;
  for (let at: usize = 0; at < <usize>count << 3; at += 8) {
    const engineHash = load<u64>(engineHashes + at);
    const mixed = mixKey(engineHash);
    const id = resolve(rank, engineHash, mixed);
    if (id == 0 || !hasCopy(rank, tier, engineHash, mixed, id)) return false;
    if (load<u64>(prefixAddress(chunkOf(context, id), id)) != load<u64>(prefixes + at)) return false;
  }
  return true;
}

/**
 * Whether a piece may begin: no table has to refuse one of its blocks (id-table.ts T2), and the limit of memory is not passed.
 * `makeRoom` reckons with keys that are spread; where it was wrong, this is where the run ends, at most one piece's growth
 * later: 17 MB if each of its blocks splits a segment in both tables, which only chosen keys can bring about.
 */
function hasRoomFor(context: Context, parent: u32, count: u32, prefixes: usize, engineHashes: usize): bool {
  const h = header();
  if (h.allocatedBytes > h.memoryBytesMax) {
    reclaim();
    if (h.allocatedBytes > h.memoryBytesMax) return false;
  }
  return context.hasClosed == 0 || !isAnyClosed(context, parent, count, prefixes, engineHashes);
}

function isAnyClosed(context: Context, parent: u32, count: u32, prefixes: usize, engineHashes: usize): bool {
  let id = parent;
  for (let at: usize = 0; at < <usize>count << 3; at += 8) {
    const prefix = load<u64>(prefixes + at);
    let mixed = mixKey(prefix);
    id = findBehind(context, id, prefix, mixed);
    if (id == 0 && idIsClosed(context.directory, mixed, context.directoryCount)) return true;
    const name = load<u64>(engineHashes + at);
    mixed = mixKey(name);
    if (idIsClosed(context.names, mixed, context.namesCount) && findNamed(context, name, mixed) == 0) return true;
  }
  return false;
}

/** Holds the limits before a store: evicts for what will be new, or says that it cannot. */
function makeRoom(rank: RankInContext, parent: u32, count: u32, prefixes: usize): u32 {
  const h = header();
  const context = rank.context;
  if (count > h.prefixesMax) return TOO_MANY_BLOCKS;
  const isNearPrefixes = context.prefixCount + count > h.prefixesMax;
  const isNearMemory = h.allocatedBytes + storeBytes(rank, count) > h.memoryBytesMax;
  if (!isNearPrefixes && !isNearMemory) return STORED;
  const fresh = countUnknown(context, parent, count, prefixes);
  if (context.prefixCount + fresh > h.prefixesMax)
    h.evicted1 += evict(context, context.prefixCount + fresh - h.prefixesMax, LOST_TO_PREFIXES);
  return isNearMemory ? makeBytes(rank, fresh) : STORED;
}

function makeBytes(rank: RankInContext, fresh: u32): u32 {
  const h = header();
  const context = rank.context;
  reclaim();
  while (h.allocatedBytes + storeBytes(rank, fresh) > h.memoryBytesMax) {
    sweepAll(context);
    reclaim();
    if (hasFreeIds(context, fresh)) return STORED;
    const others = leastRecentlyStored(context);
    if (context.prefixCount >= 2 * fresh && (others === null || others.prefixCount < context.prefixCount)) {
      // Ids are what is short: with them the tables have room too.
      h.evicted2 += evict(context, fresh + (context.chunkCount << 4), LOST_TO_MEMORY);
      reclaim();
      return hasFreeIds(context, fresh) || h.limboCount > 0 ? STORED : MEMORY_LIMIT;
    }
    if (others === null) return MEMORY_LIMIT;
    h.evicted2 += others.prefixCount;
    contextDrop(others, LOST_TO_MEMORY);
    reclaim();
  }
  return STORED;
}

/** Bytes that a store of `count` new blocks may take, and those that its growing tables take twice for a while. */
function storeBytes(rank: RankInContext, count: u32): u32 {
  const context = rank.context;
  const bytes = SLACK_BYTES + ownNamesGrowthBytes(rank, count);
  const arena = arenaGrowthBytes(context, count);
  if (arena == 0) return bytes;
  return bytes + arena + idTableGrowthBytes(context.directory, count) + idTableGrowthBytes(context.names, count);
}

function countUnknown(context: Context, parent: u32, count: u32, prefixes: usize): u32 {
  let unknown: u32 = 0;
  let id = parent;
  for (let i: u32 = 0; i < count; i++) {
    const prefix = load<u64>(prefixes + (<usize>i << 3));
    id = findBehind(context, id, prefix, mixKey(prefix));
    if (id == 0) unknown++;
    // Not to be evicted for its own store.
    else touchBlock(chunkOf(context, id), id);
  }
  return unknown;
}

/** The block with a prefix hash whose parent, if there is one, is block `before`; 0 for none. */
// @ts-ignore: decorator
@inline
function findBehind(context: Context, before: u32, prefix: u64, mixed: u64): u32 {
  if (isBlockAt(context, before + 1, prefix)) return before + 1;
  return idFind(context.chunks, context.directory, PREFIX_COLUMN, prefix, mixed);
}

/** The block before the next of a run that is stored; 0 for none, also when it is not there. Within one call only. */
let previous: u32 = 0;

function storePiece(
  rank: RankInContext,
  tier: u32,
  isRun: bool,
  count: u32,
  prefixes: usize,
  engineHashes: usize,
  skips: usize,
  isRepeatNoted: bool,
  notes: usize,
): u32 {
  const context = rank.context;
  const known = skips == 0 ? followKnown(context, count, prefixes) : 0;
  const unfollowed = count - known;
  // A rank with names of its own looks up the names of followed blocks too.
  const looked = rank.ownNamesCount == 0 ? unfollowed : count;
  if (looked <= SHORT_BLOCKS) {
    if (unfollowed > 0) warmShort(context, known, count, prefixes, engineHashes);
    findPiece(context, isRun, known, count, prefixes, engineHashes, skips);
  } else {
    const offset = <usize>known << 3;
    mixKeys(context.directory, unfollowed, prefixes + offset, MIXED_PREFIXES + offset, WARMED);
    warmBuckets(unfollowed);
    findPiece(context, isRun, known, count, prefixes, engineHashes, skips);
    warmNames(rank, count, engineHashes);
  }
  if (unfollowed > 0) fence();
  if (notes != 0) clearNotes(notes, count);
  return applyPiece(rank, tier, count, prefixes, engineHashes, isRepeatNoted, notes);
}

/** A fill is a call of the engine: for a single block it costs more than the rest of this. */
// @ts-ignore: decorator
@inline
function clearNotes(notes: usize, count: u32): void {
  if (count > SHORT_BLOCKS) memory.fill(notes, 0, count);
  else for (let i: u32 = 0; i < count; i++) store<u8>(notes + i, 0);
}

/** Names, sets and counts of a piece. Returns a note if there is any. */
function applyPiece(
  rank: RankInContext,
  tier: u32,
  count: u32,
  prefixes: usize,
  engineHashes: usize,
  isRepeatNoted: bool,
  notes: usize,
): u32 {
  const context = rank.context;
  let noted: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const found = load<u32>(PIECE_IDS + (<usize>i << 2));
    if ((found & IS_SKIPPED) != 0) continue;
    const engineHash = load<u64>(engineHashes + (<usize>i << 3));
    if (applyAlike(rank, tier, found, engineHash, i)) continue;
    countAlike(rank);
    let note: u32 = 0;
    if ((found & IS_NEW) != 0) {
      context.prefixCount++;
      note = storeNew(rank, tier, engineHash, load<u64>(MIXED_NAMES + (<usize>i << 3)), found & ID_MASK);
    } else {
      note = storeFound(rank, tier, engineHash, found, load<u64>(prefixes + (<usize>i << 3)), isRepeatNoted);
    }
    if (note == 0) continue;
    noted = note;
    if (notes != 0) store<u8>(notes + i, note);
  }
  countAlike(rank);
  return noted;
}

/** The last blocks of a piece that went from one set to another, and are not counted yet. Within one call only. */
let alikeSet: usize = 0;
let alikeTarget: usize = 0;
let alikeCount: u32 = 0;

/**
 * Makes a rank a holder of a block, where that is as simple as nearly always: it does not hold the block yet, and calls it by the
 * agreed name. False, and nothing is done, where it is not. The next `countAlike` counts it.
 */
// @ts-ignore: decorator
@inline
function applyAlike(rank: RankInContext, tier: u32, found: u32, engineHash: u64, i: u32): bool {
  if (rank.ownNamesCount != 0) return false;
  const context = rank.context;
  const id = found & ID_MASK;
  const chunk = chunkOf(context, id);
  let set: usize = 0;
  if ((found & IS_NEW) != 0) {
    const mixed = load<u64>(MIXED_NAMES + (<usize>i << 3));
    if (!nameIfFree(context, chunk, id, engineHash, mixed)) return false;
  } else {
    if (chunk == 0) return false;
    set = <usize>load<u32>(setAddress(chunk, id));
    if (set == 0 || load<u64>(engineAddress(chunk, id)) != engineHash || !isNamed(chunk, id)) return false;
  }
  if (alikeTarget == 0 || set != alikeSet) {
    countAlike(rank);
    if (set != 0 && (isDead(set) || kindsOf(set, rank.local) != 0)) return false;
    alikeSet = set;
    alikeTarget = withKinds(context, canonical(set), rank.local, 1 << tier);
  }
  store<u32>(setAddress(chunk, id), <u32>alikeTarget);
  alikeCount++;
  return true;
}

function countAlike(rank: RankInContext): void {
  if (alikeCount > 0) countHeld(rank, alikeSet, alikeTarget, alikeCount);
  alikeCount = 0;
  alikeTarget = 0;
}

/** Fills PIECE_IDS for the first blocks of a piece, as many as are known and lie one behind the other from `previous` on. */
function followKnown(context: Context, count: u32, prefixes: usize): u32 {
  let known: u32 = 0;
  const guess = previous + 1;
  for (; known < count; known++) {
    const id = guess + known;
    if (!isBlockAt(context, id, load<u64>(prefixes + (<usize>known << 3)))) break;
    store<u32>(PIECE_IDS + (<usize>known << 2), id);
    touchBlock(chunkOf(context, id), id);
  }
  if (known > 0) previous += known;
  return known;
}

/** Mixes both keys of a few blocks and loads the buckets of both tables together: a short piece waits once, not twice. */
function warmShort(context: Context, from: u32, count: u32, prefixes: usize, engineHashes: usize): void {
  let sum: u32 = 0;
  for (let at = <usize>from << 3; at < <usize>count << 3; at += 8) {
    const prefix = mixKey(load<u64>(prefixes + at));
    const name = mixKey(load<u64>(engineHashes + at));
    store<u64>(MIXED_PREFIXES + at, prefix);
    store<u64>(MIXED_NAMES + at, name);
    sum += load<u32>(homeBucket(context.directory, prefix)) + load<u32>(homeBucket(context.names, name));
  }
  header().sink = sum;
}

/** Loads the bucket of a store's first name while its parent is looked for: a store of one block waits for both at once. */
// @ts-ignore: decorator
@inline
export function warmFirstName(context: Context, engineHashes: usize): void {
  header().sink = load<u32>(homeBucket(context.names, mixKey(load<u64>(engineHashes))));
}

/** Mixes the names that will be looked up, and warms their buckets: of new blocks; for a rank with names of its own, of all. */
function warmNames(rank: RankInContext, count: u32, engineHashes: usize): void {
  const names = rank.context.names;
  const wanted: u32 = rank.ownNamesCount == 0 ? IS_NEW : ~0;
  let warmed: u32 = 0;
  for (let i: usize = 0; i < <usize>count; i++) {
    if ((load<u32>(PIECE_IDS + (i << 2)) & wanted) == 0) continue;
    const mixed = mixKey(load<u64>(engineHashes + (i << 3)));
    store<u64>(MIXED_NAMES + (i << 3), mixed);
    store<u32>(WARMED + (<usize>warmed << 2), <u32>homeBucket(names, mixed));
    warmed++;
  }
  warmBuckets(warmed);
}

/**
 * Fills PIECE_IDS from `from` on. What is new gets an id and its keys, and is chained or entered; nobody sees it before it has a
 * set. Blocks that are left out are found too: what follows may be chained to them.
 */
function findPiece(
  context: Context,
  isRun: bool,
  from: u32,
  count: u32,
  prefixes: usize,
  engineHashes: usize,
  skips: usize,
): void {
  let before = previous;
  for (let i = from; i < count; i++) {
    const out = PIECE_IDS + (<usize>i << 2);
    const prefix = load<u64>(prefixes + (<usize>i << 3));
    const mixed = load<u64>(MIXED_PREFIXES + (<usize>i << 3));
    let id = before + 1;
    if (before == 0 || !isBlockAt(context, id, prefix))
      id = idSeek(context.chunks, context.directory, PREFIX_COLUMN, prefix, mixed);
    if (skips != 0 && load<u8>(skips + i) != 0) {
      store<u32>(out, IS_SKIPPED);
    } else if (id != 0) {
      store<u32>(out, id);
      touchBlock(chunkOf(context, id), id);
    } else {
      id = makeBlock(context, isRun ? before : 0, prefix, mixed, load<u64>(engineHashes + (<usize>i << 3)));
      store<u32>(out, id | IS_NEW);
    }
    before = id;
  }
  previous = before;
  closeIds(context);
}

// @ts-ignore: decorator
@inline
function isBlockAt(context: Context, id: u32, prefix: u64): bool {
  if (id >> 10 >= context.chunkCount) return false;
  const chunk = chunkOf(context, id);
  return chunk != 0 && load<u32>(setAddress(chunk, id)) != 0 && load<u64>(prefixAddress(chunk, id)) == prefix;
}

/**
 * Makes a block that was just looked for (`idSeek`) and is not there, behind its parent, 0 for none or one that is not known.
 * `closeIds` has to follow.
 */
// @ts-ignore: decorator
@inline
function makeBlock(context: Context, parent: u32, prefix: u64, mixed: u64, engineHash: u64): u32 {
  const id = takeId(context);
  const chunk = chunkOf(context, id);
  store<u64>(prefixAddress(chunk, id), prefix);
  store<u64>(engineAddress(chunk, id), engineHash);
  if (parent != 0 && id == parent + 1) setChained(chunk, id, true);
  else enterBlock(context, id, mixed);
  return id;
}

function storeNew(rank: RankInContext, tier: u32, engineHash: u64, mixed: u64, id: u32): u32 {
  if (rank.ownNamesCount == 0 && findNamed(rank.context, engineHash, mixed) == 0) {
    nameBlock(rank.context, id, engineHash, mixed);
    setKinds(rank, id, 0, 1 << tier);
    return 0;
  }
  const other = resolve(rank, engineHash, mixed);
  if (other != 0) stripName(rank, engineHash, mixed, other);
  addName(rank, tier, engineHash, mixed, id);
  return other == 0 ? 0 : NOTE_RENAMED;
}

function storeFound(
  rank: RankInContext,
  tier: u32,
  engineHash: u64,
  id: u32,
  prefix: u64,
  isRepeatNoted: bool,
): u32 {
  const context = rank.context;
  let chunk = chunkOf(context, id);
  const set: usize = chunk == 0 ? 0 : <usize>load<u32>(setAddress(chunk, id));
  if (set == 0) {
    // An earlier block of this very run took the last copy of this one away (contract.ts S4), so it is new after all.
    const mixedPrefix = mixKey(prefix);
    idSeek(context.chunks, context.directory, PREFIX_COLUMN, prefix, mixedPrefix);
    const fresh = makeBlock(context, 0, prefix, mixedPrefix, engineHash);
    closeIds(context);
    fence();
    context.prefixCount++;
    return storeNew(rank, tier, engineHash, mixKey(engineHash), fresh);
  }
  const isPlain = rank.ownNamesCount == 0 && load<u64>(engineAddress(chunk, id)) == engineHash && isNamed(chunk, id);
  if (isPlain && !isDead(set) && kindsOf(set, rank.local) == 0) {
    setKinds(rank, id, 0, 1 << tier);
    return 0;
  }
  const mixed = mixKey(engineHash);
  const known = resolve(rank, engineHash, mixed);
  if (known == id) {
    if (isRepeatNoted && hasCopy(rank, tier, engineHash, mixed, id)) return NOTE_REPEATED;
    addCopy(rank, tier, engineHash, mixed, id);
    return 0;
  }
  if (known != 0) stripName(rank, engineHash, mixed, known);
  if (isDead(set)) reviveBlock(context, id, engineHash);
  addName(rank, tier, engineHash, mixed, id);
  return known == 0 ? 0 : NOTE_RENAMED;
}

/** Adds a copy at a tier of what the rank has under these hashes. Returns how many it has. */
export function storeKnown(rankSlot: u32, tier: u32, count: u32, engineHashes: usize): u32 {
  let known: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const engineHash = load<u64>(engineHashes + (<usize>i << 3));
    const mixed = mixKey(engineHash);
    for (let at = rankOf(rankSlot).first; at != 0; at = changetype<RankInContext>(at).next) {
      const rank = changetype<RankInContext>(at);
      const id = resolve(rank, engineHash, mixed);
      if (id == 0) continue;
      addCopy(rank, tier, engineHash, mixed, id);
      if ((++known & (PIECE_BLOCKS - 1)) == 0) relieve(rank.context);
      break;
    }
  }
  return known;
}

/** Gives `notes` one byte a block: `NOTE_HELD` where the holder has a copy at a tier under this very name. */
export function noteHeldRun(holderSlot: u32, tier: u32, count: u32, engineHashes: usize, notes: usize): void {
  memory.fill(notes, 0, count);
  for (let at = rankOf(holderSlot).first; at != 0; at = changetype<RankInContext>(at).next) {
    const rank = changetype<RankInContext>(at);
    for (let i: u32 = 0; i < count; i++) {
      const engineHash = load<u64>(engineHashes + (<usize>i << 3));
      const mixed = mixKey(engineHash);
      const id = resolve(rank, engineHash, mixed);
      if (id != 0 && hasCopy(rank, tier, engineHash, mixed, id)) store<u8>(notes + i, <u8>NOTE_HELD);
    }
  }
}

/**
 * Takes a copy of each away (S3). `misses` gets one byte a block: `NOTE_MISSING`, `NOTE_LAST_COPY` or 0. Returns how many were found.
 */
export function removeRun(rankSlot: u32, tier: u32, count: u32, engineHashes: usize, misses: usize): u32 {
  const first = rankOf(rankSlot).first;
  if (first == 0) {
    memory.fill(misses, <u8>NOTE_MISSING, count);
    return 0;
  }
  let removed: u32 = 0;
  for (let done: u32 = 0; done < count; done += PIECE_BLOCKS) {
    const piece = min(PIECE_BLOCKS, count - done);
    warmRemovals(changetype<RankInContext>(first).context, piece, engineHashes + (<usize>done << 3));
    for (let i = done; i < done + piece; i++) {
      const engineHash = load<u64>(engineHashes + (<usize>i << 3));
      let taken = LAST_COPY;
      if (!removeAlike(changetype<RankInContext>(first), tier, engineHash, i - done)) {
        countLeft(changetype<RankInContext>(first));
        settleRow(changetype<RankInContext>(first).context);
        taken = removeOne(first, tier, engineHash, i - done);
      }
      store<u8>(misses + i, <u8>(taken == NO_COPY ? NOTE_MISSING : taken == LAST_COPY ? NOTE_LAST_COPY : 0));
      if (taken != NO_COPY) removed++;
    }
    countLeft(changetype<RankInContext>(first));
    settleRow(changetype<RankInContext>(first).context);
    relieve(changetype<RankInContext>(first).context);
  }
  return removed;
}

/** The last blocks of a piece that went with their one set, and are not counted yet. Within one call only. */
let leftSet: usize = 0;
let leftCount: u32 = 0;

/**
 * Removes a block where that is as simple as nearly always: the rank is its only holder, has one copy, and calls it by the agreed
 * name. False, and nothing is done, where it is not. The next `countLeft` counts it.
 */
// @ts-ignore: decorator
@inline
function removeAlike(rank: RankInContext, tier: u32, engineHash: u64, position: u32): bool {
  const id = load<u32>(PIECE_IDS + (<usize>position << 2));
  const mixedPrefix = load<u64>(MIXED_PREFIXES + (<usize>position << 3));
  if (id == 0 || mixedPrefix == 0 || rank.ownNamesCount != 0) return false;
  const context = rank.context;
  passRow(context, id);
  const chunk = chunkOf(context, id);
  const set = <usize>load<u32>(setAddress(chunk, id));
  if (set == 0 || load<u64>(engineAddress(chunk, id)) != engineHash || !isNamed(chunk, id)) return false;
  if (set != leftSet) {
    countLeft(rank);
    if (!isSoleHolder(rank, tier, set)) return false;
    leftSet = set;
  }
  if (rank.copies != 0 && extraCopies(rank, id, tier) > 0) return false;
  dropBlock(context, chunk, id, mixedPrefix, load<u64>(MIXED_NAMES + (<usize>position << 3)));
  leftCount++;
  return true;
}

function countLeft(rank: RankInContext): void {
  if (leftCount > 0) countGone(rank, leftSet, leftCount);
  leftSet = 0;
  leftCount = 0;
}

/**
 * Finds the agreed blocks of a piece, their ids to PIECE_IDS, and warms what taking them out will need. MIXED_PREFIXES is 0
 * for those that others hold as well.
 */
function warmRemovals(context: Context, count: u32, engineHashes: usize): void {
  // The look that follows is as good as warming for it.
  if (count == 1) {
    store<u64>(MIXED_NAMES, mixKey(load<u64>(engineHashes)));
  } else {
    mixKeys(context.names, count, engineHashes, MIXED_NAMES, WARMED);
    warmBuckets(count);
  }
  let found: u32 = 0;
  let last: u32 = 0;
  // Engines take a run out from its end: the next block is the one before.
  let step: u32 = ~0;
  for (let i: usize = 0; i < count; i++) {
    const engineHash = load<u64>(engineHashes + (i << 3));
    let id = last + step;
    if (last == 0 || !isNamedAt(context, id, engineHash)) {
      id = findNamed(context, engineHash, load<u64>(MIXED_NAMES + (i << 3)));
      if (id == last - step) step = -step;
    }
    store<u32>(PIECE_IDS + (i << 2), id);
    if (id == 0) continue;
    last = id;
    const chunk = chunkOf(context, id);
    const set = <usize>load<u32>(setAddress(chunk, id));
    store<u64>(MIXED_PREFIXES + (i << 3), 0);
    // What others hold as well stays, and what is chained is not in the directory.
    if (set == 0 || setAt(set).rankCount > 1) continue;
    if (isChained(chunk, id)) {
      store<u64>(MIXED_PREFIXES + (i << 3), NOT_MIXED);
      continue;
    }
    const mixed = mixKey(load<u64>(prefixAddress(chunk, id)));
    store<u64>(MIXED_PREFIXES + (i << 3), mixed);
    store<u32>(WARMED + (<usize>found << 2), <u32>homeBucket(context.directory, mixed));
    found++;
  }
  if (found > 1) warmBuckets(found);
}

/** Whether the block with an id, if there is one, has this agreed name. */
// @ts-ignore: decorator
@inline
function isNamedAt(context: Context, id: u32, engineHash: u64): bool {
  if (id >> 10 >= context.chunkCount) return false;
  const chunk = chunkOf(context, id);
  return chunk != 0 && load<u64>(engineAddress(chunk, id)) == engineHash && isNamed(chunk, id);
}

/** `position` is in the piece: PIECE_IDS has the block that the first context called so before it, 0 for none. */
function removeOne(first: usize, tier: u32, engineHash: u64, position: u32): u32 {
  const agreed = load<u32>(PIECE_IDS + (<usize>position << 2));
  const mixed = load<u64>(MIXED_NAMES + (<usize>position << 3));
  const rank = changetype<RankInContext>(first);
  if (agreed != 0 && rank.ownNamesCount == 0 && isAgreed(rank.context, agreed, engineHash)) {
    const kinds = kindsOf(setOfBlock(rank.context, agreed), rank.local);
    // Held under that name alone: what nearly every removal finds.
    if (kinds != 0 && kinds <= TIER_KINDS) {
      const taken = removeCopy(rank, tier, engineHash, mixed, agreed);
      if (taken != NO_COPY) return taken;
    }
  }
  for (let at = first; at != 0; at = changetype<RankInContext>(at).next) {
    const other = changetype<RankInContext>(at);
    const id = resolve(other, engineHash, mixed);
    if (id == 0) continue;
    const taken = removeCopy(other, tier, engineHash, mixed, id);
    if (taken != NO_COPY) return taken;
  }
  return NO_COPY;
}

/** Forgets everything of a rank: in time of the sets there are, whatever the number of its blocks (S5). */
export function rankClear(rankSlot: u32): void {
  const owner = rankOf(rankSlot);
  while (owner.first != 0) {
    const rank = changetype<RankInContext>(owner.first);
    if (rank.blockCount > 0) {
      clearFromSets(rank.context, rank.local);
      startSweep(rank.context);
    }
    const context = rank.context;
    clearRankRecord(rank);
    dropIfLarge(context);
  }
  owner.blockCount = 0;
  owner.lostTo = 0;
}
