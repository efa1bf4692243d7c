/**
 * The whole tree is written by the rules.
 *
 * `remaining.json` counts the findings per file that are left from before the linter. A file may have fewer than
 * its count, never more; a file without a count has none.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import { lintTree } from "../src/lint.ts";
import type { Finding } from "../src/passage.ts";

const REMAINING = JSON.parse(readFileSync(new URL("remaining.json", import.meta.url), "utf8")) as Readonly<
  Record<string, number>
>;

test("no file has more findings than are left from before the linter", () => {
  const byFile = new Map<string, Finding[]>();
  for (const finding of lintTree(fileURLToPath(new URL("../../../", import.meta.url))))
    byFile.set(finding.file, [...(byFile.get(finding.file) ?? []), finding]);
  const tooMany = [...byFile].filter(([file, findings]) => findings.length > (REMAINING[file] ?? 0));
  expect(
    tooMany.flatMap(([, findings]) =>
      findings.map(
        ({ file, line, rule, found, instead }) => `${file}:${line}: ${rule}: ${found} → ${instead}`,
      ),
    ),
  ).toEqual([]);
});
