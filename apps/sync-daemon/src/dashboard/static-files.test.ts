/** Files of the web page: encodings, ETags, and folders that are refused. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";

import { expect, onTestFinished, test } from "vitest";

import { StaticFiles } from "./static-files.ts";

const SCRIPT = "console.log(1);\n".repeat(50);

/** A folder with these files. */
function folderOf(files: Readonly<Record<string, string | Buffer>>): URL {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-page-"));
  onTestFinished(() => {
    rmSync(folder, { recursive: true });
  });
  mkdirSync(join(folder, "assets", "deeper"), { recursive: true });
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return pathToFileURL(`${folder}/`);
}

const PAGE = {
  "index.html": "<!doctype html>",
  "assets/main-1a2b.js": SCRIPT,
  "assets/main-1a2b.js.gz": gzipSync(SCRIPT),
  "assets/deeper/hidden.js": "1",
};

test("the page is asked for again each time, an asset never: its name has its content's hash", () => {
  const files = StaticFiles.read([folderOf(PAGE)]);
  expect(files.refusal).toBeNull();
  const page = files.answer("", undefined, undefined);
  expect(page).toMatchObject({ status: 200, headers: { "cache-control": "no-cache" } });
  expect(page?.bytes?.toString()).toBe("<!doctype html>");
  expect(files.answer("index.html", undefined, undefined)?.headers).toEqual(page?.headers);
  expect(files.answer("assets/main-1a2b.js", undefined, undefined)?.headers).toMatchObject({
    "cache-control": "public, max-age=31536000, immutable",
    "content-type": "text/javascript; charset=utf-8",
  });
});

test.each([
  ["gzip", true],
  ["br, gzip;q=0.5", true],
  ["GZIP", true],
  ["*", true],
  ["gzip;q=0, *", false],
  ["gzip;q=0", false],
  ["*;q=0", false],
  ["br", false],
  ["gzipped", false],
  ["", false],
  [undefined, false],
])("with Accept-Encoding %j the compressed file is sent: %j", (accepted, isCompressed) => {
  const answer = StaticFiles.read([folderOf(PAGE)]).answer("assets/main-1a2b.js", accepted, undefined);
  expect(answer?.headers["content-encoding"]).toBe(isCompressed ? "gzip" : undefined);
  expect(answer?.headers["vary"]).toBe("accept-encoding");
  const bytes = answer?.bytes ?? Buffer.alloc(0);
  expect((isCompressed ? gunzipSync(bytes) : bytes).toString()).toBe(SCRIPT);
});

test("a compressed file has an ETag of its own, and only that tag is known of it (D2)", () => {
  const files = StaticFiles.read([folderOf(PAGE)]);
  const tagOf = (accepted?: string): string =>
    files.answer("assets/main-1a2b.js", accepted, undefined)?.headers["etag"] ?? "";
  expect(tagOf()).toMatch(/^"[\w-]{22}"$/);
  expect(tagOf("gzip")).not.toBe(tagOf());
  const status = (known: string): number | undefined =>
    files.answer("assets/main-1a2b.js", "gzip", known)?.status;
  expect(status(tagOf("gzip"))).toBe(304);
  expect(status(`"other", W/${tagOf("gzip")}`)).toBe(304);
  expect(status("*")).toBe(304);
  expect(status(tagOf())).toBe(200);
  expect(files.answer("assets/main-1a2b.js", "gzip", "*")).toMatchObject({ bytes: null });
  expect(
    StaticFiles.read([folderOf({ ...PAGE, "index.html": "else" })]).answer("", "", "")?.headers,
  ).not.toEqual(files.answer("", "", "")?.headers);
});

test.each([
  "../static-files.ts",
  "assets/../index.html",
  "assets/deeper/hidden.js",
  "assets/main-1a2b.js.gz",
  "assets",
  "assets/",
  "/etc/passwd",
  "constructor",
  "__proto__",
])("%s is no file of the page (D1)", (path) => {
  expect(StaticFiles.read([folderOf(PAGE)]).answer(path, "gzip", undefined)).toBeNull();
});

test.each([
  [{ "assets/a.js": "1" }, /has no index\.html$/],
  [{ ...PAGE, "assets/a.exe": "1" }, /assets\/a\.exe is no file of a page; expected \.html \.js/],
  [{ ...PAGE, "large.js": Buffer.alloc(4 * 1024 * 1024) }, /has more than 4194304 bytes$/],
  [
    { ...PAGE, ...Object.fromEntries(Array.from({ length: 63 }, (_, i) => [`assets/${i}.js`, ""])) },
    /has 65 files; expected at most 64$/,
  ],
])("a folder that is no page is not served, and the answer has the reason (D3; %#)", (content, reason) => {
  const files = StaticFiles.read([folderOf(content)]);
  expect(files.refusal).toMatch(reason);
  expect(() => files.answer("", undefined, undefined)).toThrow(
    expect.objectContaining({
      facts: expect.objectContaining({ code: "dashboard_not_built" }) as unknown,
    }) as Error,
  );
});

test("the first folder that is there is read; without one, and switched off, the answer says what to do", () => {
  const missing = new URL("nowhere/", folderOf({}));
  const files = StaticFiles.read([missing, folderOf(PAGE), folderOf({})]);
  expect(files.answer("", undefined, undefined)?.status).toBe(200);
  expect(StaticFiles.read([missing]).refusal).toBe(
    "the web page is not built: its folder is not there: build it (npx pnpm@12.21.0 turbo build)",
  );
  expect(StaticFiles.off().refusal).toBe("the web page is off: set dashboard.enabled");
  expect(() => StaticFiles.off().answer("nothing", undefined, undefined)).toThrow("set dashboard.enabled");
});
