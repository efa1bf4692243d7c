/**
 * u32 → u32 for one rank in one context: copies beyond the first, and lists of names. Few entries as a rule, often none.
 *
 *     table + 0   capacity u32 │ count u32 │ entry × capacity        entry: key u32 │ value u32, key 0 is empty
 *
 * Open addressing with linear steps; removal moves what follows back; at most 80 % full, grown by
 * half. Table 0 is the empty one. Only the writer uses it, except `dump`, which reads from other
 * threads. It may miss an entry that is being moved, so tables carry their capacity, and go through
 * limbo. Keys are block ids, which an engine may guess and choose among, so they are mixed with the
 * secret (mix.ts).
 */
import { Context } from "./layout";
import { allocateZeroed } from "./heap";
import { LIMBO_MEMORY, retire } from "./epoch";
import { mix } from "./mix";

const HEAD: usize = 8;
const FIRST: u32 = 6;

// @ts-ignore: decorator
@inline
function homeOf(key: u32, capacity: u32): u32 {
  return <u32>(((mix(key) >> 32) * <u64>capacity) >> 32);
}

// @ts-ignore: decorator
@inline
export function wordEntry(table: usize, i: u32): usize {
  return table + HEAD + (<usize>i << 3);
}

/** Entries there is room for, used or not. */
// @ts-ignore: decorator
@inline
export function wordCapacity(table: usize): u32 {
  return table == 0 ? 0 : load<u32>(table);
}

/** Entries in use. */
// @ts-ignore: decorator
@inline
export function wordCount(table: usize): u32 {
  return table == 0 ? 0 : load<u32>(table, 4);
}

/** Position of `key`, or of the empty entry where it belongs. Tables are never full. */
function seek(table: usize, key: u32): u32 {
  const capacity = load<u32>(table);
  let i = homeOf(key, capacity);
  while (true) {
    const found = load<u32>(wordEntry(table, i));
    if (found == key || found == 0) return i;
    if (++i == capacity) i = 0;
  }
}

/** The value under `key`, 0 when there is none. */
export function wordFind(table: usize, key: u32): u32 {
  const capacity = wordCapacity(table);
  if (capacity == 0) return 0;
  let i = homeOf(key, capacity);
  // Bounded for readers, who may look while entries are moved.
  for (let left = capacity; left > 0; left--) {
    const at = wordEntry(table, i);
    const found = load<u32>(at);
    if (found == key) return load<u32>(at, 4);
    if (found == 0) return 0;
    if (++i == capacity) i = 0;
  }
  return 0;
}

/** Sets the value under `key`. Returns the table, which may be a new one. */
export function wordPut(context: Context, table: usize, key: u32, value: u32): usize {
  if ((wordCount(table) + 1) * 5 > wordCapacity(table) << 2) table = grow(context, table);
  const at = wordEntry(table, seek(table, key));
  if (load<u32>(at) == 0) store<u32>(table, load<u32>(table, 4) + 1, 4);
  store<u32>(at, value, 4);
  store<u32>(at, key);
  return table;
}

function grow(context: Context, table: usize): usize {
  const old = wordCapacity(table);
  const capacity = old == 0 ? FIRST : old + (old >> 1);
  const bigger = allocateZeroed(context, <u32>HEAD + (capacity << 3));
  store<u32>(bigger, capacity);
  store<u32>(bigger, wordCount(table), 4);
  for (let i: u32 = 0; i < old; i++) {
    const entry = load<u64>(wordEntry(table, i));
    if (<u32>entry != 0) store<u64>(wordEntry(bigger, seek(bigger, <u32>entry)), entry);
  }
  if (table != 0) retire(context, LIMBO_MEMORY, <u32>table);
  return bigger;
}

/** Takes `key` out, if it is there. */
export function wordRemove(table: usize, key: u32): void {
  if (wordCount(table) == 0) return;
  const capacity = load<u32>(table);
  let hole = seek(table, key);
  if (load<u32>(wordEntry(table, hole)) == 0) return;
  let i = hole;
  while (true) {
    if (++i == capacity) i = 0;
    const moved = load<u32>(wordEntry(table, i));
    if (moved == 0) break;
    // An entry may move back to the hole unless its home lies behind the hole.
    const home = homeOf(moved, capacity);
    const isBehind = hole <= i ? home > hole && home <= i : home > hole || home <= i;
    if (isBehind) continue;
    store<u64>(wordEntry(table, hole), load<u64>(wordEntry(table, i)));
    hole = i;
  }
  store<u64>(wordEntry(table, hole), 0);
  store<u32>(table, load<u32>(table, 4) - 1, 4);
}
