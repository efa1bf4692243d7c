/** Which seed an index gets, from the setting, a shared secret and the file that it is filled from. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { DEFAULT_HASH_SEED, PrefixIndex } from "@kvsync/core";
import { afterAll, expect, test } from "vitest";

import { loadSnapshot, seedText, writeSnapshot } from "../snapshot/snapshot-file.ts";
import { indexSeed } from "./index-seed.ts";

const folder = mkdtempSync(join(tmpdir(), "kvsync-seed-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const PUBLIC = { value: BigInt(DEFAULT_HASH_SEED), isKeyed: false };

function fileOf(seed: bigint, keyedHashes: boolean): string {
  const index = PrefixIndex.create({ memoryBytesMax: 2 ** 26, seed, keyedHashes });
  const path = join(folder, `${seed}-${keyedHashes}`);
  writeSnapshot(
    path,
    { productVersion: "0", createdMs: 1, hashSeed: seedText(index), streams: [] },
    index.copy(),
  );
  return path;
}

test("a public seed is 1337 of XXH3, whatever there is to restore", () => {
  expect(indexSeed("public", null, null)).toEqual(PUBLIC);
  expect(indexSeed("public", null, fileOf(7n, true))).toEqual(PUBLIC);
});

test("a secret seed is keyed: the shared one, that of the file, or a drawn one", () => {
  const file = fileOf(7n, true);
  expect(indexSeed("secret", 9n, file)).toEqual({ value: 9n, isKeyed: true });
  expect(indexSeed("secret", null, file)).toEqual({ value: 7n, isKeyed: true });
  const drawn = [1, 2].map(() => indexSeed("secret", null, null));
  expect(drawn.map(({ isKeyed }) => isKeyed)).toEqual([true, true]);
  expect(drawn[0]?.value).not.toBe(drawn[1]?.value);
});

test("a file whose hashes are not keyed gives no secret seed, and is refused as one of another seed (D1)", () => {
  for (const file of [fileOf(BigInt(DEFAULT_HASH_SEED), false), fileOf(7n, false)]) {
    const seed = indexSeed("secret", null, file);
    expect(seed.isKeyed).toBe(true);
    const index = PrefixIndex.create({ memoryBytesMax: 2 ** 26, seed: 7n, keyedHashes: true });
    expect(() => loadSnapshot(file, index.importer(), seedText(index))).toThrow(
      expect.objectContaining({ facts: { code: "other_hash_seed", path: file } }),
    );
  }
});
