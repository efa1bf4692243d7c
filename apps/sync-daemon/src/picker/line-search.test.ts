/** The search against a look at each line. */
import fc from "fast-check";
import { expect, test } from "vitest";

import { LineSearch } from "./line-search.ts";

/** Lines with one of the names: its position, what follows it, and where that is. */
type Found = readonly [name: number, rest: string, after: number];

function searched(names: readonly string[], text: Buffer): Found[] {
  const found: Found[] = [];
  new LineSearch(names).lines(text, (name, after, end) => {
    found.push([name, text.toString("latin1", after, end), after]);
  });
  return found;
}

function lineByLine(names: readonly string[], text: Buffer): Found[] {
  let at = 0;
  return text
    .toString("latin1")
    .split("\n")
    .flatMap((line) => {
      const begin = at;
      at += line.length + 1;
      const name = names.findIndex((one) => line.startsWith(one) && /[{ \t]/.test(line[one.length] ?? ""));
      const { length } = names[name] ?? "";
      return name < 0 ? [] : [[name, line.slice(length), begin + length] as const];
    });
}

test("S1: the lines with one of the names are those that a look at each line finds", () => {
  // Few letters, so that names begin, end and overlap within each other and within texts.
  const name = fc.string({ unit: fc.constantFrom("a", "b", "_"), minLength: 2, maxLength: 6 });
  const names = fc.uniqueArray(name, { minLength: 1, maxLength: 5 });
  const piece = fc.oneof(
    fc.constantFrom("\n", "{", " ", "\t", "a", "b", "_", "ab", "\n\n", "# a ", "\xff"),
    fc.string({ unit: fc.constantFrom("a", "b", "_"), maxLength: 12 }),
  );
  let lines = 0;
  fc.assert(
    fc.property(names, fc.array(fc.oneof(piece, fc.nat(4)), { maxLength: 60 }), (all, pieces) => {
      const text = Buffer.from(
        pieces
          .map((one) => (typeof one === "number" ? `\n${all[one % all.length] ?? ""}{x} 1\n` : one))
          .join(""),
        "latin1",
      );
      const expected = lineByLine(all, text);
      lines += expected.length;
      expect(searched(all, text)).toEqual(expected);
    }),
    { numRuns: 3000 },
  );
  expect(lines).toBeGreaterThan(1000);
});
