/**
 * The blocks of a context, in columns, 1,024 to a chunk, so that growth never copies:
 *
 *     chunk + 0       prefix hash   u64 × 1,024
 *             8,192   engine hash   u64 × 1,024    the agreed name, or the first one given
 *             16,384  holder set    u32 × 1,024    address; 0: no holder yet, or none any more
 *             20,480  used          1,024 bits     1 from allocation until limbo releases the id
 *             20,608  referenced    1,024 bits     CLOCK: matched or stored again since the hand came by
 *             20,736  named         1,024 bits     the engine hash is in the context's agreed names
 *             20,864  chained       1,024 bits     1: found through the block before it, and not in the directory (holding.ts)
 *             20,992  free count    u32
 *
 * Ids are given next-fit, so a store's new blocks are consecutive, and a lookup finds block i + 1
 * next to block i.
 *
 * Readers: `set` is loaded first, atomically, and the prefix hash after it. A set that is not 0 was
 * stored after the hash. An id that was live when the reader came is not given to other content
 * before the reader has left (epoch.ts).
 */
import { Context, fence } from "./layout";
import { allocate, allocateZeroed, release } from "./heap";
import { LIMBO_MEMORY, retire, retireId } from "./epoch";

export const CHUNK_LOG: u32 = 10;
export const CHUNK_BLOCKS: u32 = 1024;
const CHUNK_MASK: u32 = 1023;
const CHUNK_BYTES: u32 = 21000;

export const PREFIX_COLUMN: usize = 0;
export const ENGINE_COLUMN: usize = 8192;
const SET_COLUMN: usize = 16384;
const USED: usize = 20480;
const REFERENCED: usize = 20608;
const NAMED: usize = 20736;
const CHAINED: usize = 20864;
const FREE_COUNT: usize = 20992;

const CHUNK_TABLE_HEAD: usize = 8;
const CHUNKS_FIRST: u32 = 12;
/** Ids are 27 bits in the tables' entries (id-table.ts). */
const CHUNKS_MAX: u32 = 1 << 17;
/** With fewer than one id in 64 free, a new chunk costs less than searching for them. */
const FREE_SHARE_LOG: u32 = 6;

/** The chunk of a block, 0 when there is none. */
// @ts-ignore: decorator
@inline
export function chunkOf(context: Context, id: u32): usize {
  return load<u32>(context.chunks + ((<usize>id >> CHUNK_LOG) << 2));
}

// @ts-ignore: decorator
@inline
export function prefixAddress(chunk: usize, id: u32): usize {
  return chunk + (<usize>(id & CHUNK_MASK) << 3);
}

// @ts-ignore: decorator
@inline
export function engineAddress(chunk: usize, id: u32): usize {
  return chunk + ENGINE_COLUMN + (<usize>(id & CHUNK_MASK) << 3);
}

// @ts-ignore: decorator
@inline
export function setAddress(chunk: usize, id: u32): usize {
  return chunk + SET_COLUMN + (<usize>(id & CHUNK_MASK) << 2);
}

// @ts-ignore: decorator
@inline
function wordOf(chunk: usize, bits: usize, id: u32): usize {
  return chunk + bits + (<usize>((id & CHUNK_MASK) >> 6) << 3);
}

// @ts-ignore: decorator
@inline
export function isNamed(chunk: usize, id: u32): bool {
  return ((load<u64>(wordOf(chunk, NAMED, id)) >> (id & 63)) & 1) != 0;
}

// @ts-ignore: decorator
@inline
export function setNamed(chunk: usize, id: u32, named: bool): void {
  const at = wordOf(chunk, NAMED, id);
  const bit: u64 = (<u64>1) << (id & 63);
  store<u64>(at, named ? load<u64>(at) | bit : load<u64>(at) & ~bit);
}

// @ts-ignore: decorator
@inline
export function isChained(chunk: usize, id: u32): bool {
  return ((load<u64>(wordOf(chunk, CHAINED, id)) >> (id & 63)) & 1) != 0;
}

// @ts-ignore: decorator
@inline
export function setChained(chunk: usize, id: u32, chained: bool): void {
  const at = wordOf(chunk, CHAINED, id);
  const bit: u64 = (<u64>1) << (id & 63);
  store<u64>(at, chained ? load<u64>(at) | bit : load<u64>(at) & ~bit);
}

/** The chained blocks of the word of 64 ids that a block is in, a bit each. */
export function chainedWord(chunk: usize, id: u32): u64 {
  return load<u64>(wordOf(chunk, CHAINED, id));
}

export function isUsed(chunk: usize, id: u32): bool {
  return ((load<u64>(wordOf(chunk, USED, id)) >> (id & 63)) & 1) != 0;
}

// @ts-ignore: decorator
@inline
export function touchBlock(chunk: usize, id: u32): void {
  const at = wordOf(chunk, REFERENCED, id);
  store<u64>(at, load<u64>(at) | ((<u64>1) << (id & 63)));
}

