/** The built page: how large it is, and what it does not contain. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";

import { describe, expect, it } from "vitest";

const DIST = fileURLToPath(new URL("../dist/", import.meta.url));
/** Script and style, as they travel. */
const GZIP_BYTES_MAX = 60_000;
const FILES_MAX = 12;

const files = readdirSync(DIST, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name));
const sources = files.filter((file) => !file.endsWith(".gz"));

describe("the built page", () => {
  it("has at most 60 kB of script and style, compressed, in at most 12 files", () => {
    const bytes = sources
      .filter((file) => /\.(js|css)$/.test(file))
      .map((file) => gzipSync(readFileSync(file), { level: 9 }).length);
    expect(bytes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(GZIP_BYTES_MAX);
    expect(bytes.length).toBeGreaterThanOrEqual(2);
    expect(files.length).toBeLessThanOrEqual(FILES_MAX);
  });

  it("has each file compressed beside it, with the same content", () => {
    for (const file of sources) expect(gunzipSync(readFileSync(`${file}.gz`))).toEqual(readFileSync(file));
  });

  it("has relative addresses alone, and nothing inline that the policy forbids", () => {
    const html = readFileSync(join(DIST, "index.html"), "utf8");
    const addresses = [...html.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, address]) => address);
    expect(addresses.length).toBeGreaterThanOrEqual(3);
    for (const address of addresses) expect(address).toMatch(/^\.\/assets\//);
    expect(html).not.toMatch(/<style|style=|<script(?![^>]*src=)|\son\w+=/);
  });
});
