/**
 * Proves that the namespace of the metrics is one edit. It makes that edit in a copy of this tree, generates everything again, and
 * runs every check of types and pages and every test there.
 *
 *     node scripts/try-namespace.mjs [NAMESPACE]                  `fleet` by default; the copy stays when a part fails
 *     node scripts/try-namespace.mjs --only packages/core         that part alone; the copy stays
 *     node scripts/try-namespace.mjs --copy DIR --only apps/sync-daemon:http,query     in the copy that an earlier run left
 *
 * Parts are `types`, `prose` and the folders of the packages; after a colon come parts of names of test files. All parts run, also
 * after one that fails. A new copy is edited, installed, built (which generates), and gets the pages of the daemon. Then no file but
 * the changelog may have the old namespace. `npm test` does not run this script, since it takes as long as `npm test`.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { ROOT, pnpm, useSupportedNode } from "./workspace.mjs";

const PLACE = "packages/observability/src/kvsync/namespace.ts";
const DEFINITION = /export const NAMESPACE = "([a-z0-9_]+)";/;
/** What names the metric names of older versions on purpose. */
const HISTORY = "CHANGELOG.md";
/** Lines of a failed step's output that are shown. */
const FAILURE_LINES_SHOWN = 120;

await useSupportedNode();
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { only: { type: "string", multiple: true, default: [] }, copy: { type: "string" } },
});
const wanted = positionals[0] ?? "fleet";
const files = trackedFiles();
const parts = [
  "types",
  "prose",
  ...new Set(
    files.flatMap((name) => /^(examples|(?:packages|apps)\/[^/]+)\/.*\.test\.ts$/.exec(name)?.[1] ?? []),
  ),
];
const asked = (options.only.length === 0 ? parts : options.only).map((text) => {
  const [part = "", filters = ""] = text.split(":");
  return { part, filters: filters.split(",").filter((one) => one !== "") };
});
const unknown = asked.find(({ part }) => !parts.includes(part));
if (unknown !== undefined) {
  console.error(`--only ${unknown.part}: expected one of ${parts.join(", ")}`);
  process.exit(2);
}
const copy = resolve(options.copy ?? mkdtempSync(join(tmpdir(), "kvsync-namespace-")));
const started = performance.now();
const failed = [];

if (options.copy === undefined) prepare();
else if (!existsSync(join(copy, PLACE))) fail(`--copy ${copy}: expected a copy that an earlier run left`);
for (const { part, filters } of asked)
  if (!ran(`${part} ${filters.join(" ")}`.trim(), ...commandOf(part, filters))) failed.push(part);
if (failed.length > 0) fail(`failed: ${failed.join(", ")}`);
if (options.only.length > 0) {
  console.log(`ok (${seconds(started)} s); the copy is in ${copy}`);
} else {
  console.log(`the namespace is one edit (${seconds(started)} s)`);
  rmSync(copy, { recursive: true });
}

/** Makes the copy, with the edit and what is generated from it; ends the script when a step fails or a file keeps the old namespace. */
function prepare() {
  for (const name of files)
    cpSync(join(ROOT, name), join(copy, name), { recursive: true, verbatimSymlinks: true });
  const before = readFileSync(join(copy, PLACE), "utf8");
  const old = DEFINITION.exec(before)?.[1];
  if (old === undefined || old === wanted)
    fail(`${PLACE}: expected NAMESPACE to be another word than "${wanted}"`);
  writeFileSync(join(copy, PLACE), before.replace(DEFINITION, `export const NAMESPACE = "${wanted}";`));
  console.log(`${old} becomes ${wanted}, in ${files.length} files`);
  for (const [title, ...command] of [
    ["install", ...pnpm("install", "--frozen-lockfile", "--prefer-offline")],
    ["build and generate", ...pnpm("turbo", "build", "--output-logs=errors-only", "--concurrency=1")],
    ["generate the daemon's pages", ...pnpm("--filter", "@kvsync/sync-daemon", "run", "reference")],
  ])
    if (!ran(title, command)) fail("no test was run");
  const words = new RegExp(`\\b${old}_(?:kv|sync|prefix)_[a-z]`);
  const left = files.filter(
    (name) => name !== HISTORY && words.test(readFileSync(join(copy, name), "latin1")),
  );
  if (left.length > 0) fail(`these files still have the namespace ${old}: ${left.join(", ")}`);
  console.log(`  no file but ${HISTORY} has ${old}_… left`);
}

/** The command of a part, and the folder of the copy where it runs. */
function commandOf(part, filters) {
  if (part === "types") return [pnpm("turbo", "types", "--output-logs=errors-only", "--concurrency=1")];
  if (part === "prose") return [["node", "packages/prose/src/main.ts"]];
  const config = `${"../".repeat(part.split("/").length)}vitest.config.ts`;
  return [["npx", "vitest", "run", "--config", config, ...filters], part];
}

/** Runs a command in a folder of the copy, and shows the end of its output when it fails. */
function ran(title, [program, ...args], folder = ".") {
  process.stdout.write(`  ${title} … `);
  const began = performance.now();
  // CI would make the generator refuse to write.
  const env = { ...process.env, CI: "" };
  const how = { cwd: join(copy, folder), encoding: "utf8", env, maxBuffer: 256 * 1024 * 1024 };
  const { status, stdout, stderr } = spawnSync(program, args, how);
  console.log(`${status === 0 ? "ok" : `FAILED (${status})`}  ${seconds(began)} s`);
  if (status !== 0)
    console.error(`${stdout}${stderr}`.trimEnd().split("\n").slice(-FAILURE_LINES_SHOWN).join("\n"));
  return status === 0;
}

function fail(text) {
  console.error(`${text}\nthe copy is in ${copy}`);
  process.exit(1);
}

function seconds(since) {
  return ((performance.now() - since) / 1000).toFixed(0);
}

/** What git has or would take. */
function trackedFiles() {
  const listed = spawnSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: ROOT,
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  return listed.stdout.split("\0").filter((name) => name !== "" && existsSync(join(ROOT, name)));
}
