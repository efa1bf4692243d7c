/**
 * The layout of linear memory. All state is here. The wasm globals hold only values that one call
 * passes on inside itself, because each thread has its own instance over the same memory. Address 0
 * is "none" everywhere.
 *
 *     0       unused                                             writers' lock held?
 *     1 KiB   HASH_STATE      seed and secrets (xxh3.ts)         written once
 *     1.5 KiB TABLE_SECRET    what tables mix keys with (mix.ts) written once
 *             LINK_KEYS       keys of keyed-hash.ts              written once
 *     2 KiB   HEADER          `Header` below                     yes
 *             EVICTED_RANKS   bitset of rank slots               yes
 *     4 KiB   FREE_LISTS      free blocks by size (heap.ts)      yes
 *     12 KiB  READERS         one line per reader (epoch.ts)     each its own line
 *     20 KiB  TRANSITIONS     set ± holder → set (holder-set.ts) yes
 *     148 KiB PIECE_IDS       block ids of a piece of a store    yes
 *     149 KiB FILLS, GATHERED a segment being made (id-table.ts) yes
 *     152 KiB WARMED          buckets that a piece looks at      yes
 *     156 KiB TEMP_SET        a holder set being made            yes
 *     164 KiB MIXED           mixed keys of a piece              yes
 *     168 KiB RANKS           `Rank` by holder slot              yes
 *     424 KiB GROUPS          `Group` by holder slot (groups.ts) yes
 *     680 KiB HEAP            everything that grows:
 *
 *     Header.contexts ─▶ Context[slot] ─┬─ chunks ──▶ arena chunks of 1,024 blocks (arena.ts)
 *                                       │               prefix hash │ engine hash │ holder set │ bits
 *                                       ├─ directory ─▶ segments of buckets: prefix hash → block id, of what is not chained (id-table.ts)
 *                                       ├─ names ─────▶ the same: agreed engine hash → block id
 *                                       ├─ sets ──────▶ interned holder sets (holder-set.ts)
 *                                       └─ ranks ─────▶ RankInContext ─▶ own names, copies (own-names.ts …)
 *
 * A block id is 1 … 2²⁷: chunk × 1,024 + position. A block's set column holds the address of its set, 0 for none.
 */
export const HASH_STATE: usize = 1024;
export const TABLE_SECRET: usize = 1536;
export const LINK_KEYS: usize = 1600;
export const HEADER: usize = 2048;
export const EVICTED_RANKS: usize = 2560;
export const FREE_LISTS: usize = 4096;
export const READERS: usize = 12288;
export const TRANSITIONS: usize = 20480;
export const PIECE_IDS: usize = 151552;
/** Entries in each bucket of two segments, one byte each. */
export const FILLS: usize = 152576;
/** Keys and ids of four buckets. */
export const GATHERED_KEYS: usize = 154624;
export const GATHERED_IDS: usize = 155136;
/** Addresses of the buckets that a piece will look at, two a block. */
export const WARMED: usize = 155648;
export const TEMP_SET: usize = 159744;
/** Mixed words (id-table.ts) of a piece's keys: of its prefix hashes; behind them, of its engine hashes. */
export const MIXED_PREFIXES: usize = 167936;
export const MIXED_NAMES: usize = 169984;
const RANKS: usize = 172032;
const GROUPS: usize = 434176;
export const HEAP: usize = 696320;

export const RANK_SLOTS_MAX: u32 = 4096;
/** Ranks, and behind them the further KV-cache groups of ranks: two on average for every second engine. */
export const HOLDER_SLOTS_MAX: u32 = 8192;
export const FIRST_GROUP_SLOT: u32 = 4096;
/** Beside the main group. */
export const GROUPS_PER_RANK_MAX: u32 = 15;
/** Tokens after a block that its hash may cover. */
export const LOOKAHEAD_MAX: u32 = 32;
/** What a lookup keeps of one group (match-groups.ts). */
export const GROUP_STATE_BYTES: u32 = 24;
/** Longest query whose groups are looked at by bits (group-columns.ts): 2 MiB for each reader. */
export const COLUMN_BLOCKS_MAX: u32 = 65536;
export const READERS_MAX: u32 = 128;
export const READER_BYTES: usize = 64;
/** Blocks whose slots are touched before they are written: their ids and lines stay in the first-level cache. */
export const PIECE_BLOCKS: u32 = 256;

