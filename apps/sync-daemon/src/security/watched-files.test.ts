/**
 * Files that change under a running process: which content is used, what is reported, and how
 * often. The test triggers the checks by hand, so that it does not wait.
 */
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { WatchedFiles } from "./watched-files.ts";

let folder: string;
let told: string[];
const path = (name: string): string => join(folder, name);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kvsync-watched-"));
  told = [];
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Uses any contents but "bad". */
function watched(...names: string[]): WatchedFiles {
  return new WatchedFiles(names.map(path), {
    use: (contents) => {
      const text = contents.join("+");
      if (text.includes("bad")) throw new Error("bad");
      told.push(`use ${text}`);
    },
    changed: () => told.push("changed"),
    refused: (error) => told.push(`refused ${(error as Error).message.split(":", 1)[0] ?? ""}`),
  });
}

test("what is the same is not read into use again, what changed is, and what cannot be used is told once and leaves the rest in use", () => {
  writeFileSync(path("a"), "one");
  const files = watched("a");
  files.load();
  files.look();
  expect(told).toEqual(["use one"]);
  writeFileSync(path("a"), "two");
  files.look();
  files.look();
  expect(told.slice(1)).toEqual(["use two", "changed"]);
  writeFileSync(path("a"), "bad");
  files.look();
  files.look();
  writeFileSync(path("a"), "bad again");
  files.look();
  expect(told.slice(3)).toEqual(["refused bad", "refused bad"]);
  rmSync(path("a"));
  files.look();
  files.look();
  expect(told.slice(5)).toEqual(["refused ENOENT"]);
  // Back to what is in use all the time: told too, since it was said to be refused.
  writeFileSync(path("a"), "two");
  files.look();
  files.look();
  expect(told.slice(6)).toEqual(["use two", "changed"]);
});

test("files that belong together are used together, and a border between them does not get lost", () => {
  writeFileSync(path("a"), "x");
  writeFileSync(path("b"), "yz");
  const files = watched("a", "b");
  files.load();
  writeFileSync(path("a"), "xy");
  writeFileSync(path("b"), "z");
  files.look();
  expect(told).toEqual(["use x+yz", "use xy+z", "changed"]);
});

test("a mounted secret, which is replaced by moving a link above it, is seen", () => {
  for (const [version, text] of [
    ["v1", "one"],
    ["v2", "two"],
  ] as const) {
    mkdirSync(path(version));
    writeFileSync(path(`${version}/token`), text);
  }
  symlinkSync("v1", path("..data"));
  symlinkSync("..data/token", path("token"));
  const files = watched("token");
  files.load();
  symlinkSync("v2", path("..data_tmp"));
  renameSync(path("..data_tmp"), path("..data"));
  files.look();
  expect(told).toEqual(["use one", "use two", "changed"]);
});

test("a file far beyond any secret's size is refused unread", () => {
  writeFileSync(path("a"), "x".repeat(1024 * 1024 + 1));
  expect(() => {
    watched("a").load();
  }).toThrow("1048577 bytes, expected at most 1048576");
});

test("a device, which has no end, and a folder are refused by name and not read", () => {
  symlinkSync("/dev/zero", path("a"));
  expect(() => {
    watched("a").load();
  }).toThrow(`${path("a")}: is no regular file`);
  rmSync(path("a"));
  mkdirSync(path("a"));
  expect(() => {
    watched("a").load();
  }).toThrow(`${path("a")}: is no regular file`);
});
