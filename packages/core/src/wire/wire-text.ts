/**
 * Text on the wire: bounded, strictly UTF-8, and made into a JavaScript string as rarely as possible.
 *
 * A stream repeats a handful of strings ("GPU", "full_attention", one adapter's name) in every event. `TextInterner` is a
 * direct-mapped cache from bytes to the string made of them last time: one slot per key, a newcomer takes the slot. So
 * it is bounded without bookkeeping, and a publisher that sends ever new strings only makes it useless, never large.
 */
import { lenientUtf8, strictUtf8 } from "../text-codec.ts";
import type { MsgpackCursor } from "./msgpack-cursor.ts";
import type { WireError } from "./wire-error.ts";

/** Slots of the cache, a power of two. A fleet has a few dozen media, kinds and adapters at a time. */
const SLOT_COUNT = 256;
/** Longer strings are not kept: names are shorter, and a kept string costs its length for as long as it stays. */
const KEPT_BYTES_MAX = 128;
/** Up to this length a loop over characters (4 ns each) beats a call of TextDecoder (60 ns; Node 20.20.2, AMD EPYC). */
const LOOP_BYTES_MAX = 10;

/**
 * Reads a string.
 *
 * @param cursor - stands at it.
 * @param bytesMax - longest string taken.
 * @returns a new string.
 * @throws WireError `wrong_type`, `truncated`, `limit_exceeded`, `invalid_utf8`.
 */
export function readText(cursor: MsgpackCursor, bytesMax: number): string {
  const length = readBoundedLength(cursor, bytesMax);
  const text = textOf(cursor, length);
  cursor.position += length;
  return text;
}

/**
 * Shows foreign text in an error message: at most 64 bytes, broken UTF-8 replaced.
 *
 * @param bytes - the text.
 * @returns the text in quotes.
 */
export function quoteText(bytes: Uint8Array): string {
  return JSON.stringify(lenientUtf8.decode(bytes.subarray(0, 64)));
}

/** Reads strings, giving the same string object for the same bytes as long as its slot holds it. */
export class TextInterner {
  readonly #kept: (DataView | null)[] = new Array<DataView | null>(SLOT_COUNT).fill(null);
  readonly #texts: string[] = new Array<string>(SLOT_COUNT).fill("");

  /**
   * Reads a string that is likely to have been read before.
   *
   * @param cursor - stands at it.
   * @param bytesMax - longest string taken.
   * @returns the string; nothing is allocated when it was read before.
   * @throws WireError `wrong_type`, `truncated`, `limit_exceeded`, `invalid_utf8`.
   */
  read(cursor: MsgpackCursor, bytesMax: number): string {
    const length = readBoundedLength(cursor, bytesMax);
    if (length === 0) return "";
    const { bytes, position } = cursor;
    // Length, first, middle and last byte tell media, kinds and adapter names apart well enough.
    const mixed = length * 31 + bytes[position] + bytes[position + (length >>> 1)] * 7;
    const slot = (mixed + bytes[position + length - 1] * 13) % SLOT_COUNT;
    const kept = this.#kept[slot];
    if (kept === null || !isSame(kept, cursor.view, position, length))
      return this.#replace(cursor, slot, length);
    cursor.position = position + length;
    return this.#texts[slot];
  }

  #replace(cursor: MsgpackCursor, slot: number, length: number): string {
    const { bytes, position } = cursor;
    const text = textOf(cursor, length);
    if (length <= KEPT_BYTES_MAX) {
      this.#kept[slot] = new DataView(Uint8Array.from(bytes.subarray(position, position + length)).buffer);
      this.#texts[slot] = text;
    }
    cursor.position = position + length;
    return text;
  }
}

function readBoundedLength(cursor: MsgpackCursor, bytesMax: number): number {
  const start = cursor.position;
  const length = cursor.readTextLength();
  if (length > bytesMax) throw textTooLong(cursor, start, bytesMax, length);
  return length;
}

function textTooLong(cursor: MsgpackCursor, start: number, bytesMax: number, length: number): WireError {
  return cursor.error("limit_exceeded", start, `a string of at most ${bytesMax} bytes`, `${length} bytes`);
}

/** Compares word by word and the rest byte by byte. */
function isSame(kept: DataView, view: DataView, start: number, length: number): boolean {
  if (kept.byteLength !== length) return false;
  let at = 0;
  for (; at + 4 <= length; at += 4) {
    if (kept.getUint32(at) !== view.getUint32(start + at)) return false;
  }
  for (; at < length; at += 1) {
    if (kept.getUint8(at) !== view.getUint8(start + at)) return false;
  }
  return true;
}

/** The string of the `length` bytes at the cursor, which stays. */
function textOf(cursor: MsgpackCursor, length: number): string {
  const { bytes, position } = cursor;
  if (length <= LOOP_BYTES_MAX) {
    let text = "";
    for (let index = 0; index < length; index += 1) {
      const byte = bytes[position + index];
      if (byte >= 0x80) break;
      text += String.fromCharCode(byte);
    }
    if (text.length === length) return text;
  }
  try {
    return strictUtf8.decode(bytes.subarray(position, position + length));
  } catch (cause) {
    throw cursor.error("invalid_utf8", position, "UTF-8", `${length} other bytes`, { cause });
  }
}
