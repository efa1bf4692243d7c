/**
 * Cursor and writer against a foreign implementation: each must read the bytes of the other, in
 * every width.
 */
import { decode, encode, ExtData } from "@msgpack/msgpack";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AssertionError } from "../assert.ts";
import { readHash } from "./block-columns.ts";
import { toBigInt } from "../block-hash/block-hash.ts";
import { MsgpackCursor } from "./msgpack-cursor.ts";
import { MsgpackWriter } from "./msgpack-writer.ts";
import { fromHex, toHexText } from "./vectors/golden-vectors.ts";
import { WireError } from "./wire-error.ts";
import { readText, TextInterner } from "./wire-text.ts";

function at(bytes: Uint8Array): MsgpackCursor {
  const cursor = new MsgpackCursor();
  cursor.open(bytes);
  return cursor;
}

function writtenBy(write: (writer: MsgpackWriter) => void): Uint8Array {
  // One byte to begin with, so that every growth is exercised.
  const writer = new MsgpackWriter(1);
  write(writer);
  return writer.take();
}

/** What each method of the writer writes. */
const written = {
  bigInteger: (value: bigint) =>
    writtenBy((writer) => {
      writer.bigInteger(value);
    }),
  integer: (value: number) =>
    writtenBy((writer) => {
      writer.integer(value);
    }),
  float: (value: number) =>
    writtenBy((writer) => {
      writer.float(value);
    }),
  text: (value: string) =>
    writtenBy((writer) => {
      writer.text(value);
    }),
  binary: (value: Uint8Array) =>
    writtenBy((writer) => {
      writer.binary(value);
    }),
  tokens: (values: readonly number[] | Uint32Array) =>
    writtenBy((writer) => {
      writer.tokens(values);
    }),
  map: (count: number, isLong: boolean) =>
    writtenBy((writer) => {
      writer.map(count, isLong);
    }),
};

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof WireError) return error.code;
    throw error;
  }
  return "none";
}

/** Integers around every power of two, where the forms change. */
const edge = fc
  .tuple(fc.integer({ min: 0, max: 64 }), fc.integer({ min: -2, max: 2 }), fc.boolean())
  .map(([bits, offset, isNegative]) => {
    const value = 2n ** BigInt(bits) + BigInt(offset);
    return isNegative ? -value : value;
  })
  .filter((value) => value >= -(2n ** 63n) && value < 2n ** 64n);
const safeEdge = edge.filter((value) => value <= 2n ** 53n - 1n && value >= -(2n ** 53n) + 1n).map(Number);

/** The foreign decoder makes a bigint of what was written in 64 bits, and a number of the rest. */
function readInteger(bytes: Uint8Array): bigint {
  return BigInt(decode(bytes, { useBigInt64: true }) as number);
}

describe("the writer", () => {
  test("writes each integer in the smallest form, as msgspec does", () => {
    const forms: readonly (readonly [value: bigint, hex: string])[] = [
      [0n, "00"],
      [127n, "7f"],
      [128n, "cc80"],
      [255n, "ccff"],
      [256n, "cd0100"],
      [65_535n, "cdffff"],
      [65_536n, "ce00010000"],
      [4_294_967_295n, "ceffffffff"],
      [4_294_967_296n, "cf0000000100000000"],
      [2n ** 64n - 1n, "cfffffffffffffffff"],
      [-1n, "ff"],
      [-32n, "e0"],
      [-33n, "d0df"],
      [-128n, "d080"],
      [-129n, "d1ff7f"],
      [-32_768n, "d18000"],
      [-32_769n, "d2ffff7fff"],
      [-2_147_483_648n, "d280000000"],
      [-2_147_483_649n, "d3ffffffff7fffffff"],
      [-(2n ** 63n), "d38000000000000000"],
    ];
    for (const [value, hex] of forms) {
      expect(toHexText(written.bigInteger(value))).toBe(hex);
    }
  });

  test("writes what a foreign decoder reads", () => {
    fc.assert(
      fc.property(edge, safeEdge, fc.double(), (big, small, float) => {
        expect(readInteger(written.bigInteger(big))).toBe(big);
        expect(readInteger(written.integer(small))).toBe(BigInt(small));
        expect(decode(written.float(float))).toBe(float);
      }),
    );
  });

  test("writes text and bytes of every length form", () => {
    for (const length of [0, 31, 32, 255, 256, 65_535, 65_536]) {
      const text = "é".repeat(length >>> 1) + "x".repeat(length & 1);
      expect(decode(written.text(text))).toBe(text);
      const bytes = new Uint8Array(length).fill(7);
      expect(decode(written.binary(bytes))).toEqual(bytes);
      const tokens = Uint32Array.from({ length }, (_, index) => (index * 2_654_435_761) >>> (index % 32));
      expect(decode(written.tokens(tokens))).toEqual(Array.from(tokens));
    }
  });

  test("writes a map's header in 16 bits when asked to, though four would do", () => {
    expect(toHexText(written.map(9, true))).toBe("de0009");
    expect(toHexText(written.map(9, false))).toBe("89");
    expect(toHexText(written.map(16, false))).toBe("de0010");
  });

  test("refuses what does not fit, as a mistake of its caller", () => {
    for (const write of [
      () => written.bigInteger(2n ** 64n),
      () => written.bigInteger(-(2n ** 63n) - 1n),
      () => written.integer(0.5),
      () => written.integer(2 ** 53),
      () => written.tokens([-1]),
      () => written.tokens([1.5]),
      () => written.tokens([300.5]),
      () => written.tokens([2 ** 32]),
      () => written.tokens([Number.NaN]),
    ]) {
      expect(write).toThrow(AssertionError);
    }
  });
});

