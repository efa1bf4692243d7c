/**
 * The allocator: two-level segregated fit over blocks of whole 64-byte granules, so that buckets of
 * the tables are aligned to cache lines.
 *
 *     … │ size, isFree │ previous │ payload, a multiple of 64 bytes less 8 ………………… │ size, isFree │ …
 *         └ 8 bytes before a 64-byte boundary       free: next and previous in the list of its size
 *
 * Neighbors that are free are joined at once, so no two free blocks touch. Lists: 24 powers of two
 * × 16 steps. Memory that was asked of the engine is never given back to it (WebAssembly cannot),
 * but is reused.
 *
 * `allocatedBytes` counts used blocks with their 8 bytes. Scratch of writers and readers is not counted: it is fixed, and
 * only touched pages of it are real.
 *
 * Source: Masmano and others, "TLSF: a new dynamic memory allocator for real-time systems", 2004.
 */
import { Context, FREE_LISTS, header, HEAP } from "./layout";

const GRANULE: u32 = 64;
const HEAD_BYTES: u32 = 8;
const STEPS_LOG: u32 = 4;
const STEPS: u32 = 16;
const LEVELS: u32 = 24;
const IS_FREE: u32 = 1;
/** Set on scratch, which `allocatedBytes` leaves out. */
const IS_SCRATCH: u32 = 2;
const SIZE_MASK: u32 = ~63;
/** Heads of the lists, then one word of used steps a level, then one of used levels. */
const STEP_MAPS: usize = FREE_LISTS + 4 * STEPS * LEVELS;
const LEVEL_MAP: usize = STEP_MAPS + 4 * LEVELS;
/** Least growth of memory: 8 MiB, so that growing is rare, and that most of it is whole huge pages where the system gives such. */
const GROWTH_PAGES: u32 = 128;

// @ts-ignore: decorator
@inline
function sizeOf(block: usize): u32 {
  return load<u32>(block) & SIZE_MASK;
}

// @ts-ignore: decorator
@inline
function isFree(block: usize): bool {
  return (load<u32>(block) & IS_FREE) != 0;
}

/** The list for blocks of exactly this size class: level × 16 + step. */
function listOf(size: u32): u32 {
  const granules = size / GRANULE;
  if (granules < STEPS) return granules;
  const log = 31 - clz(granules);
  return ((log - STEPS_LOG + 1) << STEPS_LOG) + ((granules >> (log - STEPS_LOG)) ^ STEPS);
}

/** The first list all of whose blocks have at least this size. */
function listAbove(size: u32): u32 {
  const granules = size / GRANULE;
  if (granules < STEPS) return granules;
  const log = 31 - clz(granules);
  return listOf((granules + (1 << (log - STEPS_LOG)) - 1) * GRANULE);
}

function link(block: usize): void {
  const list = listOf(sizeOf(block));
  const head = FREE_LISTS + (<usize>list << 2);
  const next = load<u32>(head);
  store<u32>(block + 8, next);
  store<u32>(block + 12, 0);
  if (next != 0) store<u32>(next + 12, <u32>block);
  store<u32>(head, <u32>block);
  store<u32>(block, load<u32>(block) | IS_FREE);
  const level = list >> STEPS_LOG;
  const steps = STEP_MAPS + (<usize>level << 2);
  store<u32>(steps, load<u32>(steps) | (1 << (list & (STEPS - 1))));
  store<u32>(LEVEL_MAP, load<u32>(LEVEL_MAP) | (1 << level));
}

function unlink(block: usize): void {
  const next = load<u32>(block + 8);
  const previous = load<u32>(block + 12);
  store<u32>(block, load<u32>(block) & ~IS_FREE);
  if (next != 0) store<u32>(next + 12, previous);
  if (previous != 0) {
    store<u32>(previous + 8, next);
    return;
  }
  const list = listOf(sizeOf(block));
  store<u32>(FREE_LISTS + (<usize>list << 2), next);
  if (next != 0) return;
  const level = list >> STEPS_LOG;
  const steps = STEP_MAPS + (<usize>level << 2);
  store<u32>(steps, load<u32>(steps) & ~(1 << (list & (STEPS - 1))));
  if (load<u32>(steps) == 0) store<u32>(LEVEL_MAP, load<u32>(LEVEL_MAP) & ~(1 << level));
}

function find(size: u32): usize {
  // Most blocks come in few sizes: one of exactly this class usually fits, though the class also holds smaller ones.
  const exact = load<u32>(FREE_LISTS + (<usize>listOf(size) << 2));
  if (exact != 0 && sizeOf(exact) >= size) return exact;
  const list = listAbove(size);
  let level = list >> STEPS_LOG;
  let steps = load<u32>(STEP_MAPS + (<usize>level << 2)) & (~0 << (list & (STEPS - 1)));
  if (steps == 0) {
    // Level 24 and above do not exist: a shift by 32 is never asked for.
    const levels = load<u32>(LEVEL_MAP) & (~0 << (level + 1));
    if (levels == 0) return 0;
    level = ctz(levels);
    steps = load<u32>(STEP_MAPS + (<usize>level << 2));
  }
  return load<u32>(FREE_LISTS + (<usize>((level << STEPS_LOG) + ctz(steps)) << 2));
}

