/**
 * A cursor over one msgpack payload: reads the few shapes that the protocol uses, skips all the others.
 *
 *     bytes  ┌──────────────── payload ────────────────┐
 *            0            position ▲               end ▲
 *
 * Invariants
 *  M1  Nothing at or after `end` is ever read: each read is preceded by a comparison with `end`.
 *  M2  A header's element count is accepted only if the remaining bytes can hold that many elements
 *      (one byte each at least). So a five-byte header cannot announce four billion elements.
 *  M3  A read that throws leaves `position` where the value began or inside it, never behind it. To
 *      continue, set `position` back and call `skip`.
 *  M4  `skip` keeps one counter and no stack; nesting of any depth costs time linear in its bytes.
 *
 * It builds no objects and no strings. `position` is a public field on purpose: the loops over tokens and hashes
 * (block-columns.ts) lift it to a local and write it back.
 *
 * Source: the msgpack specification, github.com/msgpack/msgpack/blob/master/spec.md; integer and length forms as
 * msgspec emits them (jcrist/msgspec src/msgspec/_core.c @ 3b2543b8). Any form of the specification is accepted, not
 * only the smallest.
 */
import { type PayloadErrorCode, WireError } from "./wire-error.ts";

const NO_BYTES = new Uint8Array(0);
const NO_VIEW = new DataView(NO_BYTES.buffer);
const TWO_32 = 4_294_967_296;

/** How `skip` treats the formats 0xc0 … 0xdf: what follows the header is `length` bytes, elements or pairs. */
const BYTES = 0;
const ELEMENTS = 1;
const PAIRS = 2;
const RESERVED = 3;

/** One row per format from 0xc0: bytes before the body, bytes of these that are the length, what the length counts. */
const LONG_FORMATS: readonly (readonly [headerBytes: number, lengthBytes: number, counts: number])[] = [
  [1, 0, BYTES], // c0 nil
  [1, 0, RESERVED], // c1 never used
  [1, 0, BYTES], // c2 false
  [1, 0, BYTES], // c3 true
  [2, 1, BYTES], // c4 bin 8
  [3, 2, BYTES], // c5 bin 16
  [5, 4, BYTES], // c6 bin 32
  [3, 1, BYTES], // c7 ext 8: the type byte stands behind the length
  [4, 2, BYTES], // c8 ext 16
  [6, 4, BYTES], // c9 ext 32
  [5, 0, BYTES], // ca float 32
  [9, 0, BYTES], // cb float 64
  [2, 0, BYTES], // cc uint 8
  [3, 0, BYTES], // cd uint 16
  [5, 0, BYTES], // ce uint 32
  [9, 0, BYTES], // cf uint 64
  [2, 0, BYTES], // d0 int 8
  [3, 0, BYTES], // d1 int 16
  [5, 0, BYTES], // d2 int 32
  [9, 0, BYTES], // d3 int 64
  [3, 0, BYTES], // d4 fixext 1
  [4, 0, BYTES], // d5 fixext 2
  [6, 0, BYTES], // d6 fixext 4
  [10, 0, BYTES], // d7 fixext 8
  [18, 0, BYTES], // d8 fixext 16
  [2, 1, BYTES], // d9 str 8
  [3, 2, BYTES], // da str 16
  [5, 4, BYTES], // db str 32
  [3, 2, ELEMENTS], // dc array 16
  [5, 4, ELEMENTS], // dd array 32
  [3, 2, PAIRS], // de map 16
  [5, 4, PAIRS], // df map 32
];
const HEADER_BYTES = Uint8Array.from(LONG_FORMATS, (row) => row[0]);
const LENGTH_BYTES = Uint8Array.from(LONG_FORMATS, (row) => row[1]);
const LENGTH_COUNTS = Uint8Array.from(LONG_FORMATS, (row) => row[2]);

const FORMAT_NAMES: readonly (readonly [first: number, name: string])[] = [
  [0xe0, "int"],
  [0xde, "map"],
  [0xdc, "array"],
  [0xd9, "str"],
  [0xd4, "ext"],
  [0xd0, "int"],
  [0xcc, "uint"],
  [0xca, "float"],
  [0xc7, "ext"],
  [0xc4, "bin"],
  [0xc2, "bool"],
  [0xc1, "the reserved byte c1"],
  [0xc0, "nil"],
  [0xa0, "str"],
  [0x90, "array"],
  [0x80, "map"],
];

function formatName(format: number): string {
  return FORMAT_NAMES.find(([first]) => format >= first)?.[1] ?? "uint";
}

