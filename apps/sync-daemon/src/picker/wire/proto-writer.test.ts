import { describe, expect, it } from "vitest";

import { ProtoReader } from "./proto-reader.ts";
import { ProtoWriter, varintBytes } from "./proto-writer.ts";

describe("a writer of protobuf fields", () => {
  it("W2: gives its memory away with each message", () => {
    const writer = new ProtoWriter();
    writer.text(1, "first");
    const first = writer.take();
    const copy = Buffer.from(first);
    writer.text(1, "other");
    writer.take();
    expect(first).toEqual(copy);
  });

  it.each([0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 0xffff_ffff])(
    "says how many bytes the varint of %i takes",
    (value) => {
      const writer = new ProtoWriter();
      writer.uint32(1, value);
      expect(writer.take()).toHaveLength(1 + varintBytes(value));
    },
  );

  it("moves the fields of a nested message behind a length of several bytes", () => {
    const writer = new ProtoWriter();
    const long = "ä".repeat(9000);
    writer.open(1);
    writer.open(2);
    writer.text(3, long);
    writer.close();
    writer.close();
    writer.uint32(4, 5);
    const reader = new ProtoReader(writer.take());
    reader.next();
    const outer = reader.enter();
    reader.next();
    const inner = reader.enter();
    reader.next();
    expect(reader.text()).toBe(long);
    reader.leave(inner);
    reader.leave(outer);
    expect([reader.next(), reader.uint32()]).toEqual([4, 5]);
  });
});
