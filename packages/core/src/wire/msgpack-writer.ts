/**
 * Writes msgpack in the forms that msgspec gives: the smallest integer and length, floats always in 64 bits.
 *
 *     bytes  ┌── written ──┬── free ──┐        doubles when full; `take` copies out what was written
 *            0       length ▲     capacity
 *
 * A general encoder is not used, for three reasons. Floats must stay floats when they are integral,
 * headers may be non-minimal, and token arrays of thousands of elements should cost nanoseconds per
 * element.
 *
 * Source of the forms: jcrist/msgspec src/msgspec/_core.c @ 3b2543b8, the mpack_encode functions.
 */
import { utf8 } from "../text-codec.ts";
import { assert, AssertionError } from "../assert.ts";

const TWO_32 = 4_294_967_296;
/** Widest msgpack header or number. */
const SCALAR_BYTES_MAX = 9;
const TOKEN_BYTES_MAX = 5;
/** Shorter strings have their length in the format byte. */
const SHORT_TEXT_BYTES = 32;
const U64_MAX = 0xffff_ffff_ffff_ffffn;
const SAFE_MIN = BigInt(Number.MIN_SAFE_INTEGER);
const SAFE_MAX = BigInt(Number.MAX_SAFE_INTEGER);
const I64_MIN = -0x8000_0000_0000_0000n;

