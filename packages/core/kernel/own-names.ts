/**
 * A rank's own names: its names for blocks that have another name in the context. Engines whose
 * hash seeds differ need them (vLLM's default: a random seed per process). They also resolve
 * conflicts, where two ranks mean different blocks by one hash.
 *
 *     entry: engine hash u64 │ block id u32 │ check u32        id 0 is empty; at most 85 % full, grown by a third
 *
 * `check` is the low half of the block's prefix hash. It shows entries of blocks that a limit
 * evicted since (their ids may name other blocks by now). Those are passed over, and dropped when
 * the table grows. Every other removal of a rank's last copy of a block removes the name too. So
 * every entry that passes the check is good (I8).
 *
 * Open addressing with linear steps, in the order of Robin Hood: an entry nearer to its home gives
 * way to an entry that is farther. So an unsuccessful search ends early even in a full table.
 * Removal moves the following entries back. Only the writer uses it: readers have no engine hashes.
 *
 * Source: Celis, "Robin Hood hashing", 1986.
 */
import { OTHERWISE, RankInContext, SEVERAL } from "./layout";
import { allocateZeroed, release } from "./heap";
import { chunkOf, prefixAddress, setAddress } from "./arena";
import { mix } from "./mix";
import { mixKey } from "./id-table";
import { kindsOf } from "./holder-set";

const FIRST: u32 = 15;

// @ts-ignore: decorator
@inline
function homeOf(mixed: u64, capacity: u32): u32 {
  // The lower half: the upper one is not uniform.
  return <u32>(((mixed & 0xffffffff) * <u64>capacity) >> 32);
}

/** The same for a key that is not mixed yet: what it does without is the upper half. */
// @ts-ignore: decorator
@inline
function homeOfKey(key: u64, capacity: u32): u32 {
  const mixed = mix(key);
  return homeOf(mixed ^ (mixed >> 32), capacity);
}

// @ts-ignore: decorator
@inline
function entryAt(table: usize, i: u32): usize {
  return table + (<usize>i << 4);
}

/** Whether an entry still means what it meant: the block is there, has that prefix, and is the rank's under other names. */
function isGood(rank: RankInContext, at: usize): bool {
  if (rank.context.hasEvicted == 0) return true;
  const id = load<u32>(at, 8);
  const chunk = chunkOf(rank.context, id);
  if (chunk == 0) return false;
  const kinds = kindsOf(<usize>load<u32>(setAddress(chunk, id)), rank.local);
  return (kinds & (OTHERWISE | SEVERAL)) != 0 && load<u32>(prefixAddress(chunk, id)) == load<u32>(at, 12);
}

/** How far entry `i`, which has `key`, lies behind its home. */
// @ts-ignore: decorator
@inline
function distanceOf(key: u64, i: u32, capacity: u32): u32 {
  const home = homeOfKey(key, capacity);
  return i >= home ? i - home : i + capacity - home;
}

/** Address of the entry under `key`, 0 when there is none. */
function seek(rank: RankInContext, key: u64, mixed: u64): usize {
  const capacity = rank.ownNamesCapacity;
  if (rank.ownNamesCount == 0) return 0;
  let i = homeOf(mixed, capacity);
  for (let distance: u32 = 0; ; distance++) {
    const at = entryAt(rank.ownNames, i);
    if (load<u32>(at, 8) == 0) break;
    const found = load<u64>(at);
    if (found == key) return at;
    if (distanceOf(found, i, capacity) < distance) break;
    if (++i == capacity) i = 0;
  }
  return 0;
}

/** The block that the rank itself calls `key`, which is mixed to `mixed` (id-table.ts); 0 for none. */
export function ownNameFind(rank: RankInContext, key: u64, mixed: u64): u32 {
  const at = seek(rank, key, mixed);
  return at != 0 && isGood(rank, at) ? load<u32>(at, 8) : 0;
}

/** Calls a block `key`; an entry there before is overwritten. */
export function ownNamePut(rank: RankInContext, key: u64, mixed: u64, id: u32): void {
  const check = load<u32>(prefixAddress(chunkOf(rank.context, id), id));
  const meaning = (<u64>check << 32) | id;
  const at = seek(rank, key, mixed);
  if (at != 0) {
    store<u64>(at, meaning, 8);
    return;
  }
  if ((rank.ownNamesCount + 1) * 20 > rank.ownNamesCapacity * 17) grow(rank);
  rank.ownNamesCount++;
  place(rank, key, mixed, meaning);
}

