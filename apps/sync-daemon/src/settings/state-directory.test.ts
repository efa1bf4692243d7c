/** Where snapshots go when the settings name no folder. */
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, onTestFinished, test } from "vitest";

import { readSettings } from "./read-settings.ts";
import { defaultSnapshotFolder, whyNoFolder } from "./state-directory.ts";

const LOCAL = { host: "127.0.0.1", port: 7070 };

test.each([
  [{ HOME: "/home/a" }, "linux", "/home/a/.local/state/kvsync/127.0.0.1-7070"],
  [{ HOME: "/home/a", XDG_STATE_HOME: "/var/lib" }, "linux", "/var/lib/kvsync/127.0.0.1-7070"],
  [{ HOME: "/home/a", XDG_STATE_HOME: "relative" }, "linux", "/home/a/.local/state/kvsync/127.0.0.1-7070"],
  [
    { STATE_DIRECTORY: "/var/lib/kvsync:/b", XDG_STATE_HOME: "/c" },
    "linux",
    "/var/lib/kvsync/127.0.0.1-7070",
  ],
  [{ HOME: "/Users/a" }, "darwin", "/Users/a/Library/Application Support/kvsync/127.0.0.1-7070"],
  [{}, "linux", null],
] as const)("with %j on %s it is %s", (environment, platform, expected) => {
  expect(defaultSnapshotFolder(environment, LOCAL, platform)).toBe(expected);
});

test("each address and port has its own, and a port that is not fixed has none", () => {
  const folder = (host: string, port: number) =>
    defaultSnapshotFolder({ HOME: "/h" }, { host, port }, "linux");
  expect(folder("::1", 7071)).toBe("/h/.local/state/kvsync/__1-7071");
  expect(folder("127.0.0.1", 0)).toBeNull();
});

test("snapshots are on by default, off by snapshot.enabled, and a folder in the settings goes before", () => {
  const folderOf = (...argv: string[]) =>
    readSettings(argv, { HOME: "/h", XDG_STATE_HOME: "/s" }).settings.snapshot.directory;
  expect(folderOf()).toBe("/s/kvsync/127.0.0.1-7070");
  expect(folderOf("--snapshot-enabled", "false")).toBeNull();
  expect(folderOf("--snapshot-directory", "/mine")).toBe("/mine");
  expect(folderOf("--snapshot-directory", "/mine", "--snapshot-enabled", "false")).toBeNull();
});

test("a folder is made for its user alone; one that cannot be is named with the reason", () => {
  const base = mkdtempSync(join(tmpdir(), "kvsync-state-"));
  onTestFinished(() => {
    chmodSync(base, 0o700);
    rmSync(base, { recursive: true, force: true });
  });
  const path = join(base, "a", "b");
  expect(whyNoFolder(path)).toBeNull();
  expect(statSync(path).mode & 0o777).toBe(0o700);
  writeFileSync(join(base, "file"), "");
  expect(whyNoFolder(join(base, "file"))).toContain("not a folder");
  expect(whyNoFolder(join(base, "file", "c"))).toContain("ENOTDIR");
});
