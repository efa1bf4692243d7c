/**
 * The seed of the index's hashes (setting `index.prefix_hashes`).
 *
 *     public   1337, which clients that hash prompts themselves use, too
 *     secret   that of index.seed_file; without it drawn at start, or the one that the snapshot was made with, so that its rows
 *              mean something
 *
 * For a known seed, two prompts with one prefix hash can be constructed. One of them would be
 * answered for the other, as `exact` (docs/architecture.md). So a snapshot made with the public
 * seed is no source of a secret one.
 */
import { CodedError, DEFAULT_HASH_SEED } from "@kvsync/core";

import { snapshotSeed } from "../snapshot/snapshot-file.ts";

/**
 * Chooses the seed.
 *
 * @param prefixHashes - the setting.
 * @param shared - of `index.seed_file`; null without one.
 * @param restoreFrom - first file that the index will be filled from; null for none.
 * @returns 0 … 2⁶⁴ − 1. A file made under the other setting is refused when it is read (`other_hash_seed`).
 */
export function indexSeed(
  prefixHashes: "public" | "secret",
  shared: bigint | null,
  restoreFrom: string | null,
): bigint {
  const open = BigInt(DEFAULT_HASH_SEED);
  if (prefixHashes === "public") return open;
  if (shared !== null) return shared;
  const restored = restoreFrom === null ? null : seedIn(restoreFrom);
  if (restored !== null && restored !== open) return restored;
  const [drawn = open] = crypto.getRandomValues(new BigUint64Array(1));
  return drawn;
}

/** Null where the file is of no use: whoever restores it says why. */
function seedIn(path: string): bigint | null {
  try {
    return snapshotSeed(path);
  } catch (error) {
    if (error instanceof CodedError) return null;
    throw error;
  }
}
