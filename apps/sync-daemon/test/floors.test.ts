/**
 * Checks the daemon's floors (.dependency-cruiser.mjs). They are compared with a tree that has an
 * import between every two rooms, with the source's folders, and with the table in
 * docs/architecture.md.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

import { expect, onTestFinished, test } from "vitest";

const ROOT = join(import.meta.dirname, "..", "..", "..");
const CONFIG = join(ROOT, ".dependency-cruiser.mjs");
const DEPCRUISE = join(ROOT, "node_modules", "dependency-cruiser", "bin", "dependency-cruiser.mjs");
const SOURCE = join("apps", "sync-daemon", "src");

const { DAEMON_FLOORS } = (await import(pathToFileURL(CONFIG).href)) as {
  readonly DAEMON_FLOORS: readonly (readonly string[])[];
};
const rooms = DAEMON_FLOORS.flatMap((names, i) => names.map((name) => ({ name, floor: i })));

/** Writes a tree in which each room imports every other room. Returns the imports that do not go down. */
function plantTree(root: string): string[] {
  const entryOf = (name: string): string => (name.endsWith(".ts") ? name : `${name}/entry.ts`);
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(root, SOURCE, path)), { recursive: true });
    writeFileSync(join(root, SOURCE, path), text);
  };
  writeFileSync(join(root, "tsconfig.base.json"), "{}");
  const upward: string[] = [];
  for (const from of rooms) {
    const isFile = from.name.endsWith(".ts");
    if (isFile) {
      const others = rooms.filter(({ name }) => name !== from.name);
      write(from.name, others.map(({ name }) => `import "./${entryOf(name)}";\n`).join(""));
    } else write(entryOf(from.name), "export {};\n");
    for (const to of rooms) {
      if (to.name === from.name) continue;
      const file = isFile ? from.name : `${from.name}/to-${to.name.replaceAll(".", "-")}.ts`;
      if (!isFile) write(file, `import "../${entryOf(to.name)}";\n`);
      if (to.floor >= from.floor) upward.push(`${file} -> ${entryOf(to.name)}`);
    }
  }
  return upward;
}

test("every import between two rooms is refused unless it goes down", () => {
  const root = mkdtempSync(join(tmpdir(), "kvsync-floors-"));
  onTestFinished(() => {
    rmSync(root, { recursive: true });
  });
  const upward = plantTree(root);
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [DEPCRUISE, "--config", CONFIG, "--output-type", "json", "apps"],
    { cwd: root, encoding: "utf8", maxBuffer: 64 * 1024 * 1024 },
  );
  expect(stderr).toBe("");
  const { summary } = JSON.parse(stdout) as {
    summary: { violations: readonly { from: string; to: string; rule: { name: string } }[] };
  };
  const refused = summary.violations
    .filter(({ rule }) => rule.name.startsWith("floor-"))
    .map(({ from, to }) => `${from} -> ${to}`.replaceAll(`${SOURCE}/`, ""));
  expect(refused.toSorted()).toEqual(upward.toSorted());
});

test("every folder and file of the source has a floor, and the floors name no other", () => {
  const there = readdirSync(join(ROOT, SOURCE)).filter((name) => !/\.(test|bench)\.ts$/.test(name));
  expect(rooms.map(({ name }) => name).toSorted()).toEqual(there.toSorted());
});

test("docs/architecture.md shows the enforced floors", () => {
  const text = readFileSync(join(ROOT, "docs", "architecture.md"), "utf8");
  const rows = [...text.matchAll(/^\| (\d+) \| (.+?) \|/gm)].map(([, floor, names = ""]) => ({
    floor: Number(floor),
    names: [...names.matchAll(/`([^`]+?)\/?`/g)].map(([, name]) => name),
  }));
  const expected = DAEMON_FLOORS.map((names, i) => ({ floor: i, names })).toReversed();
  expect(rows).toEqual(expected);
});
