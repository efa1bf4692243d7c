/**
 * Hash → block id, for the directory (by prefix hash) and the agreed names (by engine hash). The
 * hash itself is not in the table but in the arena's column. The entry's tag avoids nearly every
 * useless look there.
 *
 *     root:     depth │ segments │ segment[2^depth]                       chosen by the top bits of the mixed hash
 *     segment:  bucket mask, depth, count, id bits, tag │ bucket │ bucket │ …    64 bytes each, on cache lines
 *     bucket:   entry × 15 │ passed by                                chosen by the low bits
 *     entry:    tag │ is displaced │ block id          0 is empty; ids take the bits that they need, the tag the rest
 *
 * A full bucket passes its entries to the next ones, as displaced, and counts them in "passed by".
 * A search continues only while that is not 0. So an entry, once written, never moves inside its
 * segment, and removing one leaves nothing behind: readers need no retries.
 *
 * A segment at 90 % is rebuilt. Up to 256 buckets it doubles; then it becomes two, each with one
 * more bit of the hash. So no single store waits for a table of millions to be rebuilt. A segment
 * waits up to 97 % while the table as a whole is emptier than tables are when they grow. In that
 * case chance filled it, and blocks that come and go at a constant number would make the table
 * creep. The tag is the bits of the hash after those that chose the segment. Its first bit selects
 * one of the two segments for an entry. A split needs nothing else, since the bucket stays the
 * same. Only displaced entries need a look at their key. (Looking at every key, each a cache miss,
 * was half the time of storing a new block.) The bits that the tag loses go to the id, which needs
 * one more as often.
 *
 * Keys are mixed with a secret (mix.ts), so an engine cannot choose many for one segment. If the
 * secret is known:
 *
 *     T1  a segment is split only while the table has at least 1,440 entries for each segment of
 *         its depth, three eighths of what it holds. Segments of mixed keys are never denser than
 *         1.53 times the mean, and split at 3,456 entries or more, so they always may. So depth is
 *         at most 17, and all segments together take at most 33 bytes an entry, for any keys.
 *     T2  a full segment that may not be split is closed: a store that needs it is refused before
 *         it begins (`idIsClosed`), piece by piece. The rest of the current piece is put in a
 *         segment of 512 buckets, made in place, so `put` always finds a place. Removals open a
 *         closed segment again.
 *     T3  a search looks at one segment only, 7,680 entries at most.
 *
 * Source: Fagin and others, "Extendible hashing", 1979; the counted overflow is that of F14
 * (facebook/folly, F14Table.h).
 */
import { Context, fence, FILLS, GATHERED_IDS, GATHERED_KEYS, header, WARMED } from "./layout";
import { allocate, allocateZeroed } from "./heap";
import { LIMBO_MEMORY, retire } from "./epoch";
import { CHUNK_LOG, chunkIn } from "./arena";
import { mix, mixWith, secretFirst, secretFlip, secretSecond } from "./mix";

const SEGMENT_HEAD: usize = 64;
/** Words of a segment's head. */
const BUCKET_MASK: usize = 0;
const DEPTH: usize = 4;
const COUNT: usize = 8;
const ID_BITS: usize = 12;
/** The bits of an entry that its tag takes, from the top; how many they are. */
const TAG_MASK: usize = 16;
const TAG_BITS: usize = 20;
const BUCKET_LOG: usize = 6;
/** Where "passed by" lies in a bucket. */
const PASSED: usize = 60;
const ENTRIES: u8 = 15;
const ENTRIES_MASK: u32 = 0x7fff;
const BUCKETS_FIRST: u32 = 8;
const BUCKETS_MAX: u32 = 256;
/** Of a segment that is full and may not be split (T2). */
const BUCKETS_RESERVE: u32 = 512;
/** 2^u − 1 ≈ u × (0.6565 + 0.3435 u), within 0.3 %; in units of 2⁻³², together just below 1. */
const CURVE_START: u64 = 0xa8106b80;
const CURVE_RISE: u64 = 0x57ef9480;
const ID_BITS_MIN: u32 = 14;
const ID_BITS_MAX: u32 = 27;
/** Entries at which a segment that may not be split is closed: 90 % of 256 buckets. */
const CLOSED_ENTRIES: u32 = 3456;
/** Entries at which such a segment takes none that may be left out: a piece of a store finds room in 512 buckets. */
const CROWDED_ENTRIES: u32 = 7168;
/** Entries of the table for each segment of a depth, that one of that depth may be split (T1). */
const ENTRIES_PER_SEGMENT: u64 = 1440;
/** What T1 leads to with as many entries as there are ids. */
const DEPTH_MAX: u32 = 17;
/** What a segment is made into when it is made anew. */
const SAME: u32 = 0;
const DOUBLED: u32 = 1;
const SPLIT: u32 = 2;
/** With fewer bits left, a split makes the tags anew from the keys, if that gives more. */
const TAG_BITS_LOW: u32 = 5;