/** Starts the heap in the memory there is. */
export function heapInit(): void {
  const first = HEAP + GRANULE - HEAD_BYTES;
  const end = (<usize>memory.size() << 16) - HEAD_BYTES;
  store<u32>(first, <u32>(end - first));
  store<u32>(first, 0, 4);
  store<u32>(end, 0);
  store<u32>(end, <u32>first, 4);
  header().heapEnd = end;
  link(first);
}

/** Makes the memory larger by at least `size` bytes. */
function grow(size: u32): bool {
  const need = (size >> 16) + 1;
  const pages = need > GROWTH_PAGES ? need : GROWTH_PAGES;
  let grown = pages;
  let before = memory.grow(pages);
  if (before < 0 && pages != need) {
    grown = need;
    before = memory.grow(need);
  }
  if (before < 0) return false;
  const block = header().heapEnd;
  // Not `memory.size()`, which may be what this thread was last told. At 4 GiB the shift gives 0, and 0 less 8 is where the
  // last head belongs.
  const end = (<usize>(<u32>before + grown) << 16) - HEAD_BYTES;
  store<u32>(block, <u32>(end - block));
  store<u32>(end, 0);
  store<u32>(end, <u32>block, 4);
  header().heapEnd = end;
  join(block);
  return true;
}

/**
 * Has this thread know of all the memory that others have grown: `memory.fill` and its like hold addresses against what the
 * thread was last told. Under the lock.
 */
export function heapReach(): void {
  const pages = <i32>((<u64>header().heapEnd + HEAD_BYTES) >> 16);
  while (memory.size() < pages) memory.grow(0);
}

/** Joins a block with free neighbours and puts the whole in its list. */
function join(block: usize): void {
  const next = block + sizeOf(block);
  if (isFree(next)) {
    unlink(next);
    store<u32>(block, sizeOf(block) + sizeOf(next));
  }
  const previous = <usize>load<u32>(block, 4);
  if (previous != 0 && isFree(previous)) {
    unlink(previous);
    store<u32>(previous, sizeOf(previous) + sizeOf(block));
    block = previous;
  }
  store<u32>(block + sizeOf(block), <u32>block, 4);
  link(block);
}

function take(bytes: u32, flags: u32): usize {
  const size = (bytes + HEAD_BYTES + GRANULE - 1) & SIZE_MASK;
  let block = find(size);
  while (block == 0) {
    if (!grow(size)) unreachable();
    block = find(size);
  }
  unlink(block);
  const rest = sizeOf(block) - size;
  if (rest >= GRANULE) {
    const behind = block + size;
    store<u32>(behind, rest);
    store<u32>(behind, <u32>block, 4);
    store<u32>(behind + rest, <u32>behind, 4);
    link(behind);
  }
  store<u32>(block, (rest >= GRANULE ? size : sizeOf(block)) | flags);
  return block;
}

/** Memory for a fixed purpose, never freed by the index itself. Contents undefined. */
export function allocateScratch(bytes: u32): usize {
  return take(bytes, IS_SCRATCH) + HEAD_BYTES;
}

/** Gives scratch back. */
export function releaseScratch(at: usize): void {
  const block = at - HEAD_BYTES;
  store<u32>(block, sizeOf(block));
  join(block);
}

/**
 * Memory of a context, on a 64-byte boundary. Contents undefined. Traps when the memory is at its end: limits are checked
 * before, so that is a bug.
 */
export function allocate(context: Context, bytes: u32): usize {
  const block = take(bytes, 0);
  const size = sizeOf(block);
  header().allocatedBytes += size;
  context.bytes += size;
  return block + HEAD_BYTES;
}

/** As `allocate`, filled with zeros. */
export function allocateZeroed(context: Context, bytes: u32): usize {
  const at = allocate(context, bytes);
  memory.fill(at, 0, bytes);
  return at;
}

/** Gives memory back at once: for what no reader looks at. */
export function release(context: Context, at: usize): void {
  const block = at - HEAD_BYTES;
  const size = sizeOf(block);
  header().allocatedBytes -= size;
  context.bytes -= size;
  store<u32>(block, size);
  join(block);
}

/** Walks the heap: 0, or the address of the first block that breaks I1. */
export function heapFault(): usize {
  let block: usize = HEAP + GRANULE - HEAD_BYTES;
  let previous: usize = 0;
  let wasFree = false;
  let used: u32 = 0;
  const end = header().heapEnd;
  while (block < end) {
    const size = sizeOf(block);
    if (size == 0 || <usize>load<u32>(block, 4) != previous || (wasFree && isFree(block))) return block;
    if ((load<u32>(block) & (IS_FREE | IS_SCRATCH)) == 0) used += size;
    wasFree = isFree(block);
    previous = block;
    block += size;
  }
  if (block != end) return block;
  return used == header().allocatedBytes ? 0 : end;
}
