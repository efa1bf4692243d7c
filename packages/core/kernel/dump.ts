/**
 * The content of a context, row by row, and the list of contexts, for audits and snapshots. Any
 * thread, no locks.
 *
 * A dump is paged: `cursor` is the next block, `holder` the next holder of it. Data that is written
 * meanwhile may be in it or not.
 */
import { Context, contextAt, localRank, SEVERAL } from "./layout";
import { CHUNK_LOG, chunkIn, prefixAddress, setAddress } from "./arena";
import { kindsOf, planeWord, setAt } from "./holder-set";
import { wordFind } from "./word-table";
import { copiesInList } from "./name-list";
import { extraCopies } from "./holding";
import { contextOf } from "./context";
import { Reader } from "./match";
import { readerEnter, readerLeave } from "./epoch";

/** Prefix hash (two words), rank slot, tier, copies. */
export const DUMP_ROW_WORDS: u32 = 5;

/** Where a dump stands; at the reader's `cursor`. */
@unmanaged
export class DumpCursor {
  id: u32;
  holder: u32;
  rows: u32;
  isDone: u32;
}

/** Writes up to `rowsMax` rows of five words to `out`: prefix low, high, rank slot, tier, copies. Moves the cursor on. */
export function dump(reader: Reader, slot: u32, serial: u32, out: usize, rowsMax: u32): void {
  const cursor = changetype<DumpCursor>(reader.cursor);
  cursor.rows = 0;
  cursor.isDone = 1;
  readerEnter(reader.line);
  const context = contextOf(slot, serial);
  if (context !== null) dumpBlocks(context, cursor, out, rowsMax);
  readerLeave(reader.line);
}

function dumpBlocks(context: Context, cursor: DumpCursor, out: usize, rowsMax: u32): void {
  const chunks = context.chunks;
  const end = context.chunkCount << CHUNK_LOG;
  for (; cursor.id < end; cursor.id++) {
    const chunk = chunkIn(chunks, cursor.id);
    if (chunk == 0) {
      cursor.id |= 1023;
      continue;
    }
    const set = <usize>atomic.load<u32>(setAddress(chunk, cursor.id));
    if (set != 0 && !dumpSet(context, cursor, set, load<u64>(prefixAddress(chunk, cursor.id)), out, rowsMax)) {
      cursor.isDone = 0;
      return;
    }
    cursor.holder = 0;
  }
}

/** The rows of one block, from the cursor's holder on. False when there is no more room. */
function dumpSet(context: Context, cursor: DumpCursor, set: usize, prefix: u64, out: usize, rowsMax: u32): bool {
  const holders = <u32>setAt(set).words << 8;
  while (cursor.holder < holders) {
    const local = cursor.holder >> 2;
    if ((local & 63) == 0 && (cursor.holder & 3) == 0 && isWordEmpty(set, local >> 6)) {
      cursor.holder += 256;
      continue;
    }
    const kinds = kindsOf(set, local);
    const tier = cursor.holder & 3;
    if (((kinds >> tier) & 1) != 0) {
      if (cursor.rows == rowsMax) return false;
      const row = out + <usize>(cursor.rows * DUMP_ROW_WORDS << 2);
      store<u64>(row, prefix);
      store<u32>(row, localRank(context, local).rankSlot, 8);
      store<u32>(row, tier, 12);
      store<u32>(row, copiesOf(context, local, cursor.id, tier, kinds), 16);
      cursor.rows++;
    }
    cursor.holder++;
  }
  return true;
}

/** Whether no rank of 64 holds anything at any tier. */
export function isWordEmpty(set: usize, word: u32): bool {
  let any: u64 = 0;
  for (let tier: u32 = 0; tier < 4; tier++) any |= planeWord(set, tier, word);
  return any == 0;
}

function copiesOf(context: Context, local: u32, id: u32, tier: u32, kinds: u32): u32 {
  const rank = localRank(context, local);
  if ((kinds & SEVERAL) == 0) return 1 + extraCopies(rank, id, tier);
  const list = <usize>wordFind(rank.lists, id);
  return list == 0 ? 1 : copiesInList(list, tier);
}

/** What is known of a context, and behind it the bytes of its name. Serial 0: there is none. */
@unmanaged
export class ContextRecord {
  serial: u32;
  blockSize: u32;
  lookahead: u32;
  prefixCount: u32;
  mappingCount: u32;
  bytes: u32;
  nameBytes: u32;
}

/** Describes the context in a slot. */
export function contextRead(slot: u32, out: usize): void {
  const context = contextAt(slot);
  const record = changetype<ContextRecord>(out);
  const serial = atomic.load<u32>(changetype<usize>(context) + offsetof<Context>("serial"));
  record.serial = serial;
  if (serial == 0) return;
  let mappings = context.namesCount;
  for (let local: u32 = 0; local < context.localCount; local++) mappings += localRank(context, local).ownNamesCount;
  record.blockSize = context.blockSize;
  record.lookahead = context.lookahead;
  record.prefixCount = context.prefixCount;
  record.mappingCount = mappings;
  record.bytes = context.bytes;
  record.nameBytes = context.nameBytes;
  memory.copy(out + offsetof<ContextRecord>(), context.name, context.nameBytes);
}