/** Reads msgpack values in order from one payload at a time; see the head of this file. */
export class MsgpackCursor {
  /** The buffer in which the payload lies. Read only, and between `position` and `end` only. */
  bytes: Uint8Array = NO_BYTES;
  /** A view of the same bytes, for big-endian reads. */
  view: DataView = NO_VIEW;
  /** Place of the next unread byte in the buffer. */
  position = 0;
  /** Where the payload ends in it. */
  end = 0;
  /** Where it begins. Errors count from here. */
  start = 0;

  /**
   * Starts at the first byte of a payload. The payload is borrowed: it must not change while it is read.
   *
   * @param payload - one msgpack value, and nothing after it.
   */
  open(payload: Uint8Array): void {
    const { buffer, byteOffset, byteLength } = payload;
    if (this.view.buffer !== buffer) {
      // Messages of one chunk follow each other: the views of its buffer serve all of them.
      this.bytes = byteLength === buffer.byteLength ? payload : new Uint8Array(buffer);
      this.view = new DataView(buffer);
    }
    this.start = byteOffset;
    this.position = byteOffset;
    this.end = byteOffset + byteLength;
  }

  /**
   * Makes an error about this payload; the caller throws it.
   *
   * @param code - its code.
   * @param place - in the buffer, of the byte that it is about.
   * @param expected - what should have been there.
   * @param actual - what was there.
   * @param options - `cause`, when another error led here.
   * @returns the error.
   */
  error(
    code: PayloadErrorCode,
    place: number,
    expected: string,
    actual: string,
    options?: ErrorOptions,
  ): WireError {
    return new WireError({ code, offset: place - this.start, expected, actual }, options);
  }

  /**
   * Makes the error for a value of another type than wanted at `position`.
   *
   * @param expected - the type wanted.
   * @returns the error, `wrong_type` (or `reserved_byte` for c1).
   */
  wrongType(expected: string): WireError {
    const format = this.bytes[this.position];
    const code = format === 0xc1 ? "reserved_byte" : "wrong_type";
    return this.error(code, this.position, expected, formatName(format));
  }

  /**
   * Makes the error for a value that goes on past the payload's end.
   *
   * @param wanted - bytes that it needs from `position`.
   * @returns the error, `truncated`.
   */
  truncated(wanted: number): WireError {
    const left = this.end - this.position;
    return this.error("truncated", this.position, `at least ${wanted} more bytes`, `${left}`);
  }

  /**
   * The format byte of the next value, which stays unread.
   *
   * @returns 0 … 255.
   * @throws WireError `truncated` at the end of the payload.
   */
  format(): number {
    if (this.position >= this.end) throw this.truncated(1);
    return this.bytes[this.position];
  }

  /**
   * Reads a nil if one is next.
   *
   * @returns whether it was one; otherwise nothing was read.
   * @throws WireError `truncated`.
   */
  takeNil(): boolean {
    if (this.format() !== 0xc0) return false;
    this.position += 1;
    return true;
  }

  /**
   * Reads the header of an array.
   *
   * @returns its number of elements, of which the payload can hold at least the first bytes (M2).
   * @throws WireError `wrong_type`, `truncated`.
   */
  readArrayLength(): number {
    const format = this.format();
    const count =
      (format & 0xf0) === 0x90 ? this.#shortLength(format & 0x0f) : this.#longLength(0xdb, 0xdd, "array");
    if (count > this.end - this.position) throw this.truncated(count);
    return count;
  }

  /**
   * Reads the header of a map, minimal or not (msgspec writes `de 00 nn` for structs of 15 fields and more).
   *
   * @returns its number of pairs (M2).
   * @throws WireError `wrong_type`, `truncated`.
   */
  readMapLength(): number {
    const format = this.format();
    const count =
      (format & 0xf0) === 0x80 ? this.#shortLength(format & 0x0f) : this.#longLength(0xdd, 0xdf, "map");
    if (count * 2 > this.end - this.position) throw this.truncated(count * 2);
    return count;
  }

  /**
   * Reads the header of a string; `position` is then its first byte, and all of it lies inside the payload.
   *
   * @returns its length in bytes.
   * @throws WireError `wrong_type`, `truncated`.
   */
  readTextLength(): number {
    const format = this.format();
    const length =
      (format & 0xe0) === 0xa0 ? this.#shortLength(format & 0x1f) : this.#longLength(0xd8, 0xdb, "str");
    if (length > this.end - this.position) throw this.truncated(length);
    return length;
  }

