import { describe, expect, it } from "vitest";

import { numberParser, type NumberRange } from "./number-text.ts";

class Refusal extends Error {}

const parse = (text: string, range: NumberRange): number => numberParser(range, Refusal)(text);
const COUNT: NumberRange = { kind: "integer", min: 1, max: 1000 };
const SECONDS: NumberRange = { kind: "number", min: 0.1, max: 300 };

describe("the parser of a number", () => {
  it.each([
    ["1", COUNT, 1],
    ["1000", COUNT, 1000],
    ["1e3", COUNT, 1000],
    ["+5", COUNT, 5],
    [" 5 ", COUNT, 5],
    ["0.1", SECONDS, 0.1],
    [".5", SECONDS, 0.5],
    ["300", SECONDS, 300],
    ["-2.5E-1", { kind: "number" }, -0.25],
    ["9007199254740991", { kind: "integer", max: Number.MAX_SAFE_INTEGER }, Number.MAX_SAFE_INTEGER],
  ] as const)("reads %j", (text, range, value) => {
    expect(parse(text, range)).toBe(value);
  });

  it.each(["", " ", "5 6", "five", "0x10", "0b1", "Infinity", "NaN", "1,5", "1_000", "5s", ".", "1.", "1e"])(
    "does not take %j for a number",
    (text) => {
      expect(() => parse(text, COUNT)).toThrow(
        new Refusal("Not a number: expected an integer from 1 to 1000; write it in decimal digits."),
      );
    },
  );

  it.each([
    ["0", COUNT, "Too small: expected an integer from 1 to 1000; use 1 or more."],
    ["-1", COUNT, "Too small: expected an integer from 1 to 1000; use 1 or more."],
    ["1001", COUNT, "Too large: expected an integer from 1 to 1000; use 1000 or less."],
    ["1.5", COUNT, "Not an integer: expected an integer from 1 to 1000; leave the fraction out."],
    ["0.09", SECONDS, "Too small: expected a number from 0.1 to 300; use 0.1 or more."],
    ["1e999", SECONDS, "Too large: expected a number from 0.1 to 300; use 300 or less."],
    ["x", { kind: "number" }, "Not a number: expected a number; write it in decimal digits."],
    ["1e999", { kind: "number" }, `Too large: expected a number; use ${Number.MAX_VALUE} or less.`],
    ["-1", { kind: "integer", min: 0 }, "Too small: expected an integer from 0; use 0 or more."],
  ] as const)("names what is wrong with %j, what was expected and what to do", (text, range, message) => {
    expect(() => parse(text, range)).toThrow(new Refusal(message));
  });
});
