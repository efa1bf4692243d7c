/**
 * The kernel's exports. u64 arguments come as two words: a bigint made for a call would cost more
 * than the call. Calls that write take the lock themselves; those of readers take none.
 */
import { Context, contextAt, EVICTED_RANKS, groupOf, header, Header, HEADER, localRank, Rank, RANK_SLOTS_MAX, RankInContext, rankOf } from "./layout";
import { hashBytes, hashInit, isKeyed, seedOf } from "./xxh3";
import { hashRun } from "./block-hash";
import { keyedInit } from "./keyed-hash";
import { mixInit } from "./mix";
import { allocateScratch, heapInit, releaseScratch } from "./heap";
import { limboInit, readerClose, readerEnter, readerLeave } from "./epoch";
import { groupOpen, groupPut, groupsClose, mainOpen, ownerOfHolder } from "./groups";
import { storeNamed } from "./store-named";
import { contextNamed, contextOf, contextsInit, groupRank, listFirst, rankIn } from "./context";
import { finishWrite } from "./reclaim";
import {
  contextOpen,
  lockLeave,
  lockTake,
  warmFirstName,
  noteHeldRun,
  rankClear,
  removeRun,
  storeKnown,
  storeRun,
} from "./write";
import { CONTEXT_GONE, COUNT_EVICTED, EVICTED, EVICTION_REASONS, STATS_WORDS, UNKNOWN_PARENT } from "./codes";
import { chunkOf, prefixAddress } from "./arena";
import { enterAllChained, resolve } from "./holding";
import { mixKey } from "./id-table";
import { lookupBegin, lookupOn } from "./lookup";
import { Reader, readerFree, readerMake } from "./match";
import { contextRead, dump as dumpRows } from "./dump";
import { check as checkAll } from "./check";
import { exportHolder, exportRankContexts, exportRows } from "./export";

// @ts-ignore: decorator
@inline
function u64Of(low: u32, high: u32): u64 {
  return (<u64>high << 32) | low;
}

/** Sets the seed of this memory, and which hash prefixes have (block-hash.ts): once, before anything else. */
export function hashSeed(low: u32, high: u32, isKeyed: bool): void {
  hashInit(u64Of(low, high), isKeyed);
  keyedInit(u64Of(low, high));
}

/** Sets the secret that tables mix keys with (mix.ts): once, before `indexInit`. */
export function tableSecret(low0: u32, low1: u32, high0: u32, high1: u32): void {
  mixInit(u64Of(low0, low1), u64Of(high0, high1));
}

/** Writes the seed of this memory to `out`, and behind it 1 where prefix hashes are keyed, 0 where they are XXH3's. */
export function hashSeedRead(out: usize): void {
  store<u64>(out, seedOf());
  store<u32>(out, isKeyed(), 8);
}

/** Writes XXH3-64 of `bytes` bytes at `at` to `out`. */
export function hashDigest(at: usize, bytes: usize, out: usize): void {
  store<u64>(out, hashBytes(at, bytes));
}

/** Makes an empty index in fresh memory. */
export function indexInit(memoryBytesMax: u32, contextsMax: u32, prefixesMax: u32): void {
  heapInit();
  limboInit();
  const h = header();
  h.memoryBytesMax = memoryBytesMax;
  h.prefixesMax = prefixesMax;
  contextsInit(contextsMax);
}

/** Memory for a caller's arrays. */
export function scratchMake(bytes: u32): usize {
  lockTake();
  const at = allocateScratch(bytes);
  lockLeave();
  return at;
}

/** Gives such memory back. */
export function scratchFree(at: usize): void {
  lockTake();
  releaseScratch(at);
  lockLeave();
}

/**
 * Opens a context, unless another writer has made it meanwhile. `rankSlot` is the rank that it is for, −1 for none. Returns
 * its slot; the serial is `contextSerial`.
 */
export function contextMake(blockSize: u32, lookahead: u32, name: usize, nameBytes: u32, rankSlot: u32): u32 {
  lockTake();
  let slot = contextNamed(blockSize, lookahead, name, nameBytes);
  if (slot == <u32>-1) slot = contextOpen(blockSize, lookahead, name, nameBytes, rankSlot);
  lockLeave();
  return slot;
}

/** Serial of the context in a slot, 0 when there is none. One load. */
export function contextSerial(slot: u32): u32 {
  return atomic.load<u32>(changetype<usize>(contextAt(slot)) + offsetof<Context>("serial"));
}

/** Describes the context in a slot at `out` (dump.ts). With a reader of its own, or −1: then under the writers' lock. */
export function contextDescribe(reader: u32, slot: u32, out: usize): void {
  if (reader == <u32>-1) lockTake();
  else readerEnter(reader);
  contextRead(slot, out);
  if (reader == <u32>-1) lockLeave();
  else readerLeave(reader);
}