/** What a rank may be to a block, one bit each: the four tiers, then two facts about the rank's names for it. */
export const TIER_KINDS: u32 = 15;
/** The rank's only name for the block is not the agreed one: it is in the rank's own table. */
export const OTHERWISE: u32 = 16;
/** The rank has, or had, several names for the block: each is in a list with copies of its own. */
export const SEVERAL: u32 = 32;
export const KIND_COUNT: u32 = 6;

/** The index's own words. */
@unmanaged
export class Header {
  /** Raised with every reclamation; what was unlinked before has a smaller number (epoch.ts). */
  epoch: u64;
  /** Writes so far: the clock of "least recently used". */
  tick: u64;
  /** Mutex: 0 free, 1 held, 2 held and waited for. */
  lock: u32;
  readerCount: u32;
  memoryBytesMax: u32;
  prefixesMax: u32;
  contexts: usize;
  contextSlots: u32;
  contextsMax: u32;
  contextCount: u32;
  lastSerial: u32;
  /** Raised when a context is made or dropped, so that readers know when to list again. */
  contextsVersion: u32;
  sweeping: u32;
  heapEnd: usize;
  allocatedBytes: u32;
  limboFirst: usize;
  limboRead: usize;
  limboLast: usize;
  limboWrite: usize;
  limboCount: u32;
  /** Blocks that a limit made the index forget in this call, by reason: 0 context, 1 prefix, 2 memory. */
  evicted0: u32;
  evicted1: u32;
  evicted2: u32;
  /** Touched by `fence`. */
  fences: u32;
  /** Shape of the set in TEMP_SET. */
  tempPlanes: u32;
  tempWords: u32;
  /** The write after which contexts that are empty were last looked for. */
  emptiesSought: u32;
  /** Last mark of `contextVictim`. */
  countMark: u32;
  /** Odd while a list of groups changes (groups.ts). */
  groupsVersion: u32;
  /** Group slots in use. */
  groupsOpen: u32;
  /** Ranks that have groups and no main one. */
  looseCount: u32;
  /** Where loads that only warm the cache put their sum, so that the compiler keeps them. */
  sink: u32;
}

/** What is known of a rank slot over all contexts. */
@unmanaged
export class Rank {
  /** Its `RankInContext`s, the one last stored to first. */
  first: usize;
  /** Blocks held, over all contexts and tiers. */
  blockCount: u32;
  /** The limit (losses.ts) that last took blocks of the rank, until it is cleared: the rank under-reports. Readers look at it. */
  lostTo: u32;
  /** The rank slot that stands for the rank's engine, plus 1; 0: the rank itself. */
  owner: u32;
  /** Scratch of `contextVictim`, by the slot that stands for an engine: contexts that only this engine lives in. */
  soloCount: u32;
  /** Scratch of the same: the write in which the engine was last counted. */
  countedAt: u32;
  spare: u32;
}

/** What is known of the group behind a holder slot (groups.ts). */
@unmanaged
export class Group {
  /** Next group of the same rank; the first one, in a rank's own record; 0: none. */
  next: u32;
  /** Rank slot. */
  owner: u32;
  /** How it limits a lookup; 0 in a free slot and in a rank's own record. */
  rule: u32;
  /** Tokens of the window or chunk. */
  window: u32;
  /** Tokens of a block; in a rank's own record those of its main group. */
  blockSize: u32;
  /** The engine's number of the group; in a rank's own record that of its main group. */
  index: u32;
  /** Number of its kind (contract.ts, GROUP_KINDS); in a rank's own record that of its main group, 0 while it has none. */
  kind: u32;
  /** In a rank's own record: tokens that a match is a multiple of. */
  alignment: u32;
}

