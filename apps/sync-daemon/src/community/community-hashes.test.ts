/**
 * Integers of 64 bits pass through JSON unchanged in any body. An invalid hash is named as the
 * caller named it.
 */
import fc from "fast-check";
import { expect, test } from "vitest";

import { hashTexts, instanceIdJson, quoteLongIntegers } from "./community-hashes.ts";

test("every integer of 64 bits survives a JSON body, and nothing in strings is touched", () => {
  const hash = fc.oneof(
    fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    fc.bigInt({ min: -(1n << 63n), max: -1n }),
  );
  const fractions = "[0.12345678901234567,1e-12345678901234567]";
  expect(quoteLongIntegers(fractions)).toBe(fractions);
  fc.assert(
    fc.property(
      fc.array(hash),
      fc.string(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      (hashes, name, double) => {
        const text = `{"name":${JSON.stringify(`${name}, 12345678901234567890 \\"`)},"double":${double},"hashes":[${hashes.join(" , ")}]}`;
        const parsed = JSON.parse(quoteLongIntegers(text)) as {
          name: string;
          double: number | string;
          hashes: unknown[];
        };
        expect(parsed.name).toBe(`${name}, 12345678901234567890 \\"`);
        expect(Number(parsed.double)).toBe(double === 0 ? Number(`${double}`) : double);
        expect(hashTexts(parsed.hashes, "seq_hashes").map((each) => BigInt(each))).toEqual(
          hashes.map((each) => BigInt.asUintN(64, each)),
        );
      },
    ),
  );
});

test("an instance id that is a u64 goes out as a number of the same digits, any other as a text", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), (id) => {
      expect(instanceIdJson(String(id))).toBe(String(id));
    }),
  );
  for (const text of ["18446744073709551616", "007", "-1", "1e3", "", 'a"b', "ns/name"])
    expect(instanceIdJson(text)).toBe(JSON.stringify(text));
});

test("digits that begin with a zero are no JSON, and are not made into some", () => {
  const json = '{"instance_id":07587888160958627596}';
  expect(quoteLongIntegers(json)).toBe(json);
});

test("a string of escapes without an end costs as much time as its length, and is left alone", () => {
  const timeOf = (escapes: number): number => {
    const json = `{"name":"${'\\"'.repeat(escapes)}`;
    const begunMs = performance.now();
    expect(quoteLongIntegers(json)).toBe(json);
    return performance.now() - begunMs;
  };
  timeOf(1000);
  // A hundred times as many; with a look from each of them to the end it would be ten thousand times the time.
  const [few, many] = [timeOf(2000), timeOf(200_000)];
  expect(many).toBeLessThan(2000 * Math.max(few, 0.05));
});

test("digits and strings as long as a body can be are read, and an integer of too many digits is no hash", () => {
  const long = `{"a":"${"x".repeat(17_000_000)}","b":${"1".repeat(1000)}}`;
  expect(quoteLongIntegers(long)).toBe(long);
});

test.each([[-(2n ** 63n) - 1n], [2n ** 64n], [1.5], [null], ["1n"], ["0x"], [["1"]], [2 ** 60]])(
  "a hash that is %s is refused where it stands, by the name that the request gives it",
  (hash) => {
    const given = typeof hash === "bigint" ? String(hash) : hash;
    expect(() => hashTexts(["1", given], "block_hashes")).toThrow(
      "block_hashes.1: expected an integer of 64 bits",
    );
  },
);
