/** Why a snapshot is refused, or could not be made. Codes are metric label values and rows of the generated reference. */

import { CodedError } from "@kvsync/core";

/** Facts of a refusal. `offset` is the byte of the file at which it stopped making sense. */
export type SnapshotFacts =
  | { readonly code: "not_a_snapshot"; readonly path: string }
  | {
      readonly code: "other_format";
      readonly path: string;
      readonly format: number;
      readonly expected: number;
    }
  | { readonly code: "truncated"; readonly path: string; readonly offset: number }
  | { readonly code: "checksum_mismatch"; readonly path: string; readonly offset: number }
  | {
      readonly code: "malformed_section";
      readonly path: string;
      readonly offset: number;
      readonly expected: string;
    }
  | { readonly code: "other_hash_seed"; readonly path: string }
  | { readonly code: "folder_lost"; readonly path: string; readonly reason: string }
  | { readonly code: "io_failed"; readonly path: string; readonly reason: string }
  | { readonly code: "fetch_failed"; readonly url: string; readonly reason: string }
  | { readonly code: "too_large"; readonly url: string; readonly bytesMax: number };

/** A snapshot that is not used. It costs a cold start, nothing else. */
export class SnapshotError extends CodedError<SnapshotFacts> {}

/**
 * Wraps what the file system said.
 *
 * @param path - of the file.
 * @param error - as thrown.
 * @returns io_failed, with the system's own code in the message.
 */
export function ioFailed(path: string, error: unknown): SnapshotError {
  const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
  return new SnapshotError({ code: "io_failed", path, reason }, `snapshot ${path}: ${reason}`, {
    cause: error,
  });
}
