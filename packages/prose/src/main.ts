/**
 * Prints the findings: `node packages/prose/src/main.ts [START_OF_PATH…]`.
 *
 * The exit code is 1 when there are findings.
 */
import { fileURLToPath } from "node:url";

import { lintTree } from "./lint.ts";

const prefixes = process.argv.slice(2);
const findings = lintTree(fileURLToPath(new URL("../../../", import.meta.url))).filter(
  ({ file }) => prefixes.length === 0 || prefixes.some((prefix) => file.startsWith(prefix)),
);
for (const { file, line, rule, found, instead } of findings)
  process.stdout.write(`${file}:${line}: ${rule}: ${found} → ${instead}\n`);
process.exitCode = findings.length === 0 ? 0 : 1;