/** Records of contexts there are: slots 0 … n − 1. */
export function contextSlotCount(): u32 {
  return header().contextSlots;
}

/** Raised when a context is made or dropped. */
export function contextsVersion(): u32 {
  return header().contextsVersion;
}

/** Blocks held by a rank over all contexts: by its main group; without one, by the group that has most. */
export function rankBlocks(rankSlot: u32): u32 {
  let blocks = rankOf(rankSlot).blockCount;
  if (groupOf(rankSlot).kind != 0) return blocks;
  for (let slot = groupOf(rankSlot).next; slot != 0; slot = groupOf(slot).next)
    blocks = max(blocks, rankOf(slot).blockCount);
  return blocks;
}

/** Address of rank 0's `lostTo` (layout.ts); the next rank's is 32 bytes on. Readers on a hot path load it. */
export function rankLossesAt(): usize {
  return changetype<usize>(rankOf(0)) + offsetof<Rank>("lostTo");
}

/** Says which rank slot stands for a rank's engine, for its share of contexts. */
export function rankOwner(rankSlot: u32, owner: u32): void {
  rankOf(rankSlot).owner = owner + 1;
  for (let slot = groupOf(rankSlot).next; slot != 0; slot = groupOf(slot).next) rankOf(slot).owner = owner + 1;
}

/**
 * Writes nine words: allocated bytes, contexts with blocks, prefixes, (rank, tier, block) triples, mappings, holder sets, dead blocks,
 * blocks still to sweep, things in limbo.
 */
export function indexStats(out: usize): void {
  const h = header();
  memory.fill(out, 0, STATS_WORDS << 2);
  store<u32>(out, h.allocatedBytes);
  store<u32>(out, h.limboCount, 32);
  for (let slot: u32 = 0; slot < h.contextSlots; slot++) {
    const context = contextAt(slot);
    if (context.serial == 0) continue;
    if (context.prefixCount > 0) store<u32>(out, load<u32>(out, 4) + 1, 4);
    let holds: u32 = 0;
    let mappings = context.namesCount;
    for (let local: u32 = 0; local < context.localCount; local++) {
      holds += localRank(context, local).holdCount;
      mappings += localRank(context, local).ownNamesCount;
    }
    store<u32>(out, load<u32>(out, 8) + context.prefixCount, 8);
    store<u32>(out, load<u32>(out, 12) + holds, 12);
    store<u32>(out, load<u32>(out, 16) + mappings, 16);
    store<u32>(out, load<u32>(out, 20) + context.setCount, 20);
    store<u32>(out, load<u32>(out, 24) + context.deadCount, 24);
    store<u32>(out, load<u32>(out, 28) + context.sweepLeft, 28);
  }
}

/**
 * Writes how many blocks limits took in the last call (by contexts, prefixes, memory), then the rank slots that lost any
 * as a bitset of 128 words; and forgets both.
 */
export function evictionsTake(out: usize): void {
  lockTake();
  const h = header();
  store<u32>(out, h.evicted0);
  store<u32>(out, h.evicted1, 4);
  store<u32>(out, h.evicted2, 8);
  memory.copy(out + (EVICTION_REASONS << 2), EVICTED_RANKS, RANK_SLOTS_MAX / 8);
  memory.fill(EVICTED_RANKS, 0, RANK_SLOTS_MAX / 8);
  h.evicted0 = 0;
  h.evicted1 = 0;
  h.evicted2 = 0;
  lockLeave();
}

/**
 * Stores a run (write.ts). `prefixes` is room for its prefix hashes, `notes` for a byte a block (write.ts). Returns an
 * outcome, 16 added when limits took blocks (`evictionsTake`), 32 when a note is not 0.
 */
export function indexStore(
  slot: u32,
  serial: u32,
  rankSlot: u32,
  tier: u32,
  count: u32,
  hasParent: bool,
  parentLow: u32,
  parentHigh: u32,
  tokens: usize,
  engineHashes: usize,
  extras: usize,
  skips: usize,
  prefixes: usize,
  repeats: u32,
  notes: usize,
): u32 {
  lockTake();
  const found = contextOf(slot, serial);
  if (found === null) {
    lockLeave();
    return CONTEXT_GONE;
  }
  const context = found as Context;
  const h = header();
  h.tick++;
  context.lastStore = h.tick;
  let outcome = UNKNOWN_PARENT;
  warmFirstName(context, engineHashes);
  const parent: u32 = hasParent ? parentOf(context, rankSlot, u64Of(parentLow, parentHigh)) : 0;
  if (!hasParent || parent != 0) {
    const parentHash: u64 = hasParent ? load<u64>(prefixAddress(chunkOf(context, parent), parent)) : 0;
    const blockBytes = <usize>context.blockSize << 2;
    hashRun(tokens, blockBytes, blockBytes + (<usize>context.lookahead << 2), extras, !hasParent, parentHash, count, prefixes);
    outcome = storeRun(context, rankSlot, tier, parent, true, count, prefixes, engineHashes, skips, repeats, notes);
  }
  finishWrite(context, count);
  if (hasEvictions()) outcome |= EVICTED;
  lockLeave();
  return outcome;
}

