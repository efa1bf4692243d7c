/**
 * The files of the web page, in memory.
 *
 *     folder ──at start──▶ index.html          sent after a question whether it is the same (ETag)
 *                          assets/NAME-HASH.js  kept by browsers for a year: another content has another name
 *                          assets/….js.gz       the same bytes in gzip, made by the page's build
 *
 * Invariants
 *  D1  A path is the key of a map. No path of a request reaches the file system, so that none leads
 *      out of the folder.
 *  D2  A file that is sent compressed has an ETag of its own.
 *  D3  The folder is read whole or not at all. With more than FILES_MAX files or BYTES_MAX bytes, or
 *      a file of another kind, no page is served. The answer has the reason.
 *
 * Files that change later are not noticed: a build belongs to a version of the daemon.
 */

import { createHash } from "node:crypto";
import { type Dirent, readdirSync, readFileSync } from "node:fs";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";

import { CodedError } from "@kvsync/core";

/** Files of a page, compressed ones not counted. */
const FILES_MAX = 64;
/** Bytes of all files, compressed ones too. */
const BYTES_MAX = 4 * 1024 * 1024;
/** The only folder inside. */
const ASSETS = "assets";
const COMPRESSED = ".gz";
/** Half of SHA-256: enough to tell two builds apart. */
const TAG_CHARACTERS = 22;
const YEAR_SECONDS = 31_536_000;

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".ico": "image/x-icon",
  ".json": "application/json; charset=utf-8",
  ".map": "application/json; charset=utf-8",
  ".txt": "text/plain; charset=utf-8",
  ".woff2": "font/woff2",
  ".webmanifest": "application/manifest+json",
};

/** Folders where the page may be, the first that is there counts: that of a package, then the one that a checkout builds. */
export const PAGE_FOLDERS: readonly URL[] = [
  new URL("../../dashboard/", import.meta.url),
  new URL("../../../dashboard/dist/", import.meta.url),
];

/** Facts of a page that cannot be served. */
export type PageFacts =
  | { readonly code: "dashboard_off" }
  | { readonly code: "dashboard_not_built"; readonly reason: string };

/** A page that cannot be served. */
export class PageError extends CodedError<PageFacts> {}

/** Bytes as they are sent. */
interface Sent {
  readonly bytes: Buffer;
  readonly tag: string;
}

/** A file of the page. */
interface PageFile {
  readonly type: string;
  readonly cacheControl: string;
  readonly plain: Sent;
  readonly compressed: Sent | null;
}

/** How a file is answered. */
export interface FileAnswer {
  /** 304 without bytes where the browser has it. */
  readonly status: 200 | 304;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: Buffer | null;
}

/** The files of a page, or why there are none. */
export class StaticFiles {
  readonly #files: ReadonlyMap<string, PageFile>;
  readonly #refusal: PageFacts | null;

  private constructor(files: ReadonlyMap<string, PageFile>, refusal: PageFacts | null) {
    this.#files = files;
    this.#refusal = refusal;
  }

  /** No page: `dashboard.enabled` is false. */
  static off(): StaticFiles {
    return new StaticFiles(new Map(), { code: "dashboard_off" });
  }

  /**
   * Reads a page.
   *
   * @param folders - where it may be; the first that is there is read.
   * @returns its files. Without a folder, or with one that breaks D3, an object that refuses every path with the reason.
   */
  static read(folders: readonly URL[]): StaticFiles {
    for (const folder of folders) {
      const names = namesIn(folder);
      if (names === null) continue;
      const files = filesOf(folder, names);
      return typeof files === "string"
        ? new StaticFiles(new Map(), { code: "dashboard_not_built", reason: files })
        : new StaticFiles(files, null);
    }
    const reason = "its folder is not there: build it (npx pnpm@12.21.0 turbo build)";
    return new StaticFiles(new Map(), { code: "dashboard_not_built", reason });
  }

  /** Why no page is served; null when one is. */
  get refusal(): string | null {
    return this.#refusal === null ? null : messageOf(this.#refusal);
  }

