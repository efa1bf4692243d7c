/**
 * Every numbered invariant of a source header is executed by its number: in an assertion, in a check or in the title of a test.
 *
 * `unexecuted.json` lists the numbers that were there before this test. It may only become shorter: a number that is executed
 * or gone has to leave it.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import { unexecuted } from "../src/invariants.ts";
import { readTree } from "../src/tree.ts";

/** Lowered together with the list. */
const LEFT_MAX = 10;
const LEFT = JSON.parse(readFileSync(new URL("unexecuted.json", import.meta.url), "utf8")) as Readonly<
  Record<string, readonly string[]>
>;

test("every numbered invariant is executed by its number, and the list of those that are not becomes shorter", () => {
  const byFile: Record<string, string[]> = {};
  for (const { file, number } of unexecuted(
    readTree(fileURLToPath(new URL("../../../", import.meta.url))).sources,
  ))
    (byFile[file] ??= []).push(number);
  expect(byFile).toEqual(LEFT);
  expect(Object.values(LEFT).flat().length).toBeLessThanOrEqual(LEFT_MAX);
});
