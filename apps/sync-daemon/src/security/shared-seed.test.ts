/** Seeds from a secret that several daemons have. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, expect, test } from "vitest";

import { readSharedSeed } from "./shared-seed.ts";

const folder = mkdtempSync(join(tmpdir(), "kvsync-seed-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function fileWith(content: string): string {
  const path = join(folder, "seed");
  writeFileSync(path, content);
  return path;
}

test("one secret is one seed, with or without a newline at its end, and another secret is another", () => {
  const seed = readSharedSeed(fileWith("0123456789abcdef"));
  expect(seed).toBe(0x787ab2f711519f9fn);
  expect(readSharedSeed(fileWith("0123456789abcdef\n"))).toBe(seed);
  expect(readSharedSeed(fileWith("0123456789abcdeg"))).not.toBe(seed);
  expect(readSharedSeed(null)).toBeNull();
});

test("a secret that is short, and a file that is not there, are refused without the secret", () => {
  expect(() => readSharedSeed(fileWith("hush"))).toThrow(/index\.seed_file: .*has 4 characters; expected/);
  expect(() => readSharedSeed(fileWith("hush"))).not.toThrow(/hush/);
  expect(() => readSharedSeed(join(folder, "absent"))).toThrow(/there is no such file; expected/);
});