/** One (model, LoRA adapter, block size, lookahead). */
@unmanaged
export class Context {
  /** The write that last stored to it, or made it. */
  lastStore: u64;
  /** Never given twice; 0 while the slot is empty. */
  serial: u32;
  /** 1 while the slot is in use, also while a dropped context waits for readers to leave. */
  isTaken: u32;
  blockSize: u32;
  lookahead: u32;
  name: usize;
  nameBytes: u32;
  bytes: u32;
  prefixCount: u32;
  /** Blocks whose last holder was cleared and which the sweep has not come to. */
  deadCount: u32;
  chunks: usize;
  chunkCount: u32;
  chunkHoles: u32;
  freeCount: u32;
  cursor: u32;
  directory: usize;
  directoryCount: u32;
  names: usize;
  namesCount: u32;
  sets: usize;
  setCount: u32;
  interned: usize;
  internedBuckets: u32;
  internedCount: u32;
  zombies: usize;
  zombieCount: u32;
  ranks: usize;
  ranksCapacity: u32;
  /** The same for the slots of groups, from `FIRST_GROUP_SLOT` on. */
  groups: usize;
  groupsCapacity: u32;
  /** Groups that have been here: without one a lookup need not ask. */
  groupCount: u32;
  locals: usize;
  localsCapacity: u32;
  localCount: u32;
  /** 1 once a segment of its tables was closed (id-table.ts): before, no store has to ask. */
  hasClosed: u32;
  /** 1 once a limit took blocks: before, no rank's own name can be out of date. */
  hasEvicted: u32;
  sweepLeft: u32;
  sweepCursor: u32;
  clockHand: u32;
  /** Scratch of `contextVictim`. */
  soloOwner: u32;
}

/** A rank slot in a context. */
@unmanaged
export class RankInContext {
  context: Context;
  rankSlot: u32;
  /** Its number in this context's sets: dense, in the order of first use. */
  local: u32;
  /** Neighbours in the rank's list; linked only while `isListed`. */
  previous: usize;
  next: usize;
  isListed: u32;
  blockCount: u32;
  /** (tier, block) pairs. */
  holdCount: u32;
  /** Own names: what this rank calls blocks that are agreed to be called otherwise (rank-names.ts). */
  ownNames: usize;
  ownNamesCapacity: u32;
  ownNamesCount: u32;
  /** Copies beyond the first, by block id and tier (word-table.ts). */
  copies: usize;
  /** Lists of names, by block id (word-table.ts). */
  lists: usize;
  /** Scratch of check.ts. */
  recount: u32;
}

// @ts-ignore: decorator
@inline
export function header(): Header {
  return changetype<Header>(HEADER);
}

/**
 * Everything stored before is visible to whoever sees something stored after. An atomic addition, as the compiler at hand
 * emits `atomic.fence` in a form that its own validator refuses.
 */
// @ts-ignore: decorator
@inline
export function fence(): void {
  atomic.add<u32>(HEADER + offsetof<Header>("fences"), 1);
}

/** Bytes from one record of a holder slot to the next, of ranks and of groups, as a power of two. */
export const HOLDER_RECORD_LOG: usize = 5;

// @ts-ignore: decorator
@inline
export function rankOf(rankSlot: u32): Rank {
  return changetype<Rank>(RANKS + (<usize>rankSlot << HOLDER_RECORD_LOG));
}

// @ts-ignore: decorator
@inline
export function groupOf(slot: u32): Group {
  return changetype<Group>(GROUPS + (<usize>slot << HOLDER_RECORD_LOG));
}

// @ts-ignore: decorator
@inline
export function contextAt(slot: u32): Context {
  return changetype<Context>(header().contexts + <usize>slot * offsetof<Context>());
}

/** The rank with a local number. */
// @ts-ignore: decorator
@inline
export function localRank(context: Context, local: u32): RankInContext {
  return changetype<RankInContext>(<usize>load<u32>(context.locals + (<usize>local << 2)));
}
