/**
 * The rule that keeps kvsync's catalogue apart (.dependency-cruiser.mjs), on a tree with a planted
 * import. General files must work for an application without kvsync.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { expect, onTestFinished, test } from "vitest";

const ROOT = join(import.meta.dirname, "..", "..", "..");
const DEPCRUISE = join(ROOT, "node_modules", "dependency-cruiser", "bin", "dependency-cruiser.mjs");
const SOURCE = "packages/observability/src";

/** Each file with what it imports. */
const TREE: Readonly<Record<string, readonly string[]>> = {
  "project.ts": [],
  "kvsync/catalogue.ts": ["../project.ts"],
  "kvsync/project.ts": ["./catalogue.ts"],
  "main.ts": ["./kvsync/project.ts"],
  "project.test.ts": ["./kvsync/project.ts"],
  "rules/alert.ts": ["../kvsync/catalogue.ts"],
};

test("a general file that imports kvsync's catalogue is refused, and no other import", () => {
  const root = mkdtempSync(join(tmpdir(), "kvsync-boundary-"));
  onTestFinished(() => {
    rmSync(root, { recursive: true });
  });
  writeFileSync(join(root, "tsconfig.base.json"), "{}");
  for (const [path, imports] of Object.entries(TREE)) {
    mkdirSync(dirname(join(root, SOURCE, path)), { recursive: true });
    writeFileSync(
      join(root, SOURCE, path),
      `export {};\n${imports.map((name) => `import "${name}";\n`).join("")}`,
    );
  }
  const args = [DEPCRUISE, "--config", join(ROOT, ".dependency-cruiser.mjs"), "--output-type", "json"];
  const { stdout, stderr } = spawnSync(process.execPath, [...args, "packages"], {
    cwd: root,
    encoding: "utf8",
  });
  expect(stderr).toBe("");
  const { summary } = JSON.parse(stdout) as {
    summary: { violations: readonly { from: string; to: string; rule: { name: string } }[] };
  };
  expect(summary.violations.map(({ from, to, rule }) => [rule.name, from, to])).toEqual([
    ["kvsync-catalogue-stands-apart", `${SOURCE}/rules/alert.ts`, `${SOURCE}/kvsync/catalogue.ts`],
  ]);
});
