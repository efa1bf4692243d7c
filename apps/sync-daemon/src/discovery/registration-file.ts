/**
 * Engines on the disk, so that a restarted daemon follows them before they are registered or found
 * again. The file holds engines registered over HTTP, or the engines last found among pods.
 *
 *   line 1  {"format":"kvsync-registrations","version":1,"sha256":"…"}    digest of line 2, without its end
 *   line 2  [{"engine":{…},"community":{…}|null}, …]
 *
 * Invariants
 *  F1  The file is always a whole one, of the last writing that was asked for (kept-file.ts).
 *  F2  A file that differs from the written one is refused as a whole and by name, and kept aside
 *      for inspection. Half of a fleet would look like all of it.
 */

import { createHash } from "node:crypto";
import { join } from "node:path";

import { CodedError } from "@kvsync/core";
import { z } from "zod";

import { type Engine, storedEngine } from "../engine/engine-entry.ts";
import { KeptFile } from "./kept-file.ts";
import { type CommunityRegistration, communityRegistration } from "./community-registration.ts";

const FORMAT = "kvsync-registrations";
const VERSION = 1;
/** Registrations that a file may hold: the most engines that a registry takes. */
export const REGISTRATIONS_MAX = 4096;

/** What is kept of one registration. */
export interface StoredRegistration {
  readonly engine: Engine;
  /** Null when it came by this daemon's own API. */
  readonly community: CommunityRegistration | null;
}

/** Facts of a file that is not used. */
export type RegistrationFileFacts =
  | { readonly code: "io_failed"; readonly path: string; readonly reason: string }
  | { readonly code: "not_registrations"; readonly path: string }
  | {
      readonly code: "other_version";
      readonly path: string;
      readonly version: number;
      readonly expected: number;
    }
  | { readonly code: "checksum_mismatch"; readonly path: string }
  | {
      readonly code: "malformed_registration";
      readonly path: string;
      readonly where: string;
      readonly expected: string;
    };

/** A file of registrations that cannot be read or written. */
export class RegistrationFileError extends CodedError<RegistrationFileFacts> {}

const header = z.object({ format: z.literal(FORMAT), version: z.number(), sha256: z.string() });
const body = z
  .array(z.strictObject({ engine: storedEngine, community: communityRegistration.nullable() }), "a list")
  .max(REGISTRATIONS_MAX, `at most ${REGISTRATIONS_MAX} registrations`);

/** The file in one folder. */
export class RegistrationFile {
  readonly path: string;
  readonly #file: KeptFile;

  /**
   * @param folder - of this daemon alone; made when it is not there.
   * @param name - of the file in it.
   */
  constructor(folder: string, name: "registrations.json" | "pods.json") {
    this.path = join(folder, name);
    this.#file = new KeptFile(this.path);
  }

  /**
   * Reads it.
   *
   * @returns what was written last; empty when nothing ever was.
   * @throws RegistrationFileError of every code.
   */
  async read(): Promise<readonly StoredRegistration[]> {
    let text: string | null;
    try {
      text = await this.#file.read();
    } catch (error) {
      throw this.#failed(error);
    }
    if (text === null) return [];
    return registrationsOf(text, this.path);
  }

  /**
   * Replaces it (F1).
   *
   * @param registrations - all of them.
   * @throws RegistrationFileError io_failed; what was there is there still.
   */
  async write(registrations: readonly StoredRegistration[]): Promise<void> {
    try {
      await this.#file.write(registrationFileText(registrations));
    } catch (error) {
      throw this.#failed(error);
    }
  }

  /**
   * Finds out at the start whether it can be written.
   *
   * @throws RegistrationFileError io_failed.
   */
  async check(): Promise<void> {
    try {
      await this.#file.check();
    } catch (error) {
      throw this.#failed(error);
    }
  }

  /**
   * Puts a refused file out of the way (F2).
   *
   * @returns its new name.
   * @throws RegistrationFileError io_failed.
   */
  async setAside(): Promise<string> {
    const aside = `${this.path}.refused`;
    try {
      await this.#file.moveTo(aside);
      return aside;
    } catch (error) {
      throw this.#failed(error);
    }
  }

  #failed(error: unknown): RegistrationFileError {
    const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
    const facts = { code: "io_failed", path: this.path, reason } as const;
    const expected = "a folder that this user may make and write (discovery.state_directory)";
    const message = `${this.path}: ${reason}; expected ${expected}`;
    return new RegistrationFileError(facts, message, { cause: error });
  }
}

/**
 * The text of a file.
 *
 * @param registrations - all that it holds.
 * @returns both lines.
 */
export function registrationFileText(registrations: readonly StoredRegistration[]): string {
  const list = JSON.stringify(registrations);
  const head = JSON.stringify({ format: FORMAT, version: VERSION, sha256: digestOf(list) });
  return `${head}\n${list}\n`;
}

/**
 * Reads the text of a file (F2).
 *
 * @param text - all of it.
 * @param path - for errors.
 * @returns what it holds.
 * @throws RegistrationFileError of every code but io_failed.
 */
export function registrationsOf(text: string, path: string): readonly StoredRegistration[] {
  const end = text.indexOf("\n");
  const head = header.safeParse(jsonOf(text.slice(0, Math.max(0, end))));
  if (!head.success)
    throw new RegistrationFileError(
      { code: "not_registrations", path },
      `${path}: its first line is not that of a file of registrations`,
    );
  const { version, sha256 } = head.data;
  if (version !== VERSION) {
    const facts = { code: "other_version", path, version, expected: VERSION } as const;
    throw new RegistrationFileError(facts, `${path}: is of version ${version}, expected ${VERSION}`);
  }
  const list = text.slice(end + 1).replace(/\n$/, "");
  if (digestOf(list) !== sha256)
    throw new RegistrationFileError(
      { code: "checksum_mismatch", path },
      `${path}: its content is not what was written (checksum)`,
    );
  const parsed = body.safeParse(jsonOf(list));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = (issue?.path ?? []).map(String).join(".");
  const expected = issue?.message ?? "a registration";
  throw new RegistrationFileError(
    { code: "malformed_registration", path, where, expected },
    `${path}: ${where}: expected ${expected}`,
  );
}

function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** Undefined when it is no JSON, which no schema takes. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
