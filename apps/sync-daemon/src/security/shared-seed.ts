/**
 * A seed of prefix hashes that several daemons have from one secret. Their snapshots then mean the
 * same, and one shard can take over workers of another.
 *
 *     index.seed_file ─▶ text without white space around it ─▶ SHA-256 ─▶ its first eight bytes
 *
 * The seed is as secret as the file. Not here: seeds that are drawn (ingest/index-seed.ts).
 */

import { createHash } from "node:crypto";

import { settingsError, type SettingsError } from "../settings/settings-error.ts";
import { whyUnreadable } from "../settings/unreadable-file.ts";
import { readBounded } from "./watched-files.ts";

/** Below, a seed can be found by trying. */
const CHARACTERS_MIN = 16;
const EXPECTED = `a file with a secret of at least ${CHARACTERS_MIN} characters that all shards have`;

/**
 * Reads the seed.
 *
 * @param path - setting `index.seed_file`; null for none.
 * @returns 0 … 2⁶⁴ − 1; null for none.
 * @throws SettingsError when the file cannot be used.
 */
export function readSharedSeed(path: string | null): bigint | null {
  if (path === null) return null;
  let secret: string;
  try {
    secret = readBounded(path).toString("utf8").trim();
  } catch (error) {
    throw unusable(path, whyUnreadable(error, path));
  }
  if (secret.length < CHARACTERS_MIN) throw unusable(path, `has ${secret.length} characters`);
  return createHash("sha256").update(secret).digest().readBigUInt64LE();
}

function unusable(path: string, why: string): SettingsError {
  return settingsError([
    {
      fault: { code: "unusable_setting", setting: "index.seed_file", source: path, expected: EXPECTED },
      line: `index.seed_file: ${path}: ${why}; expected ${EXPECTED}`,
    },
  ]);
}