/**
 * Spreads any key over 64 bits (mix.ts). Costs more than a look at a bucket that is in the cache, so the writer does it once
 * a key, and all that is done with a key takes the mixed word. The upper half, which chooses the segment, is not uniform on
 * purpose: with u uniform in 0 … 1 it is about 2^u − 1 (as a parabola). So segments at the low end are twice as dense as at the high end, and fill one after the other instead of all at once: the table's size follows its
 * entries smoothly, at 5 to 9 bytes an entry in one part or another but always about 6.6 over all.
 *
 * Source of the curve: Martin, "Spiral storage", 1979.
 */
// @ts-ignore: decorator
@inline
export function mixKey(key: u64): u64 {
  return bend(mix(key));
}

// @ts-ignore: decorator
@inline
function bend(mixed: u64): u64 {
  const uniform = mixed >> 32;
  const curved = uniform * (CURVE_START + ((uniform * CURVE_RISE) >> 32));
  return (curved & 0xffffffff00000000) | ((mixed ^ uniform) & 0xffffffff);
}

// @ts-ignore: decorator
@inline
function slotOf(root: usize, mixed: u64): usize {
  // Shifted twice: by 64 at once, for depth 0, wasm would shift by 0.
  return root + 8 + (<usize>((mixed >> 1) >> (63 - <u64>load<u32>(root))) << 2);
}

// @ts-ignore: decorator
@inline
function bucketOf(segment: usize, position: u32): usize {
  return segment + SEGMENT_HEAD + (<usize>position << BUCKET_LOG);
}

/** The tag of a hash: the bits of it that come after those that chose the segment. */
// @ts-ignore: decorator
@inline
function tagOf(segment: usize, mixed: u64): u32 {
  return <u32>((mixed << load<u32>(segment, DEPTH)) >> 32) & load<u32>(segment, TAG_MASK);
}

/** One bit for each of the 16 words of a bucket that equals `wanted` under `mask`. */
// @ts-ignore: decorator
@inline
function matches(bucket: usize, mask: v128, wanted: v128): u32 {
  return bitsOf(
    i32x4.eq(v128.and(v128.load(bucket), mask), wanted),
    i32x4.eq(v128.and(v128.load(bucket, 16), mask), wanted),
    i32x4.eq(v128.and(v128.load(bucket, 32), mask), wanted),
    i32x4.eq(v128.and(v128.load(bucket, 48), mask), wanted),
  );
}

/** Address of the bucket that a search looks at first. */
// @ts-ignore: decorator
@inline
export function homeBucket(root: usize, mixed: u64): usize {
  const segment = <usize>load<u32>(slotOf(root, mixed));
  return bucketOf(segment, <u32>mixed & load<u32>(segment, BUCKET_MASK));
}

/** Mixes `count` keys, their words to `mixed`, and writes the buckets that a search for each looks at first to `warmed`. */
export function mixKeys(root: usize, count: u32, keys: usize, mixed: usize, warmed: usize): void {
  const flip = secretFlip();
  const first = secretFirst();
  const second = secretSecond();
  for (let i: usize = 0; i < <usize>count; i++) {
    const word = bend(mixWith(load<u64>(keys + (i << 3)), flip, first, second));
    store<u64>(mixed + (i << 3), word);
    store<u32>(warmed + (i << 2), <u32>homeBucket(root, word));
  }
}

