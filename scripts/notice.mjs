/**
 * The licenses of the packaged daemon.
 *
 *     node scripts/notice.mjs      writes NOTICE at the repository's root; a test fails when it is out of date
 *
 * `scripts/package.mjs` writes the same into the package, with the text of each license behind it.
 */
import { existsSync, readdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const DAEMON = join(ROOT, "apps", "sync-daemon");
/** Its dependencies are inside the page's script. */
const PAGE = join(ROOT, "apps", "dashboard");

/** Licenses that may ship. Another one, or none, is a decision to take: the test names the package. */
export const ACCEPTED = [
  "0BSD",
  "Apache-2.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "BlueOak-1.0.0",
  "ISC",
  "MIT",
  "MIT AND MPL-2.0",
  "Python-2.0",
  "Unlicense",
];

/** A file of a package that has its license or a notice that has to go along. */
export const LICENSE_FILE = /^(?:licen[cs]es?|copying|notice)(?:[-_.].*)?$/i;

/** Where the manifest of a dependency is, as Node finds it; null when it is not installed. */
function folderOf(name, from) {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, "node_modules", name);
    if (existsSync(join(candidate, "package.json"))) return realpathSync(candidate);
    if (dirname(folder) === folder) return null;
  }
}

/**
 * Every package of others that some need at run time, themselves and ours left out.
 *
 * @param folders - the packages': with their dependencies installed, in the workspace or deployed.
 * @returns name, version, license and folder of each, by name and version.
 */
export function shippedPackages(...folders) {
  const seen = new Map();
  const visit = (at) => {
    if (seen.has(at)) return;
    const manifest = JSON.parse(readFileSync(join(at, "package.json"), "utf8"));
    seen.set(at, manifest);
    const wanted = {
      ...manifest.dependencies,
      ...manifest.optionalDependencies,
      ...manifest.peerDependencies,
    };
    for (const name of Object.keys(wanted)) {
      const found = folderOf(name, at);
      if (found !== null) visit(found);
    }
  };
  for (const folder of folders) visit(realpathSync(folder));
  const packages = [...seen]
    .filter(([, { name }]) => !name.startsWith("@kvsync/"))
    .map(([at, { name, version, license }]) => ({ name, version, license: license ?? "none", folder: at }));
  const unique = new Map(packages.map((one) => [`${one.name}@${one.version}`, one]));
  return [...unique.values()].sort((a, b) => (`${a.name}@${a.version}` < `${b.name}@${b.version}` ? -1 : 1));
}

/**
 * The page.
 *
 * @param packages - of `shippedPackages`.
 * @returns its text.
 */
export function noticeText(packages) {
  return [
    "kvsync is licensed under the Apache License 2.0; see LICENSE.",
    "",
    "The packaged daemon contains the software below, each under its own license.",
    "",
    "zeromq contains unchanged builds of",
    "- libzmq: MPL-2.0, https://mozilla.org/MPL/2.0/; source: https://github.com/zeromq/libzmq",
    "- libsodium: ISC; source: https://github.com/jedisct1/libsodium",
    "",
    ...packages.map(({ name, version, license }) => `${name} ${version}: ${license}`),
    "",
  ].join("\n");
}

/**
 * The texts of the licenses, each once, with the packages that it is of.
 *
 * @param packages - of `shippedPackages`.
 * @returns their text.
 */
export function licenseTexts(packages) {
  const byText = new Map();
  for (const { name, version, folder } of packages)
    for (const file of readdirSync(folder).filter((one) => LICENSE_FILE.test(one))) {
      const text = readFileSync(join(folder, file), "utf8").trim();
      byText.set(text, [...(byText.get(text) ?? []), `${name} ${version}`]);
    }
  const line = "-".repeat(80);
  return [...byText].map(([text, names]) => `${line}\n${names.join(", ")}\n${line}\n${text}\n`).join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(join(ROOT, "NOTICE"), noticeText(shippedPackages(DAEMON, PAGE)));
