/** The web page's files over HTTP: redirection, headers (F1 of dashboard-files.controller.ts), and a daemon without them. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";

import { afterAll, beforeAll, expect, test } from "vitest";

import { type DaemonInProcess, startInProcess } from "./daemon-in-process.ts";

const SCRIPT = "export {};\n".repeat(20);
const folder = mkdtempSync(join(tmpdir(), "kvsync-page-"));
mkdirSync(join(folder, "assets"));
writeFileSync(join(folder, "index.html"), "<!doctype html>");
writeFileSync(join(folder, "robots.txt"), "User-agent: *");
writeFileSync(join(folder, "assets", "main-1a2b.js"), SCRIPT);
writeFileSync(join(folder, "assets", "main-1a2b.js.gz"), gzipSync(SCRIPT));
const tokensFile = join(folder, "..", `${folder.split("/").at(-1) ?? ""}.yaml`);
writeFileSync(tokensFile, "tokens: [{ name: operator, scope: admin, token: admin-token-0123456789 }]\n");

let running: DaemonInProcess;
let off: DaemonInProcess;
let unbuilt: DaemonInProcess;

beforeAll(async () => {
  const pageFolders = [pathToFileURL(`${folder}/`)];
  running = await startInProcess(["--security-tokens-file", tokensFile], { pageFolders });
  off = await startInProcess(["--dashboard-enabled", "false"], { pageFolders });
  unbuilt = await startInProcess([], { pageFolders: [pathToFileURL(join(folder, "nowhere/"))] });
});

afterAll(async () => {
  for (const daemon of [running, off, unbuilt]) await daemon.stop();
  rmSync(folder, { recursive: true });
  rmSync(tokensFile);
});

test("/dashboard leads to dashboard/ by a relative address, so that any prefix of a proxy stays", async () => {
  const { statusCode, headers } = await running.app.inject("/dashboard?next=//evil.example");
  expect([statusCode, headers["location"]]).toEqual([308, "dashboard/"]);
});

test("the page, a file beside it and its assets are served without a token, where every other route wants one", async () => {
  const get = (url: string) => running.app.inject(url);
  expect((await get("/dashboard/")).body).toBe("<!doctype html>");
  expect((await get("/dashboard/index.html")).body).toBe("<!doctype html>");
  expect((await get("/dashboard/robots.txt")).headers["content-type"]).toBe("text/plain; charset=utf-8");
  const script = await running.app.inject({
    url: "/dashboard/assets/main-1a2b.js",
    headers: { "accept-encoding": "gzip" },
  });
  expect(script.rawPayload.equals(gzipSync(SCRIPT))).toBe(true);
  expect(script.headers).toMatchObject({ "content-encoding": "gzip", vary: "accept-encoding" });
  expect((await get("/api/v1/engines")).statusCode).toBe(401);
});

test("a browser that has a file is told so without its bytes, and HEAD gets what GET gets", async () => {
  const first = await running.app.inject("/dashboard/");
  const { etag } = first.headers;
  const again = await running.app.inject({
    url: "/dashboard/",
    headers: { "if-none-match": String(etag) },
  });
  expect([again.statusCode, again.body, again.headers["etag"]]).toEqual([304, "", etag]);
  const head = await running.app.inject({ method: "HEAD", url: "/dashboard/" });
  expect([head.statusCode, head.headers["content-length"], head.body]).toEqual([200, "15", ""]);
});

test.each([
  ["/dashboard", 308],
  ["/dashboard/", 200],
  ["/dashboard/assets/main-1a2b.js", 200],
  ["/dashboard/nothing", 404],
  ["/dashboard/assets/..%2Findex.html", 404],
  ["/dashboard/%2e%2e%2fpackage.json", 404],
])("%s answers %i, under the headers that keep other scripts and pages away (F1)", async (url, status) => {
  const { statusCode, headers } = await running.app.inject(url);
  expect(statusCode).toBe(status);
  expect(headers).toMatchObject({
    "content-security-policy":
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
  });
});

test("a daemon whose page is off or not built says so, and answers everything else", async () => {
  for (const [daemon, code, detail] of [
    [off, "dashboard_off", "the web page is off: set dashboard.enabled"],
    [unbuilt, "dashboard_not_built", "the web page is not built: its folder is not there"],
  ] as const) {
    for (const url of ["/dashboard/", "/dashboard/assets/main-1a2b.js", "/dashboard/nothing"]) {
      const answer = await daemon.app.inject(url);
      expect([answer.statusCode, answer.headers["content-type"]]).toEqual([
        503,
        "application/problem+json; charset=utf-8",
      ]);
      expect(answer.json()).toMatchObject({ code, detail: expect.stringContaining(detail) as string });
    }
    expect((await daemon.app.inject("/livez")).statusCode).toBe(200);
  }
});