/**
 * Loads the `count` buckets whose addresses are in WARMED, so that their misses overlap. Nothing else is in the loop: the
 * more of its loads the processor has under way at a time, the better.
 */
export function warmBuckets(count: u32): void {
  let sum: u32 = 0;
  const end = WARMED + (<usize>count << 2);
  for (let at = WARMED; at < end; at += 4) sum += load<u32>(<usize>load<u32>(at));
  header().sink = sum;
}

/** One bit for each of the 16 words of a bucket, of which four were compared at a time. */
// @ts-ignore: decorator
@inline
function bitsOf(first: v128, second: v128, third: v128, fourth: v128): u32 {
  return <u32>(
    i8x16.bitmask(i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(first, second), i16x8.narrow_i32x4_s(third, fourth)))
  );
}

/** The id under `key`, which is mixed to `mixed`; 0 when there is none. Readers may call it. */
export function idFind(chunks: usize, root: usize, column: usize, key: u64, mixed: u64): u32 {
  const segment = <usize>load<u32>(slotOf(root, mixed));
  return findIn(segment, <u32>mixed & load<u32>(segment, BUCKET_MASK), chunks, column, key, mixed);
}

/** Searches a segment from the bucket at `position` on. */
// @ts-ignore: decorator
@inline
function findIn(segment: usize, position: u32, chunks: usize, column: usize, key: u64, mixed: u64): u32 {
  const bucketMask = load<u32>(segment, BUCKET_MASK);
  const masks = i32x4.splat(load<u32>(segment, TAG_MASK));
  const tags = i32x4.splat(tagOf(segment, mixed));
  const idMask: u32 = ~(~0 << load<u32>(segment, ID_BITS));
  let left = bucketMask;
  while (true) {
    const bucket = bucketOf(segment, position);
    let found = matches(bucket, masks, tags) & ENTRIES_MASK;
    for (; found != 0; found &= found - 1) {
      const id = load<u32>(bucket + (<usize>ctz(found) << 2)) & idMask;
      if (id == 0) continue;
      const chunk = chunkIn(chunks, id);
      if (chunk != 0 && load<u64>(chunk + column + (<usize>(id & 1023) << 3)) == key) return id;
    }
    if (load<u32>(bucket, PASSED) == 0 || left-- == 0) return 0;
    position = (position + 1) & bucketMask;
  }
}

/** Where `idSeek` would enter what it did not find; 0 when that takes more than a store. Within one call only. */
let seekSpot: usize = 0;
let seekSegment: usize = 0;

/**
 * As `idFind`, for a key that is entered if it is not there: `idEnter` then needs no second look, if nothing was done with the
 * table in between. For the writer.
 */
export function idSeek(chunks: usize, root: usize, column: usize, key: u64, mixed: u64): u32 {
  const segment = <usize>load<u32>(slotOf(root, mixed));
  const position = <u32>mixed & load<u32>(segment, BUCKET_MASK);
  const bucket = bucketOf(segment, position);
  const first = v128.load(bucket);
  const second = v128.load(bucket, 16);
  const third = v128.load(bucket, 32);
  const fourth = v128.load(bucket, 48);
  const masks = i32x4.splat(load<u32>(segment, TAG_MASK));
  const tags = i32x4.splat(tagOf(segment, mixed));
  let found = bitsOf(
    i32x4.eq(v128.and(first, masks), tags),
    i32x4.eq(v128.and(second, masks), tags),
    i32x4.eq(v128.and(third, masks), tags),
    i32x4.eq(v128.and(fourth, masks), tags),
  ) & ENTRIES_MASK;
  const idMask: u32 = ~(~0 << load<u32>(segment, ID_BITS));
  for (; found != 0; found &= found - 1) {
    const id = load<u32>(bucket + (<usize>ctz(found) << 2)) & idMask;
    if (id == 0) continue;
    const chunk = chunkIn(chunks, id);
    if (chunk != 0 && load<u64>(chunk + column + (<usize>(id & 1023) << 3)) == key) return id;
  }
  seekSpot = 0;
  if (load<u32>(bucket, PASSED) != 0) return findIn(segment, position, chunks, column, key, mixed);
  const zero = i32x4.splat(0);
  const free = bitsOf(i32x4.eq(first, zero), i32x4.eq(second, zero), i32x4.eq(third, zero), i32x4.eq(fourth, zero)) & ENTRIES_MASK;
  if (free != 0) {
    seekSpot = bucket + (<usize>ctz(free) << 2);
    seekSegment = segment;
  }
  return 0;
}

