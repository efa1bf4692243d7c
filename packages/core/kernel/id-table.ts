/**
 * Hash → block id, for the directory (by prefix hash) and the agreed names (by engine hash). The hash itself is not in
 * the table: it is in the arena's column, and the entry's tag spares nearly every look there that would be in vain.
 *
 *     root:     depth │ – │ segment[2^depth]           chosen by the top bits of the mixed hash
 *     segment:  bucket mask, depth, count, id bits │ bucket │ bucket │ …          64 bytes each, on cache lines
 *     bucket:   entry × 15 │ passed by                 chosen by the low bits
 *     entry:    tag │ block id                         0 is empty; the id takes as many bits as ids need
 *
 * A full bucket sends its entries on to the next one, and counts them in "passed by": a search goes on only while that is
 * not 0. So an entry, once written, never moves inside its segment, and removing one leaves nothing behind: readers
 * need no retries. A segment at 90 % is made anew: of twice the size up to 1,024 buckets, then as two, each with one more bit of
 * the hash. Old segments and roots go to limbo. So no single store waits for a table of millions to be rebuilt.
 *
 * Source: Fagin et al., "Extendible hashing", 1979; the counted overflow is that of F14 (facebook/folly, F14Table.h).
 */
import { Context, fence } from "./layout";
import { allocate, allocateZeroed } from "./heap";
import { LIMBO_MEMORY, retire } from "./epoch";
import { CHUNK_LOG, chunkIn } from "./arena";

const SEGMENT_HEAD: usize = 64;
const BUCKET_LOG: usize = 6;
/** Where "passed by" lies in a bucket. */
const PASSED: usize = 60;
const ENTRIES_MASK: u32 = 0x7fff;
const BUCKETS_FIRST: u32 = 8;
const BUCKETS_MAX: u32 = 1024;
/** Bits of the mixed hash below the tag: those that choose one of 1,024 buckets. */
const TAG_SHIFT: u64 = 10;
const ID_BITS_MIN: u32 = 14;

/** Spreads any key over all 64 bits: engine hashes may be small numbers. */
// @ts-ignore: decorator
@inline
export function mixKey(key: u64): u64 {
  const mixed = key * 0x9e3779b97f4a7c15;
  return mixed ^ (mixed >> 32);
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

// @ts-ignore: decorator
@inline
function tagOf(mixed: u64, idBits: u32): u32 {
  return <u32>(mixed >> TAG_SHIFT) << idBits;
}

/** One bit for each of the 16 words of a bucket that equals `wanted` under `mask`. */
// @ts-ignore: decorator
@inline
function matches(bucket: usize, mask: v128, wanted: v128): u32 {
  const first = i32x4.eq(v128.and(v128.load(bucket), mask), wanted);
  const second = i32x4.eq(v128.and(v128.load(bucket, 16), mask), wanted);
  const third = i32x4.eq(v128.and(v128.load(bucket, 32), mask), wanted);
  const fourth = i32x4.eq(v128.and(v128.load(bucket, 48), mask), wanted);
  return <u32>(
    i8x16.bitmask(i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(first, second), i16x8.narrow_i32x4_s(third, fourth)))
  );
}

/** Loads what a search for `mixed` will look at first. */
// @ts-ignore: decorator
@inline
export function warm(root: usize, mixed: u64): u32 {
  const segment = <usize>load<u32>(slotOf(root, mixed));
  return load<u32>(bucketOf(segment, <u32>mixed & load<u32>(segment)));
}

