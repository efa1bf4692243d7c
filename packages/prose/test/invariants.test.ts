/** Every numbered invariant of a source header is executed by its number: in an assertion, in a check or in the title of a test. */
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import { unexecuted } from "../src/invariants.ts";
import { readTree } from "../src/tree.ts";

test("every numbered invariant of a source header is executed by its number", () => {
  const { sources } = readTree(fileURLToPath(new URL("../../../", import.meta.url)));
  expect(unexecuted(sources)).toEqual([]);
});
