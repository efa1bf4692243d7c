/**
 * Readers without locks: memory that a reader may be using is not reused before it has left.
 *
 *     reader                               writer
 *     line := epoch        (announce)      unlink a thing; put it in limbo with the epoch's number e
 *     … look around …                      epoch := e + 1
 *     line := 0            (leave)         free what is in limbo with a number below every announced one
 *
 * Both sides' stores and loads of lines and epoch are sequentially consistent. A reader that the
 * writer does not see has not looked yet, and will not find things that were unlinked before. A
 * reader that never leaves (a thread killed in the middle of a call) stops all reuse; `limboCount`
 * shows it.
 *
 * Limbo is a queue of (epoch, context, kind, value, mask), in pieces of 4 KiB. While there are no
 * readers it is empty after each write. Ids of one word of 64 that go one after the other are one entry:
 * the word's first id, and a bit for each.
 *
 * Source: Fraser, "Practical lock-freedom", 2004, section 5.2.3.
 */
import { Context, header, Header, READER_BYTES, READERS, READERS_MAX } from "./layout";
import { allocateScratch, releaseScratch } from "./heap";

export const LIMBO_MEMORY: u32 = 0;
export const LIMBO_IDS: u32 = 1;
export const LIMBO_CONTEXT: u32 = 2;

const PIECE_BYTES: u32 = 4080;
const ENTRY_BYTES: usize = 32;
/** Bytes of entries in a piece, behind the address of the next one. */
const PIECE_END: usize = 8 + 127 * 32;

// @ts-ignore: decorator
@inline
function lineOf(reader: u32): usize {
  return READERS + <usize>reader * READER_BYTES;
}

/** Takes a line for a new reader; −1 when all are taken. Under the writers' lock. */
export function readerOpen(): u32 {
  for (let i: u32 = 0; i < READERS_MAX; i++) {
    const line = lineOf(i);
    if (load<u32>(line, 8) != 0) continue;
    store<u32>(line, 1, 8);
    if (i >= header().readerCount) header().readerCount = i + 1;
    return i;
  }
  return <u32>-1;
}

/** Gives a line back. Under the writers' lock. */
export function readerClose(reader: u32): void {
  store<u32>(lineOf(reader), 0, 8);
}

// @ts-ignore: decorator
@inline
export function readerEnter(reader: u32): void {
  atomic.store<u64>(lineOf(reader), atomic.load<u64>(changetype<usize>(header()) + offsetof<Header>("epoch")));
}

// @ts-ignore: decorator
@inline
export function readerLeave(reader: u32): void {
  atomic.store<u64>(lineOf(reader), 0);
}

/** Starts with an empty limbo. */
export function limboInit(): void {
  const piece = allocateScratch(PIECE_BYTES);
  store<u32>(piece, 0);
  const h = header();
  h.epoch = 1;
  h.limboFirst = piece;
  h.limboLast = piece;
  h.limboRead = piece + 8;
  h.limboWrite = piece + 8;
}

/** Puts what was just unlinked in limbo. */
export function retire(context: Context, kind: u32, value: u32): void {
  const h = header();
  if (h.limboWrite == h.limboLast + PIECE_END) {
    const piece = allocateScratch(PIECE_BYTES);
    store<u32>(piece, 0);
    store<u32>(h.limboLast, <u32>piece);
    h.limboLast = piece;
    h.limboWrite = piece + 8;
  }
  const at = h.limboWrite;
  store<u64>(at, h.epoch);
  store<u32>(at, <u32>changetype<usize>(context), 8);
  store<u32>(at, kind, 12);
  store<u32>(at, value, 16);
  h.limboWrite = at + ENTRY_BYTES;
  h.limboCount++;
}

/** Puts a block's id, which was just unlinked, in limbo. */
export function retireId(context: Context, id: u32): void {
  const h = header();
  const bit: u64 = (<u64>1) << (id & 63);
  const first = id & ~63;
  const last = h.limboWrite - ENTRY_BYTES;
  // Behind the head of a piece is no entry; an entry that was taken is in no epoch to come.
  if (h.limboCount > 0 && last > h.limboLast && isOfWord(last, h.epoch, context, first)) {
    store<u64>(last, load<u64>(last, 24) | bit, 24);
    return;
  }
  retire(context, LIMBO_IDS, first);
  store<u64>(h.limboWrite - ENTRY_BYTES, bit, 24);
}

// @ts-ignore: decorator
@inline
function isOfWord(entry: usize, epoch: u64, context: Context, first: u32): bool {
  return (
    load<u32>(entry, 16) == first &&
    load<u32>(entry, 12) == LIMBO_IDS &&
    load<u64>(entry) == epoch &&
    load<u32>(entry, 8) == <u32>changetype<usize>(context)
  );
}

/**
 * Ends an epoch. Returns the number below which everything in limbo may go: the smallest that a reader has announced, or
 * the new epoch's, since what is unlinked from now on may be seen by readers that come after this look at the lines.
 */
export function epochEnd(): u64 {
  let oldest: u64 = atomic.add<u64>(changetype<usize>(header()) + offsetof<Header>("epoch"), 1) + 1;
  const count = header().readerCount;
  for (let i: u32 = 0; i < count; i++) {
    const announced = atomic.load<u64>(lineOf(i));
    if (announced != 0 && announced < oldest) oldest = announced;
  }
  return oldest;
}

/** Address of the oldest entry if its epoch is below `oldest`, else 0. Valid until the next `retire`. */
export function limboTake(oldest: u64): usize {
  const h = header();
  if (h.limboCount == 0) return 0;
  if (h.limboRead == h.limboFirst + PIECE_END) {
    const next = <usize>load<u32>(h.limboFirst);
    releaseScratch(h.limboFirst);
    h.limboFirst = next;
    h.limboRead = next + 8;
  }
  const at = h.limboRead;
  if (load<u64>(at) >= oldest) return 0;
  h.limboRead = at + ENTRY_BYTES;
  h.limboCount--;
  if (h.limboCount == 0) {
    // Empty, so first and last piece are one: start over in it.
    h.limboRead = h.limboFirst + 8;
    h.limboWrite = h.limboFirst + 8;
  }
  return at;
}
