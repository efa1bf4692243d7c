/**
 * Reads protobuf fields from one message in place.
 *
 *     bytes  ░░░░▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓░░░░      ▓ the message that is read
 *                 ▲              ▲
 *                 at             end of the message, or of the nested one that was entered
 *
 *     while (reader.next() !== 0) switch (reader.field) { case 2: … reader.text(); default: reader.skip() }
 *
 *  P1  A read never leaves the message that was entered: its length is checked before its bytes
 *      (proto-reader.test.ts "P1").
 *  P2  A field that is skipped moves the reader behind it, for every wire type and depth
 *      (proto-reader.test.ts "P2").
 *  P3  Work follows the bytes: each byte is read once, and groups nest to DEPTH_MAX at most
 *      (proto-reader.test.ts "P3").
 *
 * Not here: the meaning of fields (ext-proc-codec.ts). Enumerations and lengths are read as their low
 * 32 bits; no field of the protocol is wider.
 * Source: https://protobuf.dev/programming-guides/encoding/
 */
import { assert } from "@kvsync/core";

import { ProtoFaultError } from "./proto-fault.ts";

/** Messages and groups within each other. Envoy's own nest seven deep. */
export const DEPTH_MAX = 64;

/** Wire types of the encoding. */
export const WIRE = { varint: 0, fixed64: 1, bytes: 2, groupStart: 3, groupEnd: 4, fixed32: 5 } as const;

const VARINT_BYTES_MAX = 10;
const FIELD_MAX = 0x1fff_ffff;
const TEXT = new TextDecoder();

/** See the header. */
export class ProtoReader {
  readonly #bytes: Uint8Array;
  #at = 0;
  #end: number;
  #depth = 0;
  #field = 0;
  #wireType = 0;

  /** @param bytes - one message; views of it are given out. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#end = bytes.length;
  }

  /** Number of the field at hand; 0 at the end of the message. */
  get field(): number {
    return this.#field;
  }

  /**
   * Moves to the next field. The one before must have been read or skipped.
   *
   * @returns its number; 0 at the end of the message.
   * @throws ProtoFaultError truncated, bad_varint, bad_field_number, bad_wire_type, unmatched_group.
   */
  next(): number {
    if (this.#at === this.#end) return (this.#field = 0);
    const tagAt = this.#at;
    const tag = this.#varint();
    const wireType = tag & 7;
    this.#field = tag >>> 3;
    this.#wireType = wireType;
    if (this.#field === 0 || this.#field > FIELD_MAX) throw new ProtoFaultError("bad_field_number", tagAt);
    if (wireType > WIRE.fixed32) throw new ProtoFaultError("bad_wire_type", tagAt);
    if (wireType === WIRE.groupEnd && this.#depth === 0) throw new ProtoFaultError("unmatched_group", tagAt);
    return this.#field;
  }

  /** Value of a varint field: its low 32 bits, unsigned. */
  uint32(): number {
    this.#expect(WIRE.varint);
    return this.#varint();
  }

  /** Value of a boolean field. */
  flag(): boolean {
    return this.uint32() !== 0;
  }

  /** Value of a bytes field: a view of the message. */
  bytes(): Uint8Array {
    const end = this.#lengthEnd();
    const view = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return view;
  }

  /** Value of a string field. Bytes that are not UTF-8 become U+FFFD. */
  text(): string {
    return TEXT.decode(this.bytes());
  }

  /**
   * Enters a nested message. Its fields come next, up to a 0.
   *
   * @returns what {@link leave} takes back.
   * @throws ProtoFaultError truncated, wrong_wire_type, too_deep.
   */
  enter(): number {
    const outerEnd = this.#end;
    this.#end = this.#lengthEnd();
    this.#deepen();
    return outerEnd;
  }

  /** Leaves the nested message that was entered last, whether or not it was read to its end. */
  leave(outerEnd: number): void {
    assert(this.#depth > 0 && outerEnd >= this.#end, "a message that was entered is left");
    this.#at = this.#end;
    this.#end = outerEnd;
    this.#depth -= 1;
  }

  /**
   * Skips the field at hand.
   *
   * @throws ProtoFaultError truncated, bad_varint, bad_field_number, bad_wire_type, unmatched_group, too_deep.
   */
  skip(): void {
    switch (this.#wireType) {
      case WIRE.varint:
        this.#varint();
        break;
      case WIRE.fixed64:
        this.#advance(8);
        break;
      case WIRE.bytes:
        this.#at = this.#lengthEnd();
        break;
      case WIRE.groupStart:
        this.#skipGroup(this.#field);
        break;
      case WIRE.fixed32:
        this.#advance(4);
        break;
      default:
        throw new ProtoFaultError("unmatched_group", this.#at);
    }
  }

  /** Skips to the end of a group whose start was read. */
  #skipGroup(group: number): void {
    this.#deepen();
    for (;;) {
      if (this.next() === 0) throw new ProtoFaultError("truncated", this.#at);
      if (this.#wireType === WIRE.groupEnd) break;
      this.skip();
    }
    if (this.#field !== group) throw new ProtoFaultError("unmatched_group", this.#at);
    this.#depth -= 1;
  }

  #deepen(): void {
    this.#depth += 1;
    if (this.#depth > DEPTH_MAX) throw new ProtoFaultError("too_deep", this.#at);
  }

  #expect(wireType: number): void {
    if (this.#wireType !== wireType) throw new ProtoFaultError("wrong_wire_type", this.#at);
  }

  /** Reads a length and returns where its bytes end. */
  #lengthEnd(): number {
    this.#expect(WIRE.bytes);
    const length = this.#varint();
    if (length > this.#end - this.#at) throw new ProtoFaultError("truncated", this.#at);
    return this.#at + length;
  }

  #advance(count: number): void {
    if (count > this.#end - this.#at) throw new ProtoFaultError("truncated", this.#at);
    this.#at += count;
  }

  /** The low 32 bits of the varint that begins here. */
  #varint(): number {
    const bytes = this.#bytes;
    const begin = this.#at;
    let value = 0;
    for (let i = 0; i < VARINT_BYTES_MAX; i++) {
      if (this.#at >= this.#end) throw new ProtoFaultError("truncated", begin);
      const byte = bytes[this.#at++] ?? 0;
      if (i < 5) value |= (byte & 0x7f) << (7 * i);
      if (byte < 0x80) return value >>> 0;
    }
    throw new ProtoFaultError("bad_varint", begin);
  }
}
