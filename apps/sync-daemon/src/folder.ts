/**
 * Makes the folders that the daemon keeps files in.
 *
 *     mkdir /a/b/c ── ENOENT ──▶ mkdir /a/b ── ENOENT ──▶ mkdir /a ──▶ /a/b ──▶ /a/b/c
 *
 * Invariants (folder.test.ts)
 *  F1  Every folder that is made is for this user alone (0700). One that is there keeps its mode.
 *  F2  A folder that cannot be made is an error of the system at once, with the path at which it failed. Node's own recursion
 *      does not end below `/proc` (Node 20 to 24).
 *  F3  A path that is there and is no folder is `ENOTDIR`, with that path.
 *
 * Not here: whether files can be made in it (state-directory.ts).
 */

import { mkdirSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";

/** Of a folder that is made. */
const FOLDER_MODE = 0o700;

/**
 * Makes a folder, and those above it that are not there.
 *
 * @throws the system's error (F2, F3).
 */
export function makeFolder(path: string): void {
  const folder = resolve(path);
  const above = dirname(folder);
  const error = whyNotMade(folder);
  if (error === null) return;
  if (codeOf(error) !== "ENOENT" || above === folder) throw error;
  makeFolder(above);
  // Below `/proc` a folder that cannot be made is said not to be there.
  const again = whyNotMade(folder);
  if (again !== null) throw again;
}

/** Makes one level; `null` when it is there, also where another process was first. */
function whyNotMade(folder: string): Error | null {
  try {
    mkdirSync(folder, { mode: FOLDER_MODE });
    return null;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    // Windows says EPERM of a drive, and some systems EROFS of a folder that is there.
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return error;
    return whyNoFolder(folder, error);
  }
}

function whyNoFolder(folder: string, error: Error): Error | null {
  try {
    if (statSync(folder).isDirectory()) return null;
  } catch {
    return error;
  }
  const facts = { code: "ENOTDIR", syscall: "mkdir", path: folder };
  return Object.assign(new Error(`ENOTDIR: not a folder, mkdir '${folder}'`), facts);
}

function codeOf(error: Error): unknown {
  return "code" in error ? error.code : undefined;
}
