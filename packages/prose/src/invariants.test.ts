/** The texts that execute a numbered invariant, and the texts that do not. */
import { expect, test } from "vitest";

import { unexecuted } from "./invariants.ts";

const HEADER = "/**\n * A machine.\n *\n * Invariants\n *  Y1  It works.\n *  Y2  It always works.\n */\n";

/** Numbers of packages/core/src/sync/machine.ts that nothing executes. */
function left(body: string, others: Readonly<Record<string, string>> = {}): string[] {
  const sources = Object.entries({ "packages/core/src/sync/machine.ts": HEADER + body, ...others });
  return unexecuted(sources.map(([file, text]) => ({ file, text }))).map(({ number }) => number);
}

test("an assertion of the file itself executes the number in its message, a comment does not", () => {
  expect(left("")).toEqual(["Y1", "Y2"]);
  expect(left('assert(true, "Y1: it works"); // Y2')).toEqual(["Y2"]);
  expect(left('/* "Y1" */ assert(true, `Y2: it works`);')).toEqual(["Y1"]);
});

test("a test that names the file executes the numbers of its titles, also a range of them", () => {
  const title = 'import "./machine.ts"; test("it works (Y1 to Y2)", work);';
  expect(left("", { "packages/core/src/sync/machine.test.ts": title })).toEqual([]);
  expect(left("", { "packages/core/test/machines.test.ts": title })).toEqual([]);
});

test("a test that does not name the file, or is of another package, executes none of its numbers", () => {
  expect(left("", { "packages/core/test/machines.test.ts": 'test("it works (Y1)", work);' })).toHaveLength(2);
  const named = 'import "../machine.ts"; test("it works (Y1, Y2)", work);';
  expect(left("", { "packages/client/src/other.test.ts": named })).toHaveLength(2);
});