/** Marks positions `from` … `to` of a chunk as referenced. Readers call it too: a lost bit costs nothing. */
export function touchRun(chunk: usize, from: u32, to: u32): void {
  for (let word = from >> 6; word <= to >> 6; word++) {
    let bits: u64 = ~0;
    if (word == from >> 6) bits &= (~(<u64>0)) << (from & 63);
    if (word == to >> 6) bits &= (~(<u64>0)) >> (63 - (to & 63));
    const at = chunk + REFERENCED + (<usize>word << 3);
    const old = load<u64>(at);
    // A line that need not change is not written, so that it stays in every core's cache.
    if ((old | bits) != old) store<u64>(at, old | bits);
  }
}

/** Starts with one chunk, whose first id, 0, means "none". */
export function arenaInit(context: Context): void {
  context.chunks = makeChunkTable(context, CHUNKS_FIRST);
  addChunk(context);
  const chunk = chunkOf(context, 0);
  store<u64>(chunk + USED, 1);
  store<u32>(chunk + FREE_COUNT, CHUNK_BLOCKS - 1);
  context.freeCount--;
  context.cursor = 1;
}

/** Addresses of chunks, the capacity in front: a reader that has an old table knows where it ends. */
function makeChunkTable(context: Context, capacity: u32): usize {
  const chunks = allocateZeroed(context, <u32>CHUNK_TABLE_HEAD + (capacity << 2)) + CHUNK_TABLE_HEAD;
  store<u32>(chunks - CHUNK_TABLE_HEAD, capacity);
  return chunks;
}

/** Gives the table of chunks back. */
export function releaseChunkTable(context: Context): void {
  release(context, context.chunks - CHUNK_TABLE_HEAD);
}

// @ts-ignore: decorator
@inline
export function chunkCapacity(chunks: usize): u32 {
  return load<u32>(chunks - CHUNK_TABLE_HEAD);
}

/** The chunk of a block in a table that a reader may have loaded before the block was made; 0 when it has none. */
// @ts-ignore: decorator
@inline
export function chunkIn(chunks: usize, id: u32): usize {
  const position = id >> CHUNK_LOG;
  return position < chunkCapacity(chunks) ? <usize>load<u32>(chunks + (<usize>position << 2)) : 0;
}

function addChunk(context: Context): void {
  const position = newChunkPosition(context);
  const chunk = allocate(context, CHUNK_BYTES);
  // Columns of hashes need no zeros: an id is looked at only after its set was stored.
  memory.fill(chunk + SET_COLUMN, 0, <usize>CHUNK_BYTES - SET_COLUMN);
  store<u32>(chunk + FREE_COUNT, CHUNK_BLOCKS);
  fence();
  store<u32>(context.chunks + (<usize>position << 2), <u32>chunk);
  context.freeCount += CHUNK_BLOCKS;
  context.cursor = position << CHUNK_LOG;
}

function newChunkPosition(context: Context): u32 {
  if (context.chunkHoles > 0) {
    let position: u32 = 0;
    while (load<u32>(context.chunks + (<usize>position << 2)) != 0) position++;
    context.chunkHoles--;
    return position;
  }
  const position = context.chunkCount;
  if (position == CHUNKS_MAX) unreachable();
  if (position == chunkCapacity(context.chunks)) {
    const chunks = makeChunkTable(context, 2 * position);
    memory.copy(chunks, context.chunks, <usize>position << 2);
    fence();
    retire(context, LIMBO_MEMORY, <u32>(context.chunks - CHUNK_TABLE_HEAD));
    context.chunks = chunks;
  }
  context.chunkCount = position + 1;
  return position;
}

/** Whether the next `count` ids can be given without a new chunk. */
export function hasFreeIds(context: Context, count: u32): bool {
  return context.freeCount >= count + (context.chunkCount << (CHUNK_LOG - FREE_SHARE_LOG));
}

/** Bytes that `count` new blocks may need in new chunks. */
export function arenaGrowthBytes(context: Context, count: u32): u32 {
  if (hasFreeIds(context, count)) return 0;
  const capacity = chunkCapacity(context.chunks);
  const table = context.chunkCount + (count >> CHUNK_LOG) >= capacity ? capacity << 3 : 0;
  return ((count >> CHUNK_LOG) + 1) * (CHUNK_BYTES + 64) + table;
}

/**
 * A word of 64 ids that ids are taken from: its first id and its chunk, those that are left, those that were taken. Within one
 * call only: `closeIds` ends it.
 */
let openFirst: u32 = 0;
let openChunk: usize = 0;
let openFree: u64 = 0;
let openTaken: u64 = 0;

/** An id whose set is 0; its hashes are still those of an earlier block. `closeIds` has to follow before anything else counts ids. */
// @ts-ignore: decorator
@inline
export function takeId(context: Context): u32 {
  if (openFree == 0) openIds(context);
  const bit = openFree & (~openFree + 1);
  openFree ^= bit;
  openTaken |= bit;
  return openFirst | <u32>ctz(bit);
}

