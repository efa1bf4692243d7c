import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toHex } from "./block-hash.ts";
import { digestExtraKeys, encodeExtraKeys, saltDigest, type ExtraKey, type ExtraKeys } from "./extra-keys.ts";
import { NaivePrefixIndex } from "../prefix-index/testing/naive-prefix-index.ts";

const digester = await NaivePrefixIndex.create();

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

function digests(
  keys: ExtraKeys | null,
  loraName: string | null,
  rootSalt: string | null,
  blockCount: number,
): string[] {
  const out = new Uint32Array(2 * blockCount).fill(0xdead);
  if (!digestExtraKeys(keys, loraName, rootSalt, blockCount, digester, out)) return ["none"];
  return Array.from({ length: blockCount }, (_, i) => toHex(out[2 * i], out[2 * i + 1]));
}

function salted(salt: string): string {
  const out = new Uint32Array(4).fill(7);
  saltDigest(salt, digester, out, 2);
  expect([out[0], out[1]]).toEqual([7, 7]);
  return toHex(out[2], out[3]);
}

const NOTHING = "0".repeat(16);
const key: fc.Arbitrary<ExtraKey> = fc.letrec<{ key: ExtraKey }>((tie) => ({
  key: fc.oneof(
    { maxDepth: 3 },
    fc.string(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => (value === 0 ? 0 : value)),
    fc.constant(null),
    fc.uint8Array({ maxLength: 4 }),
    fc.array(tie("key"), { maxLength: 3 }),
  ),
})).key;

describe("the byte form of extra keys", () => {
  test("is the documented one, for each kind of key", () => {
    expect(hexOf(encodeExtraKeys(["salt-1"]))).toBe("01 06 00 00 00 73 61 6c 74 2d 31");
    expect(hexOf(encodeExtraKeys([1]))).toBe("02 01 00 00 00 00 00 00 00");
    expect(hexOf(encodeExtraKeys([-3]))).toBe("02 fd ff ff ff ff ff ff ff");
    expect(hexOf(encodeExtraKeys([2 ** 40 + 5]))).toBe("02 05 00 00 00 00 01 00 00");
    expect(hexOf(encodeExtraKeys([Uint8Array.of(0xaa, 0xbb)]))).toBe("03 02 00 00 00 aa bb");
    expect(hexOf(encodeExtraKeys([["é", null]]))).toBe("04 02 00 00 00 01 02 00 00 00 c3 a9 05");
    expect(hexOf(encodeExtraKeys([0.5]))).toBe("06 00 00 00 00 00 00 e0 3f");
    expect(hexOf(encodeExtraKeys([]))).toBe("");
  });

  test("differs whenever the keys differ, and only then (E4)", () => {
    const keys = fc.array(key, { maxLength: 4 });
    fc.assert(
      fc.property(keys, keys, (one, other) => {
        const isSame = hexOf(encodeExtraKeys(one)) === hexOf(encodeExtraKeys(other));
        expect(isSame).toBe(fc.stringify(one) === fc.stringify(other));
      }),
    );
  });
});

describe("a block's digest", () => {
  test("of a salt is what clients compute, wherever the engine says it, at block 0 and nowhere else (E2, E3)", () => {
    // XXH3-64 of the bytes above with seed 1337, by hash-wasm: a client in any language can check itself.
    expect(salted("salt-1")).toBe("5e423938a5a4399a");
    expect(digests([["salt-1"], null], null, null, 2)).toEqual([salted("salt-1"), NOTHING]);
    expect(digests(null, null, "salt-1", 2)).toEqual([salted("salt-1"), NOTHING]);
  });

  test("is nothing for blocks without keys, and for the empty salt", () => {
    expect(digests(null, null, null, 3)).toEqual(["none"]);
    expect(digests([null, [], null], null, "", 3)).toEqual(["none"]);
    expect(salted("")).toBe(NOTHING);
  });

  test("leaves the adapter's name out, once: a salt of the same name counts (E1)", () => {
    expect(digests([["adapter"], ["adapter"]], "adapter", null, 2)).toEqual(["none"]);
    expect(digests([["adapter", "salt-1"]], "adapter", null, 1)).toEqual([salted("salt-1")]);
    expect(digests([["adapter", "adapter"]], "adapter", null, 1)).toEqual([salted("adapter")]);
    expect(digests([["adapter"]], null, null, 1)).toEqual([salted("adapter")]);
  });

  test("takes the key of an image that begins behind the block, in its lookahead, as it comes (E5)", () => {
    const [inside, behind] = digests([[["image", 3]], [["image", 4]]], null, null, 2);
    expect(digests([[["image", 4]]], null, null, 1)).toEqual([behind]);
    expect([inside, NOTHING]).not.toContain(behind);
  });

  test("fills every block of the store, also those before the first with keys", () => {
    const all = digests([null, null, [["mm-abc", -3]], null], null, null, 4);
    expect([all[0], all[1], all[3]]).toEqual([NOTHING, NOTHING, NOTHING]);
    expect(all[2]).not.toBe(NOTHING);
  });

  test("keeps the order of keys, and a salt behind them (E3, E4)", () => {
    expect(digests([["a", "b"]], null, null, 1)).not.toEqual(digests([["b", "a"]], null, null, 1));
    expect(digests([["a"]], null, "b", 1)).toEqual(digests([["a", "b"]], null, null, 1));
  });
});