function parentOf(context: Context, rankSlot: u32, engineHash: u64): u32 {
  const mixed = mixKey(engineHash);
  for (let at = rankOf(rankSlot).first; at != 0; ) {
    const rank = changetype<RankInContext>(at);
    if (rank.context === context) {
      const id = resolve(rank, engineHash, mixed);
      if (id != 0) return id;
      break;
    }
    at = rank.next;
  }
  const owner = ownerOfHolder(rankSlot);
  return groupOf(owner).next == 0 ? 0 : parentInGroups(context, owner, engineHash, mixed);
}

/** A parent may be a block of any group of the rank. */
function parentInGroups(context: Context, owner: u32, engineHash: u64, mixed: u64): u32 {
  const main = groupRank(context, owner);
  if (main != 0) {
    const id = resolve(changetype<RankInContext>(main), engineHash, mixed);
    if (id != 0) return id;
  }
  for (let slot = groupOf(owner).next; slot != 0; slot = groupOf(slot).next) {
    const group = groupRank(context, slot);
    const id = group == 0 ? 0 : resolve(changetype<RankInContext>(group), engineHash, mixed);
    if (id != 0) return id;
  }
  return 0;
}

/** Whether a rank has a block under an engine hash in a context. */
export function indexHas(slot: u32, serial: u32, rankSlot: u32, low: u32, high: u32): bool {
  lockTake();
  const context = contextOf(slot, serial);
  const isKnown = context !== null && parentOf(context, rankSlot, u64Of(low, high)) != 0;
  lockLeave();
  return isKnown;
}

/** A count with what a caller has to know of limits: `COUNT_EVICTED` in it says that they took blocks. */
function counted(count: u32): u32 {
  return hasEvictions() ? count | COUNT_EVICTED : count;
}

/** Whether limits took blocks that nobody took notice of yet (`evictionsTake`). */
export function hasEvictions(): bool {
  const h = header();
  return (h.evicted0 | h.evicted1 | h.evicted2) != 0;
}

/** Adds copies of known blocks (write.ts). Returns how many it knew, `COUNT_EVICTED` added when limits took blocks. */
export function indexStoreKnown(rankSlot: u32, tier: u32, count: u32, engineHashes: usize): u32 {
  lockTake();
  header().tick++;
  const known = storeKnown(rankSlot, tier, count, engineHashes);
  finishRank(rankSlot, count);
  const outcome = counted(known);
  lockLeave();
  return outcome;
}

/** Notes which blocks a holder has (write.ts). */
export function indexNoteHeld(holderSlot: u32, tier: u32, count: u32, engineHashes: usize, notes: usize): void {
  lockTake();
  noteHeldRun(holderSlot, tier, count, engineHashes, notes);
  lockLeave();
}

/** Takes copies away (write.ts). Returns how many, `COUNT_EVICTED` added when limits took blocks. */
export function indexRemove(rankSlot: u32, tier: u32, count: u32, engineHashes: usize, misses: usize): u32 {
  lockTake();
  header().tick++;
  const removed = removeRun(rankSlot, tier, count, engineHashes, misses);
  finishRank(rankSlot, count);
  const outcome = counted(removed);
  lockLeave();
  return outcome;
}

function finishRank(rankSlot: u32, count: u32): void {
  const first = rankOf(rankSlot).first;
  finishWrite(first == 0 ? null : changetype<RankInContext>(first).context, count);
}

/** Adds copies to a further group of a rank, by name (store-named.ts). Returns an outcome as `indexStore` does. */
export function indexStoreNamed(slot: u32, tier: u32, count: u32, engineHashes: usize, misses: usize): u32 {
  lockTake();
  header().tick++;
  const outcome = storeNamed(slot, tier, count, engineHashes, misses);
  finishRank(slot, count);
  lockLeave();
  return outcome;
}

/** Notes that a rank has a main group with blocks of so many tokens (groups.ts). */
export function rankMain(rankSlot: u32, blockSize: u32, index: u32, kind: u32): void {
  lockTake();
  mainOpen(rankSlot, blockSize, index, kind);
  lockLeave();
}

/** Opens a further group of a rank (groups.ts). Returns its holder slot, 0 when there is none left. */
export function rankGroup(
  rankSlot: u32,
  index: u32,
  rule: u32,
  kind: u32,
  window: u32,
  blockSize: u32,
  first: u32,
  step: u32,
): u32 {
  lockTake();
  const slot = groupOpen(rankSlot, index, rule, kind, window, blockSize, first, step);
  lockLeave();
  return slot;
}