/** As `idInsert`, directly after an `idSeek` of the same key that found nothing. */
// @ts-ignore: decorator
@inline
export function idEnter(context: Context, root: usize, column: usize, mixed: u64, id: u32, total: u32): usize {
  const segment = seekSegment;
  if (seekSpot != 0 && load<u32>(segment, COUNT) < roomOf(segment) && id >> load<u32>(segment, ID_BITS) == 0) {
    store<u32>(seekSpot, tagOf(segment, mixed) | id);
    store<u32>(segment, load<u32>(segment, COUNT) + 1, COUNT);
    return root;
  }
  return idInsert(context, root, column, mixed, id, total);
}

/** Entries below which a segment is not full, whatever its table is like. */
// @ts-ignore: decorator
@inline
function roomOf(segment: usize): u32 {
  return ((load<u32>(segment, BUCKET_MASK) + 1) * 27) >> 1;
}

/** Bits that ids need until this segment is made anew: the arena may double meanwhile. */
function idBitsNow(context: Context): u32 {
  const bits: u32 = 33 - clz((context.chunkCount << CHUNK_LOG) - 1);
  return max(ID_BITS_MIN, min(ID_BITS_MAX, bits));
}

function makeSegment(context: Context, buckets: u32, depth: u32, idBits: u32, tagBits: u32): usize {
  const segment = allocateZeroed(context, <u32>SEGMENT_HEAD + (buckets << <u32>BUCKET_LOG));
  store<u32>(segment, buckets - 1, BUCKET_MASK);
  store<u32>(segment, depth, DEPTH);
  store<u32>(segment, idBits, ID_BITS);
  store<u32>(segment, tagBits, TAG_BITS);
  store<u32>(segment, ~(0xffffffff >> tagBits), TAG_MASK);
  return segment;
}

/** An empty table. */
export function idTableMake(context: Context): usize {
  const root = allocate(context, 12);
  store<u32>(root, 0);
  store<u32>(root, 1, 4);
  const idBits = idBitsNow(context);
  store<u32>(root, <u32>makeSegment(context, BUCKETS_FIRST, 0, idBits, 31 - idBits), 8);
  return root;
}

/**
 * Bytes that `count` new entries of mixed keys may need for a while: each segment that fills is there beside the two that
 * take its place until the call ends, and takes at least 576 entries more before it fills again.
 */
export function idTableGrowthBytes(root: usize, count: u32): u32 {
  const depth = load<u32>(root);
  const segment = <usize>load<u32>(root, 8);
  const buckets = load<u32>(segment) + 1;
  if (depth == 0) return 2 * (buckets << 6) + 10 * count;
  const segments: u32 = 1 << depth;
  return min(count, segments) * (BUCKETS_MAX << 6) + 10 * count + (8 << depth);
}

function put(segment: usize, mixed: u64, id: u32): void {
  const bucketMask = load<u32>(segment, BUCKET_MASK);
  let entry = tagOf(segment, mixed) | id;
  const zero = i32x4.splat(0);
  const all = i32x4.splat(-1);
  let position = <u32>mixed & bucketMask;
  while (true) {
    const bucket = bucketOf(segment, position);
    const free = matches(bucket, all, zero) & ENTRIES_MASK;
    if (free != 0) {
      store<u32>(bucket + (<usize>ctz(free) << 2), entry);
      store<u32>(segment, load<u32>(segment, COUNT) + 1, COUNT);
      return;
    }
    // Counted first, so that a reader who comes for the entry does not stop here.
    store<u32>(bucket, load<u32>(bucket, PASSED) + 1, PASSED);
    entry |= 1 << load<u32>(segment, ID_BITS);
    position = (position + 1) & bucketMask;
  }
}

