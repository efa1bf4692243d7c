import fc from "fast-check";
import protobuf from "protobufjs";
import { describe, expect, it } from "vitest";

import { ProtoFaultError } from "./proto-fault.ts";
import { DEPTH_MAX, ProtoReader } from "./proto-reader.ts";

/** What a reader throws for bytes that are skipped to their end. */
function faultOf(bytes: Uint8Array): string | null {
  const reader = new ProtoReader(bytes);
  try {
    while (reader.next() !== 0) reader.skip();
  } catch (error) {
    if (error instanceof ProtoFaultError) return error.fault.code;
    throw error;
  }
  return null;
}

const field = fc.record({
  number: fc.integer({ min: 1, max: 0x1fff_ffff }),
  kind: fc.constantFrom("varint", "fixed64", "bytes", "fixed32", "group"),
  value: fc.integer({ min: 0, max: 0xffff_ffff }),
  bytes: fc.uint8Array({ maxLength: 40 }),
});
type Field = typeof field extends fc.Arbitrary<infer T> ? T : never;

function write(writer: protobuf.Writer, { number, kind, value, bytes }: Field): void {
  const tag = (wireType: number): protobuf.Writer => writer.uint32(((number << 3) | wireType) >>> 0);
  if (kind === "varint") tag(0).uint64(value);
  else if (kind === "fixed64") tag(1).fixed64(value);
  else if (kind === "bytes") tag(2).bytes(bytes);
  else if (kind === "fixed32") tag(5).fixed32(value);
  else {
    tag(3)
      .uint32((1 << 3) | 0)
      .uint32(value);
    tag(4);
  }
}

describe("a reader of protobuf fields", () => {
  it("P2: skips fields of every wire type and stands behind each", () => {
    fc.assert(
      fc.property(fc.array(field, { maxLength: 8 }), (fields) => {
        const writer = protobuf.Writer.create();
        for (const one of fields) write(writer, one);
        const reader = new ProtoReader(writer.finish());
        for (const { number } of fields) {
          expect(reader.next()).toBe(number);
          reader.skip();
        }
        expect(reader.next()).toBe(0);
      }),
    );
  });

  it("P1: never leaves the nested message, however long its parts say that they are", () => {
    // Field 1 holds two bytes: the start of a field that says it has five. The bytes behind belong to the outer message.
    const reader = new ProtoReader(Uint8Array.of(0x0a, 2, 0x12, 5, 0x1a, 1, 65, 66, 67));
    reader.next();
    reader.enter();
    expect(reader.next()).toBe(2);
    expect(() => reader.bytes()).toThrow(
      expect.objectContaining({ fault: { code: "truncated", offset: 4 } }),
    );
  });

  it("goes on behind a nested message that was not read to its end", () => {
    const reader = new ProtoReader(Uint8Array.of(0x0a, 4, 0x08, 1, 0x10, 2, 0x18, 7));
    reader.next();
    const outer = reader.enter();
    reader.next();
    reader.leave(outer);
    expect([reader.next(), reader.uint32()]).toEqual([3, 7]);
  });

  it("P3: refuses groups within groups beyond the limit, and takes those at the limit", () => {
    const nested = (depth: number): Uint8Array =>
      Uint8Array.from([
        ...Array.from({ length: depth }, () => 0x0b),
        ...Array.from({ length: depth }, () => 0x0c),
      ]);
    expect(faultOf(nested(DEPTH_MAX))).toBeNull();
    expect(faultOf(nested(DEPTH_MAX + 1))).toBe("too_deep");
  });

  it.each([
    ["a tag that is cut", [0x80], "truncated"],
    ["a varint of eleven bytes", [0x08, ...Array.from({ length: 11 }, () => 0xff)], "bad_varint"],
    ["field number 0", [0x00, 1], "bad_field_number"],
    ["wire type 6", [0x0e, 1], "bad_wire_type"],
    ["a length beyond the message", [0x0a, 5, 1], "truncated"],
    ["a length of four gigabytes", [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], "truncated"],
    ["a fixed64 that is cut", [0x09, 1, 2, 3], "truncated"],
    ["a group without end", [0x0b, 0x08, 1], "truncated"],
    ["an end without a group", [0x0c], "unmatched_group"],
    ["the end of another group", [0x0b, 0x14], "unmatched_group"],
  ])("names %s", (_what, bytes, code) => {
    expect(faultOf(Uint8Array.from(bytes))).toBe(code);
  });

  it("names a field of another wire type than it is read as", () => {
    const reader = new ProtoReader(Uint8Array.of(0x08, 1));
    reader.next();
    expect(() => reader.text()).toThrow(ProtoFaultError);
  });
});