/** Notes the ids that were taken as used. They begin as not referenced, whatever had them before: what is never asked for goes first. */
export function closeIds(context: Context): void {
  const taken = openTaken;
  openFree = 0;
  openTaken = 0;
  if (taken == 0) return;
  const used = wordOf(openChunk, USED, openFirst);
  store<u64>(used, load<u64>(used) | taken);
  const referenced = wordOf(openChunk, REFERENCED, openFirst);
  store<u64>(referenced, load<u64>(referenced) & ~taken);
  const count = <u32>popcnt(taken);
  store<u32>(openChunk + FREE_COUNT, load<u32>(openChunk + FREE_COUNT) - count);
  context.freeCount -= count;
  context.cursor = openFirst + 64 - <u32>clz(taken);
}

/** Goes to the next word with free ids. */
function openIds(context: Context): void {
  closeIds(context);
  // The scan below ends soon only while free ids are not rare.
  const areRare = context.freeCount <= context.chunkCount << (CHUNK_LOG - FREE_SHARE_LOG);
  if (areRare && !isFreeAhead(context)) addChunk(context);
  let id = context.cursor;
  const end = context.chunkCount << CHUNK_LOG;
  while (true) {
    if (id >= end) id = 0;
    const chunk = chunkOf(context, id);
    if (chunk == 0 || load<u32>(chunk + FREE_COUNT) == 0) {
      id = ((id >> CHUNK_LOG) + 1) << CHUNK_LOG;
      continue;
    }
    const free = ~load<u64>(wordOf(chunk, USED, id)) & ((~(<u64>0)) << (id & 63));
    if (free == 0) {
      id = (id | 63) + 1;
      continue;
    }
    openFirst = id & ~63;
    openChunk = chunk;
    openFree = free;
    return;
  }
}

/** Whether the chunk that the cursor stands in has free ids ahead: a new one is used up before the next is made. */
function isFreeAhead(context: Context): bool {
  const id = context.cursor;
  if (id >= context.chunkCount << CHUNK_LOG) return false;
  const chunk = chunkOf(context, id);
  if (chunk == 0 || load<u32>(chunk + FREE_COUNT) == 0) return false;
  let at = wordOf(chunk, USED, id);
  if ((~load<u64>(at) & ((~(<u64>0)) << (id & 63))) != 0) return true;
  for (at += 8; at < chunk + REFERENCED; at += 8) if (load<u64>(at) != ~(<u64>0)) return true;
  return false;
}

/** Takes a block out of sight; its id is free again when no reader can have seen it. */
export function retireBlock(context: Context, id: u32): void {
  store<u32>(setAddress(chunkOf(context, id), id), 0);
  retireId(context, id);
}

/** Ends the limbo of ids of the word that begins with `first`: they may be given again. An empty chunk goes, if enough ids are left. */
export function freeIds(context: Context, first: u32, mask: u64): void {
  const chunk = chunkOf(context, first);
  const at = wordOf(chunk, USED, first);
  store<u64>(at, load<u64>(at) & ~mask);
  const count = <u32>popcnt(mask);
  const free = load<u32>(chunk + FREE_COUNT) + count;
  store<u32>(chunk + FREE_COUNT, free);
  context.freeCount += count;
  if (free < CHUNK_BLOCKS || context.freeCount < 3 * CHUNK_BLOCKS) return;
  store<u32>(context.chunks + ((<usize>first >> CHUNK_LOG) << 2), 0);
  context.freeCount -= CHUNK_BLOCKS;
  context.chunkHoles++;
  retire(context, LIMBO_MEMORY, <u32>chunk);
}

/** Free ids as the chunk counts them; check.ts compares. */
export function chunkFreeCount(chunk: usize): u32 {
  return load<u32>(chunk + FREE_COUNT);
}

/**
 * CLOCK: the next block whose referenced bit is off, bits being switched off on the way; 0 when a whole round finds none.
 */
export function clockNext(context: Context): u32 {
  const end = context.chunkCount << CHUNK_LOG;
  let id = context.clockHand;
  // Two rounds: the first may only switch bits off.
  for (let left: u32 = 2 * (end >> 6) + 2; left > 0; left--) {
    if (id >= end) id = 0;
    const chunk = chunkOf(context, id);
    if (chunk == 0) {
      id = ((id >> CHUNK_LOG) + 1) << CHUNK_LOG;
      continue;
    }
    const behind: u64 = (~(<u64>0)) << (id & 63);
    const referenced = wordOf(chunk, REFERENCED, id);
    let candidates = load<u64>(wordOf(chunk, USED, id)) & ~load<u64>(referenced) & behind;
    for (; candidates != 0; candidates &= candidates - 1) {
      const candidate = (id & ~63) | <u32>ctz(candidates);
      if (load<u32>(setAddress(chunk, candidate)) == 0) continue;
      // Those passed over on the way have had their round, like those of words without a candidate.
      const passed = behind & (((<u64>1) << (candidate & 63)) - 1);
      store<u64>(referenced, load<u64>(referenced) & ~passed);
      context.clockHand = candidate + 1;
      return candidate;
    }
    store<u64>(referenced, load<u64>(referenced) & ~behind);
    id = (id | 63) + 1;
  }
  context.clockHand = id;
  return 0;
}
