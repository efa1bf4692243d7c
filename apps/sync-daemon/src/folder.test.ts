/**
 * Folders are made level by level, for their user alone. One that cannot be made is an error at once (F1 to F3 of folder.ts).
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { makeFolder } from "./folder.ts";

let base = "";
const modeOf = (path: string): number => statSync(path).mode & 0o777;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "kvsync-folder-"));
});
afterEach(() => {
  rmSync(base, { recursive: true, force: true });
});

test("every level that is made is for this user alone, and one that is there keeps its mode (F1)", () => {
  mkdirSync(join(base, "a"));
  chmodSync(join(base, "a"), 0o755);
  const path = join(base, "a", "b", "c");
  makeFolder(path);
  expect([join(base, "a"), join(base, "a", "b"), path].map(modeOf)).toEqual([0o755, 0o700, 0o700]);
  chmodSync(path, 0o750);
  makeFolder(path);
  expect(modeOf(path)).toBe(0o750);
});

test("a path is of this process's folder where it is not absolute, and the root is there", () => {
  makeFolder(relative(process.cwd(), join(base, "x", "y")));
  makeFolder("/");
  expect(existsSync(join(base, "x", "y"))).toBe(true);
});

test.runIf(process.platform === "linux")("a folder below /proc is refused by its path at once (F2)", () => {
  expect(() => {
    makeFolder("/proc/kvsync/state/deep");
  }).toThrow(expect.objectContaining({ code: "ENOENT", path: "/proc/kvsync" }));
});

test("a file in the place of a folder is named, at the end of the path and above it (F3)", () => {
  const file = join(base, "file");
  writeFileSync(file, "");
  expect(() => {
    makeFolder(file);
  }).toThrow(expect.objectContaining({ code: "ENOTDIR", path: file }));
  expect(() => {
    makeFolder(join(file, "below"));
  }).toThrow(expect.objectContaining({ code: "ENOTDIR", path: join(file, "below") }));
});