  /**
   * Reads the header of a byte string; `position` is then its first byte, and all of it lies inside the payload.
   *
   * @returns its length in bytes.
   * @throws WireError `wrong_type`, `truncated`.
   */
  readBinaryLength(): number {
    this.format();
    const length = this.#longLength(0xc3, 0xc6, "bin");
    if (length > this.end - this.position) throw this.truncated(length);
    return length;
  }

  /**
   * Reads an integer of any width and sign.
   *
   * @returns a safe integer.
   * @throws WireError `wrong_type`, `truncated`, `out_of_range` beyond ±(2⁵³ − 1).
   */
  readInteger(): number {
    const format = this.format();
    if (format < 0x80 || format >= 0xe0) {
      this.position += 1;
      return format < 0x80 ? format : format - 0x100;
    }
    if (format < 0xcc || format > 0xd3) throw this.wrongType("an integer");
    const at = this.position + 1;
    const width = 1 << (format & 3);
    if (width > this.end - at) throw this.truncated(1 + width);
    const value = this.#integerAt(at, format);
    if (!Number.isSafeInteger(value)) {
      throw this.error("out_of_range", this.position, "an integer of at most 53 bits", "a larger one");
    }
    this.position = at + width;
    return value;
  }

  /**
   * Reads a float of either width, or an integer in its place.
   *
   * @returns the value; not a number and infinities included.
   * @throws WireError `wrong_type`, `truncated`, `out_of_range` for integers beyond 53 bits.
   */
  readNumber(): number {
    const format = this.format();
    if (format !== 0xcb && format !== 0xca) return this.readInteger();
    const at = this.position + 1;
    const width = format === 0xcb ? 8 : 4;
    if (width > this.end - at) throw this.truncated(1 + width);
    this.position = at + width;
    return format === 0xcb ? this.view.getFloat64(at) : this.view.getFloat32(at);
  }

  /**
   * Passes over the next value, whatever it is and however deep (M4). Text is not checked.
   *
   * @throws WireError `truncated`, `reserved_byte`.
   */
  skip(): void {
    const { bytes, end } = this;
    let position = this.position;
    // Values still to pass. Each takes a byte at least, which bounds the loop by the payload's length.
    let pending = 1;
    while (pending > 0) {
      if (pending > end - position) {
        this.position = Math.min(position, end);
        throw this.truncated(pending);
      }
      const format = bytes[position];
      pending -= 1;
      if (format < 0x80 || format >= 0xe0) position += 1;
      else if (format < 0x90) {
        pending += (format & 0x0f) * 2;
        position += 1;
      } else if (format < 0xa0) {
        pending += format & 0x0f;
        position += 1;
      } else if (format < 0xc0) position += 1 + (format & 0x1f);
      else {
        this.position = position;
        const counts = LENGTH_COUNTS[format - 0xc0];
        const length = this.#lengthOf(format);
        position += HEADER_BYTES[format - 0xc0];
        if (counts === BYTES) position += length;
        else pending += counts === PAIRS ? length * 2 : length;
      }
    }
    if (position > end) throw this.truncated(position - this.position);
    this.position = position;
  }

  #shortLength(length: number): number {
    this.position += 1;
    return length;
  }

  /** Length of an 8, 16 or 32-bit header whose format lies in (before, last]; the header is then read. */
  #longLength(before: number, last: number, expected: string): number {
    const format = this.bytes[this.position];
    if (format <= before || format > last) throw this.wrongType(expected);
    const length = this.#lengthOf(format);
    this.position += HEADER_BYTES[format - 0xc0];
    return length;
  }

  /** What the header at `position` announces, 0 when its format has no length. Reads nothing. */
  #lengthOf(format: number): number {
    if (format === 0xc1) throw this.wrongType("a value");
    const row = format - 0xc0;
    if (HEADER_BYTES[row] > this.end - this.position) throw this.truncated(HEADER_BYTES[row]);
    const at = this.position + 1;
    switch (LENGTH_BYTES[row]) {
      case 1:
        return this.bytes[at];
      case 2:
        return this.view.getUint16(at);
      case 4:
        return this.view.getUint32(at);
      default:
        return 0;
    }
  }

  #integerAt(at: number, format: number): number {
    switch (format) {
      case 0xcc:
        return this.view.getUint8(at);
      case 0xcd:
        return this.view.getUint16(at);
      case 0xce:
        return this.view.getUint32(at);
      case 0xcf:
        return this.view.getUint32(at) * TWO_32 + this.view.getUint32(at + 4);
      case 0xd0:
        return this.view.getInt8(at);
      case 0xd1:
        return this.view.getInt16(at);
      case 0xd2:
        return this.view.getInt32(at);
      default:
        return this.view.getInt32(at) * TWO_32 + this.view.getUint32(at + 4);
    }
  }
}
