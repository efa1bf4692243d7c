/**
 * The seed of the index's hashes (setting `index.prefix_hashes`).
 *
 *     public   XXH3 with seed 1337, which clients that hash prompts themselves use, too
 *     secret   keyed: that of index.seed_file; without it drawn at start, or the one that the snapshot was made with, so that its
 *              rows mean something
 *
 * For a known seed, two prompts with one prefix hash can be constructed. One of them would be
 * answered for the other, as `exact` (docs/architecture.md). So a snapshot made with the public
 * seed is no source of a secret one. No client computes hashes of a secret seed. So they are
 * not XXH3, but a hash that takes half the time (docs/decisions/0031).
 *
 * Invariant (index-seed.test.ts)
 *  D1  A secret seed is never taken from a file whose hashes are not keyed.
 */
import { CodedError, DEFAULT_HASH_SEED, type HashSeed } from "@kvsync/core";

import { snapshotSeed } from "../snapshot/snapshot-file.ts";

/**
 * Chooses the seed.
 *
 * @param prefixHashes - the setting.
 * @param shared - of `index.seed_file`; null without one.
 * @param restoreFrom - first file that the index will be filled from; null for none.
 * @returns the seed. A file made under the other setting is refused when it is read (`other_hash_seed`).
 */
export function indexSeed(
  prefixHashes: "public" | "secret",
  shared: bigint | null,
  restoreFrom: string | null,
): HashSeed {
  const open = BigInt(DEFAULT_HASH_SEED);
  if (prefixHashes === "public") return { value: open, isKeyed: false };
  if (shared !== null) return { value: shared, isKeyed: true };
  const restored = restoreFrom === null ? null : seedIn(restoreFrom);
  if (restored?.isKeyed === true) return restored;
  const [drawn = open] = crypto.getRandomValues(new BigUint64Array(1));
  return { value: drawn, isKeyed: true };
}

/** Null where the file is of no use: whoever restores it says why. */
function seedIn(path: string): HashSeed | null {
  try {
    return snapshotSeed(path);
  } catch (error) {
    if (error instanceof CodedError) return null;
    throw error;
  }
}
