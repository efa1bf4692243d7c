import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { jsonMembers } from "./json-members.ts";

/** As JSON.parse reads each value that was found. */
function read(text: string): Record<string, unknown> | null {
  const members = jsonMembers(Buffer.from(text));
  if (members === null) return null;
  return Object.fromEntries(
    [...members].map(([name, value]) => [name, JSON.parse(value.toString()) as unknown]),
  );
}

const space = fc.constantFrom("", " ", "\n", "\t\r\n  ");

describe("the members of a JSON object", () => {
  it("J1: are those that JSON.parse finds, whatever stands between them", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.string({ unit: "grapheme" }), fc.jsonValue()), { maxLength: 8 }),
        space,
        (entries, gap) => {
          const members = entries.map(
            ([name, value]) => `${gap}${JSON.stringify(name)}${gap}:${gap}${JSON.stringify(value)}`,
          );
          const text = `${gap}{${members.join(`${gap},`)}${gap}}${gap}`;
          const parsed = JSON.parse(text) as object;
          expect(read(text)).toEqual(Object.fromEntries(Object.entries(parsed)));
        },
      ),
    );
  });

  it("J1: are found behind long strings with escaped quotes and backslashes at any place", () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom("a".repeat(70), "\\", '"', "ä", "\n", "b"), { maxLength: 12 }),
        (parts) => {
          const value = { text: parts.join(""), list: [parts.join(""), { deep: parts }], last: 1.5 };
          expect(read(JSON.stringify(value))).toEqual(value);
        },
      ),
    );
  });

  it("J1: count once, as the last of a name", () => {
    expect(read('{"a":1,"a":2}')).toEqual({ a: 2 });
  });

  it("are none of what is no object, or does not end", () => {
    for (const text of [
      "",
      "[]",
      "1",
      '"a"',
      "{",
      '{"a"',
      '{"a":',
      '{"a":1',
      '{"a":1,',
      '{"a":1,}',
      "{1:2}",
      '{"a":"b',
      '{"a":[1',
      "{}x",
      '{"a" 1}',
    ])
      expect(read(text), text).toBeNull();
  });

  it("J2: of foreign bytes are found or not, and nothing is thrown", () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom("{", "}", "[", "]", '"', ",", ":", "\\", " ", "\n", "1", "a", "true"), {
          maxLength: 40,
        }),
        fc.uint8Array({ maxLength: 8 }),
        (characters, more) => {
          const found = jsonMembers(Buffer.concat([Buffer.from(characters.join("")), more]));
          expect(found === null || found instanceof Map).toBe(true);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("J2: are found in time that follows the bytes, also where every byte is a bracket, a quote or a backslash", () => {
    for (const text of [
      '{"a":' + "[".repeat(1_000_000),
      '{"a":"' + "\\".repeat(1_000_000),
      '{"a":["' + '","'.repeat(300_000),
    ]) {
      const began = performance.now();
      expect(jsonMembers(Buffer.from(text))).toBeNull();
      expect(performance.now() - began).toBeLessThan(1000);
    }
  });

  it("are not found where there are too many", () => {
    const many = Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`n${i}`, i]));
    expect(jsonMembers(Buffer.from(JSON.stringify(many)))).toBeNull();
  });
});
