/**
 * Writes protobuf fields into one growing buffer.
 *
 *     open(3) ─▶ … fields … ─▶ close()      a nested message; its length is known at `close`, and the
 *                                           fields move back by the bytes that the length takes
 *
 *  W1  What is written is what protobufjs writes for the same values, byte by byte
 *      (ext-proc-codec.test.ts "W1").
 *  W2  `take` gives the bytes away; the next message begins in memory of its own (proto-writer.test.ts "W2").
 *
 * Not here: large bodies, which would be moved once per nesting (ext-proc-codec.ts computes their sizes).
 */
import { assert } from "@kvsync/core";

import { WIRE } from "./proto-reader.ts";

const BYTES_MIN = 1024;
/** Texts up to here are written character by character, as long as they are ASCII: a call into Buffer takes longer. */
const SHORT_CHARACTERS = 48;

/** Bytes that a varint of `value` (u32) takes. */
export function varintBytes(value: number): number {
  let count = 1;
  for (let rest = value >>> 7; rest !== 0; rest >>>= 7) count++;
  return count;
}

/** See the header. */
export class ProtoWriter {
  #bytes: Buffer = Buffer.allocUnsafe(BYTES_MIN);
  #length = 0;
  /** Where the contents of each open message begin. */
  readonly #open: number[] = [];

  /** A varint field, u32. */
  uint32(field: number, value: number): void {
    this.#tag(field, WIRE.varint);
    this.#varint(value);
  }

  /** A boolean field that is true. False is what absence means. */
  yes(field: number): void {
    this.uint32(field, 1);
  }

  /** A double field. */
  double(field: number, value: number): void {
    this.#tag(field, WIRE.fixed64);
    this.#reserve(8);
    this.#length = this.#bytes.writeDoubleLE(value, this.#length);
  }

  /** A string field. */
  text(field: number, value: string): void {
    if (value.length <= SHORT_CHARACTERS && this.#shortText(field, value)) return;
    const length = Buffer.byteLength(value);
    this.#tag(field, WIRE.bytes);
    this.#varint(length);
    this.#reserve(length);
    this.#length += this.#bytes.write(value, this.#length);
  }

  /** Writes a text of ASCII. @returns false, with nothing written, for another one. */
  #shortText(field: number, value: string): boolean {
    const before = this.#length;
    this.#tag(field, WIRE.bytes);
    this.#reserve(1 + value.length);
    const bytes = this.#bytes;
    let at = this.#length;
    bytes[at++] = value.length;
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i);
      if (code > 0x7f) {
        this.#length = before;
        return false;
      }
      bytes[at++] = code;
    }
    this.#length = at;
    return true;
  }

  /** A bytes field; the bytes are copied. */
  bytes(field: number, value: Uint8Array): void {
    this.#tag(field, WIRE.bytes);
    this.#varint(value.length);
    this.raw(value);
  }

  /** Bytes as they are, outside any field. */
  raw(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  /** Begins a nested message. */
  open(field: number): void {
    this.#tag(field, WIRE.bytes);
    this.#open.push(this.#length);
  }

  /** Ends the nested message that was begun last. */
  close(): void {
    const begin = this.#open.pop();
    assert(begin !== undefined, "a message is closed that was opened");
    const length = this.#length - begin;
    const shift = varintBytes(length);
    this.#reserve(shift);
    this.#bytes.copyWithin(begin + shift, begin, this.#length);
    this.#length = begin;
    this.#varint(length);
    this.#length += length;
  }

  /** The message; its memory is the caller's. The writer is empty afterwards. */
  take(): Buffer {
    assert(this.#open.length === 0, "every message that was opened is closed");
    const taken = this.#bytes.subarray(0, this.#length);
    this.#bytes = Buffer.allocUnsafe(BYTES_MIN);
    this.#length = 0;
    return taken;
  }

  #tag(field: number, wireType: number): void {
    this.#varint(((field << 3) | wireType) >>> 0);
  }

  #varint(value: number): void {
    this.#reserve(5);
    let rest = value >>> 0;
    while (rest > 0x7f) {
      this.#bytes[this.#length++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#bytes[this.#length++] = rest;
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, 2 * this.#bytes.length));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}
