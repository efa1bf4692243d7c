/**
 * Every page can be found: decisions in their index, operators' pages from the README.
 *
 * packages/prose checks that the names in a page exist. pages.e2e.test.ts runs the commands of the pages.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const IGNORED = new Set(["node_modules", "dist", "test-results", ".git", ".turbo"]);

function markdownFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (IGNORED.has(entry.name)) return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return markdownFiles(path);
    return entry.name.endsWith(".md") ? [path] : [];
  });
}

const FILES = markdownFiles(ROOT).map((path) => ({
  name: relative(ROOT, path),
  path,
  text: readFileSync(path, "utf8"),
}));

test("the README leads to every operator's page", () => {
  const readme = FILES.find(({ name }) => name === "README.md")?.text ?? "";
  const pages = FILES.map(({ name }) => name).filter((name) => /^docs\/operations\/[^/]+$/.test(name));
  expect(pages.filter((name) => !readme.includes(`](${name})`))).toEqual([]);
});

test("decisions are numbered without a hole, and the index lists each by its title", () => {
  const folder = "docs/decisions/";
  const decisions = FILES.filter(({ name }) => name.startsWith(folder) && !name.endsWith("README.md")).sort(
    (a, b) => (a.name < b.name ? -1 : 1),
  );
  const listed = decisions.map(({ name, text }, i) => {
    const [, number = "", title = ""] = /^# (\d+)\. (.+)\n/.exec(text) ?? [];
    expect([name.slice(folder.length, folder.length + 5), number], name).toEqual([
      `${String(i + 1).padStart(4, "0")}-`,
      String(i + 1),
    ]);
    return `${number}. [${title}](${name.slice(folder.length)})`;
  });
  const index = FILES.find(({ name }) => name === `${folder}README.md`)?.text ?? "";
  expect(index.split("\n").filter((line) => /^\d/.test(line))).toEqual(listed);
});
