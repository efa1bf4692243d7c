/**
 * Packs the packages that are published, and checks each tarball as its users get it.
 *
 *     node scripts/pack.mjs [FOLDER]      FOLDER gets the tarballs; .cache/tarballs by default
 *
 * Checks: publint accepts the tarball, and LICENSE and README are in it. It has no source, test or
 * unresolved workspace version. Its exports exist and, where it has no dependencies, can be
 * imported.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { ROOT, pnpm, useSupportedNode } from "./workspace.mjs";

const [folder = join(ROOT, ".cache", "tarballs")] = process.argv.slice(2);
if (folder.startsWith("-") || process.argv.length > 3) {
  console.error("usage: node scripts/pack.mjs [FOLDER]");
  process.exit(2);
}
await useSupportedNode();
const target = resolve(folder);
rmSync(target, { recursive: true, force: true });

/** The address that npm's provenance is checked against. */
const REPOSITORY = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).repository.url;

/** Runs a command and returns its output; ends the script when it fails. */
function run([program, ...args], cwd) {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd, encoding: "utf8" });
  if (status === 0) return stdout;
  console.error(`${program} ${args.join(" ")} ended with ${status}:\n${stdout}${stderr}`);
  process.exit(1);
}

/** Whether a package has the file that an export names; of a pattern, at least one. */
function isThere(folder, files, path) {
  const [start, end] = path.replace("./", "").split("*");
  if (end === undefined) return existsSync(join(folder, path));
  return files.some((name) => name.startsWith(start) && name.endsWith(end));
}

/** What is wrong with an unpacked package. */
async function faultsOf(folder) {
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const files = readdirSync(folder, { recursive: true });
  const faults = ["LICENSE", "README.md"].filter((name) => !files.includes(name)).map((name) => `no ${name}`);
  for (const field of ["license", "repository", "engines", "description"])
    if (manifest[field] === undefined) faults.push(`no ${field}`);
  if (manifest.repository?.url !== REPOSITORY)
    faults.push(`repository.url is ${manifest.repository?.url}; expected the root's, ${REPOSITORY}`);
  for (const [name, range] of Object.entries(manifest.dependencies ?? {}))
    if (/^(workspace|catalog):/.test(range)) faults.push(`dependency ${name} is ${range}`);
  for (const name of files)
    if (/^src\b|\.test\.|(?<!\.d)\.ts$|\btesting\b/.test(name)) faults.push(`has ${name}`);
  for (const [entry, conditions] of Object.entries(manifest.exports))
    for (const [condition, path] of Object.entries(conditions))
      if (!isThere(folder, files, path)) faults.push(`${entry} ${condition}: no ${path}`);
  if (manifest.dependencies === undefined)
    await import(pathToFileURL(join(folder, manifest.exports["."].default)).href);
  return faults;
}

let isFaulty = false;
for (const name of readdirSync(join(ROOT, "packages"))) {
  const source = join(ROOT, "packages", name);
  const manifest = JSON.parse(readFileSync(join(source, "package.json"), "utf8"));
  if (manifest.private === true) continue;
  const tarball = join(target, `kvsync-${name}-${manifest.version}.tgz`);
  const unpacked = join(target, name);
  mkdirSync(unpacked, { recursive: true });
  run(pnpm("pack", "--out", tarball), source);
  run(["tar", "-xzf", tarball, "-C", unpacked, "--strip-components=1"], ROOT);
  run(pnpm("exec", "publint", "--strict", tarball), ROOT);
  const faults = await faultsOf(unpacked);
  rmSync(unpacked, { recursive: true });
  isFaulty ||= faults.length > 0;
  console.log(`${manifest.name} ${manifest.version}: ${faults.length === 0 ? tarball : faults.join("; ")}`);
}
process.exitCode = isFaulty ? 1 : 0;