/** The id under `key`, 0 when there is none. Readers may call it. */
export function idFind(chunks: usize, root: usize, column: usize, key: u64): u32 {
  const mixed = mixKey(key);
  const segment = <usize>load<u32>(slotOf(root, mixed));
  const bucketMask = load<u32>(segment);
  const idBits = load<u32>(segment, 12);
  const tag = tagOf(mixed, idBits);
  const tagMask: u32 = ~0 << idBits;
  const masks = i32x4.splat(tagMask);
  const tags = i32x4.splat(tag);
  let position = <u32>mixed & bucketMask;
  let left = bucketMask;
  while (true) {
    const bucket = bucketOf(segment, position);
    let found = matches(bucket, masks, tags) & ENTRIES_MASK;
    for (; found != 0; found &= found - 1) {
      const id = load<u32>(bucket + (<usize>ctz(found) << 2)) & ~tagMask;
      if (id == 0) continue;
      const chunk = chunkIn(chunks, id);
      if (chunk != 0 && load<u64>(chunk + column + (<usize>(id & 1023) << 3)) == key) return id;
    }
    if (load<u32>(bucket, PASSED) == 0 || left-- == 0) return 0;
    position = (position + 1) & bucketMask;
  }
}

function makeSegment(context: Context, buckets: u32, depth: u32): usize {
  const segment = allocateZeroed(context, <u32>SEGMENT_HEAD + (buckets << <u32>BUCKET_LOG));
  const idsEnd = context.chunkCount << CHUNK_LOG;
  const idBits: u32 = 33 - clz(idsEnd);
  store<u32>(segment, buckets - 1);
  store<u32>(segment, depth, 4);
  store<u32>(segment, 0, 8);
  store<u32>(segment, idBits < ID_BITS_MIN ? ID_BITS_MIN : idBits > 27 ? 27 : idBits, 12);
  return segment;
}

/** An empty table. */
export function idTableMake(context: Context): usize {
  const root = allocate(context, 12);
  store<u32>(root, 0);
  store<u32>(root, <u32>makeSegment(context, BUCKETS_FIRST, 0), 8);
  return root;
}

/** Bytes that `count` new entries may need for a while: each segment that fills makes one or two new ones. */
export function idTableGrowthBytes(root: usize, count: u32): u32 {
  const depth = load<u32>(root);
  const segment = <usize>load<u32>(root, 8);
  const buckets = load<u32>(segment) + 1;
  if (depth == 0) return 2 * (buckets << 6) + 10 * count;
  const segments: u32 = 1 << depth;
  return (count < segments ? count : segments) * (2 * (BUCKETS_MAX << 6)) / 4 + 10 * count + (8 << depth);
}

function put(segment: usize, mixed: u64, id: u32): void {
  const bucketMask = load<u32>(segment);
  const entry = tagOf(mixed, load<u32>(segment, 12)) | id;
  const zero = i32x4.splat(0);
  const all = i32x4.splat(-1);
  let position = <u32>mixed & bucketMask;
  while (true) {
    const bucket = bucketOf(segment, position);
    const free = matches(bucket, all, zero) & ENTRIES_MASK;
    if (free != 0) {
      store<u32>(bucket + (<usize>ctz(free) << 2), entry);
      store<u32>(segment, load<u32>(segment, 8) + 1, 8);
      return;
    }
    // Counted first, so that a reader who comes for the entry does not stop here.
    store<u32>(bucket, load<u32>(bucket, PASSED) + 1, PASSED);
    position = (position + 1) & bucketMask;
  }
}

/** Enters an id whose key is in its column already, and under which nothing is found. */
export function idInsert(context: Context, root: usize, column: usize, key: u64, id: u32): usize {
  const mixed = mixKey(key);
  while (true) {
    const segment = <usize>load<u32>(slotOf(root, mixed));
    const buckets = load<u32>(segment) + 1;
    if (load<u32>(segment, 8) < (buckets * 27) >> 1 && id >> load<u32>(segment, 12) == 0) {
      put(segment, mixed, id);
      return root;
    }
    root = rebuild(context, root, column, mixed, segment, id);
  }
}