/** Whether a segment wants to be made anew before it takes another entry; `total` is the number of entries of the table. */
// @ts-ignore: decorator
@inline
function isFull(root: usize, segment: usize, total: u32): bool {
  const buckets = load<u32>(segment, BUCKET_MASK) + 1;
  const count = load<u32>(segment, COUNT);
  if (count < roomOf(segment)) return false;
  if (buckets >= BUCKETS_MAX && !mayGrow(segment, total)) return count >= buckets * 14;
  return count >= (buckets * 29) >> 1 || total >= load<u32>(root, 4) * ((buckets * 48) / 5);
}

/**
 * Enters an id whose key is in its column already, and under which nothing is found.
 *
 * @param total - entries that the table has.
 * @returns the root, which may be a new one.
 */
export function idInsert(context: Context, root: usize, column: usize, mixed: u64, id: u32, total: u32): usize {
  while (true) {
    const segment = <usize>load<u32>(slotOf(root, mixed));
    const isWide = id >> load<u32>(segment, ID_BITS) == 0;
    const change = isFull(root, segment, total) ? changeOf(context, segment, total) : SAME;
    if (change == SAME && isWide) {
      put(segment, mixed, id);
      return root;
    }
    root = rebuild(context, root, column, mixed, segment, change);
  }
}

/** What a full segment is made into: one of twice the size, or two, or nothing else. */
function changeOf(context: Context, segment: usize, total: u32): u32 {
  const buckets = load<u32>(segment, BUCKET_MASK) + 1;
  if (buckets < BUCKETS_MAX) return DOUBLED;
  if (mayGrow(segment, total)) return SPLIT;
  context.hasClosed = 1;
  return buckets < BUCKETS_RESERVE ? DOUBLED : SAME;
}

/** Whether a segment may be split when it is full (T1). */
// @ts-ignore: decorator
@inline
function mayGrow(segment: usize, total: u32): bool {
  return <u64>total >= ENTRIES_PER_SEGMENT << load<u32>(segment, DEPTH);
}

/** Whether a new entry whose key is mixed to `mixed` has to be refused (T2). */
export function idIsClosed(root: usize, mixed: u64, total: u32): bool {
  const segment = <usize>load<u32>(slotOf(root, mixed));
  const isLarge = load<u32>(segment, BUCKET_MASK) + 1 >= BUCKETS_MAX;
  return isLarge && load<u32>(segment, COUNT) >= CLOSED_ENTRIES && !mayGrow(segment, total);
}

/** Whether there is no room for a new entry that cannot be refused, beside those that a piece may still enter (T2). */
export function idIsCrowded(root: usize, mixed: u64, total: u32): bool {
  const segment = <usize>load<u32>(slotOf(root, mixed));
  return load<u32>(segment, COUNT) >= CROWDED_ENTRIES && !mayGrow(segment, total);
}

/** Whether a segment has the shape that T1 and T2 promise; check.ts asks. */
export function segmentIsSound(segment: usize): bool {
  const buckets = load<u32>(segment, BUCKET_MASK) + 1;
  return (
    load<u32>(segment, DEPTH) <= DEPTH_MAX && buckets <= BUCKETS_RESERVE && load<u32>(segment, COUNT) <= buckets * ENTRIES
  );
}

/** Makes a segment anew: for wider ids, or because it is full: of twice the size, or as two. Returns the root. */
function rebuild(
  context: Context,
  root: usize,
  column: usize,
  mixed: u64,
  segment: usize,
  change: u32,
): usize {
  const buckets = load<u32>(segment, BUCKET_MASK) + 1;
  const depth = load<u32>(segment, DEPTH);
  const isSplit = change == SPLIT;
  if (isSplit && depth == load<u32>(root)) root = doubleRoot(context, root);
  const idBits = idBitsNow(context);
  const bitsLeft = min(load<u32>(segment, TAG_BITS) - 1, 31 - idBits);
  const isQuick = isSplit && (bitsLeft >= TAG_BITS_LOW || bitsLeft == 31 - idBits);
  const tagBits = isQuick ? bitsLeft : 31 - idBits;
  const size = change == DOUBLED ? 2 * buckets : buckets;
  const low = makeSegment(context, size, isSplit ? depth + 1 : depth, idBits, tagBits);
  const high = isSplit ? makeSegment(context, size, depth + 1, idBits, tagBits) : low;
  memory.fill(FILLS, 0, 2 * BUCKETS_RESERVE);
  if (isQuick) splitSegment(context, column, segment, low, high);
  else copySegment(context, column, segment, low, high);
  fence();
  // The slots that lead to the old segment are those with its top `depth` bits.
  const slots: u32 = 1 << (load<u32>(root) - depth);
  const first = root + 8 + (<usize>((mixed >> 1) >> (63 - <u64>depth)) << (2 + load<u32>(root) - depth));
  for (let i: u32 = 0; i < slots; i++)
    store<u32>(first + (<usize>i << 2), <u32>(isSplit && i >= slots >> 1 ? high : low));
  if (isSplit) store<u32>(root, load<u32>(root, 4) + 1, 4);
  retire(context, LIMBO_MEMORY, <u32>segment);
  return root;
}

