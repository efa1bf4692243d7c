/**
 * The content of a context, with names and copies: all of it for snapshots, or that of one holder,
 * which goes to another memory. No other thread writes meanwhile. A copy has no readers either; the
 * export of one holder changes nothing that readers see.
 *
 *     row + 0   prefix hash u64 │ 8 engine hash u64 │ 16 holder slot + (tier << 16) u32 │ 20 copies u32
 *
 *     phase 0   by block: ranks that call it by the agreed name
 *     phase 1   by rank, its own names: blocks that it calls otherwise
 *     phase 2   by rank, its lists: blocks that it has several names for
 *
 * Agreed names come first, so that an index that is filled in this order agrees on the same ones.
 */
import { chunkOf, engineAddress, prefixAddress, setAddress, CHUNK_LOG } from "./arena";
import { Context, header, localRank, OTHERWISE, RankInContext, rankOf, SEVERAL, TIER_KINDS } from "./layout";
import { isWordEmpty } from "./dump";
import { kindsOf, setAt } from "./holder-set";
import { extraCopies, nameIn } from "./holding";
import { mixKey } from "./id-table";
import { listCount, listNameAt } from "./name-list";
import { groupRank } from "./context";
import { ownNameBlock, ownNameKey } from "./own-names";
import { wordCapacity, wordEntry, wordFind } from "./word-table";

/** A row as the head of this file draws it. */
@unmanaged
export class ExportRow {
  prefix: u64;
  engineHash: u64;
  holder: u32;
  copies: u32;
}

/** A row's holder: the slot in the low bits, the tier above. */
export const HOLDER_TIER_SHIFT: u32 = 16;
export const HOLDER_SLOT_MASK: u32 = 0xffff;
const TIERS: u32 = 4;
/** Rows that one block of phase 0 may take: all ranks at all tiers. The caller's room is at least this. */
export const EXPORT_ROWS_MIN: u32 = 32768;

/** Where an export stands. Made by the caller, all 0. */
@unmanaged
export class ExportCursor {
  phase: u32;
  /** Block in phase 0, rank's local number in the others. */
  major: u32;
  /** Entry of the rank's table in phases 1 and 2. */
  minor: u32;
  rows: u32;
  isDone: u32;
}

/** No holder in particular. */
const ALL: u32 = ~0;

/** Writes rows of one holder; see `exportRows`. */
export function exportHolder(context: Context, holderSlot: u32, cursorAt: usize, out: usize, rowsMax: u32): void {
  const rank = groupRank(context, holderSlot);
  if (rank != 0) exportOf(context, changetype<RankInContext>(rank).local, cursorAt, out, rowsMax);
  else {
    changetype<ExportCursor>(cursorAt).rows = 0;
    changetype<ExportCursor>(cursorAt).isDone = 1;
  }
}

/** Writes rows to `out` while one more step is sure to fit, and moves the cursor on. */
export function exportRows(context: Context, cursorAt: usize, out: usize, rowsMax: u32): void {
  exportOf(context, ALL, cursorAt, out, rowsMax);
}

/** `only` is the local number of a holder, or `ALL`. */
function exportOf(context: Context, only: u32, cursorAt: usize, out: usize, rowsMax: u32): void {
  const cursor = changetype<ExportCursor>(cursorAt);
  cursor.rows = 0;
  while (cursor.phase < 3) {
    const isOver =
      cursor.phase == 0
        ? exportBlocks(context, only, cursor, out, rowsMax)
        : exportRanks(context, only, cursor, out, rowsMax);
    if (!isOver) return;
    cursor.phase++;
    cursor.major = 0;
    cursor.minor = 0;
  }
  cursor.isDone = 1;
}

function exportBlocks(context: Context, only: u32, cursor: ExportCursor, out: usize, rowsMax: u32): bool {
  const end = context.chunkCount << CHUNK_LOG;
  for (; cursor.major < end; cursor.major++) {
    const chunk = chunkOf(context, cursor.major);
    if (chunk == 0) {
      cursor.major |= 1023;
      continue;
    }
    const set = <usize>load<u32>(setAddress(chunk, cursor.major));
    if (set == 0 || (only != ALL && kindsOf(set, only) == 0)) continue;
    if (cursor.rows + EXPORT_ROWS_MIN > rowsMax) return false;
    if (only != ALL) {
      exportBlock(context, only, cursor, out, set, chunk);
      continue;
    }
    const ranks = <u32>setAt(set).words << 6;
    for (let local: u32 = 0; local < ranks; local++) {
      if ((local & 63) == 0 && isWordEmpty(set, local >> 6)) {
        local += 63;
        continue;
      }
      exportBlock(context, local, cursor, out, set, chunk);
    }
  }
  return true;
}