  /**
   * Answers a request.
   *
   * @param path - below /dashboard/; empty for the page itself.
   * @param accepted - the header Accept-Encoding.
   * @param known - the header If-None-Match.
   * @returns null for a path that there is no file of.
   * @throws PageError dashboard_off, dashboard_not_built.
   */
  answer(path: string, accepted: string | undefined, known: string | undefined): FileAnswer | null {
    if (this.#refusal !== null) throw new PageError(this.#refusal, messageOf(this.#refusal));
    const file = this.#files.get(path === "" ? "index.html" : path);
    if (file === undefined) return null;
    const compressed = takesGzip(accepted) ? file.compressed : null;
    const { bytes, tag } = compressed ?? file.plain;
    const headers = {
      etag: tag,
      "cache-control": file.cacheControl,
      ...(file.compressed === null ? {} : { vary: "accept-encoding" }),
    };
    if (isKnown(tag, known)) return { status: 304, headers, bytes: null };
    const encoding = compressed === null ? {} : { "content-encoding": "gzip" };
    return { status: 200, headers: { ...headers, ...encoding, "content-type": file.type }, bytes };
  }
}

function messageOf(facts: PageFacts): string {
  return facts.code === "dashboard_off"
    ? "the web page is off: set dashboard.enabled"
    : `the web page is not built: ${facts.reason}`;
}

/** Paths below a folder, of files at its top and in `assets`; null when it is not there. */
function namesIn(folder: URL): string[] | null {
  const list = (below: string): Dirent[] | null => {
    try {
      return readdirSync(new URL(below, folder), { withFileTypes: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
      throw error;
    }
  };
  const top = list("");
  if (top === null) return null;
  const isFile = (entry: Dirent): boolean => entry.isFile();
  return [
    ...top.filter(isFile).map(({ name }) => name),
    ...(list(`${ASSETS}/`) ?? []).filter(isFile).map(({ name }) => `${ASSETS}/${name}`),
  ].sort();
}

/** The files, or what is wrong with them (D3). */
function filesOf(folder: URL, names: readonly string[]): Map<string, PageFile> | string {
  const where = fileURLToPath(folder);
  const plain = names.filter((name) => !name.endsWith(COMPRESSED));
  if (!plain.includes("index.html")) return `${where} has no index.html`;
  if (plain.length > FILES_MAX) return `${where} has ${plain.length} files; expected at most ${FILES_MAX}`;
  const files = new Map<string, PageFile>();
  let total = 0;
  const sent = (name: string): Sent => {
    const bytes = readFileSync(new URL(name, folder));
    total += bytes.length;
    const digest = createHash("sha256").update(bytes).digest("base64url").slice(0, TAG_CHARACTERS);
    return { bytes, tag: `"${digest}"` };
  };
  for (const name of plain) {
    const type = TYPES[extname(name)];
    if (type === undefined)
      return `${where}${name} is no file of a page; expected ${Object.keys(TYPES).join(" ")}`;
    const isHashed = name.startsWith(`${ASSETS}/`);
    files.set(name, {
      type,
      cacheControl: isHashed ? `public, max-age=${YEAR_SECONDS}, immutable` : "no-cache",
      plain: sent(name),
      compressed: names.includes(`${name}${COMPRESSED}`) ? sent(`${name}${COMPRESSED}`) : null,
    });
    if (total > BYTES_MAX) return `${where} has more than ${BYTES_MAX} bytes`;
  }
  return files;
}

/**
 * Whether gzip may be sent (RFC 9110, 12.5.3): named, or by `*`, and not with a quality of 0.
 *
 * @param accepted - the header Accept-Encoding.
 */
export function takesGzip(accepted = ""): boolean {
  const offers = accepted
    .toLowerCase()
    .split(",")
    .map((offer) => /^\s*([^\s;]+)\s*(?:;\s*q=([\d.]+))?\s*$/.exec(offer));
  const offer = offers.find((one) => one?.[1] === "gzip") ?? offers.find((one) => one?.[1] === "*");
  return offer !== undefined && offer !== null && Number(offer[2] ?? 1) > 0;
}

/** RFC 9110, 13.1.2: compared weakly. */
function isKnown(tag: string, known = ""): boolean {
  return known
    .split(",")
    .map((one) => one.trim().replace(/^W\//, ""))
    .some((one) => one === tag || one === "*");
}
