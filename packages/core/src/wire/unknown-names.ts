/**
 * Names of fields that this version does not know, fit for a log: few, short, printable.
 *
 * They come from engines, so that each bound is a defense. Bytes that were named before get the same string object,
 * without allocation: a newer engine carries its new field in every event.
 */
import { lenientUtf8 } from "../text-codec.ts";

/** Names that are kept. Further ones are called {@link OTHER_NAME}: an engine adds one field at a time, not hundreds. */
const NAMES_MAX = 32;
/** Bytes of a key that are shown; the longest known name has 28. */
const NAME_BYTES_MAX = 48;
/** Name of every field after the first {@link NAMES_MAX}. */
const OTHER_NAME = "other";

/** Gives names; see the head of this file. */
export class UnknownNames {
  readonly #keys: Uint8Array[] = [];
  readonly #names: string[] = [];
  readonly #slots: string[] = [];

  /**
   * Names a key of a map.
   *
   * @param bytes - of the payload.
   * @param start - first byte of the key, its msgpack header included.
   * @param end - behind its last byte.
   * @returns the key's text, cut to 48 bytes, with everything that is not a letter, a digit or common punctuation as "?".
   */
  key(bytes: Uint8Array, start: number, end: number): string {
    for (let index = 0; index < this.#keys.length; index += 1) {
      if (isSame(this.#keys[index], bytes, start, end)) return this.#names[index];
    }
    if (this.#names.length === NAMES_MAX) return OTHER_NAME;
    const name = textOfKey(bytes, start, end);
    this.#keys.push(bytes.slice(start, Math.min(end, start + NAME_BYTES_MAX)));
    this.#names.push(name);
    return name;
  }

  /**
   * Names an element of an array.
   *
   * @param slot - its position, from 0.
   * @returns "slot 12", or {@link OTHER_NAME} for positions that no engine will reach soon.
   */
  slot(slot: number): string {
    if (slot >= NAMES_MAX) return OTHER_NAME;
    return (this.#slots[slot] ??= `slot ${slot}`);
  }
}

/** Keys that share their first 48 bytes share a name. */
function isSame(kept: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (kept.length !== Math.min(end - start, NAME_BYTES_MAX)) return false;
  for (let index = 0; index < kept.length; index += 1) {
    if (kept[index] !== bytes[start + index]) return false;
  }
  return true;
}

function textOfKey(bytes: Uint8Array, start: number, end: number): string {
  const headerBytes = textHeaderBytes(bytes[start]);
  if (headerBytes === 0) return "not a string";
  const text = bytes.subarray(start + headerBytes, Math.min(end, start + NAME_BYTES_MAX));
  return lenientUtf8.decode(text).replace(/[^\w .:/-]/gu, "?");
}

/** Bytes before a string's text; 0 for what is no string. */
function textHeaderBytes(format: number): number {
  if ((format & 0xe0) === 0xa0) return 1;
  return format >= 0xd9 && format <= 0xdb ? 1 + (1 << (format - 0xd9)) : 0;
}
