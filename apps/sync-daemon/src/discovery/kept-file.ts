/**
 * A file that a daemon keeps for its next start: written whole or not at all, one writing after the other.
 *
 *   write(text) ─▶ behind the writing before it ─▶ name.new ─▶ fsync ─▶ rename ─▶ fsync of the folder
 *
 * Invariants
 *  K1  The name leads to a whole file at every moment: the former one, or the new one.
 *  K2  Two writings never overlap, even from different callers; the last one requested stays.
 *  K3  Files are for this user alone (0600), as their folders are (folder.ts): they contain the
 *      addresses of engines.
 */

import { constants } from "node:fs";
import { type FileHandle, open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

import { makeFolder } from "../folder.ts";

const FILE_MODE = 0o600;

/** One file. */
export class KeptFile {
  readonly path: string;
  #last: Promise<unknown> = Promise.resolve();

  /** @param path - of the file; its folder is made when it is not there. */
  constructor(path: string) {
    this.path = path;
  }

  /**
   * Reads it, without waiting for whoever might write into a pipe: that reads as empty.
   *
   * @returns null when there is none.
   * @throws the system's error.
   */
  async read(): Promise<string | null> {
    try {
      const flag = constants.O_RDONLY | constants.O_NONBLOCK;
      return await readFile(this.path, { encoding: "utf8", flag });
    } catch (error) {
      if (codeOf(error) === "ENOENT") return null;
      throw error;
    }
  }

  /**
   * Finds out whether it can be written, without changing it.
   *
   * @throws the system's error.
   */
  async check(): Promise<void> {
    await this.#inTurn(async () => {
      await this.#onNew(() => Promise.resolve());
      await rm(`${this.path}.new`);
    });
  }

  /**
   * Replaces it (K1, K2).
   *
   * @param text - all of it.
   * @throws the system's error; what was there is there still.
   */
  async write(text: string): Promise<void> {
    await this.#inTurn(async () => {
      await this.#onNew(async (file) => {
        // The mode of a file that was there already is not that of `open`.
        await file.chmod(FILE_MODE);
        await file.writeFile(text);
      });
      await rename(`${this.path}.new`, this.path);
      // Or the new name may be lost with the power.
      await onDisk(dirname(this.path), "r", () => Promise.resolve());
    });
  }

  /**
   * Gives it another name.
   *
   * @param path - the new one.
   * @throws the system's error.
   */
  async moveTo(path: string): Promise<void> {
    await this.#inTurn(() => rename(this.path, path));
  }

  /** Opens the file that is to take the name. Its folder is made when it is not there: nearly always it is. */
  async #onNew(use: (file: FileHandle) => Promise<void>): Promise<void> {
    const temporary = `${this.path}.new`;
    try {
      await onDisk(temporary, "w", use);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
      makeFolder(dirname(this.path));
      await onDisk(temporary, "w", use);
    }
  }

  #inTurn(use: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(use);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

async function onDisk(path: string, flags: string, use: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, flags, FILE_MODE);
  try {
    await use(file);
    await file.sync();
  } finally {
    await file.close();
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}