/** Makes a segment anew: wider ids, or twice the buckets, or two segments. Returns the root, which may be a new one. */
function rebuild(context: Context, root: usize, column: usize, mixed: u64, segment: usize, id: u32): usize {
  const buckets = load<u32>(segment) + 1;
  const depth = load<u32>(segment, 4);
  const isFull = load<u32>(segment, 8) >= (buckets * 27) >> 1;
  const isSplit = isFull && buckets == BUCKETS_MAX;
  if (isSplit && depth == load<u32>(root)) root = doubleRoot(context, root);
  const size = isFull && !isSplit ? 2 * buckets : buckets;
  const low = makeSegment(context, size, isSplit ? depth + 1 : depth);
  const high = isSplit ? makeSegment(context, size, depth + 1) : low;
  copySegment(context, column, segment, low, high);
  fence();
  // The slots that lead to the old segment are those with its top `depth` bits.
  const slots: u32 = 1 << (load<u32>(root) - depth);
  const first = root + 8 + (<usize>((mixed >> 1) >> (63 - <u64>depth)) << (2 + load<u32>(root) - depth));
  for (let i: u32 = 0; i < slots; i++)
    store<u32>(first + (<usize>i << 2), <u32>(isSplit && i >= slots >> 1 ? high : low));
  retire(context, LIMBO_MEMORY, <u32>segment);
  return root;
}

function doubleRoot(context: Context, root: usize): usize {
  const depth = load<u32>(root);
  const bigger = allocate(context, 8 + (8 << depth));
  store<u32>(bigger, depth + 1);
  for (let i: usize = 0; i < <usize>1 << depth; i++) {
    const segment = load<u32>(root + 8 + (i << 2));
    store<u32>(bigger + 8 + (i << 3), segment);
    store<u32>(bigger + 12 + (i << 3), segment);
  }
  retire(context, LIMBO_MEMORY, <u32>root);
  return bigger;
}

function copySegment(context: Context, column: usize, from: usize, low: usize, high: usize): void {
  const idMask: u32 = ~(~0 << load<u32>(from, 12));
  const bit = 63 - <u64>load<u32>(from, 4);
  const end = bucketOf(from, load<u32>(from) + 1);
  const chunks = context.chunks;
  for (let bucket = from + SEGMENT_HEAD; bucket < end; bucket += 64) {
    for (let at = bucket; at < bucket + PASSED; at += 4) {
      const id = load<u32>(at) & idMask;
      if (id == 0) continue;
      const chunk = <usize>load<u32>(chunks + ((<usize>id >> CHUNK_LOG) << 2));
      const mixed = mixKey(load<u64>(chunk + column + (<usize>(id & 1023) << 3)));
      put(((mixed >> bit) & 1) == 0 ? low : high, mixed, id);
    }
  }
}

/** Takes an id out, found by the key in its column. False when it is not there. */
export function idRemove(root: usize, key: u64, id: u32): bool {
  const mixed = mixKey(key);
  const segment = <usize>load<u32>(slotOf(root, mixed));
  const bucketMask = load<u32>(segment);
  const home = <u32>mixed & bucketMask;
  const wanted = i32x4.splat(tagOf(mixed, load<u32>(segment, 12)) | id);
  const all = i32x4.splat(-1);
  for (let passed: u32 = 0; passed <= bucketMask; passed++) {
    const bucket = bucketOf(segment, (home + passed) & bucketMask);
    const found = matches(bucket, all, wanted) & ENTRIES_MASK;
    if (found != 0) {
      store<u32>(bucket + (<usize>ctz(found) << 2), 0);
      store<u32>(segment, load<u32>(segment, 8) - 1, 8);
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
  const slots: u32 = 1 << (load<u32>(root) - load<u32>(segment, 4));
  return (i & (slots - 1)) == 0 ? segment : 0;
}

/** Entries of a table. */
export function idCount(root: usize): u32 {
  let count: u32 = 0;
  const slots: u32 = 1 << load<u32>(root);
  for (let i: u32 = 0; i < slots; i++) {
    const segment = segmentAt(root, i);
    if (segment != 0) count += load<u32>(segment, 8);
  }
  return count;
}