/** Opens a group in a slot of the caller's choice, which is free: for what comes from another memory. */
export function rankGroupAt(
  slot: u32,
  rankSlot: u32,
  index: u32,
  rule: u32,
  kind: u32,
  window: u32,
  blockSize: u32,
): void {
  lockTake();
  if (groupOf(slot).rule == 0) groupPut(slot, rankSlot, index, rule, kind, window, blockSize);
  lockLeave();
}

/** Address of the groups' records (layout.ts), 32 bytes each. What is read while the version is odd, or changes, is in change. */
export function groupsAt(): usize {
  return changetype<usize>(groupOf(0));
}

/** Odd while a list of groups changes, and raised by each change. */
export function groupsVersion(): u32 {
  return atomic.load<u32>(HEADER + offsetof<Header>("groupsVersion"));
}

/** Group slots in use. */
export function groupsOpen(): u32 {
  return header().groupsOpen;
}

/** The rank that a holder slot belongs to. */
export function holderOwner(slot: u32): u32 {
  return ownerOfHolder(slot);
}

/** The next group of the same rank; of a rank slot the first one; 0 for none. */
export function groupNext(slot: u32): u32 {
  return groupOf(slot).next;
}

/** Forgets a rank with its groups (write.ts). */
export function indexClear(rankSlot: u32): void {
  lockTake();
  header().tick++;
  rankClear(rankSlot);
  for (let slot = groupOf(rankSlot).next; slot != 0; slot = groupOf(slot).next) rankClear(slot);
  groupsClose(rankSlot);
  finishWrite(null, 0);
  lockLeave();
}

/** Opens a reader for queries of up to `blocks` blocks; the address of its record, 0 when there are too many. */
export function readerOpen(blocks: u32): usize {
  lockTake();
  const reader = readerMake(blocks);
  lockLeave();
  return reader;
}

/** Ends a reader and gives its buffers back. */
export function readerEnd(reader: usize): void {
  lockTake();
  readerClose(changetype<Reader>(reader).line);
  readerFree(changetype<Reader>(reader));
  lockLeave();
}

/** Begins a lookup (lookup.ts). */
export function readerBegin(reader: usize, slot: u32, serial: u32): bool {
  return lookupBegin(changetype<Reader>(reader), slot, serial);
}

/** Continues it. */
export function readerMatch(reader: usize, ready: u32): u32 {
  return lookupOn(changetype<Reader>(reader), ready);
}

/** Writes rows of a context to a reader's memory (dump.ts). */
export function readerDump(reader: usize, slot: u32, serial: u32, out: usize, rowsMax: u32): void {
  dumpRows(changetype<Reader>(reader), slot, serial, out, rowsMax);
}

/** Checks all invariants (check.ts); returns the number of faults at `out`. */
export function indexCheck(out: usize): u32 {
  lockTake();
  const faults = checkAll(out);
  lockLeave();
  return faults;
}

/** Writes rows of a context to `out` (export.ts), from where the cursor stands. Nobody else may be at this memory. */
export function indexExport(slot: u32, cursor: usize, out: usize, rowsMax: u32): void {
  exportRows(contextAt(slot), cursor, out, rowsMax);
}

/**
 * The same of one holder only. The caller is the only writer, between two calls; readers may be there. The cursor is good
 * until the next write.
 */
export function indexExportHolder(slot: u32, holderSlot: u32, cursor: usize, out: usize, rowsMax: u32): void {
  lockTake();
  exportHolder(contextAt(slot), holderSlot, cursor, out, rowsMax);
  lockLeave();
}

/** Writes the slots of the contexts that a rank has stored to, the last one first; returns how many. */
export function rankContexts(rankSlot: u32, out: usize): u32 {
  return exportRankContexts(rankSlot, out);
}

/** Stores blocks whose prefix hashes are known, and which need not follow each other. Returns an outcome as `indexStore` does, parents aside. */
export function indexImport(
  slot: u32,
  rankSlot: u32,
  tier: u32,
  count: u32,
  prefixes: usize,
  engineHashes: usize,
): u32 {
  const context = contextAt(slot);
  lockTake();
  const h = header();
  h.tick++;
  context.lastStore = h.tick;
  enterAllChained(context);
  let outcome = storeRun(context, rankSlot, tier, 0, false, count, prefixes, engineHashes, 0, 0, 0);
  finishWrite(context, count);
  if (hasEvictions()) outcome |= EVICTED;
  lockLeave();
  return outcome;
}

/** Makes a context the one that a rank last stored to. */
export function rankContextFirst(slot: u32, rankSlot: u32): void {
  lockTake();
  listFirst(rankIn(contextAt(slot), rankSlot));
  lockLeave();
}
