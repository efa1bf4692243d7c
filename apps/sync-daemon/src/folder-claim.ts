/**
 * A daemon's claim on a folder that it must not share: of snapshots, or of its states.
 *
 *   FOLDER/owner.sock   a socket on which the owner listens: a connection shows that it lives
 *   FOLDER/owner.json   {"id":"…","pid":…,"host":"…","started":"…","http":"…"|null}, for people and for L4
 *
 *   listen ── EADDRINUSE ──▶ connect ── accepted ──▶ FolderHeldError
 *     │                         └────── refused ──▶ rename, look again, remove ──▶ listen
 *     └─ any other error ──▶ no claim (L5)
 *
 * Invariants (folder-claim.test.ts)
 *  L1  Of the processes of one machine, one at a time owns a folder, also from containers.
 *  L2  The end of a process ends its claim, also by `kill -9`. A frozen process keeps it.
 *  L3  The length of the folder's path does not matter on Linux. A socket's own path has 107 bytes at most.
 *  L4  A socket of another machine refuses every connection. So on a volume that machines share, the
 *      last one to start owns the folder, and `whyLost` reports it to the one before.
 *  L5  A folder that takes no socket (read-only, full, of a file system without sockets) is used without a claim.
 *  L6  Nothing of a claim is left in the folder after `release`, and nothing of another owner's is removed.
 *
 * A lock of the operating system (`flock`, `fcntl`) was not chosen: Node has none. A file with a process id was not
 * chosen: an id means nothing in another container, and may be another process's by now.
 *
 * Not here: folders that daemons share on purpose (discovery/shared-registrations.ts). The work of a daemon
 * without its folder (main.ts, snapshot-store.ts).
 */