describe("the cursor", () => {
  test("reads integers of every width and sign, and refuses those past 2⁵³ − 1", () => {
    fc.assert(
      fc.property(edge, (value) => {
        const cursor = at(written.bigInteger(value));
        if (Number.isSafeInteger(Number(value))) {
          expect(cursor.readInteger()).toBe(Number(value));
          expect(cursor.position).toBe(cursor.end);
        } else expect(codeOf(() => cursor.readInteger())).toBe("out_of_range");
      }),
    );
  });

  test("reads a hash modulo 2⁶⁴ from any integer, and from a digest's last eight bytes", () => {
    const words = new Uint32Array(4);
    fc.assert(
      fc.property(edge, fc.uint8Array({ minLength: 8, maxLength: 64 }), (value, digest) => {
        const bytes = writtenBy((writer) => {
          writer.bigInteger(value);
          writer.binary(digest);
        });
        const cursor = at(bytes);
        readHash(cursor, words, 0, 64);
        readHash(cursor, words, 2, 64);
        expect(toBigInt(words[0], words[1])).toBe(BigInt.asUintN(64, value));
        expect(toBigInt(words[2], words[3])).toBe(BigInt(`0x${toHexText(digest.slice(-8))}`));
        expect(cursor.position).toBe(cursor.end);
      }),
    );
  });

  test("passes over exactly one value of any kind", () => {
    const leaf = fc.oneof(
      fc.constantFrom(null, true, false, new ExtData(5, new Uint8Array(3))),
      ...[1, 2, 4, 8, 16, 17, 300, 70_000].map((size) => fc.constant(new ExtData(1, new Uint8Array(size)))),
      fc.integer(),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
      fc.double(),
      fc.string({ maxLength: 300 }),
      fc.constant("x".repeat(70_000)),
      fc.uint8Array({ maxLength: 300 }),
      fc.constant(new Uint8Array(70_000)),
      fc.constant(new Array<null>(70_000).fill(null)),
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { weight: 3, arbitrary: leaf },
        { weight: 1, arbitrary: fc.array(tie("value"), { maxLength: 20 }) },
        { weight: 1, arbitrary: fc.dictionary(fc.string(), tie("value"), { maxKeys: 20 }) },
      ),
    }));
    fc.assert(
      fc.property(value, (any) => {
        const bytes = encode(any, { useBigInt64: true });
        const cursor = at(Uint8Array.from([...bytes, 0x2a]));
        cursor.skip();
        expect(cursor.position).toBe(bytes.byteLength);
        expect(cursor.readInteger()).toBe(0x2a);
        for (const cut of [0, bytes.byteLength >>> 1, bytes.byteLength - 1]) {
          expect(
            codeOf(() => {
              at(bytes.subarray(0, cut)).skip();
            }),
          ).toBe("truncated");
        }
      }),
      { numRuns: 60 },
    );
  });

  test("passes over nesting deeper than any call stack (M4)", () => {
    const deep = new Uint8Array(4_000_000).fill(0x91);
    deep[deep.length - 1] = 0xc0;
    const cursor = at(deep);
    cursor.skip();
    expect(cursor.position).toBe(deep.length);
  });

  test("stands inside the value of which a read throws, so that it can be passed over from its first byte (M3)", () => {
    const reads: readonly ((cursor: MsgpackCursor) => unknown)[] = [
      (cursor) => cursor.readArrayLength(),
      (cursor) => cursor.readMapLength(),
      (cursor) => cursor.readTextLength(),
      (cursor) => cursor.readBinaryLength(),
      (cursor) => cursor.readInteger(),
      (cursor) => cursor.readNumber(),
    ];
    const foreign = [null, true, 2.5, -1, 2 ** 40, 2n ** 63n, "text", new Uint8Array(3), [1, 2], { a: 1 }];
    let thrown = 0;
    for (const value of foreign) {
      const bytes = encode(value, { useBigInt64: true });
      for (const read of reads) {
        const cursor = at(Uint8Array.from([0xc0, ...bytes, 0x2a]));
        cursor.skip();
        if (codeOf(() => read(cursor)) === "none") continue;
        thrown += 1;
        expect(cursor.position).toBeGreaterThanOrEqual(1);
        expect(cursor.position).toBeLessThan(1 + bytes.byteLength);
        cursor.position = 1;
        cursor.skip();
        expect(cursor.readInteger()).toBe(0x2a);
      }
    }
    // Each value is refused by most of the reads.
    expect(thrown).toBeGreaterThan(4 * foreign.length);
  });

  test("says what stood where something else was wanted", () => {
    const kinds: readonly (readonly [hex: string, kind: string])[] = [
      ["c0", "nil"],
      ["c3", "bool"],
      ["7f", "uint"],
      ["cc80", "uint"],
      ["ff", "int"],
      ["d0df", "int"],
      ["ca3fc00000", "float"],
      ["a161", "str"],
      ["d90161", "str"],
      ["c40161", "bin"],
      ["90", "array"],
      ["dc0000", "array"],
      ["80", "map"],
      ["df00000000", "map"],
      ["c70005", "ext"],
      ["d40500", "ext"],
    ];
    for (const [hex, kind] of kinds) {
      expect(at(fromHex(hex)).wrongType("another").facts).toMatchObject({ code: "wrong_type", actual: kind });
    }
    expect(at(fromHex("c1")).wrongType("another").code).toBe("reserved_byte");
  });

  test("never believes a length that its bytes cannot hold (M2)", () => {
    const lying = ["9f", "dc0001", "ddffffffff", "8f", "82c0c0c0", "de0001", "dfffffffff"];
    for (const hex of lying) {
      expect(
        codeOf(() => {
          at(fromHex(hex)).skip();
        }),
      ).toBe("truncated");
      const read = hex.startsWith("9") || hex.startsWith("dc") || hex.startsWith("dd");
      expect(
        codeOf(() => (read ? at(fromHex(hex)).readArrayLength() : at(fromHex(hex)).readMapLength())),
      ).toBe("truncated");
    }
    for (const hex of ["a2ff", "d902ff", "da0002ff", "dbffffffffff"]) {
      expect(codeOf(() => at(fromHex(hex)).readTextLength())).toBe("truncated");
    }
    for (const hex of ["c402ff", "c50002ff", "c6ffffffffff", "c6ffff"]) {
      expect(codeOf(() => at(fromHex(hex)).readBinaryLength())).toBe("truncated");
    }
  });
});

