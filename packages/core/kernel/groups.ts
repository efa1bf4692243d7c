/**
 * KV-cache groups: the parts of a block that an engine holds in addition to its main attention
 * layers, by kind of layer.
 *
 *     holder slot   0 … 4,095      a rank: the blocks of its main group
 *                   4,096 … 8,191  a further group of a rank, given out lowest first
 *
 *     group of a rank slot    next ─▶ group ─▶ group ─▶ 0        kind, block size and number of the main group, alignment
 *     group of a group slot   owner, rule, kind, window, block size, the engine's number of it
 *
 * A group is a holder like a rank. It has bits in the holder sets, names and copies of its own, and
 * no blocks of its own. A lookup counts for a rank what all its groups allow (match-groups.ts).
 *
 * Invariants
 *  G1  A group slot in use is in exactly one rank's list, and its owner is that rank.
 *  G2  A rank's alignment is the least common multiple of the block sizes of its groups, 0 when there is none.
 *  G3  `Header.looseCount` counts the ranks that have groups and no main one, `groupsOpen` the groups.
 *  G4  A group stands for the same engine as its rank (`Rank.owner`): for its share of contexts they are one.
 *
 * Readers follow the lists without a lock. `Header.groupsVersion` is odd while a list changes. A
 * lookup that reads different numbers at its beginning and at its end is repeated.
 */
import { FIRST_GROUP_SLOT, fence, Group, groupOf, GROUPS_PER_RANK_MAX, header, Header, HEADER, HOLDER_SLOTS_MAX, rankOf } from "./layout";

/** How a group limits a lookup. 0 is a free slot. */
export const RUN: u32 = 1;
export const WINDOW: u32 = 2;
export const LAST: u32 = 3;
export const CHUNK: u32 = 4;

// @ts-ignore: decorator
@inline
function changeVersion(): void {
  fence();
  const at = HEADER + offsetof<Header>("groupsVersion");
  atomic.store<u32>(at, load<u32>(at) + 1);
}

/** The rank that a holder slot belongs to. */
// @ts-ignore: decorator
@inline
export function ownerOfHolder(slot: u32): u32 {
  return slot < FIRST_GROUP_SLOT ? slot : groupOf(slot).owner;
}

/** Notes that a rank has a main group with blocks of so many tokens. */
export function mainOpen(rankSlot: u32, blockSize: u32, index: u32, kind: u32): void {
  const rank = groupOf(rankSlot);
  if (rank.kind == kind && rank.blockSize == blockSize && rank.index == index) return;
  changeVersion();
  header().looseCount -= isLoose(rankSlot);
  rank.kind = kind;
  rank.index = index;
  rank.blockSize = blockSize;
  align(rankSlot);
  changeVersion();
}

/**
 * A slot for a further group of a rank, one of `first`, `first + step` …: several memories that are read as one give out
 * different ones. 0 when there is none left, for the rank or at all.
 */
export function groupOpen(
  rankSlot: u32,
  index: u32,
  rule: u32,
  kind: u32,
  window: u32,
  blockSize: u32,
  first: u32,
  step: u32,
): u32 {
  let count: u32 = 0;
  for (let slot = groupOf(rankSlot).next; slot != 0; slot = groupOf(slot).next) count++;
  if (count >= GROUPS_PER_RANK_MAX) return 0;
  for (let slot = first; slot < HOLDER_SLOTS_MAX; slot += step) {
    if (groupOf(slot).rule != 0) continue;
    groupPut(slot, rankSlot, index, rule, kind, window, blockSize);
    return slot;
  }
  return 0;
}

/** Puts a group in a free slot, at the end of its rank's list. */
export function groupPut(
  slot: u32,
  rankSlot: u32,
  index: u32,
  rule: u32,
  kind: u32,
  window: u32,
  blockSize: u32,
): void {
  changeVersion();
  const group = groupOf(slot);
  group.owner = rankSlot;
  group.index = index;
  group.rule = rule;
  group.kind = kind;
  group.window = window;
  group.blockSize = blockSize;
  group.next = 0;
  header().looseCount -= isLoose(rankSlot);
  let last = groupOf(rankSlot);
  while (last.next != 0) last = groupOf(last.next);
  last.next = slot;
  header().looseCount += isLoose(rankSlot);
  header().groupsOpen++;
  align(rankSlot);
  changeVersion();
  rankOf(slot).owner = rankOf(rankSlot).owner == 0 ? rankSlot + 1 : rankOf(rankSlot).owner;
}

/** Frees a rank's group slots, which hold nothing any more, and forgets its main group. */
export function groupsClose(rankSlot: u32): void {
  const rank = groupOf(rankSlot);
  if (rank.next == 0 && rank.kind == 0) return;
  changeVersion();
  header().looseCount -= isLoose(rankSlot);
  for (let slot = rank.next; slot != 0; ) {
    const next = groupOf(slot).next;
    header().groupsOpen--;
    memory.fill(changetype<usize>(groupOf(slot)), 0, offsetof<Group>());
    slot = next;
  }
  memory.fill(changetype<usize>(rank), 0, offsetof<Group>());
  changeVersion();
}

// @ts-ignore: decorator
@inline
function isLoose(rankSlot: u32): u32 {
  return groupOf(rankSlot).next != 0 && groupOf(rankSlot).kind == 0 ? 1 : 0;
}

function align(rankSlot: u32): void {
  const tokens = alignmentOf(rankSlot);
  groupOf(rankSlot).alignment = tokens > <u64>0xffffffff ? 0 : <u32>tokens;
}

/** Least common multiple of the block sizes; more than 32 bits when there is none that fits. */
export function alignmentOf(rankSlot: u32): u64 {
  const rank = groupOf(rankSlot);
  let multiple: u64 = rank.kind == 0 ? 1 : max(rank.blockSize, 1);
  for (let slot = rank.next; slot != 0 && multiple <= <u64>0xffffffff; slot = groupOf(slot).next) {
    const size = <u64>max(groupOf(slot).blockSize, 1);
    let a = multiple;
    let b = size;
    while (b != 0) {
      const rest = a % b;
      a = b;
      b = rest;
    }
    multiple = (multiple / a) * size;
  }
  return multiple;
}