function doubleRoot(context: Context, root: usize): usize {
  const depth = load<u32>(root);
  const bigger = allocate(context, 8 + (8 << depth));
  store<u32>(bigger, depth + 1);
  store<u32>(bigger, load<u32>(root, 4), 4);
  for (let i: usize = 0; i < <usize>1 << depth; i++) {
    const segment = load<u32>(root + 8 + (i << 2));
    store<u32>(bigger + 8 + (i << 3), segment);
    store<u32>(bigger + 12 + (i << 3), segment);
  }
  retire(context, LIMBO_MEMORY, <u32>root);
  return bigger;
}

/** Splits a segment by the first bit of its tags. Displaced entries come last, so that the others find their bucket free. */
function splitSegment(context: Context, column: usize, from: usize, low: usize, high: usize): void {
  const idBits = load<u32>(from, ID_BITS);
  const idMask: u32 = ~(~0 << idBits);
  const isDisplaced: u32 = 1 << idBits;
  const tagMask = load<u32>(low, TAG_MASK);
  const bit = 63 - <u64>load<u32>(from, DEPTH);
  const buckets = load<u32>(from, BUCKET_MASK) + 1;
  let displaced: u32 = 0;
  for (let position: u32 = 0; position < buckets; position++) {
    const bucket = bucketOf(from, position);
    for (let at = bucket; at < bucket + PASSED; at += 4) {
      const entry = load<u32>(at);
      if (entry == 0) continue;
      if ((entry & isDisplaced) != 0) {
        displaced++;
        continue;
      }
      const isHigh = entry >> 31;
      const to = isHigh != 0 ? high : low;
      const fill = FILLS + <usize>(position + (isHigh != 0 ? BUCKETS_RESERVE : 0));
      const count = <usize>load<u8>(fill);
      store<u32>(bucketOf(to, position) + (count << 2), ((entry << 1) & tagMask) | (entry & idMask));
      store<u8>(fill, <u8>count + 1);
    }
  }
  const count = load<u32>(from, COUNT);
  let highCount: u32 = 0;
  for (let i: u32 = 0; i < buckets; i++) highCount += load<u8>(FILLS + BUCKETS_RESERVE + i);
  store<u32>(high, highCount, COUNT);
  store<u32>(low, count - displaced - highCount, COUNT);
  const end = bucketOf(from, buckets);
  for (let bucket = from + SEGMENT_HEAD; displaced > 0 && bucket < end; bucket += 64) {
    for (let at = bucket; at < bucket + PASSED; at += 4) {
      if ((load<u32>(at) & isDisplaced) == 0) continue;
      const id = load<u32>(at) & idMask;
      appendTo(low, high, bit, mixKey(keyOf(context.chunks, column, id)), id);
      displaced--;
    }
  }
}

// @ts-ignore: decorator
@inline
function keyOf(chunks: usize, column: usize, id: u32): u64 {
  const chunk = <usize>load<u32>(chunks + ((<usize>id >> CHUNK_LOG) << 2));
  return load<u64>(chunk + column + (<usize>(id & 1023) << 3));
}

/**
 * Copies entries to one or two new segments by their keys: four buckets at a time, first all keys, whose loads miss the cache
 * and so should overlap, then the entries.
 */
