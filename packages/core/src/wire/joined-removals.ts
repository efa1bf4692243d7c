/**
 * Removals of one block each that follow each other and are equal except for their block, read as one. An engine that evicts for
 * a new run writes one for each block, so that most of a message are such events.
 *
 *     event        86 a4 type … 91 cf hhhhhhhhhhhhhhhh a6 medium …        start … cursor
 *     the next     86 a4 type … 91 cf hhhhhhhhhhhhhhhh a6 medium …        the same bytes, another hash: not parsed again
 *
 * Only hashes that are 64-bit integers of 9 bytes, signed or not. An event that differs is read by itself.
 */
import type { MsgpackCursor } from "./msgpack-cursor.ts";

/** Events joined at most: what a turn waits for. */
const JOINED_MAX = 256;
const HASH_BYTES = 9;
const ARRAY_OF_ONE = 0x91;

/**
 * Passes over the removals behind one that are equal except for their block.
 *
 * @param cursor - stands behind the removal that was read.
 * @param start - where that one begins.
 * @param hashesAt - where its block hashes begin.
 * @param hashes - holds its hash, and receives the others behind it, low then high.
 * @param eventsMax - events that the batch has behind it.
 * @returns how many there were. O(bytes), allocates nothing.
 */
export function joinRemovals(
  cursor: MsgpackCursor,
  start: number,
  hashesAt: number,
  hashes: Uint32Array,
  eventsMax: number,
): number {
  const { bytes, view, end } = cursor;
  const hashAt = hashesAt + 1;
  if (bytes[hashesAt] !== ARRAY_OF_ONE || !isWideInteger(bytes[hashAt])) return 0;
  const length = cursor.position - start;
  const head = hashAt - start;
  const tail = head + HASH_BYTES;
  const most = Math.min(eventsMax, JOINED_MAX - 1, hashes.length / 2 - 1);
  let joined = 0;
  let at = cursor.position;
  while (joined < most && at + length <= end && isWideInteger(bytes[at + head])) {
    if (!areEqual(view, start, at, head) || !areEqual(view, start + tail, at + tail, length - tail)) break;
    joined += 1;
    hashes[2 * joined + 1] = view.getUint32(at + head + 1);
    hashes[2 * joined] = view.getUint32(at + head + 5);
    at += length;
  }
  cursor.position = at;
  return joined;
}

function isWideInteger(format: number): boolean {
  return format === 0xcf || format === 0xd3;
}

function areEqual(view: DataView, one: number, other: number, length: number): boolean {
  let i = 0;
  for (; i + 4 <= length; i += 4) if (view.getUint32(one + i) !== view.getUint32(other + i)) return false;
  for (; i < length; i += 1) if (view.getUint8(one + i) !== view.getUint8(other + i)) return false;
  return true;
}