import { randomUUID } from "node:crypto";
import {
  closeSync,
  constants,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";

import { CodedError } from "@kvsync/core";
import { z } from "zod";

import { makeFolder } from "./folder.ts";

const SOCKET = "owner.sock";
const FACTS = "owner.json";
/** Bytes of a path that every system takes as that of a socket: macOS has 104 with the zero at its end, Linux 108. */
const SOCKET_PATH_MAX = 103;
/** Tries to listen. Each one that fails has removed a dead socket, or met another daemon that starts. */
const TRIES_MAX = 5;
/** Characters of a text in the facts. */
const TEXT_MAX = 300;

const plain = z
  .string()
  .max(TEXT_MAX)
  .regex(/^[\x20-\x7e]*$/);
const facts = z.object({
  id: plain,
  pid: z.number().int(),
  host: plain,
  started: plain,
  http: plain.nullable(),
});

/** Who owns a folder. */
export interface FolderOwner {
  readonly pid: number;
  /** Name of its machine or container. */
  readonly host: string;
  /** ISO time of its start. */
  readonly started: string;
  /** Base URL that it listens at; null when it is not known yet. */
  readonly http: string | null;
}

/** A folder that another process owns. */
export class FolderHeldError extends CodedError<{
  readonly code: "folder_held";
  readonly setting: string;
  readonly folder: string;
  /** Null when its facts cannot be read. */
  readonly owner: FolderOwner | null;
}> {}

/** Folders of one process. */
export class FolderClaims {
  readonly #claims = new Map<string, FolderClaim>();
  #http: string | null;

  /** @param http - base URL that this daemon is going to listen at; null when its port is not known yet. */
  constructor(http: string | null) {
    this.#http = http;
  }

  /**
   * Claims a folder, which is made when it is not there. One that is claimed already, also by another path, stays so.
   *
   * @param setting - that names it.
   * @param folder - its path.
   * @returns why it has no claim (L5); null when it has one.
   * @throws FolderHeldError when another process owns it.
   */
  async take(setting: string, folder: string): Promise<string | null> {
    try {
      makeFolder(folder);
      const path = realpathSync(folder);
      if (!this.#claims.has(path)) this.#claims.set(path, await FolderClaim.take(setting, path, this.#http));
      return null;
    } catch (error) {
      if (error instanceof FolderHeldError) throw error;
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** Tells where this daemon listens. */
  listens(http: string): void {
    this.#http = http;
    for (const claim of this.#claims.values()) claim.listens(http);
  }

  /**
   * Looks whether every folder is owned still (L4).
   *
   * @returns who has one of them, in words; null when nobody has.
   */
  whyLost(): string | null {
    for (const claim of this.#claims.values()) {
      const owner = claim.otherOwner();
      if (owner !== null) return `${claim.folder} was taken over by ${ownerText(owner)}`;
    }
    return null;
  }

  /** Gives all of them back (L6). */
  release(): void {
    for (const claim of this.#claims.values()) claim.release();
    this.#claims.clear();
  }
}

/**
 * Looks who owns a folder, and leaves nothing behind.
 *
 * @param setting - that names it.
 * @param folder - its path; it need not be there.
 * @returns null when nobody does, or nobody can know.
 */
export async function folderHeld(setting: string, folder: string): Promise<FolderHeldError | null> {
  let socket: ReachableSocket | null = null;
  try {
    socket = new ReachableSocket(realpathSync(folder));
    return (await isAlive(socket.path)) ? heldError(setting, folder) : null;
  } catch {
    return null;
  } finally {
    socket?.close();
  }
}

/** The claim on one folder. */
class FolderClaim {
  readonly folder: string;
  readonly #id: string;
  readonly #server: Server;
  readonly #socket: ReachableSocket;
  #http: string | null;

  private constructor(
    folder: string,
    parts: { readonly server: Server; readonly socket: ReachableSocket; readonly http: string | null },
  ) {
    this.folder = folder;
    this.#id = randomUUID();
    this.#server = parts.server;
    this.#socket = parts.socket;
    this.#http = parts.http;
    // Of an owner that is gone. On a full disk there is no room for both.
    rmSync(this.#factsPath, { force: true });
    this.#write();
  }

  /**
   * @param folder - a real path.
   * @throws FolderHeldError. The system's error (L5).
   */
  static async take(setting: string, folder: string, http: string | null): Promise<FolderClaim> {
    const socket = new ReachableSocket(folder);
    try {
      for (let tries = 1; ; tries++) {
        const server = await listenAt(socket.path);
        if (server !== null) return new FolderClaim(folder, { server, socket, http });
        const isOwned =
          tries === TRIES_MAX || (await isAlive(socket.path)) || !(await removeDead(socket.path));
        if (isOwned) throw heldError(setting, folder);
      }
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  get #factsPath(): string {
    return join(this.folder, FACTS);
  }

  listens(http: string): void {
    this.#http = http;
    if (this.otherOwner() === null) this.#write();
  }

  /** Null when this process owns it. */
  otherOwner(): FolderOwner | null {
    const found = factsIn(this.folder);
    if (found !== null && found.id !== this.#id) return found;
    // The one that took over has ended, or the folder was emptied.
    if (found === null) this.#write();
    return null;
  }

  release(): void {
    if (this.otherOwner() === null) {
      rmSync(this.#factsPath, { force: true });
      // Removes the socket's name too, which is another owner's by now where the folder was lost.
      this.#server.close();
      this.#socket.close();
    } else this.#server.unref();
  }

  /** Without its facts a claim holds; they cannot be written on a full disk. */
  #write(): void {
    const started = new Date(Math.round(performance.timeOrigin)).toISOString();
    const text = { id: this.#id, pid: process.pid, host: hostname(), started, http: this.#http };
    const path = `${this.#factsPath}.${this.#id}.new`;
    try {
      writeFileSync(path, `${JSON.stringify(text)}\n`, { mode: 0o600 });
      renameSync(path, this.#factsPath);
    } catch {
      rmSync(path, { force: true });
    }
  }
}

/** The path of a folder's socket, short enough for the system (L3). A long one on Linux needs the folder open. */
class ReachableSocket {
  readonly path: string;
  readonly #folder: number | null;

  /** @throws the system's error. */
  constructor(folder: string) {
    const path = join(folder, SOCKET);
    const isShort = Buffer.byteLength(path) <= SOCKET_PATH_MAX;
    if (!isShort && process.platform !== "linux")
      throw new Error(`${path} is longer than the ${SOCKET_PATH_MAX} bytes that a socket's path has`);
    this.#folder = isShort ? null : openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
    this.path = isShort ? path : `/proc/self/fd/${this.#folder}/${SOCKET}`;
  }

  close(): void {
    if (this.#folder !== null) closeSync(this.#folder);
  }
}

/** @returns null when the name is taken. */
function listenAt(path: string): Promise<Server | null> {
  return new Promise((resolve, reject) => {
    // Nothing is said: that somebody accepts is the answer.
    const server = createServer((connection) => {
      connection.on("error", () => undefined);
      connection.destroy();
    });
    server.unref();
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(null);
      else reject(error);
    });
    server.listen({ path, readableAll: true, writableAll: true }, () => {
      resolve(server);
    });
  });
}

/** Whether a process listens. One that may not be asked, or has too much to do, does. */
function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const connection = connect(path);
    connection.once("connect", () => {
      connection.destroy();
      resolve(true);
    });
    connection.once("error", (error: NodeJS.ErrnoException) => {
      const { code } = error;
      if (code === "ECONNREFUSED" || code === "ENOENT" || code === "ENOTSOCK") resolve(false);
      else if (code === "EAGAIN" || code === "EACCES" || code === "EPERM" || code === "ECONNRESET")
        resolve(true);
      else reject(error);
    });
  });
}

/**
 * Removes a socket on which nobody listens. Another daemon may have replaced it meanwhile: so it is looked at under
 * a name of its own, and gets its name back.
 *
 * @returns false when somebody listens.
 */
async function removeDead(path: string): Promise<boolean> {
  const aside = `${path}.${randomUUID()}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return true;
    throw error;
  }
  if (await isAlive(aside)) {
    renameSync(aside, path);
    return false;
  }
  rmSync(aside, { force: true });
  return true;
}

function heldError(setting: string, folder: string): FolderHeldError {
  const owner = factsIn(folder);
  const who = owner === null ? "another process of unknown name" : ownerText(owner);
  return new FolderHeldError(
    { code: "folder_held", setting, folder, owner },
    `${setting}: ${folder} is used by ${who}. End that process, or give this daemon a folder of its own`,
  );
}

function ownerText({ pid, host, started, http }: FolderOwner): string {
  return `process ${pid} of host ${host}, started ${started}${http === null ? "" : `, at ${http}`}`;
}

/** Null when there is none, or it cannot be read. */
function factsIn(folder: string): z.output<typeof facts> | null {
  try {
    return facts.parse(JSON.parse(readFileSync(join(folder, FACTS), "utf8")));
  } catch {
    return null;
  }
}
