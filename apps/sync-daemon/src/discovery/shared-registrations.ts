/**
 * Registrations over HTTP that all replicas share, in a folder that each of them can write, such as a
 * ReadWriteMany volume. It has a file for each registration, so no replica changes what another one
 * writes, and no lock is needed.
 *
 *   FOLDER/folder.json                     {"id":"…"}: another id, or none, is another folder
 *   FOLDER/registrations/‹digest of id›    registration-file.ts, with one registration
 *   FOLDER/replicas/‹digest of name›       {"replica":"…","applied":"…","beat":N}, written at each look
 *
 *   add ─▶ temporary file ─▶ fsync ─▶ link ─▶ "added" │ "taken": another replica has this id
 *
 * Invariants
 *  S1  A name leads to a whole file at every moment, and an id has one registration. When two
 *      replicas add one id at the same time, one succeeds: `link` does not replace a file.
 *  S2  The order of registrations is the same for every replica: by the time that the file's server
 *      gave the file, then by name.
 *  S3  A file that cannot be read costs its own registration. The former content of the file stays in use.
 *  S4  A folder that is not the one of the start, as an unmounted volume shows it, is an error. It is
 *      not a folder without registrations.
 *  S5  Replicas are compared by what they read, and their ages by own looks. No clock of another
 *      machine is read.
 *
 * Not here: the engines that are followed for it (http-registrations.ts).
 */