/** The rows of one holder of a block, if it calls it by the agreed name. */
function exportBlock(context: Context, local: u32, cursor: ExportCursor, out: usize, set: usize, chunk: usize): void {
  const kinds = kindsOf(set, local);
  if (kinds == 0 || kinds > TIER_KINDS) return;
  putCopies(localRank(context, local), cursor, out, kinds, load<u64>(engineAddress(chunk, cursor.major)), cursor.major);
}

function exportRanks(context: Context, only: u32, cursor: ExportCursor, out: usize, rowsMax: u32): bool {
  for (; cursor.major < context.localCount; cursor.major++) {
    if (only != ALL && cursor.major != only) continue;
    const rank = localRank(context, cursor.major);
    const isOver =
      cursor.phase == 1 ? exportOwnNames(rank, cursor, out, rowsMax) : exportLists(rank, cursor, out, rowsMax);
    if (!isOver) return false;
    cursor.minor = 0;
  }
  return true;
}

function exportOwnNames(rank: RankInContext, cursor: ExportCursor, out: usize, rowsMax: u32): bool {
  for (; cursor.minor < rank.ownNamesCapacity; cursor.minor++) {
    const id = ownNameBlock(rank, cursor.minor);
    if (id == 0) continue;
    if (cursor.rows + EXPORT_ROWS_MIN > rowsMax) return false;
    const kinds = kindsOf(<usize>load<u32>(setAddress(chunkOf(rank.context, id), id)), rank.local);
    // Fills in what a list has not read yet: phase 2 writes it.
    if ((kinds & SEVERAL) != 0) {
      const name = ownNameKey(rank, cursor.minor);
      nameIn(rank, <usize>wordFind(rank.lists, id), name, mixKey(name), id);
    }
    if ((kinds & OTHERWISE) != 0 && (kinds & SEVERAL) == 0)
      putCopies(rank, cursor, out, kinds, ownNameKey(rank, cursor.minor), id);
  }
  return true;
}

function exportLists(rank: RankInContext, cursor: ExportCursor, out: usize, rowsMax: u32): bool {
  for (; cursor.minor < wordCapacity(rank.lists); cursor.minor++) {
    const at = wordEntry(rank.lists, cursor.minor);
    const id = load<u32>(at);
    if (id == 0) continue;
    const list = <usize>load<u32>(at, 4);
    if (cursor.rows + EXPORT_ROWS_MIN > rowsMax) return false;
    for (let i: u32 = 0; i < listCount(list); i++) {
      const name = listNameAt(list, i);
      for (let tier: u32 = 0; tier < TIERS; tier++) {
        const copies = load<u32>(name + 8 + (<usize>tier << 2));
        if (copies != 0) putRow(rank, cursor, out, tier, load<u64>(name), id, copies);
      }
    }
  }
  return true;
}

function putCopies(rank: RankInContext, cursor: ExportCursor, out: usize, kinds: u32, engineHash: u64, id: u32): void {
  for (let tier: u32 = 0; tier < TIERS; tier++)
    if (((kinds >> tier) & 1) != 0) putRow(rank, cursor, out, tier, engineHash, id, 1 + extraCopies(rank, id, tier));
}

function putRow(
  rank: RankInContext,
  cursor: ExportCursor,
  out: usize,
  tier: u32,
  engineHash: u64,
  id: u32,
  copies: u32,
): void {
  const row = changetype<ExportRow>(out + <usize>cursor.rows * offsetof<ExportRow>());
  row.prefix = load<u64>(prefixAddress(chunkOf(rank.context, id), id));
  row.engineHash = engineHash;
  row.holder = rank.rankSlot | (tier << HOLDER_TIER_SHIFT);
  row.copies = copies;
  cursor.rows++;
}

/** Writes the slots of the contexts that a rank has stored to, the last one first; returns how many. */
export function exportRankContexts(rankSlot: u32, out: usize): u32 {
  const first = header().contexts;
  let count: u32 = 0;
  for (let at = rankOf(rankSlot).first; at != 0; at = changetype<RankInContext>(at).next) {
    const offset = changetype<usize>(changetype<RankInContext>(at).context) - first;
    store<u32>(out + (<usize>count << 2), <u32>(offset / offsetof<Context>()));
    count++;
  }
  return count;
}
