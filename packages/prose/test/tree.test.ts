/** The whole tree is written by the rules. */
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import { lintTree } from "../src/lint.ts";

test("no file breaks a rule", () => {
  const findings = lintTree(fileURLToPath(new URL("../../../", import.meta.url)));
  expect(
    findings.map(({ file, line, rule, found, instead }) => `${file}:${line}: ${rule}: ${found} → ${instead}`),
  ).toEqual([]);
});