describe("text", () => {
  test("is the same string object for the same bytes, in whichever payload", () => {
    const interner = new TextInterner();
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "grapheme", maxLength: 40 }), { maxLength: 20 }), (texts) => {
        for (const text of [...texts, ...texts]) {
          expect(interner.read(at(written.text(text)), 1024)).toBe(text);
        }
      }),
    );
  });

  test("differing in one byte is never taken for the other, whatever slot both fall in", () => {
    const interner = new TextInterner();
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 40 }),
        fc.nat(),
        fc.nat(127),
        (bytes, where, letter) => {
          const one = Array.from(bytes, (byte) => String.fromCharCode(byte & 0x7f));
          const other = one.with(where % one.length, String.fromCharCode(letter));
          for (const letters of [one, other, one]) {
            const text = letters.join("");
            expect(interner.read(at(written.text(text)), 1024)).toBe(text);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  test("must be UTF-8 and keeps a byte order mark", () => {
    expect(readText(at(fromHex("a4efbbbf61")), 1024)).toBe("\ufeffa");
    for (const hex of ["a1ff", "a2c328", "a3eda080", "b9" + "61".repeat(24) + "ff"]) {
      expect(codeOf(() => readText(at(fromHex(hex)), 1024))).toBe("invalid_utf8");
      expect(codeOf(() => new TextInterner().read(at(fromHex(hex)), 1024))).toBe("invalid_utf8");
    }
  });
});