/** Enters a key that is not there; there is room. */
function place(rank: RankInContext, key: u64, mixed: u64, meaning: u64): void {
  const capacity = rank.ownNamesCapacity;
  let i = homeOf(mixed, capacity);
  let distance: u32 = 0;
  while (true) {
    const at = entryAt(rank.ownNames, i);
    const found = load<u64>(at);
    const foundMeaning = load<u64>(at, 8);
    if (<u32>foundMeaning == 0) {
      store<u64>(at, key);
      store<u64>(at, meaning, 8);
      return;
    }
    const foundDistance = distanceOf(found, i, capacity);
    if (foundDistance < distance) {
      store<u64>(at, key);
      store<u64>(at, meaning, 8);
      key = found;
      meaning = foundMeaning;
      distance = foundDistance;
    }
    if (++i == capacity) i = 0;
    distance++;
  }
}

function grow(rank: RankInContext): void {
  const old = rank.ownNames;
  const oldCapacity = rank.ownNamesCapacity;
  const good = ownNamesGood(rank);
  // Where evictions left many entries behind, the same size may do.
  const wanted = good + (good >> 1) + (good >> 3) + FIRST;
  rank.ownNamesCapacity = min(wanted, oldCapacity + oldCapacity / 3 + FIRST);
  rank.ownNames = allocateZeroed(rank.context, rank.ownNamesCapacity << 4);
  rank.ownNamesCount = good;
  for (let i: u32 = 0; i < oldCapacity; i++) {
    const from = entryAt(old, i);
    if (load<u32>(from, 8) == 0 || !isGood(rank, from)) continue;
    const key = load<u64>(from);
    place(rank, key, mixKey(key), load<u64>(from, 8));
  }
  if (old != 0) release(rank.context, old);
}

/** Forgets what the rank calls `key`. */
export function ownNameRemove(rank: RankInContext, key: u64, mixed: u64): void {
  let hole = seek(rank, key, mixed);
  if (hole == 0) return;
  const capacity = rank.ownNamesCapacity;
  let i = <u32>((hole - rank.ownNames) >> 4);
  while (true) {
    if (++i == capacity) i = 0;
    const at = entryAt(rank.ownNames, i);
    if (load<u32>(at, 8) == 0 || distanceOf(load<u64>(at), i, capacity) == 0) break;
    v128.store(hole, v128.load(at));
    hole = at;
  }
  v128.store(hole, i64x2.splat(0));
  rank.ownNamesCount--;
}

/** The block in entry `i`, 0 when the entry is empty or out of date. */
export function ownNameBlock(rank: RankInContext, i: u32): u32 {
  const at = entryAt(rank.ownNames, i);
  const id = load<u32>(at, 8);
  return id != 0 && isGood(rank, at) ? id : 0;
}

/** The name in entry `i`, which is not empty. */
export function ownNameKey(rank: RankInContext, i: u32): u64 {
  return load<u64>(entryAt(rank.ownNames, i));
}

/** Bytes that `count` more names may need. */
export function ownNamesGrowthBytes(rank: RankInContext, count: u32): u32 {
  const wanted = rank.ownNamesCount + count;
  if (rank.ownNamesCount == 0 || wanted * 20 <= rank.ownNamesCapacity * 17) return 0;
  return max(wanted + (wanted >> 1), rank.ownNamesCapacity + rank.ownNamesCapacity / 3) << 4;
}

/** Number of entries that pass the check. */
export function ownNamesGood(rank: RankInContext): u32 {
  if (rank.context.hasEvicted == 0) return rank.ownNamesCount;
  let good: u32 = 0;
  for (let i: u32 = 0; i < rank.ownNamesCapacity; i++) {
    const at = entryAt(rank.ownNames, i);
    if (load<u32>(at, 8) != 0 && isGood(rank, at)) good++;
  }
  return good;
}

/** Number of entries, counted one by one. */
export function ownNamesStored(rank: RankInContext): u32 {
  let stored: u32 = 0;
  for (let i: u32 = 0; i < rank.ownNamesCapacity; i++) if (load<u32>(entryAt(rank.ownNames, i), 8) != 0) stored++;
  return stored;
}