function copySegment(context: Context, column: usize, from: usize, low: usize, high: usize): void {
  const idMask: u32 = ~(~0 << load<u32>(from, ID_BITS));
  const bit = 63 - <u64>load<u32>(from, DEPTH);
  const end = bucketOf(from, load<u32>(from, BUCKET_MASK) + 1);
  for (let bucket = from + SEGMENT_HEAD; bucket < end; bucket += 256) {
    let gathered: usize = 0;
    for (let at = bucket; at < bucket + 256; at += 4) {
      const id = load<u32>(at) & idMask;
      if (id == 0 || (at & 60) == PASSED) continue;
      store<u64>(GATHERED_KEYS + gathered, keyOf(context.chunks, column, id));
      store<u32>(GATHERED_IDS + (gathered >> 1), id);
      gathered += 8;
    }
    for (let i: usize = 0; i < gathered; i += 8)
      appendTo(low, high, bit, mixKey(load<u64>(GATHERED_KEYS + i)), load<u32>(GATHERED_IDS + (i >> 1)));
  }
}

/** Enters an id in one of two segments that have had no removals; FILLS counts the entries of each of their buckets. */
function appendTo(low: usize, high: usize, bit: u64, mixed: u64, id: u32): void {
  const isHigh = high != low && ((mixed >> bit) & 1) != 0;
  const segment = isHigh ? high : low;
  const fills = isHigh ? FILLS + BUCKETS_RESERVE : FILLS;
  const bucketMask = load<u32>(segment, BUCKET_MASK);
  let entry = tagOf(segment, mixed) | id;
  let position = <u32>mixed & bucketMask;
  while (load<u8>(fills + position) == ENTRIES) {
    const full = bucketOf(segment, position);
    store<u32>(full, load<u32>(full, PASSED) + 1, PASSED);
    entry |= 1 << load<u32>(segment, ID_BITS);
    position = (position + 1) & bucketMask;
  }
  const fill = load<u8>(fills + position);
  store<u32>(bucketOf(segment, position) + (<usize>fill << 2), entry);
  store<u8>(fills + position, fill + 1);
  store<u32>(segment, load<u32>(segment, COUNT) + 1, COUNT);
}

/** Takes out an id whose key is mixed to `mixed`. False when it is not there. */
export function idRemove(root: usize, mixed: u64, id: u32): bool {
  const segment = <usize>load<u32>(slotOf(root, mixed));
  const bucketMask = load<u32>(segment, BUCKET_MASK);
  const home = <u32>mixed & bucketMask;
  // The id alone finds the entry; a displaced bit in it would be in the way.
  const ids = i32x4.splat(~(~0 << load<u32>(segment, ID_BITS)));
  const wanted = i32x4.splat(id);
  for (let passed: u32 = 0; passed <= bucketMask; passed++) {
    const bucket = bucketOf(segment, (home + passed) & bucketMask);
    const found = matches(bucket, ids, wanted) & ENTRIES_MASK;
    if (found != 0) {
      store<u32>(bucket + (<usize>ctz(found) << 2), 0);
      store<u32>(segment, load<u32>(segment, COUNT) - 1, COUNT);
      for (let i: u32 = 0; i < passed; i++) {
        const before = bucketOf(segment, (home + i) & bucketMask);
        store<u32>(before, load<u32>(before, PASSED) - 1, PASSED);
      }
      return true;
    }
    if (load<u32>(bucket, PASSED) == 0) return false;
  }
  return false;
}

/** The segment behind slot `i` of 2^depth, if `i` is the first slot that leads to it, else 0. */
export function segmentAt(root: usize, i: u32): usize {
  const segment = <usize>load<u32>(root + 8 + (<usize>i << 2));
  const slots: u32 = 1 << (load<u32>(root) - load<u32>(segment, DEPTH));
  return (i & (slots - 1)) == 0 ? segment : 0;
}

/** Entries of a table. */
export function idCount(root: usize): u32 {
  let count: u32 = 0;
  const slots: u32 = 1 << load<u32>(root);
  for (let i: u32 = 0; i < slots; i++) {
    const segment = segmentAt(root, i);
    if (segment != 0) count += load<u32>(segment, COUNT);
  }
  return count;
}
