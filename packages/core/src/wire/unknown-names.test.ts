/** Fields of newer engines: how they are named, and that every name is bounded and printable. */
import { encode } from "@msgpack/msgpack";
import { describe, expect, test } from "vitest";
import { EventBatchDecoder } from "./event-batch-decoder.ts";
import { RecordingSink } from "./recording-sink.ts";
import { UnknownNames } from "./unknown-names.ts";

const scratch = { tokens: new Uint32Array(64), hashes: new Uint32Array(64) };

function unknownFieldsOf(batch: unknown): string[] {
  const sink = new RecordingSink(scratch);
  new EventBatchDecoder(scratch).decode(encode(batch), sink);
  expect(sink.faults).toEqual([]);
  return sink.unknownFields;
}

function nameOf(names: UnknownNames, key: unknown): string {
  const bytes = encode(key);
  return names.key(bytes, 0, bytes.length);
}

describe("unknown fields", () => {
  const removal = { type: "BlockRemoved", block_hashes: [1] };

  test("are reported with their event, unless they are nil (D5)", () => {
    expect(unknownFieldsOf([1.5, [{ ...removal, half: "upper", pool: null }], 0])).toEqual([
      "BlockRemoved half",
    ]);
    expect(unknownFieldsOf([1.5, [{ type: "AllBlocksCleared", medium: "GPU" }], 0])).toEqual([
      "AllBlocksCleared medium",
    ]);
    expect(unknownFieldsOf([1.5, [["BlockRemoved", [1], null, null, null, 7]], 0])).toEqual([
      "BlockRemoved slot 5",
    ]);
  });

  test("of a batch are its slots after the third, and keys of its map form", () => {
    expect(unknownFieldsOf([1.5, [], 0, null, "epoch"])).toEqual(["batch slot 4"]);
    expect(unknownFieldsOf({ ts: 1.5, events: [], epoch: 3, other: null })).toEqual(["batch epoch"]);
  });

  test("of one event are named up to eight, however many there are", () => {
    const many = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`field_${i}`, i]));
    expect(unknownFieldsOf([1.5, [{ ...removal, ...many }], 0])).toHaveLength(8);
  });
});

describe("a name", () => {
  test("is short and printable, whatever the key is", () => {
    const names = new UnknownNames();
    expect(nameOf(names, "a\u0000b\u001b[31m\n")).toBe("a?b??31m?");
    expect(nameOf(names, "x".repeat(500)).length).toBeLessThan(50);
    expect(nameOf(names, 7)).toBe("not a string");
  });

  test("is the same string for the same key, and `other` once there are 32", () => {
    const names = new UnknownNames();
    for (let i = 0; i < 32; i += 1) expect(nameOf(names, `field_${i}`)).toBe(`field_${i}`);
    expect(nameOf(names, "field_32")).toBe("other");
    expect(nameOf(names, "field_3")).toBe("field_3");
    expect([names.slot(12), names.slot(4000)]).toEqual(["slot 12", "other"]);
  });
});