/** A growing buffer of msgpack. */
export class MsgpackWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView;
  #length = 0;

  /** @param capacityBytes - first size of the buffer, ≥ 1. */
  constructor(capacityBytes: number) {
    this.#bytes = new Uint8Array(capacityBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** A copy of what was written. */
  take(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** Writes nil. */
  nil(): void {
    this.#reserve(1);
    this.#byte(0xc0);
  }

  /** Writes a float in 64 bits, also when its value is integral. */
  float(value: number): void {
    this.#reserve(SCALAR_BYTES_MAX);
    this.#byte(0xcb);
    this.#view.setFloat64(this.#length, value);
    this.#length += 8;
  }

  /** Writes a safe integer in its smallest form. */
  integer(value: number): void {
    assert(Number.isSafeInteger(value), () => `not a safe integer: ${value}`);
    this.#reserve(SCALAR_BYTES_MAX);
    if (value >= 0) this.#unsigned(value);
    else this.#negative(value);
  }

  /** Writes an integer of −2⁶³ … 2⁶⁴ − 1 in its smallest form. */
  bigInteger(value: bigint): void {
    assert(value >= I64_MIN && value <= U64_MAX, () => `outside 64 bits: ${value.toString()}`);
    if (value >= SAFE_MIN && value <= SAFE_MAX) {
      this.integer(Number(value));
      return;
    }
    this.#reserve(SCALAR_BYTES_MAX);
    this.#byte(value < 0n ? 0xd3 : 0xcf);
    this.#view.setBigUint64(this.#length, BigInt.asUintN(64, value));
    this.#length += 8;
  }

  /** Writes a string. Short ASCII, which names are, is copied letter by letter; the rest goes through TextEncoder. */
  text(value: string): void {
    if (value.length < SHORT_TEXT_BYTES && this.#shortAscii(value)) return;
    const encoded = utf8.encode(value);
    const length = encoded.byteLength;
    this.#reserve(SCALAR_BYTES_MAX + length);
    if (length < SHORT_TEXT_BYTES) this.#byte(0xa0 | length);
    else if (length < 0x100) this.#header8(0xd9, length);
    else this.#header(0xda, length);
    this.#raw(encoded);
  }

  /** Writes a byte string. */
  binary(value: Uint8Array): void {
    const length = value.byteLength;
    this.#reserve(SCALAR_BYTES_MAX + length);
    if (length < 0x100) this.#header8(0xc4, length);
    else this.#header(0xc5, length);
    this.#raw(value);
  }

  /** Writes the header of an array of `count` elements. */
  array(count: number): void {
    this.#reserve(SCALAR_BYTES_MAX);
    if (count < 16) this.#byte(0x90 | count);
    else this.#header(0xdc, count);
  }

  /**
   * Writes the header of a map of `count` pairs.
   *
   * @param count - pairs that follow.
   * @param isLong - true for a 16-bit header even where four bits would do.
   */
  map(count: number, isLong: boolean): void {
    this.#reserve(SCALAR_BYTES_MAX);
    if (count < 16 && !isLong) this.#byte(0x80 | count);
    else this.#header(0xde, count);
  }

  /** Writes an array of u32, each in its smallest form. */
  tokens(values: readonly number[] | Uint32Array): void {
    const count = values.length;
    this.array(count);
    this.#reserve(count * TOKEN_BYTES_MAX);
    const bytes = this.#bytes;
    const view = this.#view;
    let at = this.#length;
    for (let index = 0; index < count; index += 1) {
      const token = values[index];
      // Not by assert itself, which would make a closure per token.
      if (token >>> 0 !== token) refuseToken(token);
      if (token < 0x80) {
        bytes[at] = token;
        at += 1;
      } else if (token < 0x100) {
        bytes[at] = 0xcc;
        bytes[at + 1] = token;
        at += 2;
      } else if (token < 0x1_0000) {
        bytes[at] = 0xcd;
        bytes[at + 1] = token >>> 8;
        bytes[at + 2] = token;
        at += 3;
      } else {
        bytes[at] = 0xce;
        view.setUint32(at + 1, token);
        at += 5;
      }
    }
    this.#length = at;
  }

  /** Writes a string of less than 32 letters; false, and nothing is written, when one of them is not ASCII. */
  #shortAscii(value: string): boolean {
    const length = value.length;
    this.#reserve(1 + length);
    const bytes = this.#bytes;
    const start = this.#length + 1;
    for (let index = 0; index < length; index += 1) {
      const letter = value.charCodeAt(index);
      if (letter >= 0x80) return false;
      bytes[start + index] = letter;
    }
    bytes[start - 1] = 0xa0 | length;
    this.#length = start + length;
    return true;
  }

  #unsigned(value: number): void {
    if (value < 0x80) this.#byte(value);
    else if (value < 0x100) this.#header8(0xcc, value);
    else if (value < 0x1_0000) this.#header(0xcd, value);
    else if (value < TWO_32) {
      this.#byte(0xce);
      this.#word(value);
    } else {
      this.#byte(0xcf);
      this.#word(Math.floor(value / TWO_32));
      this.#word(value);
    }
  }

  #negative(value: number): void {
    if (value >= -32) this.#byte(value);
    else if (value >= -0x80) this.#header8(0xd0, value);
    else if (value >= -0x8000) {
      this.#byte(0xd1);
      this.#byte(value >> 8);
      this.#byte(value);
    } else if (value >= -0x8000_0000) {
      this.#byte(0xd2);
      this.#word(value);
    } else {
      this.#byte(0xd3);
      this.#word(Math.floor(value / TWO_32));
      this.#word(value);
    }
  }

  /** Format and one byte. */
  #header8(format: number, length: number): void {
    this.#byte(format);
    this.#byte(length);
  }

  /** A 16-bit header, or the next format with 32 bits when the length needs them. */
  #header(format16: number, length: number): void {
    if (length < 0x1_0000) {
      this.#byte(format16);
      this.#byte(length >>> 8);
      this.#byte(length);
    } else {
      this.#byte(format16 + 1);
      this.#word(length);
    }
  }

  #byte(value: number): void {
    this.#bytes[this.#length] = value;
    this.#length += 1;
  }

  #word(value: number): void {
    this.#view.setUint32(this.#length, value);
    this.#length += 4;
  }

  #raw(value: Uint8Array): void {
    this.#bytes.set(value, this.#length);
    this.#length += value.byteLength;
  }

  #reserve(byteCount: number): void {
    const wanted = this.#length + byteCount;
    if (wanted <= this.#bytes.byteLength) return;
    const grown = new Uint8Array(Math.max(wanted, this.#bytes.byteLength * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

function refuseToken(token: number): never {
  throw new AssertionError(`a token id is a u32, not ${token}`);
}
