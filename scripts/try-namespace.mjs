/**
 * Proves that the namespace of the metrics is one edit. It makes that edit in a copy of this tree, generates everything again, and
 * runs what names a metric.
 *
 *     node scripts/try-namespace.mjs [NAMESPACE]      `fleet` by default; the copy stays when a step fails
 *
 * Steps: copy, edit, install, build (which generates), pages of the daemon. Then no file but the changelog has the old namespace.
 * Last are the types, the linter of pages, and the tests that name a metric. `npm test` does not run this script, since it takes a
 * quarter of an hour on two cores.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { ROOT, pnpm, useSupportedNode } from "./workspace.mjs";

const PLACE = "packages/observability/src/kvsync/namespace.ts";
const DEFINITION = /export const NAMESPACE = "([a-z0-9_]+)";/;
/** What names the metric names of older versions on purpose. */
const HISTORY = "CHANGELOG.md";

await useSupportedNode();
const wanted = process.argv[2] ?? "fleet";
const copy = mkdtempSync(join(tmpdir(), "kvsync-namespace-"));
const started = performance.now();

/** Runs a command in a folder of the copy; ends the script when it fails. */
function run(title, [program, ...args], folder = ".") {
  process.stdout.write(`  ${title} … `);
  const began = performance.now();
  // CI would make the generator refuse to write.
  const env = { ...process.env, CI: "" };
  const options = { cwd: join(copy, folder), encoding: "utf8", env, maxBuffer: 256 * 1024 * 1024 };
  const { status, stdout, stderr } = spawnSync(program, args, options);
  console.log(`${status === 0 ? "ok" : `FAILED (${status})`}  ${seconds(began)} s`);
  if (status === 0) return stdout;
  fail(`${stdout}${stderr}`.trimEnd().split("\n").slice(-80).join("\n"));
}

function fail(text) {
  console.error(`${text}\nthe copy is in ${copy}`);
  process.exit(1);
}

function seconds(since) {
  return ((performance.now() - since) / 1000).toFixed(0);
}

const listed = spawnSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
  cwd: ROOT,
  encoding: "utf8",
  maxBuffer: 64 * 1024 * 1024,
});
const files = listed.stdout.split("\0").filter((name) => name !== "");
for (const name of files)
  cpSync(join(ROOT, name), join(copy, name), { recursive: true, verbatimSymlinks: true });

const before = readFileSync(join(copy, PLACE), "utf8");
const old = DEFINITION.exec(before)?.[1];
if (old === undefined || old === wanted)
  fail(`${PLACE}: expected NAMESPACE to be another word than "${wanted}"`);
writeFileSync(join(copy, PLACE), before.replace(DEFINITION, `export const NAMESPACE = "${wanted}";`));
console.log(`${old} becomes ${wanted}, in ${files.length} files`);

run("install", pnpm("install", "--frozen-lockfile", "--prefer-offline"));
run("build and generate", pnpm("turbo", "build", "--output-logs=errors-only", "--concurrency=1"));
run("generate the daemon's pages", pnpm("--filter", "@kvsync/sync-daemon", "run", "reference"));

const words = new RegExp(`\\b${old}_(?:kv|sync|prefix)_[a-z]`);
const left = files.filter((name) => name !== HISTORY && words.test(readFileSync(join(copy, name), "latin1")));
if (left.length > 0) fail(`these files still have the namespace ${old}: ${left.join(", ")}`);
console.log(`  no file but ${HISTORY} has ${old}_… left`);

run("types", pnpm("turbo", "types", "--output-logs=errors-only", "--concurrency=1"));
run("pages (prose)", ["node", "packages/prose/src/main.ts"]);
const vitest = (depth, ...names) => [
  "npx",
  "vitest",
  "run",
  "--config",
  `${"../".repeat(depth)}vitest.config.ts`,
  ...names,
];
run("tests of observability", vitest(2), "packages/observability");
run("tests of the examples' monitoring", vitest(1, "shop", "observability-readme"), "examples");
run("test of the trust rule", vitest(2, "trust-rule"), "packages/core");
const daemon = "apps/sync-daemon/";
const naming = files
  .filter((name) => name.startsWith(daemon) && name.endsWith(".test.ts"))
  .filter((name) =>
    /observability\/kvsync\/namespace|"generated"|\.\.\/docs\/generated/.test(
      readFileSync(join(copy, name), "utf8"),
    ),
  )
  .map((name) => name.slice(daemon.length));
run(`${naming.length} test files of the daemon`, vitest(2, ...naming), dirname(`${daemon}x`));
console.log(`the namespace is one edit (${seconds(started)} s)`);
rmSync(copy, { recursive: true });
