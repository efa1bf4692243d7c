/**
 * A kept file is whole at every moment, for any number of writers, and readable by this user alone.
 * A path that cannot be written is reported at once.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { KeptFile } from "./kept-file.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kvsync-kept-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

test("K1, K2: of writings that are asked for at once the last one stays, and every reader sees a whole one", async () => {
  const file = new KeptFile(join(folder, "state", "kept.json"));
  const texts = Array.from({ length: 40 }, (_, i) => `${i}:`.padEnd(200_000 - 4000 * i, `${i % 10}`));
  const seen = new Set<string | null>();
  const writings = new Set(texts);
  const written = Promise.all(texts.map((text) => file.write(text).then(() => writings.delete(text))));
  while (writings.size > 0) seen.add(await file.read());
  await written;
  expect(await file.read()).toBe(texts.at(-1));
  expect([...seen].filter((text) => text !== null && !texts.includes(text))).toEqual([]);
  expect(readdirSync(join(folder, "state"))).toEqual(["kept.json"]);
});

test("K3: folders and file are for this user alone, also where a file of another mode was", async () => {
  const file = new KeptFile(join(folder, "a", "b", "kept.json"));
  const modeOf = (path: string): number => statSync(path).mode & 0o777;
  await file.write("one");
  writeFileSync(`${file.path}.new`, "left behind", { mode: 0o644 });
  await file.write("two");
  expect(readFileSync(file.path, "utf8")).toBe("two");
  expect([join(folder, "a"), join(folder, "a", "b"), file.path].map(modeOf)).toEqual([0o700, 0o700, 0o600]);
});

test("a writing that fails is not in the way of the next one", async () => {
  const file = new KeptFile(join(folder, "state", "kept.json"));
  writeFileSync(join(folder, "state"), "a file in the place of the folder");
  await expect(file.write("one")).rejects.toMatchObject({ code: "ENOTDIR" });
  await expect(file.check()).rejects.toMatchObject({ code: "ENOTDIR" });
  rmSync(join(folder, "state"));
  await file.write("two");
  expect(await file.read()).toBe("two");
});

test.runIf(process.platform === "linux")("a folder that cannot be made is an error at once", async () => {
  await expect(new KeptFile("/proc/kvsync/state/kept.json").check()).rejects.toMatchObject({
    code: "ENOENT",
  });
});
