/**
 * Makes the folder of a container image: a built program, and everything that it needs at run time.
 *
 *     node scripts/package.mjs FOLDER [PROGRAM]      FOLDER is made anew; PROGRAM is daemon (the default), engine-sim or router-sim
 *     FOLDER/dist/main.js          the program
 *     FOLDER/dist/tools/main.js    kvsync, beside the daemon
 *     FOLDER/dashboard             the web page, beside the daemon
 *     FOLDER/build.json            the commit: the variable COMMIT, or what git says, or no such file
 *     FOLDER/NOTICE, LICENSE       the licenses of all that is in it
 *
 * It is checked by starting it from there, away from this workspace, and by loading every dependency.
 */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  lstatSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";

import { licenseTexts, noticeText, shippedPackages } from "./notice.mjs";
import { prune } from "./prune.mjs";
import { ROOT, installAndBuild, pnpm, step, useSupportedNode } from "./workspace.mjs";

/** Each program's package, its files that are programs, how it is started to see that it is whole, and the web pages that it serves. */
const PROGRAMS = {
  daemon: {
    package: "@kvsync/sync-daemon",
    files: ["dist/main.js", "dist/tools/main.js"],
    starts: [
      ["dist/main.js", "--check-config"],
      ["dist/main.js", "--version"],
      ["dist/tools/main.js", "--version"],
    ],
    pages: ["dashboard"],
  },
  "engine-sim": {
    package: "@kvsync/engine-sim",
    files: ["dist/main.js"],
    starts: [["dist/main.js", "--help"]],
    pages: [],
  },
  "router-sim": {
    package: "@kvsync/router-sim",
    files: ["dist/main.js"],
    starts: [["dist/main.js", "--version"]],
    pages: [],
  },
};

const [folder, name = "daemon"] = process.argv.slice(2);
if (
  folder === undefined ||
  folder.startsWith("-") ||
  !Object.hasOwn(PROGRAMS, name) ||
  process.argv.length > 4
) {
  console.error(`usage: node scripts/package.mjs FOLDER [${Object.keys(PROGRAMS).join(" | ")}]`);
  process.exit(2);
}
const program = PROGRAMS[name];
const target = resolve(folder);

await useSupportedNode();
// Earlier builds leave files in dist, and in turbo's cache of it, that the source has no more.
process.env.TURBO_FORCE = "true";
for (const group of ["packages", "apps"])
  for (const name of readdirSync(join(ROOT, group)))
    rmSync(join(ROOT, group, name, "dist"), { recursive: true, force: true });
await installAndBuild();
rmSync(target, { recursive: true, force: true });
const deployed = await step(
  `gather ${name} and what it needs`,
  pnpm("--filter", program.package, "deploy", "--prod", "--legacy", target),
);
if (!deployed.ok) process.exit(1);
const pages = program.pages.map((page) => join(ROOT, "apps", page));
for (const page of pages) cpSync(join(page, "dist"), join(target, basename(page)), { recursive: true });
const packages = shippedPackages(target, ...pages);
writeFileSync(join(target, "NOTICE"), `${noticeText(packages)}\n${licenseTexts(packages)}`);
copyFileSync(join(ROOT, "LICENSE"), join(target, "LICENSE"));
const bytesBefore = bytesOf(target);
prune(target);
console.log(`${megabytes(bytesBefore)} gathered, ${megabytes(bytesOf(target))} left`);
const commit = process.env.COMMIT || commitOfCheckout();
if (commit !== null) writeFileSync(join(target, "build.json"), `${JSON.stringify({ commit })}\n`);
for (const file of program.files) chmodSync(join(target, file), 0o755);
for (const [file, argument] of program.starts) {
  // From elsewhere, so that nothing of this workspace is found.
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(target, file), argument], {
    cwd: tmpdir(),
    encoding: "utf8",
    env: { PATH: process.env.PATH },
  });
  const isNamed = name !== "daemon" || argument !== "--version" || commit === null || stdout.includes(commit);
  if (status === 0 && isNamed) continue;
  console.error(`${file} ${argument} ended with ${status}: ${stderr}`);
  process.exit(1);
}
const { dependencies } = manifestIn(target);
/** A package of subpaths alone has no main module; the program, started above, loads what it uses of it. */
const loadable = Object.keys(dependencies).filter((name) => {
  const { exports } = manifestIn(join(target, "node_modules", name));
  return (
    typeof exports !== "object" ||
    Object.keys(exports).every((entry) => !entry.startsWith("./")) ||
    "." in exports
  );
});
const loading = spawnSync(
  process.execPath,
  ["--input-type=module", "--eval", `for (const name of ${JSON.stringify(loadable)}) await import(name)`],
  { cwd: target, encoding: "utf8", env: { PATH: process.env.PATH } },
);
if (loading.status !== 0) {
  console.error(`a dependency cannot be loaded: ${loading.stderr}`);
  process.exit(1);
}
const testFiles = [join(target, "dist"), join(target, "node_modules", "@kvsync")]
  .flatMap((at) => readdirSync(at, { recursive: true }))
  .filter((name) => /\.(test|bench)\.|(^|[\\/])(testing|vectors)[\\/]/.test(name));
if (testFiles.length > 0) {
  console.error(`${target} has files of tests: ${testFiles.slice(0, 5).join(", ")}`);
  process.exit(1);
}
console.log(`${target} is complete`);

function manifestIn(folder) {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
}

/** Each file once: links lead to the same ones. */
function bytesOf(at) {
  const files = readdirSync(at, { recursive: true }).map((name) => lstatSync(join(at, name)));
  const sizes = new Map(files.filter((one) => one.isFile()).map(({ ino, size }) => [ino, size]));
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Hash of the checkout's commit, with `+changes` when the tree differs from it; null without git or a repository. */
function commitOfCheckout() {
  const git = (...args) => spawnSync("git", args, { cwd: ROOT, encoding: "utf8" });
  const { status, stdout } = git("rev-parse", "HEAD");
  if (status !== 0) return null;
  const isChanged = git("status", "--porcelain", "--untracked-files=no").stdout.trim() !== "";
  return `${stdout.trim()}${isChanged ? "+changes" : ""}`;
}