import { createHash, randomUUID } from "node:crypto";
import type { BigIntStats } from "node:fs";
import { link, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";

import {
  REGISTRATIONS_MAX,
  registrationFileText,
  RegistrationFileError,
  registrationsOf,
  type StoredRegistration,
} from "./registration-file.ts";

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
/** Files looked at together: half of the threads of Node's pool, since a volume that hangs keeps them. */
const TOGETHER = 2;
/** Looks at a folder without a change, before all its files are looked at again. */
const QUIET_LOOKS = 30;
/** Two changes within this time may have one time in the file system. */
const SETTLED_MS = 5000;
/** Looks without a sign of a replica before it is gone. */
const SILENT_LOOKS = 10;
/** Replicas that are read; further ones are not shown. */
const REPLICAS_MAX = 64;

/** What the folder holds. */
export interface SharedReading {
  /** In the order of S2. */
  readonly entries: readonly StoredRegistration[];
  readonly refused: readonly RegistrationFileError[];
  /** Another value for other entries. */
  readonly digest: string;
}

/** Another daemon on the same folder, or this one. */
export interface ReplicaReport {
  readonly name: string;
  readonly is_this: boolean;
  /** Whether it follows the registrations that this daemon follows. */
  readonly registrations: "current" | "behind";
}

interface KnownFile {
  readonly stamp: string;
  readonly order: bigint;
  /** What was read last; null when nothing could be. */
  readonly stored: StoredRegistration | null;
  readonly error: RegistrationFileError | null;
}

interface KnownReplica {
  readonly name: string;
  readonly applied: string;
  readonly beat: string;
  readonly silentLooks: number;
}

/** The folder, as one replica uses it. Its methods are to be called one after the other. */
export class SharedRegistrations {
  readonly folder: string;
  readonly #replica: string;
  readonly #registrations: string;
  readonly #replicas: string;
  #id: string | null = null;
  #files: ReadonlyMap<string, KnownFile> = new Map();
  #folderStamp = "";
  /** When that was seen first, and when all files were looked at last: of a monotonic clock, in milliseconds. */
  #changedMs = 0;
  #readMs = Number.NEGATIVE_INFINITY;
  #quietLooks = 0;
  #known: ReadonlyMap<string, KnownReplica> = new Map();
  #applied = "";
  #beat = 0;

  /**
   * @param folder - that all replicas share; made when it is not there, in a folder that is.
   * @param replica - this daemon's name, which no other one has.
   */
  constructor(folder: string, replica: string) {
    this.folder = folder;
    this.#replica = replica;
    this.#registrations = join(folder, "registrations");
    this.#replicas = join(folder, "replicas");
  }

  /**
   * Reads what has changed.
   *
   * @returns all registrations.
   * @throws RegistrationFileError io_failed: nothing is known of the registrations then.
   */
  async read(): Promise<SharedReading> {
    await this.#do(async () => {
      await this.#open();
      const { mtimeNs } = await stat(this.#registrations, { bigint: true });
      const nowMs = performance.now();
      if (String(mtimeNs) !== this.#folderStamp) this.#changedMs = nowMs;
      this.#folderStamp = String(mtimeNs);
      const isSettled = this.#readMs > this.#changedMs + SETTLED_MS;
      this.#quietLooks = isSettled ? (this.#quietLooks + 1) % QUIET_LOOKS : 0;
      if (this.#quietLooks !== 0) return;
      await this.#readFiles();
      this.#readMs = nowMs;
    });
    const files = [...this.#files].sort(([a, { order: first }], [b, { order: second }]) =>
      first === second ? (a < b ? -1 : 1) : first < second ? -1 : 1,
    );
    const stamps = files.map(([name, { stamp }]) => `${name} ${stamp}`).join("\n");
    return {
      entries: files.flatMap(([, { stored }]) => stored ?? []),
      refused: files.flatMap(([, { error }]) => error ?? []),
      digest: createHash("sha256").update(stamps).digest("hex").slice(0, 32),
    };
  }

  /**
   * Adds a registration (S1).
   *
   * @param stored - the registration.
   * @returns `taken` when its id has one.
   * @throws RegistrationFileError io_failed: it was not added.
   */
  add(stored: StoredRegistration): Promise<"added" | "taken"> {
    return this.#do(() =>
      this.#written(stored, async (temporary, path) => {
        try {
          await link(temporary, path);
        } catch (error) {
          if (codeOf(error) === "EEXIST") return "taken";
          throw error;
        }
        return "added";
      }),
    );
  }

  /**
   * Puts a registration in the place of the one of its id.
   *
   * @param stored - the registration.
   * @throws RegistrationFileError io_failed: the former one is there.
   */
  async replace(stored: StoredRegistration): Promise<void> {
    await this.#do(() => this.#written(stored, rename));
  }

  /**
   * Removes the registration of an id. One that is not there is removed.
   *
   * @param id - the engine's.
   * @throws RegistrationFileError io_failed: it is there.
   */
  async remove(id: string): Promise<void> {
    await this.#do(() => rm(this.#pathOf(id), { force: true }));
  }

  /**
   * Shows the other replicas what this one follows, and looks what they follow.
   *
   * @param digest - of the reading that is followed; an empty text before the first.
   * @throws RegistrationFileError io_failed.
   */
  async meet(digest: string): Promise<void> {
    this.#applied = digest;
    this.#beat += 1;
    const path = join(this.#replicas, digestOf(this.#replica));
    const beat = `${process.pid}-${this.#beat}`;
    const text = JSON.stringify({ replica: this.#replica, applied: digest, beat });
    await this.#do(async () => {
      await writeFile(`${path}.new`, text, { mode: FILE_MODE });
      await rename(`${path}.new`, path);
      const names = (await readdir(this.#replicas)).filter(isName).sort().slice(0, REPLICAS_MAX);
      const known = new Map<string, KnownReplica>();
      for (const name of names) {
        const replica = await this.#readReplica(name);
        if (replica === null) continue;
        if (replica.silentLooks < SILENT_LOOKS) known.set(name, replica);
        else await rm(join(this.#replicas, name), { force: true });
      }
      this.#known = known;
    });
  }

  /** The replicas that were met, this one first. */
  replicas(): readonly ReplicaReport[] {
    const others = [...this.#known.values()].filter(({ name }) => name !== this.#replica);
    return [
      { name: this.#replica, is_this: true, registrations: "current" },
      ...others.map(({ name, applied }): ReplicaReport => {
        const isCurrent = applied !== "" && applied === this.#applied;
        return { name, is_this: false, registrations: isCurrent ? "current" : "behind" };
      }),
    ];
  }

  /** Takes this replica's name back. Errors are of no use any more. */
  async leave(): Promise<void> {
    await rm(join(this.#replicas, digestOf(this.#replica)), { force: true }).catch(() => undefined);
  }

  /** S4. */
  async #open(): Promise<void> {
    const path = join(this.folder, "folder.json");
    if (this.#id === null) {
      // Not those above it: a volume that is not mounted is to be seen.
      for (const folder of [this.folder, this.#registrations, this.#replicas])
        await mkdir(folder, { mode: FOLDER_MODE }).catch(ignoring("EEXIST"));
      const text = JSON.stringify({ id: randomUUID() });
      await writeFile(path, text, { flag: "wx", mode: FILE_MODE }).catch(ignoring("EEXIST"));
    }
    const id = await readFile(path, "utf8");
    if (this.#id !== null && id !== this.#id)
      throw Object.assign(new Error("another folder than at the start"), { code: "OTHER_FOLDER" });
    // A file that another replica is just making is empty.
    if (id === "") throw Object.assign(new Error("the folder is being made"), { code: "EAGAIN" });
    this.#id = id;
  }

  async #readFiles(): Promise<void> {
    const names = (await readdir(this.#registrations)).filter(isName).sort();
    if (names.length > REGISTRATIONS_MAX)
      throw Object.assign(new Error("too many registrations"), { code: "TOO_MANY" });
    const files = new Map<string, KnownFile>();
    for (let i = 0; i < names.length; i += TOGETHER) {
      const some = names.slice(i, i + TOGETHER);
      const read = await Promise.all(some.map((name) => this.#readFile(name)));
      for (const [k, file] of read.entries()) if (file !== null) files.set(some[k] ?? "", file);
    }
    this.#files = files;
  }

  /** Null when it was removed meanwhile. */
  async #readFile(name: string): Promise<KnownFile | null> {
    const path = join(this.#registrations, name);
    const known = this.#files.get(name);
    let facts: BigIntStats;
    try {
      facts = await stat(path, { bigint: true });
      const stamp = `${facts.ino}-${facts.mtimeNs}-${facts.size}`;
      if (known?.stamp === stamp && known.error === null) return known;
      const stored = oneOf(await readFile(path, "utf8"), path, name);
      return { stamp, order: facts.mtimeNs, stored, error: null };
    } catch (error) {
      if (codeOf(error) === "ENOENT") return null;
      // S3.
      const refused = error instanceof RegistrationFileError ? error : this.#failed(error);
      return { stamp: "", order: known?.order ?? 0n, stored: known?.stored ?? null, error: refused };
    }
  }

  async #readReplica(file: string): Promise<KnownReplica | null> {
    const text = await readFile(join(this.#replicas, file), "utf8").catch(() => "");
    const { replica, applied, beat } = fieldsOf(text);
    if (replica === undefined || applied === undefined || beat === undefined) return null;
    const known = this.#known.get(file);
    const silentLooks = known?.beat === beat ? known.silentLooks + 1 : 0;
    return { name: replica, applied, beat, silentLooks };
  }

  async #written<Outcome>(
    stored: StoredRegistration,
    use: (temporary: string, path: string) => Promise<Outcome>,
  ): Promise<Outcome> {
    await this.#open();
    const path = this.#pathOf(stored.engine.id);
    const temporary = `${path}.${randomUUID()}.new`;
    try {
      const file = await open(temporary, "wx", FILE_MODE);
      try {
        await file.writeFile(registrationFileText([stored]));
        await file.sync();
      } finally {
        await file.close();
      }
      return await use(temporary, path);
    } finally {
      await rm(temporary, { force: true });
    }
  }

  #pathOf(id: string): string {
    return join(this.#registrations, digestOf(id));
  }

  async #do<Outcome>(work: () => Promise<Outcome>): Promise<Outcome> {
    try {
      return await work();
    } catch (error) {
      throw error instanceof RegistrationFileError ? error : this.#failed(error);
    }
  }

  #failed(error: unknown): RegistrationFileError {
    const reason = codeOf(error) || String(error);
    const facts = { code: "io_failed", path: this.folder, reason } as const;
    const expected = "a folder that every replica can read and write (discovery.shared_directory)";
    const message = `${this.folder}: ${reason}; expected ${expected}`;
    return new RegistrationFileError(facts, message, { cause: error });
  }
}

/** The one registration of a file, whose name has to be that of its id. */
function oneOf(text: string, path: string, name: string): StoredRegistration {
  const [stored, ...more] = registrationsOf(text, path);
  if (stored !== undefined && more.length === 0 && digestOf(stored.engine.id) === name) return stored;
  const expected = "one registration, of the id that the file is named for";
  throw new RegistrationFileError(
    { code: "malformed_registration", path, where: "0", expected },
    `${path}: expected ${expected}`,
  );
}

function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}

/** Whether it is a file of ours, and not a temporary one. */
function isName(name: string): boolean {
  return /^[0-9a-f]{32}$/.test(name);
}

/** The texts of a JSON object; none of what is no JSON. */
function fieldsOf(text: string): Readonly<Record<string, string | undefined>> {
  try {
    const parsed = JSON.parse(text) as unknown;
    if (typeof parsed !== "object" || parsed === null) return {};
    return Object.fromEntries(Object.entries(parsed).filter(([, value]) => typeof value === "string"));
  } catch {
    return {};
  }
}

/** Passes every error on but those of this code. */
function ignoring(code: string): (error: unknown) => void {
  return (error) => {
    if (codeOf(error) !== code) throw error;
  };
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}
