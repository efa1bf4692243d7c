/** The built page: how large it is with the chunks of views.ts, and what it does not contain. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";

import { describe, expect, it } from "vitest";

const DIST = fileURLToPath(new URL("../dist/", import.meta.url));
/** Script and style of the first load, which is the overview, as they travel. */
const FIRST_LOAD_BYTES_MAX = 60_000;
/** Script and style of the page with all nine views opened; a browser loads only those that are. */
const WHOLE_BYTES_MAX = 92_000;
/** Files of the first load: the page, its picture, script and style. */
const FIRST_LOAD_FILES_MAX = 12;
/** Bytes of each view's own chunk, as it travels. A view without a line here has no chunk of its own. */
const VIEW_BYTES_MAX: Readonly<Record<string, number>> = {
  overview: 9000,
  engines: 9000,
  prefixes: 6000,
  alerts: 6000,
  routing: 5000,
  "index-view": 5000,
  events: 5000,
  logs: 5000,
  system: 5000,
};

const files = readdirSync(DIST, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name));
const sources = files.filter((file) => !file.endsWith(".gz"));
const html = readFileSync(join(DIST, "index.html"), "utf8");

/** Addresses that the page names itself. */
const linked = [...html.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, address]) => address ?? "");

function contentOf(file: string): string {
  return readFileSync(join(DIST, "assets", file), "utf8");
}

function bytesOf(file: string): number {
  return gzipSync(readFileSync(join(DIST, "assets", file)), { level: 9 }).length;
}

/** Files that a script imports at its start, and those that it imports later. */
function importsOf(file: string): { readonly now: string[]; readonly later: string[] } {
  const text = contentOf(file);
  const names = (pattern: RegExp): string[] => [...text.matchAll(pattern)].map(([, name]) => name ?? "");
  return {
    now: names(/\b(?:from|import)\s*["'`]\.\/([^"'`]+\.js)["'`]/g),
    later: names(/\bimport\(\s*["'`]\.\/([^"'`]+\.js)["'`]/g),
  };
}

/** A script and everything that it needs at its start. */
function withImports(file: string, found = new Set<string>()): Set<string> {
  if (found.has(file)) return found;
  found.add(file);
  for (const one of importsOf(file).now) withImports(one, found);
  return found;
}

const entry = linked.map((address) => address.replace("./assets/", "")).find((file) => file.endsWith(".js"));
const chunks = new Map(
  importsOf(entry ?? "").later.map((file) => [file.replace(/-[\w-]{8}\.js$/, ""), file]),
);

describe("the built page", () => {
  it("has at most 60 kB of script and style in its first load, compressed, in at most 12 files", () => {
    const scripts = withImports(chunks.get("overview") ?? "", withImports(entry ?? ""));
    const styles = linked
      .map((address) => address.replace("./assets/", ""))
      .filter((file) => /\.css$/.test(file));
    expect(styles).toHaveLength(1);
    const first = [...scripts, ...styles];
    expect(first.reduce((sum, file) => sum + bytesOf(file), 0)).toBeLessThanOrEqual(FIRST_LOAD_BYTES_MAX);
    expect(first.length + 2).toBeLessThanOrEqual(FIRST_LOAD_FILES_MAX);
  });

  it("W1: has a chunk for each view, within the budget of that view", () => {
    expect([...chunks.keys()].sort()).toEqual(Object.keys(VIEW_BYTES_MAX).sort());
    const large = [...chunks].filter(([view, file]) => bytesOf(file) > (VIEW_BYTES_MAX[view] ?? 0));
    expect(large.map(([view, file]) => `${view}: ${bytesOf(file)}`)).toEqual([]);
  });

  it("has at most 92 kB of script and style in all, compressed", () => {
    const sent = readdirSync(join(DIST, "assets")).filter((file) => /\.(js|css)$/.test(file));
    expect(sent.reduce((sum, file) => sum + bytesOf(file), 0)).toBeLessThanOrEqual(WHOLE_BYTES_MAX);
  });

  it("has each file compressed beside it, with the same content", () => {
    for (const file of sources) expect(gunzipSync(readFileSync(`${file}.gz`))).toEqual(readFileSync(file));
  });

  it("has relative addresses alone, and nothing inline that the policy forbids", () => {
    expect(linked.length).toBeGreaterThanOrEqual(3);
    for (const address of linked) expect(address).toMatch(/^\.\/assets\//);
    for (const file of sources.filter((name) => name.endsWith(".js")))
      expect(readFileSync(file, "utf8")).not.toMatch(/\bimport\(\s*["'`](?!\.\/)/);
    expect(html).not.toMatch(/<style|style=|<script(?![^>]*src=)|\son\w+=/);
  });
});
