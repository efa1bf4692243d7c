import fc from "fast-check";
import { expect, test } from "vitest";

import { hasOddNumber, keepSource, sourceOf } from "./json-numbers.ts";

const NAMES = new Set(["tools"]);
const isOdd = (number: string): boolean => hasOddNumber(`{"tools":[{"a":${number}}]}`, NAMES);

test.each(["0", "-1", "42", "9007199254740991", "0.5", "-0.25", "123456.789", "0.0001"])(
  "N1: %s is written alike by both",
  (number) => {
    expect(isOdd(number)).toBe(false);
  },
);

test.each([
  "1.0",
  "1e3",
  "1E3",
  "-0",
  "0.50",
  "1e-7",
  "0.00001",
  "9007199254740992",
  "12345678901234567890",
  "1e21",
  "10000000000000000.5",
])("N1: %s is not", (number) => {
  expect(isOdd(number)).toBe(true);
});

test("N1: whatever number JavaScript writes within these bounds, it is read as it came", () => {
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
      const source = JSON.stringify(value);
      if (!isOdd(source)) expect(String(Number(source))).toBe(source);
      // Python's repr has an exponent beyond these bounds.
      const size = Math.abs(value);
      if (size !== 0 && !Number.isSafeInteger(value) && (size < 1e-4 || size >= 1e16))
        expect(isOdd(source)).toBe(true);
    }),
  );
});

test.each([
  ['{"temperature":1.0,"tools":[1]}', false],
  ['{"tools":[1],"temperature":1.0}', false],
  ['{"tools":"1.0"}', false],
  ['{"a":{"tools":1.0}}', false],
  ['{"tools" : {"deep":[[{"x":1.0}]]}}', true],
  ['{"a":"\\"tools\\":1.0","tools":[2,3.0]}', true],
  ["[1.0]", false],
  ["", false],
])("only numbers below the named members of the outermost object count: %s", (json, expected) => {
  expect(hasOddNumber(json, NAMES)).toBe(expected);
});

test("N2: a text of many escapes and a number without end take no longer than their length", () => {
  const length = 1 << 20;
  expect(hasOddNumber(`{"tools":"${'\\"'.repeat(length)}"}`, NAMES)).toBe(false);
  expect(hasOddNumber(`{"tools":${"1".repeat(length)}}`, NAMES)).toBe(true);
  expect(hasOddNumber(`{"other":${"-".repeat(length)}}`, NAMES)).toBe(false);
});

test("a body's text is known as long as somebody kept it", () => {
  const body = {};
  expect(sourceOf(body)).toBeNull();
  keepSource(body, "{}");
  keepSource(1, "1");
  expect([sourceOf(body), sourceOf({}), sourceOf(1)]).toEqual(["{}", null, null]);
});
