/**
 * Small files that are read again when they change: tokens, certificates.
 *
 *   load ─▶ in use ──changed, usable──▶ in use (new)
 *              └─────changed, unusable─▶ in use (old), a refusal is reported once per content, looked at again
 *
 * Reads the contents at intervals. File events would be cheaper and miss the important changes.
 * Kubernetes replaces a mounted secret by moving a link two folders up, and two files of one
 * certificate change at two moments.
 */

import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";

/** Certificates with their chains take some kB, a thousand tokens 100 kB. */
const FILE_BYTES_MAX = 1024 * 1024;

/** What a watched set of files does. */
export interface FileUse {
  /** In the order of the paths. Throws when they cannot be used; then what was used before stays in use. */
  use(contents: readonly Buffer[]): void;
  /** They changed and are in use. */
  changed(): void;
  /** They changed and cannot be used, or not be read. */
  refused(error: unknown): void;
}

/** A set of files that belong together. */
export class WatchedFiles {
  readonly #paths: readonly string[];
  readonly #user: FileUse;
  #used = "";
  #refused = "";
  #timer: NodeJS.Timeout | null = null;

  /**
   * @param paths - used together.
   * @param user - what uses them.
   */
  constructor(paths: readonly string[], user: FileUse) {
    this.#paths = paths;
    this.#user = user;
  }

  /**
   * Reads them for the first time.
   *
   * @throws Error of the system or of `use`.
   */
  load(): void {
    const contents = this.#paths.map(readBounded);
    this.#user.use(contents);
    this.#used = digestOf(contents);
  }

  /**
   * Looks at them from now on.
   *
   * @param everyMs - time between two looks.
   */
  watch(everyMs: number): void {
    this.#timer = setInterval(() => {
      this.look();
    }, everyMs);
    this.#timer.unref();
  }

  /** Looks at them now. */
  look(): void {
    let digest = "unreadable";
    try {
      const contents = this.#paths.map(readBounded);
      digest = digestOf(contents);
      if (digest === this.#used && this.#refused === "") return;
      this.#user.use(contents);
      this.#used = digest;
      this.#refused = "";
      this.#user.changed();
    } catch (error) {
      if (digest === this.#refused) return;
      this.#refused = digest;
      this.#user.refused(error);
    }
  }

  /** Looks no more. */
  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }
}

/**
 * Reads a small file.
 *
 * @param path - of it.
 * @returns its content.
 * @throws Error of the system, and for what is no regular file or too large.
 */
export function readBounded(path: string): Buffer {
  const found = statSync(path);
  // A pipe or a device may give no end, and a name that is a folder says so more plainly here than when it is read.
  if (!found.isFile()) throw new Error(`${path}: is no regular file`);
  const { size } = found;
  if (size > FILE_BYTES_MAX) throw new Error(`${path}: ${size} bytes, expected at most ${FILE_BYTES_MAX}`);
  return readFileSync(path);
}

function digestOf(contents: readonly Buffer[]): string {
  const hash = createHash("sha256");
  for (const content of contents) hash.update(`${content.byteLength}:`).update(content);
  return hash.digest("hex");
}
